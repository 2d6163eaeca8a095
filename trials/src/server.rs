//! The server as a child process: started, killed, stopped, paused, and ended when dropped.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::context::{MUTANTS_VARIABLE, SERVER_VARIABLE};
use crate::ports::Ports;
use crate::{Outcome, Trouble};

/// How long a start may take before the trial gives up. Not a promise of the server's.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long a server may take to print what it knows.
const WORD_LIMIT: Duration = Duration::from_secs(10);

/// How to start a server; the same each time, so that clients find it again.
#[derive(Clone, Debug)]
pub struct Launch {
    program: PathBuf,
    data: PathBuf,
    ports: Ports,
    flags: Vec<(String, String)>,
    wrapper: Vec<String>,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    child: Child,
    output: Receiver<String>,
    said: Vec<String>,
    ready_after: Duration,
}

impl Launch {
    /// `program serve` on the folder `data`, with free ports for `shards` shards and a journal small
    /// enough to go round within a trial.
    pub fn new(program: PathBuf, data: &Path, shards: u16) -> Outcome<Self> {
        let ports = Ports::free(shards)?;
        let launch = Self {
            program,
            data: data.to_path_buf(),
            ports,
            flags: Vec::new(),
            wrapper: Vec::new(),
        };
        let shards = shards.to_string();
        Ok(launch
            .flag("--data", &data.display().to_string())
            .flag("--listen", &Ports::address(ports.node))
            .flag("--core-listen", &Ports::address(ports.core))
            .flag("--admin", &Ports::address(ports.admin))
            .flag("--shards", &shards)
            .flag("--cores", &shards)
            .flag("--journal-bytes", "64MiB")
            .flag("--bins-bytes", "16MiB"))
    }

    /// Gives a flag, in the place of the same one that every trial gives.
    #[must_use]
    pub fn flag(mut self, name: &str, value: &str) -> Self {
        self.flags.retain(|(given, _)| given != name);
        self.flags.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the server by way of `wrapper`: a program that ends by executing its last arguments.
    #[must_use]
    pub fn through(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Where clients of the node view bootstrap.
    #[must_use]
    pub fn node_view(&self) -> String {
        Ports::address(self.ports.node)
    }

    /// Where clients of the core view bootstrap.
    #[must_use]
    pub fn core_view(&self) -> String {
        Ports::address(self.ports.core)
    }

    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Starts the server and waits until it says `ready`.
    pub fn start(&self) -> Outcome<Server> {
        self.spawn()?.await_ready()
    }

    /// Starts a server that must refuse to serve: how it ended and what it said.
    pub fn start_refused(&self) -> Outcome<(ExitStatus, String)> {
        let mut server = self.spawn()?;
        let status = server.await_end(START_LIMIT)?;
        Ok((status, server.said().to_owned()))
    }

    /// Starts the server and waits for nothing.
    pub fn spawn(&self) -> Outcome<Server> {
        let start = Instant::now();
        let mut command = self.command();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| Trouble::failed(format!("cannot start {command:?}: {error}")))?;
        let (lines, output) = channel();
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        forward(stdout.expect("it is piped"), lines.clone());
        forward(stderr.expect("it is piped"), lines);
        let ready_after = start.elapsed();
        Ok(Server { child, output, said: Vec::new(), ready_after })
    }

    fn command(&self) -> Command {
        let mut words = self.wrapper.iter().map(PathBuf::from).chain([self.program.clone()]);
        let mut command = Command::new(words.next().expect("the program at least"));
        command
            .args(words)
            .arg("serve")
            .args(self.flags.iter().flat_map(|(name, value)| [name, value]))
            .env_remove(SERVER_VARIABLE)
            .env_remove(MUTANTS_VARIABLE);
        command
    }
}

impl Server {
    /// What it has printed so far.
    pub fn said(&mut self) -> String {
        self.said.extend(self.output.try_iter());
        self.said.join("\n")
    }

