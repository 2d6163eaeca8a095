//! What this machine allows at this moment, on this folder: the figures under every other.

use core::fmt;
use std::path::PathBuf;
use std::time::Duration;

use ring::PollMode;
use serde::Serialize;

use crate::device::{self, Taken, Writes};
use crate::driver::{Lane, Until};
use crate::probe::{Between, Probe};
use crate::question::Question;
use crate::{BenchError, Driver, Place, Quantiles, Schedule, Wait};

/// Answers before those that count: caches, branch predictors and the device wake up.
const WARM_UP: u64 = 200;

/// What the figures are called.
const PROBE: &str = "probe";
const PROBE_PARKED: &str = "probe, parked";
const ECHO_SPINNING: &str = "echo, spinning";
const ECHO_PARKED: &str = "echo, parked";

const DEPTHS: [usize; 4] = [1, 2, 4, 8];
const SIZES: [u32; 4] = [16 << 10, 64 << 10, 256 << 10, 1 << 20];

/// How to measure.
#[derive(Clone, Debug)]
pub struct FloorConfig {
    /// On the device that is to be measured.
    pub folder: PathBuf,
    /// How the probe's core waits, and where it runs.
    pub place: Place,
    /// Of each figure.
    pub each: Duration,
}

/// The floor of one machine, in one run.
#[derive(Clone, Debug, Serialize)]
pub struct Floor {
    /// 200 B over loopback, one durable page, the answer: in the poll mode asked for.
    pub probe: Quantiles,
    /// The same, both sides sleeping in the kernel while they wait.
    pub probe_parked: Quantiles,
    pub echo_spinning: Quantiles,
    pub echo_parked: Quantiles,
    pub writes: Vec<Taken>,
}

impl Floor {
    /// Measures each figure in turn; `begins` is told which is about to be.
    pub fn measure(config: &FloorConfig, begins: &mut dyn FnMut(&str)) -> Result<Self, BenchError> {
        let spin = Place { poll: PollMode::Spin, ..config.place };
        let park = Place { poll: PollMode::Park, ..config.place };
        let mut ask = |name, place, between, wait| {
            begins(name);
            ask(config, place, between, wait)
        };
        Ok(Self {
            probe: ask(PROBE, config.place, Between::Write, wait_like(config.place.poll))?,
            probe_parked: ask(PROBE_PARKED, park, Between::Write, Wait::Park)?,
            echo_spinning: ask(ECHO_SPINNING, spin, Between::Nothing, Wait::Spin)?,
            echo_parked: ask(ECHO_PARKED, park, Between::Nothing, Wait::Park)?,
            writes: device::measure(config.place, &config.folder, &ways(), config.each, begins)?,
        })
    }
}

/// A client beside a core that sleeps sleeps too.
#[must_use]
pub fn wait_like(poll: PollMode) -> Wait {
    match poll {
        PollMode::Park => Wait::Park,
        PollMode::Spin | PollMode::Adaptive { .. } => Wait::Spin,
    }
}

fn ask(
    config: &FloorConfig,
    place: Place,
    between: Between,
    wait: Wait,
) -> Result<Quantiles, BenchError> {
    let probe = Probe::start(place, &config.folder, between)?;
    let mut driver = Driver::new(vec![Lane::connect(&probe.address(), Question::ping())?], wait);
    driver.run(Schedule::Window(1), Until::Answers(WARM_UP))?;
    let measured = driver.run(Schedule::Window(1), Until::Elapsed(config.each))?;
    Ok(measured.latency.quantiles())
}

fn ways() -> Vec<Writes> {
    let durable = |depth, bytes| Writes { depth, bytes, sync: true };
    let depths = DEPTHS.iter().map(|depth| durable(*depth, 4096));
    let sizes = SIZES.iter().map(|bytes| durable(1, *bytes));
    let bandwidth = Writes { depth: 4, bytes: 1 << 20, sync: false };
    depths.chain(sizes).chain([bandwidth]).collect()
}

impl fmt::Display for Floor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", Quantiles::HEADING)?;
        writeln!(f, "{PROBE:<24}{}", self.probe)?;
        writeln!(f, "{PROBE_PARKED:<24}{}", self.probe_parked)?;
        writeln!(f, "{ECHO_SPINNING:<24}{}", self.echo_spinning)?;
        writeln!(f, "{ECHO_PARKED:<24}{}", self.echo_parked)?;
        for taken in &self.writes {
            let name = taken.writes.to_string();
            let (rate, bandwidth) = (taken.per_second, taken.megabytes_per_second);
            writeln!(f, "{name:<24}{}   {rate:.0}/s, {bandwidth:.1} MB/s", taken.latency)?;
        }
        write!(f, "probe: 200 B over loopback, one durable 4 KiB write, an answer; one in flight")
    }
}
