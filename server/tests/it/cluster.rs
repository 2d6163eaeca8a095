//! Three nodes, three processes: one dies, one leaves, all go down and come back.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::chiplog::{chiplog, folder, serve, stderr, stdout};
use crate::server::Server;

/// How long the cluster may take over anything.
const PATIENCE: Duration = Duration::from_secs(30);
/// Node view, core view, admin, control core, shard 0.
const PORTS: u16 = 5;

/// The nodes of a cluster, some of which run.
struct Nodes {
    home: tempfile::TempDir,
    base: u16,
    servers: Vec<Option<Server>>,
}

impl Nodes {
    fn start() -> Self {
        let (home, base) = (folder(), free_ports(3 * PORTS));
        let mut nodes = Self { home, base, servers: Vec::from([None, None, None]) };
        nodes.start_all();
        nodes
    }

    fn address(&self, node: usize, port: u16) -> String {
        format!("127.0.0.1:{}", self.base + node as u16 * PORTS + port)
    }

    fn serve(&self, node: usize) -> Command {
        let peer = |node: usize| format!("{node}@{}", self.address(node, 3));
        let [listen, core, admin] = [0, 1, 2].map(|port| self.address(node, port));
        let data = self.home.path().join(format!("node-{node}"));
        let small = ["--journal-bytes", "16MiB", "--bins-bytes", "4MiB", "--cores", "1"];
        let mut command = serve(&data, &["--listen", &listen, "--core-listen", &core, "--admin"]);
        command.arg(&admin).args(small).args(["--pin", "false", "--poll", "park"]);
        command.args(["--node-id", &node.to_string(), "--peers"]);
        command.arg([0, 1, 2].map(peer).join(","));
        command
    }

    /// Starts those that do not run, all at once: a cluster forms only when all are there.
    fn start_all(&mut self) {
        let starting: Vec<_> = (0..3)
            .filter(|node| self.servers[*node].is_none())
            .map(|node| (node, self.serve(node)))
            .map(|(node, command)| (node, thread::spawn(|| Server::spawn(command))))
            .collect();
        for (node, server) in starting {
            self.servers[node] = Some(server.join().expect("it gets ready"));
        }
    }

    fn take(&mut self, node: usize) -> Server {
        self.servers[node].take().expect("it runs")
    }

    fn run(&self, args: &[&str]) -> Output {
        let running = (0..3).filter(|node| self.servers[*node].is_some());
        let bootstrap: Vec<_> = running.map(|node| self.address(node, 0)).collect();
        let mut command = chiplog(args);
        command.env("CHIPLOG_BOOTSTRAP", bootstrap.join(","));
        command.output().expect("the binary runs")
    }

    /// The cells of partition 0 in `topic describe`.
    fn described(&self, topic: &str) -> Vec<String> {
        let described = self.run(&["topic", "describe", topic]);
        let text = stdout(&described);
        let row = text.lines().find(|line| line.starts_with("0 "));
        row.map(|row| row.split_whitespace().map(str::to_owned).collect()).unwrap_or_default()
    }

    fn leader(&self, topic: &str) -> usize {
        eventually("a leader", || self.described(topic).get(1)?.parse().ok())
    }

    fn await_in_sync(&self, topic: &str) {
        eventually("all replicas in sync", || {
            let in_sync = self.described(topic).get(4)?.split(',').count();
            (in_sync == 3).then_some(())
        });
    }
}

/// What was acknowledged, in order.
#[derive(Default)]
struct Ledger {
    acked: Vec<String>,
    next: usize,
}

impl Ledger {
    /// Writes a record, again and again until it is acknowledged: one that was in doubt may be there
    /// twice.
    fn produce(&mut self, nodes: &Nodes, topic: &str) {
        let record = format!("record {}", self.next);
        self.next += 1;
        let file: PathBuf = nodes.home.path().join("record");
        std::fs::write(&file, &record).expect("writable");
        let file = file.to_str().expect("UTF-8");
        eventually("an ack", || {
            let output = nodes.run(&["produce", topic, file, "--timeout", "5"]);
            output.status.success().then_some(())
        });
        self.acked.push(record);
    }

    /// Everything acknowledged is there, in order; doubles stand side by side.
    fn check(&self, nodes: &Nodes, topic: &str) {
        let read = eventually("all records", || {
            let output = nodes.run(&["consume", topic, "--timeout", "5"]);
            let read: Vec<_> = stdout(&output).lines().map(str::to_owned).collect();
            (output.status.success() && read.last() == self.acked.last()).then_some(read)
        });
        let mut read = read;
        read.dedup();
        assert_eq!(read, self.acked);
    }
}

fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// The first of so many free ports in a row, below those that the kernel picks from: a node that
/// dials a port where nobody listens might get it as its own.
fn free_ports(count: u16) -> u16 {
    let first = 10_000 + (std::process::id() % 1000) as u16 * 20;
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (first..32_000)
        .step_by(usize::from(count))
        .find(|base| (*base..*base + count).all(|port| is_free(&port)))
        .expect("free ports")
}

#[test]
fn nothing_acked_is_lost_whoever_goes() {
    let mut nodes = Nodes::start();
    let created = nodes.run(&["topic", "create", "t", "--replicas", "3"]);
    assert!(created.status.success(), "{}", stderr(&created));
    let mut ledger = Ledger::default();
    (0..5).for_each(|_| ledger.produce(&nodes, "t"));

    let leader = nodes.leader("t");
    nodes.take(leader).kill();
    (0..5).for_each(|_| ledger.produce(&nodes, "t"));
    assert_ne!(nodes.leader("t"), leader);
    ledger.check(&nodes, "t");

    nodes.start_all();
    nodes.await_in_sync("t");
    (0..5).for_each(|_| ledger.produce(&nodes, "t"));

    let leader = nodes.leader("t");
    assert_eq!(nodes.take(leader).stop(Signal::TERM), "stopped; the log is sealed\n");
    (0..5).for_each(|_| ledger.produce(&nodes, "t"));
    assert_ne!(nodes.leader("t"), leader);
    ledger.check(&nodes, "t");

    nodes.start_all();
    nodes.await_in_sync("t");
    (0..3).for_each(|node| nodes.take(node).kill());
    nodes.start_all();
    ledger.check(&nodes, "t");
    ledger.produce(&nodes, "t");
    ledger.check(&nodes, "t");
}
