//! `chiplog floor`: what this machine allows at this moment, on a folder.

use std::fmt::Display;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use benches::Place;
use benches::floor::{Floor, FloorConfig};
use clap::Args;
use ring::PollMode;
use serde::Serialize;

use crate::failure::Failure;
use crate::output::Ticker;

pub const EXAMPLES: &str = "\
Examples:
  chiplog floor                         the device under the current folder
  chiplog floor --folder /srv/chiplog   another one
  chiplog floor --poll park --json      as a server that sleeps waits, for a program

The headline is `probe`: 200 B over loopback, one durable 4 KiB write into a zeroed file, an answer;
one in flight. No durable ack of any server on this machine can be faster.";

/// What to measure.
#[derive(Clone, Debug, Args)]
pub struct FloorArgs {
    /// A folder on the device to measure; 64 MiB are written there and removed again.
    #[arg(long, default_value = ".", value_name = "DIR")]
    folder: PathBuf,
    /// How the probe's core waits: spin, adaptive or park.
    #[arg(long, default_value = "adaptive", value_name = "MODE")]
    poll: PollMode,
    /// The CPU that the probe runs on; by default where a server's first data core does.
    #[arg(long)]
    cpu: Option<usize>,
    /// Seconds for each figure.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

/// Measures and prints.
pub fn run(args: &FloorArgs) -> Result<(), Failure> {
    let cpu = pin_client(args.cpu)?;
    let config = FloorConfig {
        folder: args.folder.clone(),
        place: Place { poll: args.poll, cpu },
        each: Duration::from_secs_f64(args.seconds),
    };
    let ticker = Ticker::start();
    let floor = Floor::measure(&config, &mut |figure| ticker.say(format_args!("{figure}")))?;
    ticker.finish();
    print(&floor, args.json)
}

/// Keeps this thread off the CPU that the probe and the server's first core share, if there is
/// another; says which that is.
pub(super) fn pin_client(probe_cpu: Option<usize>) -> Result<Option<usize>, Failure> {
    let cpus = ring::cpu::allowed().map_err(Failure::Cpu)?;
    let probe = probe_cpu.or_else(|| cpus.get(1).or_else(|| cpus.first()).copied());
    if let Some(client) = cpus.iter().find(|cpu| Some(**cpu) != probe) {
        ring::cpu::pin_to(*client).map_err(Failure::Cpu)?;
    }
    Ok(probe)
}

pub(super) fn print(report: &(impl Display + Serialize), json: bool) -> Result<(), Failure> {
    let text = if json {
        serde_json::to_string_pretty(report).expect("a report has no map with odd keys")
    } else {
        report.to_string()
    };
    writeln!(std::io::stdout(), "{text}").map_err(Failure::Output)
}
