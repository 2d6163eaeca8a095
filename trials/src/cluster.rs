//! Three nodes with wires between them, a replicated topic, and a load on it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::command::run;
use crate::network::Network;
use crate::producers::client_config;
use crate::{Context, Launch, Load, Outcome, Producers, Server, Trouble, ensure, reader, topics};

pub const NODES: usize = 3;
const CLIENT_PORT: u16 = 9092;
const PEER_PORT: u16 = 9200;
const ADMIN: &str = "127.0.0.1:9644";
/// How long the cluster may take over anything: no promise, but an operator would look by then.
pub const LIMIT: Duration = Duration::from_secs(30);

/// See the module's description. The servers end with it, before the wires do.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
    pub network: Network,
    pub load: Load,
    program: PathBuf,
}

#[derive(Debug)]
struct Node {
    launch: Launch,
    server: Option<Server>,
}

impl Cluster {
    /// Describes the nodes, in folders of the trial, and wires them up. None is started.
    pub fn new(context: &Context) -> Outcome<Self> {
        Network::need()?;
        let program = context.server()?;
        let network = Network::new(NODES)?;
        let secret = context.folder().join("secret");
        std::fs::write(&secret, "known to all nodes of the trial\n")?;
        let peers: Vec<String> = (0..NODES)
            .map(|node| format!("{node}@{}:{PEER_PORT}", Network::address(node)))
            .collect();
        let mut nodes = Vec::new();
        for node in 0..NODES {
            let (host, number) = (Network::address(node), node.to_string());
            let wrapper = network.wrapper(node);
            let data = context.folder().join(format!("node-{node}")).join("data");
            std::fs::create_dir_all(data.parent().expect("joined above"))?;
            let launch = Launch::new(program.clone(), &data, 1)?
                .flag("--listen", &format!("{host}:{CLIENT_PORT}"))
                .flag("--core-listen", &format!("{host}:{}", CLIENT_PORT + 8))
                .flag("--admin", ADMIN)
                .flag("--node-id", &number)
                .flag("--peers", &peers.join(","))
                .flag("--secret-file", &secret.display().to_string())
                .flag("--journal-bytes", "64MiB")
                .flag("--pin", "false")
                .flag("--poll", "park")
                .flag("--enable-faults", "true")
                .through(&[&wrapper[0], &wrapper[1]]);
            nodes.push(Node { launch, server: None });
        }
        let bootstrap: Vec<String> =
            (0..NODES).map(|node| format!("{}:{CLIENT_PORT}", Network::address(node))).collect();
        let load = Load {
            bootstrap: bootstrap.join(","),
            topic: "ledger".into(),
            partitions: 6,
            producers: 3,
            records_per_s: 400,
            body_bytes_max: 1500,
            run: context.seed(),
            // A node that falls silent breaks no connection: whoever waits for its answer must.
            answer_within: Duration::from_secs(2),
        };
        Ok(Self { nodes, network, load, program })
    }

    /// Starts every node, makes the topic, and waits until all of it is written to.
    pub fn begin(&mut self) -> Outcome<Producers> {
        self.start(&[0, 1, 2])?;
        topics::create_replicated(
            &self.load.bootstrap,
            &self.load.topic,
            self.load.partitions,
            NODES as i32,
        )?;
        let producers = Producers::start(&self.load)?;
        self.await_flow(&producers)?;
        Ok(producers)
    }

    /// Starts these nodes side by side: a cluster forms only when all are there.
    pub fn start(&mut self, nodes: &[usize]) -> Outcome<()> {
        let mut starting = Vec::new();
        for node in nodes {
            starting.push((*node, self.nodes[*node].launch.spawn()?));
        }
        for (node, server) in starting {
            self.nodes[node].server = Some(server.await_ready()?);
        }
        Ok(())
    }

    /// Begins to start a node that may have to wait for others.
    pub fn spawn(&mut self, node: usize) -> Outcome<()> {
        self.nodes[node].server = Some(self.nodes[node].launch.spawn()?);
        Ok(())
    }

    /// Waits for those that were spawned.
    pub fn await_ready(&mut self) -> Outcome<()> {
        for node in &mut self.nodes {
            if let Some(mut server) = node.server.take() {
                node.server =
                    Some(if server.is_ready() { server } else { server.await_ready()? });
            }
        }
        Ok(())
    }

    pub fn kill(&mut self, node: usize) -> Outcome<()> {
        self.take(node)?.kill()
    }

    /// Asks a node to stop.
    pub fn stop(&mut self, node: usize) -> Outcome<()> {
        self.take(node)?.stop().map(drop)
    }

    pub fn server(&mut self, node: usize) -> Outcome<&mut Server> {
        let server = self.nodes[node].server.as_mut();
        server.ok_or_else(|| Trouble::failed(format!("node {node} does not run")))
    }

    /// The data folder of a node.
    #[must_use]
    pub fn data(&self, node: usize) -> PathBuf {
        self.nodes[node].launch.data().to_path_buf()
    }

