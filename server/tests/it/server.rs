//! A running server, stopped or killed when dropped.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use crate::chiplog::{chiplog, serve};

/// See the module's description.
pub(crate) struct Server {
    child: Child,
    lines: BufReader<ChildStdout>,
    /// The report, up to the line that starts with `ready`.
    pub(crate) report: String,
}

impl Server {
    /// Starts `serve` with a small journal, on ports that the kernel picks, and waits for `ready`.
    pub(crate) fn start(data: &Path, more: &[&str]) -> Self {
        let mut command = serve(data, &["--journal-bytes", "16MiB", "--bins-bytes", "4MiB"]);
        command.args(["--pin", "false"]).args(more);
        Self::spawn(command)
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = piped.spawn().expect("the binary runs");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut report = String::new();
        while !report.lines().any(|line| line.starts_with("ready")) {
            let read = lines.read_line(&mut report).expect("UTF-8");
            assert_ne!(read, 0, "it ended before it was ready:\n{report}");
        }
        Self { child, lines, report }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The port behind `label` in the report.
    fn port(&self, label: &str) -> String {
        let (_, behind) = self.report.split_once(label).expect("the report has it");
        behind.chars().take_while(char::is_ascii_digit).collect()
    }

    /// Where clients of the node view bootstrap.
    pub(crate) fn node_view(&self) -> String {
        format!("127.0.0.1:{}", self.port("clients   127.0.0.1 port "))
    }

    /// Where clients of shard 0 bootstrap.
    pub(crate) fn core_view(&self) -> String {
        let label = if self.report.contains(" ports ") { " ports " } else { "), 127.0.0.1 port " };
        format!("127.0.0.1:{}", self.port(label))
    }

    pub(crate) fn admin(&self) -> String {
        format!("127.0.0.1:{}", self.port("http://127.0.0.1:"))
    }

    /// Runs a command against the node view.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("the binary runs")
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = chiplog(args);
        command.env("CHIPLOG_BOOTSTRAP", self.node_view());
        command
    }

    /// Kills it as `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is our child");
    }

    /// Asks it to stop with `signal`; what it said after `ready`.
    pub(crate) fn stop(mut self, signal: rustix::process::Signal) -> String {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("it runs");
        let mut said = String::new();
        while self.lines.read_line(&mut said).expect("UTF-8") != 0 {}
        let status = self.child.wait().expect("it is our child");
        assert!(status.success(), "{status}: {said}");
        said
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
