//! `trials [NAME...]`: runs the trials whose names contain one of the words; all without any.
//!
//! Each runs in a process of its own, as root in its own mount and process namespaces: whatever
//! happens to it, its mounts, loop devices and servers end with it.

use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use trials::catalogue::{TRIALS, Trial};
use trials::command::may_administer;
use trials::network::OWN_NETWORK;
use trials::{Context, Trouble};

const SKIPPED: u8 = 77;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["--list"] => list(),
        ["--one", name] => {
            // Its servers must hear of the end although the runner may not: a mask is inherited.
            ends().thread_unblock().expect("signals can be unblocked");
            run_here(name)
        }
        [flag, ..] if flag.starts_with('-') => {
            eprintln!("usage: trials [--list | NAME...]");
            ExitCode::FAILURE
        }
        words => run_all(words),
    }
}

fn list() -> ExitCode {
    for trial in TRIALS {
        println!("{:36} {}", trial.name, trial.promise);
    }
    ExitCode::SUCCESS
}

fn run_all(words: &[&str]) -> ExitCode {
    let chosen = |trial: &&Trial| words.is_empty() || words.iter().any(|w| trial.name.contains(w));
    let (mut passed, mut skipped, mut failed) = (0, Vec::new(), Vec::new());
    for trial in TRIALS.iter().filter(chosen) {
        println!("trial {}: {}", trial.name, trial.promise);
        let start = Instant::now();
        let code = match trial.changes {
            Some(setting) => Kept::of(setting).during(|| run_apart(trial)),
            None => run_apart(trial),
        };
        println!("  {:.1} s", start.elapsed().as_secs_f64());
        match code {
            Some(0) => passed += 1,
            Some(code) if code == i32::from(SKIPPED) => skipped.push(trial.name),
            _ => failed.push(trial.name),
        }
    }
    if !skipped.is_empty() {
        println!("SKIPPED: {}", skipped.join(", "));
    }
    if !failed.is_empty() {
        println!("FAILED: {}", failed.join(", "));
    }
    println!("{passed} passed, {} failed, {} skipped", failed.len(), skipped.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one trial in a process of its own and waits for its end, or ends it at its limit.
fn run_apart(trial: &Trial) -> Option<i32> {
    let this = std::env::current_exe().expect("a running program has a path");
    let mut command = if may_administer() {
        let mut unshare = Command::new("unshare");
        if trial.has_network {
            unshare.arg("--net").env(OWN_NETWORK, "1");
        }
        unshare
            .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"])
            .arg(this);
        unshare
    } else {
        Command::new(this)
    };
    let mut child = command
        .args(["--one", trial.name])
        .stdin(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let deadline = Instant::now() + Duration::from_secs(trial.limit_s);
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("  ended: it took more than {} s", trial.limit_s);
    child.kill().expect("a child that runs can be killed");
    child.wait().expect("a child can be waited for").code()
}

/// A setting of the whole machine that a trial changes and may be ended before it changes it back.
struct Kept {
    path: &'static str,
    value: Option<String>,
}

impl Kept {
    fn of(path: &'static str) -> Self {
        Self { path, value: std::fs::read_to_string(path).ok() }
    }

    /// Puts the setting back after `work`, which no signal but SIGKILL ends early: those that come
    /// meanwhile are heeded afterwards.
    fn during<T>(self, work: impl FnOnce() -> T) -> T {
        ends().thread_block().expect("signals can be blocked");
        let done = work();
        if let Some(value) = &self.value
            && std::fs::read_to_string(self.path).is_ok_and(|now| now != *value)
        {
            std::fs::write(self.path, value).expect("what a trial could change, its runner can");
        }
        ends().thread_unblock().expect("signals can be unblocked");
        done
    }
}

/// The signals that end a process which does not care for them.
fn ends() -> SigSet {
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().collect()
}

fn run_here(name: &str) -> ExitCode {
    let trial = TRIALS.iter().find(|trial| trial.name == name).expect("the runner names it");
    let outcome = Context::new(name).and_then(|context| {
        println!("  seed {}", context.seed());
        (trial.run)(&context)
    });
    match outcome {
        Ok(seen) => {
            println!("  passed: {seen}");
            Context::clear(name);
            ExitCode::SUCCESS
        }
        Err(trouble) => {
            println!("  {trouble}");
            match trouble {
                Trouble::Failed(_) => ExitCode::FAILURE,
                Trouble::Skipped(_) => ExitCode::from(SKIPPED),
            }
        }
    }
}