    /// Injects a fault into a node by the product's own command.
    pub fn fault(&self, node: usize, words: &[&str]) -> Outcome<()> {
        let [nsenter, space] = self.network.wrapper(node);
        let program = self.program.display().to_string();
        run(&nsenter, &[&[space.as_str(), &program, "fault", "--admin", ADMIN], words].concat())?;
        Ok(())
    }

    /// What `chiplog cluster health` says.
    pub fn health(&self) -> String {
        let program = self.program.display().to_string();
        let words = ["cluster", "health", "--bootstrap", &self.load.bootstrap, "--timeout", "5"];
        match run(&program, &words) {
            Ok(said) => said,
            Err(trouble) => trouble.to_string(),
        }
    }

    /// The node that leads a partition of the topic.
    pub fn leader(&self, partition: i32) -> Outcome<usize> {
        let found = self.eventually("a leader", |seen| {
            let leader = seen.iter().find(|(id, _, _)| *id == partition)?.1;
            usize::try_from(leader).ok()
        })?;
        Ok(found)
    }

    /// Waits until every partition has been acked to anew.
    pub fn await_flow(&self, producers: &Producers) -> Outcome<Duration> {
        producers.await_each(self.load.partitions, LIMIT).map_err(|trouble| {
            Trouble::failed(format!("{trouble}\n{}\n{}", self.health(), self.state()))
        })
    }

    /// Waits until every replica is in sync.
    pub fn await_sync(&self) -> Outcome<()> {
        let all = |seen: &[(i32, i32, usize)]| {
            (!seen.is_empty() && seen.iter().all(|(_, _, insync)| *insync == NODES)).then_some(())
        };
        self.eventually("all replicas in sync", all)
    }

    /// Ends the load, reads everything, and fails unless each promise of the ledger is kept.
    pub fn expect_kept(&self, producers: Producers) -> Outcome {
        let ledger = producers.finish()?;
        let verdict = reader::audit(&self.load, &ledger)?;
        let complaints = &ledger.complaints;
        ensure!(verdict.is_clean(), "{verdict}; the client said {complaints:?}");
        ensure!(0 < verdict.acked, "nothing was acked");
        Ok(verdict.to_string())
    }

    /// Lets everything heal, then as [`Cluster::expect_kept`], and stops the nodes.
    pub fn conclude(mut self, producers: Producers) -> Outcome {
        self.await_flow(&producers)?;
        self.await_sync()?;
        let kept = self.expect_kept(producers)?;
        let running: Vec<usize> =
            (0..NODES).filter(|node| self.nodes[*node].server.is_some()).collect();
        for node in running {
            self.server(node)?.check_alive()?;
        }
        Ok(kept)
    }

    fn take(&mut self, node: usize) -> Outcome<Server> {
        let server = self.nodes[node].server.take();
        server.ok_or_else(|| Trouble::failed(format!("node {node} does not run")))
    }

    /// Looks at the partitions (index, leader, replicas in sync) until `see` sees what it wants.
    fn eventually<T>(
        &self,
        what: &str,
        mut see: impl FnMut(&[(i32, i32, usize)]) -> Option<T>,
    ) -> Outcome<T> {
        let deadline = Instant::now() + LIMIT;
        let consumer: BaseConsumer =
            client_config(&self.load.bootstrap).set("group.id", "trials").create()?;
        loop {
            let looked = consumer.fetch_metadata(Some(&self.load.topic), Duration::from_secs(5));
            let seen: Vec<_> = looked.map_or_else(
                |_| Vec::new(),
                |metadata| {
                    let topics = metadata.topics().iter();
                    let partitions = topics.flat_map(|topic| topic.partitions());
                    partitions.map(|p| (p.id(), p.leader(), p.isr().len())).collect()
                },
            );
            if let Some(seen) = see(&seen) {
                return Ok(seen);
            }
            if deadline < Instant::now() {
                let health = self.health();
                let why = format!("no {what} in {LIMIT:?}: {seen:?}\n{health}\n{}", self.state());
                return Err(Trouble::failed(why));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What `chiplog cluster partitions` says.
    fn state(&self) -> String {
        let program = self.program.display().to_string();
        let words = ["cluster", "partitions", "--bootstrap", &self.load.bootstrap];
        run(&program, &words).unwrap_or_else(|trouble| trouble.to_string())
    }
}

impl Drop for Cluster {
    /// What the servers said is the first thing that somebody who looks for a cause wants.
    fn drop(&mut self) {
        if std::env::var_os("TRIALS_KEEP_LOGS").is_none() {
            return;
        }
        for (number, node) in self.nodes.iter_mut().enumerate() {
            if let Some(server) = &mut node.server {
                println!("--- node {number}\n{}", server.said());
            }
        }
    }
}

/// Every order of the three nodes.
#[must_use]
pub fn orders() -> Vec<[usize; NODES]> {
    let pairs = (0..NODES).flat_map(|first| (0..NODES).map(move |second| (first, second)));
    let pairs = pairs.filter(|(first, second)| first != second);
    pairs.map(|(first, second)| [first, second, NODES - first - second]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_nodes_have_six_orders() {
        let orders = orders();
        assert_eq!(orders.len(), 6, "{orders:?}");
        assert!(orders.contains(&[2, 0, 1]));
    }
}