    /// Waits until it has printed `word`.
    pub fn await_word(&mut self, word: &str) -> Outcome<()> {
        let deadline = Instant::now() + WORD_LIMIT;
        while !self.said().contains(word) {
            if deadline < Instant::now() {
                let said = self.said();
                return Err(Trouble::failed(format!(
                    "{word:?} is not among what it says:\n{said}"
                )));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// From the start of the process to its `ready`.
    #[must_use]
    pub fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// Ends the process as `kill -9` does, and waits until it is gone.
    pub fn kill(mut self) -> Outcome<()> {
        self.signal(Signal::SIGKILL)?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to stop; how long that took.
    pub fn stop(mut self) -> Outcome<Duration> {
        let start = Instant::now();
        self.signal(Signal::SIGTERM)?;
        let status = self.await_end(Duration::from_secs(20))?;
        if status.success() {
            return Ok(start.elapsed());
        }
        Err(Trouble::failed(format!("SIGTERM ended in {status}:\n{}", self.said())))
    }

    /// Stops its clock: nothing in it runs until [`Server::resume`].
    pub fn pause(&self) -> Outcome<()> {
        self.signal(Signal::SIGSTOP)
    }

    pub fn resume(&self) -> Outcome<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Fails if the process has ended.
    pub fn check_alive(&mut self) -> Outcome<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => {
                Err(Trouble::failed(format!("the server ended in {status}:\n{}", self.said())))
            }
        }
    }

    /// Memory it holds.
    pub fn resident_bytes(&self) -> Outcome<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kilobytes = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.trim().strip_suffix(" kB"))
            .and_then(|number| number.trim().parse::<u64>().ok())
            .ok_or_else(|| Trouble::failed("a process that runs has a VmRSS"))?;
        Ok(kilobytes << 10)
    }

    /// What all its threads have run so far, the kernel's work for them included.
    pub fn cpu_time(&self) -> Outcome<Duration> {
        let mut total = Duration::ZERO;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // A worker of the kernel's may end in between.
            let Ok(stat) = std::fs::read_to_string(task?.path().join("schedstat")) else {
                continue;
            };
            let on_cpu_ns = stat.split(' ').next().and_then(|number| number.parse().ok());
            total += Duration::from_nanos(on_cpu_ns.expect("schedstat begins with a number"));
        }
        Ok(total)
    }

    /// Whether it has said `ready`.
    pub fn is_ready(&mut self) -> bool {
        self.said().lines().any(|line| line.starts_with("ready"))
    }

    /// Waits until it says `ready`, which it has not said yet.
    pub fn await_ready(mut self) -> Outcome<Self> {
        let start = Instant::now();
        loop {
            match self.output.recv_timeout(START_LIMIT.saturating_sub(start.elapsed())) {
                Ok(line) => {
                    let ready = line.starts_with("ready");
                    self.said.push(line);
                    if ready {
                        self.ready_after += start.elapsed();
                        return Ok(self);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait()?;
                    self.hear_out();
                    let said = self.said();
                    return Err(Trouble::failed(format!("it ended in {status}:\n{said}")));
                }
                Err(RecvTimeoutError::Timeout) => {
                    let said = self.said();
                    return Err(Trouble::failed(format!("not ready in {START_LIMIT:?}:\n{said}")));
                }
            }
        }
    }

    fn await_end(&mut self, limit: Duration) -> Outcome<ExitStatus> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                self.hear_out();
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Err(Trouble::failed(format!("it still runs after {limit:?}:\n{}", self.said())))
    }

    /// Waits for what an ended process left in its pipes.
    fn hear_out(&mut self) {
        while let Ok(line) = self.output.recv_timeout(Duration::from_secs(1)) {
            self.said.push(line);
        }
    }

    fn signal(&self, signal: Signal) -> Outcome<()> {
        let pid = i32::try_from(self.child.id()).expect("a process id fits");
        Ok(kill(Pid::from_raw(pid), signal)?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Passes lines on until the stream ends; the channel closes with the last of them.
fn forward(stream: impl std::io::Read + Send + 'static, lines: Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                return;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A launch of a shell script in the place of a server.
    fn script(body: &str) -> Launch {
        let launch = Launch::new(body.into(), Path::new("/nonexistent"), 1).unwrap();
        launch.through(&["/bin/sh", "-c"])
    }

    #[test]
    fn ready_is_awaited_and_a_kill_ends_it() {
        let mut server = script("echo hello; echo ready in 3 ms; exec sleep 60").start().unwrap();
        assert_eq!(server.said(), "hello\nready in 3 ms");
        server.check_alive().unwrap();
        assert!(0 < server.resident_bytes().unwrap());
        let pid = Pid::from_raw(server.child.id() as i32);
        server.kill().unwrap();
        assert!(kill(pid, None).is_err(), "no such process");
    }

    #[test]
    fn a_server_that_ends_before_it_is_ready_tells_why() {
        let trouble = script("echo the port is taken >&2; exit 3").start().unwrap_err().to_string();
        assert!(trouble.contains("the port is taken"), "{trouble}");
        let (status, said) = script("echo no; exit 3").start_refused().unwrap();
        assert_eq!((status.code(), said.as_str()), (Some(3), "no"));
    }

    #[test]
    fn stopping_waits_for_the_end_and_wants_success() {
        let polite = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.01; done";
        script(polite).start().unwrap().stop().unwrap();
        let rude = "trap 'exit 1' TERM; echo ready; while :; do sleep 0.01; done";
        script(rude).start().unwrap().stop().unwrap_err();
    }
}
