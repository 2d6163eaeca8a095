//! One node of the demo: its settings, its process, its end.

use std::fmt;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::DemoArgs;
use crate::failure::Failure;

/// How long a node may take to end before it is killed.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// Between two looks at a process that is to end.
const LOOK: Duration = Duration::from_millis(20);

/// See the module's description.
#[derive(Debug)]
pub(super) struct Node {
    number: u16,
    ports: Ports,
    folder: PathBuf,
    child: Child,
    /// Its end was told.
    is_mourned: bool,
}

#[derive(Clone, Copy, Debug)]
struct Ports {
    node: u16,
    core: u16,
    admin: u16,
    peers: u16,
}

impl Ports {
    fn of(base: u16, number: u16) -> Self {
        let node = base + 10 * number;
        Self { node, core: node + 1, admin: node + 9, peers: node + 1000 }
    }
}

impl Node {
    /// Writes the settings and starts the server.
    pub(super) fn start(args: &DemoArgs, number: u16) -> Result<Self, Failure> {
        let folder = args.data.join(format!("node-{number}"));
        let failed = |path: &Path, source| Failure::Demo { path: path.to_owned(), source };
        std::fs::create_dir_all(&folder).map_err(|error| failed(&folder, error))?;
        let folder = folder.canonicalize().map_err(|error| failed(&folder, error))?;
        let ports = Ports::of(args.base_port, number);
        let config = folder.join("chiplog.toml");
        std::fs::write(&config, settings(args, number, ports, &folder))
            .map_err(|error| failed(&config, error))?;
        let log = folder.join("log");
        let file = File::create(&log).map_err(|error| failed(&log, error))?;
        let twin = file.try_clone().map_err(|error| failed(&log, error))?;
        let program = std::env::current_exe().map_err(|error| failed(&folder, error))?;
        let child = Command::new(&program)
            .arg("serve")
            .arg("--config")
            .arg(&config)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(twin)
            // Ctrl-C at a terminal is for the demo, which passes it on once.
            .process_group(0)
            .spawn()
            .map_err(|error| failed(&program, error))?;
        Ok(Self { number, ports, folder, child, is_mourned: false })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.ports.node)
    }

    /// Whether it has said that it serves.
    pub(super) fn is_ready(&self) -> bool {
        self.log().lines().any(|line| line.starts_with("ready"))
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// How the process ended, told once.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().ok().flatten()?;
        (!std::mem::replace(&mut self.is_mourned, true)).then_some(status)
    }

    pub(super) fn failure(&self, status: ExitStatus) -> Failure {
        let log = self.log();
        let said = log.lines().next_back().unwrap_or("it said nothing").to_owned();
        Failure::DemoNode { node: self.number, status, said }
    }

    pub(super) fn late(&self) -> Failure {
        Failure::DemoLate { node: self.number, log: self.folder.join("log") }
    }

    pub(super) fn obituary(&self, status: ExitStatus) -> String {
        let config = self.folder.join("chiplog.toml");
        let number = self.number;
        format!(
            "node {number} ended ({status}); again: chiplog serve --config {}",
            config.display()
        )
    }

    pub(super) fn ask_to_stop(&self) {
        // Gone already is as good.
        let _ = self.pid().map(|pid| kill_process(pid, Signal::TERM));
    }

    /// Waits for its end, and in the end brings it about.
    pub(super) fn wait(mut self) {
        let until = Instant::now() + STOP_WITHIN;
        while self.runs() {
            if until <= Instant::now() {
                let _ = self.pid().map(|pid| kill_process(pid, Signal::KILL));
                return;
            }
            std::thread::sleep(LOOK);
        }
    }

    fn runs(&mut self) -> bool {
        match self.is_mourned {
            true => self.successor().is_some(),
            false => matches!(self.child.try_wait(), Ok(None)),
        }
    }

    fn pid(&self) -> Option<Pid> {
        match self.is_mourned {
            true => self.successor(),
            false => Some(Pid::from_child(&self.child)),
        }
    }

    /// The process in `DIR/node-N/pid`, if it serves the node: someone may have started it again.
    fn successor(&self) -> Option<Pid> {
        let pid = std::fs::read_to_string(self.folder.join("pid")).ok()?;
        let pid: i32 = pid.trim().parse().ok()?;
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let is_ours = String::from_utf8_lossy(&line).contains(&format!("node-{}", self.number));
        Pid::from_raw(pid).filter(|_| is_ours)
    }
}

impl Drop for Node {
    /// A demo that fails leaves no servers behind.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ports { node, core, admin, .. } = self.ports;
        let (number, pid) = (self.number, self.child.id());
        write!(
            f,
            "node {number}    pid {pid}, clients 127.0.0.1:{node} (node view) and {core} (core \
             view), admin http://127.0.0.1:{admin}/"
        )
    }
}

fn settings(args: &DemoArgs, number: u16, ports: Ports, folder: &Path) -> String {
    let peers: Vec<String> = (0..args.nodes)
        .map(|peer| format!("{peer}@127.0.0.1:{}", Ports::of(args.base_port, peer).peers))
        .collect();
    let text = |text: &str| toml::Value::String(text.to_owned());
    let path = |name: &str| text(&folder.join(name).to_string_lossy());
    format!(
        "# Node {number} of a demo; written anew at each start of it.
data = {data}
pid_file = {pid_file}
node_id = {number}
peers = \"{peers}\"
rack = \"rack-{number}\"
listen = \"127.0.0.1:{node}\"
core_listen = \"127.0.0.1:{core}\"
admin = \"127.0.0.1:{admin}\"
cores = {shards}
shards = {shards}
pin = false
poll = {poll}
journal.bytes = {journal_bytes}
bins.bytes = \"32MiB\"
enable_faults = {faults}
",
        data = path("data"),
        pid_file = path("pid"),
        peers = peers.join(","),
        node = ports.node,
        core = ports.core,
        admin = ports.admin,
        shards = args.shards,
        poll = text(&args.poll),
        journal_bytes = text(&args.journal_bytes),
        faults = args.enable_faults,
    )
}
