//! `chiplog bench failover`: how long a producer waits when the leader goes.
//!
//! ```text
//!   acks  ─┴─┴─┴─┴─┴─┴──────────────────┴─┴─┴─┴─    one request in flight
//!                    ▲ the leader goes  ▲
//!                    ├────── gap ───────┤
//! ```
//! The nodes are those of a demo on this machine: their processes are signalled and started again.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base::batch::BatchBuilder;
use clap::{Args, ValueEnum};
use net::api::produce;
use net::{ErrorCode, Records};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::client::cluster::Wanted;
use crate::client::{ClientError, Cluster, Partition, admin};
use crate::clock;
use crate::failure::Failure;
use crate::output;

pub(super) const EXAMPLES: &str = "\
Examples:
  chiplog cluster demo &
  chiplog bench failover --rounds 20
  chiplog bench failover --event leave --json
  chiplog bench failover --event pause        the leader falls silent, its sockets stay open

The gap is the time between the last ack before the event and the first one after it. The client has
one request in flight and looks for the leader every 2 ms once it has lost it; stock clients wait
longer between two looks. With all nodes on one machine, starved CPUs are part of the gap.";

/// A leader is looked for so often.
const LOOK: Duration = Duration::from_millis(2);
/// One request or dial may take so long: then the leader counts as lost.
const PATIENCE: Duration = Duration::from_millis(250);
/// Steady acks before each event.
const STEADY: Duration = Duration::from_millis(500);
/// How long a gap or a node's return may take.
const GIVE_UP: Duration = Duration::from_secs(60);
/// After its return a node takes back what it is to lead: that is to be over.
const SETTLE: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, Args)]
pub(super) struct FailoverArgs {
    /// The folder of the demo.
    #[arg(long, value_name = "DIR", default_value = "./chiplog-demo")]
    demo: PathBuf,
    /// Nodes to ask first.
    #[arg(long, value_name = "HOST:PORT,...")]
    #[arg(default_value = "127.0.0.1:19092,127.0.0.1:19102,127.0.0.1:19112")]
    nodes: String,
    /// What happens to the leader.
    #[arg(long, value_enum, default_value = "kill")]
    event: Event,
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Event {
    /// kill -9.
    Kill,
    /// SIGTERM: it hands over before it stops.
    Leave,
    /// SIGSTOP: it falls silent.
    Pause,
}

/// A producer with one request in flight.
struct Producer<'a> {
    nodes: &'a str,
    topic: &'a str,
    batch: Vec<u8>,
    cluster: Option<(Cluster, i32)>,
}

pub(super) fn run(args: &FailoverArgs, topic: &str, json: bool) -> Result<(), Failure> {
    create(args, topic)?;
    let mut producer = Producer::of(&args.nodes, topic);
    let (mut gaps, mut acks) = (Vec::new(), Vec::new());
    let mut children: Vec<Child> = Vec::new();
    for round in 1..=args.rounds {
        await_whole(args, topic)?;
        let gap = producer.through(args, &mut acks)?;
        output::summary(format_args!("round {round}: {:.1} ms", millis(gap.length)));
        revive(args, gap.node, &mut children)?;
        gaps.push(gap.length);
    }
    await_whole(args, topic)?;
    report(args, json, &mut gaps, &mut acks)
}

struct Gap {
    length: Duration,
    /// Who went.
    node: i32,
}

impl<'a> Producer<'a> {
    fn of(nodes: &'a str, topic: &'a str) -> Self {
        let now_ms = clock::now().wall.0;
        let mut builder = BatchBuilder::new(now_ms);
        builder.push(now_ms, None, Some(&[b'x'; 200]), &[]);
        Self { nodes, topic, batch: builder.build(), cluster: None }
    }

    /// Steady acks, the event, and acks again.
    fn through(&mut self, args: &FailoverArgs, acks: &mut Vec<Duration>) -> Result<Gap, Failure> {
        let started = Instant::now();
        let mut last = None;
        while started.elapsed() < STEADY || last.is_none() {
            let sent = Instant::now();
            match self.produce() {
                Ok(()) => {
                    acks.push(sent.elapsed());
                    last = Some(Instant::now());
                }
                Err(error) if GIVE_UP < started.elapsed() => return Err(error.into()),
                Err(_) => std::thread::sleep(LOOK),
            }
        }
        let mut last = last.expect("there were acks");
        let node = self.cluster.as_ref().expect("the last attempt was a success").1;
        signal(args, node, args.event.signal())?;
        let gone = Instant::now();
        let mut length = Duration::ZERO;
        // Answers that were under way still come: the longest gap is the one.
        while gone.elapsed() < STEADY || last < gone {
            match self.produce() {
                Ok(()) => {
                    length = length.max(last.elapsed());
                    last = Instant::now();
                }
                Err(error) if GIVE_UP < gone.elapsed() => return Err(error.into()),
                Err(_) => std::thread::sleep(LOOK),
            }
        }
        Ok(Gap { length, node })
    }

    /// One record to the leader, acknowledged by a quorum.
    fn produce(&mut self) -> Result<(), ClientError> {
        let answer = self.attempt();
        if answer.is_err() {
            self.cluster = None;
        }
        answer
    }

