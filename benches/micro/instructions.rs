//! `cargo bench -p benches --bench instructions [-- --write]`: how many instructions a record takes,
//! counted by callgrind, beside what `benches/instructions.txt` remembers.
//!
//! Parts of the log count what the files in memory take, a few hundred. Each part runs twice, with N and 2 N steps: what differs is N steps without their preparation.
//! The counts do not depend on what else the machine does, so that a change in them is a change in
//! the code, or in the compiler.

mod files;
mod log;
mod node;
mod scenarios;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use scenarios::{SCENARIOS, Scenario};

const STEPS: u64 = 64;
/// Percent. Smaller changes are not worth a line.
const CHANGE: f64 = 1.0;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["--steps", steps, name] = words.as_slice() {
        run(name, steps.parse().expect("a number of steps"));
        return ExitCode::SUCCESS;
    }
    let remembered = remembered();
    let mut text = String::from(
        "# Instructions per record: cargo bench -p benches --bench instructions -- --write\n",
    );
    for scenario in SCENARIOS {
        let Some(count) = count(scenario) else {
            eprintln!("valgrind is missing or failed: nothing was counted");
            return ExitCode::FAILURE;
        };
        let before = remembered.get(scenario.name).copied();
        println!("{:<32} {count:>12.1}{}", scenario.name, change(before, count));
        writeln!(text, "{:<32} {count:>12.1}", scenario.name).expect("memory takes text");
    }
    if words.contains(&"--write") {
        std::fs::write(file(), text).expect("the tree can be written");
    }
    ExitCode::SUCCESS
}

/// What valgrind watches.
fn run(name: &str, steps: u64) {
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name);
    let mut step = (scenario.expect("named by this program").prepare)();
    for _ in 0..steps {
        step();
    }
}

/// Instructions per record.
fn count(scenario: &Scenario) -> Option<f64> {
    // A step of many records needs no repetition to be exact.
    let steps = (STEPS / scenario.records).max(2);
    let more = collected(scenario.name, 2 * steps)?;
    let fewer = collected(scenario.name, steps)?;
    Some((more - fewer) as f64 / (steps * scenario.records) as f64)
}

fn collected(name: &str, steps: u64) -> Option<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().ok()?)
        .args(["--steps", &steps.to_string(), name])
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&output.stderr);
    // What a step that panicked took is no measurement.
    assert!(output.status.success(), "{name} fails:\n{said}");
    let line = said.lines().find_map(|line| line.split_once("Collected :"));
    line?.1.trim().parse().ok()
}

fn change(before: Option<f64>, now: f64) -> String {
    match before {
        None => "   new".into(),
        Some(before) => {
            let percent = (now / before - 1.0) * 100.0;
            if percent.abs() < CHANGE { String::new() } else { format!("   {percent:+.1} %") }
        }
    }
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.txt")
}

fn remembered() -> BTreeMap<String, f64> {
    let text = std::fs::read_to_string(file()).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let (name, count) = line.trim_end().rsplit_once(' ')?;
            Some((name.trim_end().to_owned(), count.parse().ok()?))
        })
        .collect()
}
