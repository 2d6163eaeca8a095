//! What `chiplog bench` measures: ping, a fixed rate, a flood; and the floor in the same run.

use core::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::driver::{Lane, Measured, Until};
use crate::floor::wait_like;
use crate::kafka::{Leaders, prepare_topic};
use crate::probe::{Between, Probe};
use crate::question::{Produce, Question, Shape};
use crate::{BenchError, Driver, Latency, Place, Quantiles, Schedule, Wait};

/// Pings of one side before the other has its turn.
const BLOCK: u64 = 100;
/// Pings at the start of a block that do not count: the other side's core has to fall asleep, this
/// side's has to wake up.
const WAKE_UP: u64 = 5;
/// How often each side pings before a block counts.
const WARM_UP_BLOCKS: u64 = 3;

/// Which load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// One request in flight, so many answers.
    Ping { answers: u64 },
    /// So many requests per second, whether answered or not.
    Rate { per_second: f64, length: Duration },
    /// As many as `in_flight` per connection allows.
    Flood { in_flight: usize, length: Duration },
}

/// Whom to load, and with what.
#[derive(Clone, Debug)]
pub struct LoadConfig {
    pub mode: Mode,
    /// `host:port` of any Kafka server.
    pub bootstrap: String,
    pub topic: String,
    pub partitions: i32,
    /// Produce to this one alone.
    pub only: Option<i32>,
    pub connections: usize,
    pub shape: Shape,
    pub wait: Wait,
    /// Where the probe runs; `None` leaves the floor out.
    pub floor: Option<FloorPlace>,
}

/// Where the probe runs.
#[derive(Clone, Debug)]
pub struct FloorPlace {
    pub folder: PathBuf,
    pub place: Place,
}

/// The outcome of one run.
#[derive(Clone, Debug, Serialize)]
pub struct LoadReport {
    pub latency: Quantiles,
    pub seconds: f64,
    pub requests_per_second: f64,
    pub records_per_second: f64,
    /// Of record values.
    pub megabytes_per_second: f64,
    /// The probe, in the same run.
    pub floor: Option<Quantiles>,
    pub p50_ratio: Option<f64>,
    pub p99_ratio: Option<f64>,
}