    fn attempt(&mut self) -> Result<(), ClientError> {
        if self.cluster.is_none() {
            let mut cluster = Cluster::connect(self.nodes, PATIENCE)?;
            let leader = partition(&mut cluster, self.topic)?.leader;
            self.cluster = Some((cluster, leader.ok_or_else(|| nobody(self.topic))?));
        }
        let (cluster, leader) = self.cluster.as_mut().expect("connected above");
        let request = produce::Request {
            transactional_id: None,
            acks: -1,
            timeout_ms: PATIENCE.as_millis() as i32,
            topic_data: [produce::TopicData {
                name: self.topic,
                partition_data: [produce::PartitionData {
                    index: 0,
                    records: Some(Records::Bytes(&self.batch)),
                }],
            }],
        };
        cluster.broker(*leader)?.call(request, |response| {
            let answers = response.responses.iter();
            let mut answers = answers.flat_map(|topic| topic.partition_responses.iter());
            answers.try_for_each(|answer| {
                let subject = || format!("writing to {}", self.topic);
                ClientError::check(subject, answer.error_code, answer.error_message)
            })
        })?
    }
}

impl Event {
    const fn signal(self) -> Signal {
        match self {
            Self::Kill => Signal::KILL,
            Self::Leave => Signal::TERM,
            Self::Pause => Signal::STOP,
        }
    }
}

fn create(args: &FailoverArgs, topic: &str) -> Result<(), Failure> {
    let mut cluster = Cluster::connect(&args.nodes, GIVE_UP)?;
    match admin::create_topic(&mut cluster, topic, Some(1), Some(3), &[]) {
        Ok(()) | Err(ClientError::Refused { code: ErrorCode::TopicAlreadyExists, .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn partition(cluster: &mut Cluster, topic: &str) -> Result<Partition, ClientError> {
    let names = [topic.to_owned()];
    let found =
        cluster.topics(Wanted::Named(&names), false)?.pop().ok_or_else(|| nobody(topic))??;
    found.partitions.into_iter().next().ok_or_else(|| nobody(topic))
}

fn nobody(topic: &str) -> ClientError {
    ClientError::Refused {
        subject: format!("looking for the leader of {topic}"),
        code: ErrorCode::LeaderNotAvailable,
        message: None,
    }
}

/// Waits until all replicas are in sync, and leaders where they are to be.
fn await_whole(args: &FailoverArgs, topic: &str) -> Result<(), Failure> {
    let started = Instant::now();
    loop {
        let found = Cluster::connect(&args.nodes, PATIENCE)
            .and_then(|mut cluster| partition(&mut cluster, topic));
        match found {
            Ok(found) if found.in_sync.len() == found.replicas.len() => {
                std::thread::sleep(SETTLE);
                return Ok(());
            }
            Err(error) if GIVE_UP < started.elapsed() => return Err(error.into()),
            Ok(_) if GIVE_UP < started.elapsed() => return Err(nobody(topic).into()),
            Ok(_) | Err(_) => std::thread::sleep(10 * LOOK),
        }
    }
}

fn node_folder(args: &FailoverArgs, node: i32) -> PathBuf {
    args.demo.join(format!("node-{node}"))
}

fn pid(folder: &Path) -> Result<Pid, Failure> {
    let path = folder.join("pid");
    let text = std::fs::read_to_string(&path);
    let text = text.map_err(|source| Failure::Input { path: path.clone(), source })?;
    let pid = text.trim().parse().ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| Failure::Input { path, source: std::io::ErrorKind::InvalidData.into() })
}

fn signal(args: &FailoverArgs, node: i32, signal: Signal) -> Result<(), Failure> {
    let folder = node_folder(args, node);
    kill_process(pid(&folder)?, signal)
        .map_err(|error| Failure::Demo { path: folder, source: error.into() })
}

/// Brings the node back.
fn revive(args: &FailoverArgs, node: i32, children: &mut Vec<Child>) -> Result<(), Failure> {
    if args.event == Event::Pause {
        return signal(args, node, Signal::CONT);
    }
    let folder = node_folder(args, node);
    let failed = |source| Failure::Demo { path: folder.clone(), source };
    // Those that this command started are its own to bury.
    children.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
    let gone = Instant::now();
    let path = PathBuf::from(format!("/proc/{}/exe", pid(&folder)?.as_raw_nonzero()));
    while path.exists() && gone.elapsed() < GIVE_UP {
        children.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        std::thread::sleep(LOOK);
    }
    let child = Command::new(std::env::current_exe().map_err(failed)?)
        .arg("serve")
        .arg("--config")
        .arg(folder.join("chiplog.toml"))
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // It outlives this command, and the terminal's hanging up.
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    children.push(child);
    Ok(())
}

fn report(
    args: &FailoverArgs,
    json: bool,
    gaps: &mut [Duration],
    acks: &mut [Duration],
) -> Result<(), Failure> {
    gaps.sort_unstable();
    acks.sort_unstable();
    let at = |sorted: &[Duration], share: f64| {
        millis(sorted[((sorted.len() - 1) as f64 * share).ceil() as usize])
    };
    let event = format!("{:?}", args.event).to_lowercase();
    if json {
        let value = json!({
            "event": event,
            "rounds": args.rounds,
            "gap_ms": { "p50": at(gaps, 0.5), "p99": at(gaps, 0.99), "max": at(gaps, 1.0) },
            "ack_ms": { "p50": at(acks, 0.5), "p99": at(acks, 0.99) },
        });
        return output::line(format_args!("{value}"));
    }
    output::line(format_args!(
        "{event}, {} rounds: gap p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms; an ack before it p50 {:.2} \
         ms, p99 {:.2} ms",
        args.rounds,
        at(gaps, 0.5),
        at(gaps, 0.99),
        at(gaps, 1.0),
        at(acks, 0.5),
        at(acks, 0.99),
    ))
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