/// Runs the load; `begins` is told what is about to be done, in a few words.
pub fn run(
    config: &LoadConfig,
    begins: &mut dyn FnMut(fmt::Arguments<'_>),
) -> Result<LoadReport, BenchError> {
    begins(format_args!("connecting"));
    let mut leaders = prepare_topic(&config.bootstrap, &config.topic, config.partitions)?;
    if let Some(only) = config.only {
        leaders.retain(|_, partitions| {
            partitions.retain(|partition| *partition == only);
            !partitions.is_empty()
        });
        if leaders.is_empty() {
            return Err(BenchError::NoLeader { topic: config.topic.clone(), partition: only });
        }
    }
    let mut driver = Driver::new(lanes(config, &leaders)?, config.wait);
    let mut floor = config.floor.as_ref().map(Pinged::start).transpose()?;
    let measured = match config.mode {
        Mode::Ping { answers } => ping(&mut driver, floor.as_mut(), answers, begins)?,
        Mode::Rate { per_second, length } => {
            beside(&mut driver, floor.as_mut(), Schedule::Rate(per_second), length, begins)?
        }
        Mode::Flood { in_flight, length } => {
            beside(&mut driver, floor.as_mut(), Schedule::Window(in_flight), length, begins)?
        }
    };
    let report = LoadReport::new(config, &measured, floor.map(|floor| floor.latency.quantiles()));
    measured.refusals.into_result()?;
    Ok(report)
}

/// A probe, and what it answered.
struct Pinged {
    _probe: Probe,
    driver: Driver,
    latency: Latency,
}

impl Pinged {
    fn start(at: &FloorPlace) -> Result<Self, BenchError> {
        let probe = Probe::start(at.place, &at.folder, Between::Write)?;
        let lane = Lane::connect(&probe.address(), Question::ping())?;
        let driver = Driver::new(vec![lane], wait_like(at.place.poll));
        Ok(Self { _probe: probe, driver, latency: Latency::default() })
    }

    fn ping(&mut self, counts: bool) -> Result<(), BenchError> {
        self.driver.run(Schedule::Window(1), Until::Answers(WAKE_UP))?;
        let measured = self.driver.run(Schedule::Window(1), Until::Answers(BLOCK))?;
        if counts {
            self.latency.add(&measured.latency);
        }
        Ok(())
    }
}

/// Pings in blocks, server and probe in turn, so that both meet the same machine.
fn ping(
    driver: &mut Driver,
    mut floor: Option<&mut Pinged>,
    answers: u64,
    begins: &mut dyn FnMut(fmt::Arguments<'_>),
) -> Result<Measured, BenchError> {
    let mut total = Measured::default();
    for block in 0..WARM_UP_BLOCKS + answers.div_ceil(BLOCK) {
        let counts = WARM_UP_BLOCKS <= block;
        begins(format_args!("{} of {answers} answers", total.latency.count()));
        if let Some(floor) = &mut floor {
            floor.ping(counts)?;
        }
        driver.run(Schedule::Window(1), Until::Answers(WAKE_UP))?;
        let measured = driver.run(Schedule::Window(1), Until::Answers(BLOCK))?;
        if counts {
            total.add(measured);
        }
    }
    Ok(total)
}

/// The probe before and after the load, which leaves it no room in between.
fn beside(
    driver: &mut Driver,
    mut floor: Option<&mut Pinged>,
    schedule: Schedule,
    length: Duration,
    begins: &mut dyn FnMut(fmt::Arguments<'_>),
) -> Result<Measured, BenchError> {
    let mut blocks = |begins: &mut dyn FnMut(fmt::Arguments<'_>)| {
        let Some(floor) = &mut floor else { return Ok(()) };
        begins(format_args!("floor probe"));
        (0..10).try_for_each(|block| floor.ping(0 < block))
    };
    blocks(begins)?;
    let warm_up = length.div_f64(10.0);
    begins(format_args!("warming up for {:.1} s", warm_up.as_secs_f64()));
    driver.run(schedule, Until::Elapsed(warm_up))?;
    begins(format_args!("load for {:.1} s", length.as_secs_f64()));
    let measured = driver.run(schedule, Until::Elapsed(length))?;
    blocks(begins)?;
    Ok(measured)
}

/// Connections to the leaders in turn; those of one leader share its partitions out.
fn lanes(config: &LoadConfig, leaders: &Leaders) -> Result<Vec<Lane>, BenchError> {
    let leaders: Vec<(&String, &Vec<i32>)> = leaders.iter().collect();
    let connections = match config.mode {
        Mode::Ping { .. } => 1,
        Mode::Rate { .. } | Mode::Flood { .. } => config.connections.max(leaders.len()),
    };
    (0..connections)
        .map(|number| {
            let (address, partitions) = leaders[number % leaders.len()];
            let of_leader = (connections - number % leaders.len()).div_ceil(leaders.len());
            let share = share_of(partitions, number / leaders.len(), of_leader);
            let produce = Produce::new(&config.topic, &share, config.shape);
            Lane::connect(address, Question::Produce(produce))
        })
        .collect()
}

/// Every `of`-th of the partitions from `number` on; one of them at least.
fn share_of(partitions: &[i32], number: usize, of: usize) -> Vec<i32> {
    let start = number % partitions.len();
    partitions[start..].iter().step_by(of).copied().collect()
}

impl LoadReport {
    fn new(config: &LoadConfig, measured: &Measured, floor: Option<Quantiles>) -> Self {
        let latency = measured.latency.quantiles();
        let seconds = measured.elapsed.as_secs_f64();
        let records_per_second = measured.records as f64 / seconds;
        let ratio =
            |of: fn(&Quantiles) -> f64| floor.as_ref().map(|floor| of(&latency) / of(floor));
        Self {
            latency,
            seconds,
            requests_per_second: latency.count as f64 / seconds,
            records_per_second,
            megabytes_per_second: records_per_second * config.shape.record_bytes as f64 / 1e6,
            p50_ratio: ratio(|quantiles| quantiles.p50_us),
            p99_ratio: ratio(|quantiles| quantiles.p99_us),
            floor,
        }
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", Quantiles::HEADING)?;
        writeln!(f, "{:<24}{}", "durable ack", self.latency)?;
        if let (Some(floor), Some(p50), Some(p99)) = (&self.floor, self.p50_ratio, self.p99_ratio) {
            writeln!(f, "{:<24}{floor}", "floor probe")?;
            writeln!(
                f,
                "{:<24} {:>10} {:>21}",
                "ratio",
                format!("{p50:.2} ×"),
                format!("{p99:.2} ×")
            )?;
        }
        write!(
            f,
            "{:.0} requests/s, {:.0} records/s, {:.1} MB/s, {:.1} s",
            self.requests_per_second,
            self.records_per_second,
            self.megabytes_per_second,
            self.seconds
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_share_partitions_out_and_leave_none() {
        let partitions = [0, 1, 2, 3, 4];
        let shares: Vec<_> = (0..2).map(|number| share_of(&partitions, number, 2)).collect();
        assert_eq!(shares, [vec![0, 2, 4], vec![1, 3]]);
        let crowded: Vec<_> = (0..3).map(|number| share_of(&[7], number, 3)).collect();
        assert_eq!(crowded, [[7], [7], [7]]);
    }
}
