//! `chiplog bench`: loads any Kafka server, and shows the machine's floor beside the result.

mod failover;

use std::path::PathBuf;
use std::time::Duration;

use benches::load::{self, FloorPlace, LoadConfig, Mode};
use benches::question::Shape;
use benches::{Place, Wait};
use clap::{Args, Subcommand};
use ring::PollMode;

use crate::clock;
use crate::commands::floor::{pin_client, print};
use crate::failure::Failure;
use crate::output::Ticker;

pub const EXAMPLES: &str = "\
Examples:
  chiplog bench ping --bootstrap 127.0.0.1:9100            what one durable ack takes, core view
  chiplog bench rate --per-second 2000 --seconds 30        latency from the intended send time
  chiplog bench flood --in-flight 64                       one record per request, pipelined
  chiplog bench flood --record-bytes 1000 --batch 1000     bandwidth
  chiplog bench failover                                   on the nodes of `chiplog cluster demo`
  chiplog bench ping --no-floor --bootstrap kafka1:9092    any Kafka server

The floor is a probe in this process: 200 B over loopback, one durable 4 KiB write, an answer. It
must write to the device that the server writes to (--floor), and runs where the server's first
core does. `ping` takes turns with it; the other loads have it before and after.";

const PING_EXAMPLES: &str = "\
Examples:
  chiplog bench ping --bootstrap 127.0.0.1:9100 --floor /srv/chiplog
  chiplog bench ping --answers 20000 --park --json";

const RATE_EXAMPLES: &str = "\
Examples:
  chiplog bench rate --per-second 2000 --seconds 30 --floor /srv/chiplog";

const FLOOD_EXAMPLES: &str = "\
Examples:
  chiplog bench flood --in-flight 64 --seconds 10
  chiplog bench flood --record-bytes 1000 --batch 1000 --partitions 4 --connections 4";

/// Which load, and on whom.
#[derive(Clone, Debug, Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    load: Load,
    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Debug, Subcommand)]
enum Load {
    /// One request in flight: what a durable ack takes.
    #[command(after_help = PING_EXAMPLES)]
    Ping {
        /// How many answers to wait for.
        #[arg(long, default_value_t = 5000)]
        answers: u64,
    },
    /// A fixed rate, whether the server keeps up or not.
    #[command(after_help = RATE_EXAMPLES)]
    Rate {
        /// Requests per second, over all connections.
        #[arg(long)]
        per_second: f64,
        #[arg(long, default_value_t = 10.0)]
        seconds: f64,
    },
    /// As much as a number of requests in flight allows.
    #[command(after_help = FLOOD_EXAMPLES)]
    Flood {
        /// Requests in flight on each connection.
        #[arg(long, default_value_t = 64)]
        in_flight: usize,
        #[arg(long, default_value_t = 10.0)]
        seconds: f64,
    },
    /// How long a producer waits when the leader goes, on a demo's nodes.
    #[command(after_help = failover::EXAMPLES)]
    Failover(failover::FailoverArgs),
}

#[derive(Clone, Debug, Args)]
struct Common {
    /// A broker of the server.
    #[arg(short, long, global = true, default_value = "127.0.0.1:9092", value_name = "HOST:PORT")]
    #[arg(env = "CHIPLOG_BOOTSTRAP")]
    bootstrap: String,
    /// Made with `--partitions` partitions if there is none of that name.
    #[arg(long, global = true, default_value = "chiplog-bench")]
    topic: String,
    #[arg(long, global = true, default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: i32,
    /// Produce to this partition alone.
    #[arg(long, global = true, value_name = "PARTITION")]
    only: Option<i32>,
    /// Connections; at least one to each broker that leads a partition.
    #[arg(long, global = true, default_value_t = 1)]
    connections: usize,
    /// Bytes of a record's value.
    #[arg(long, global = true, default_value_t = 200)]
    record_bytes: usize,
    /// Records in a batch; one batch is one request.
    #[arg(long, global = true, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Sleep in the kernel for answers instead of looking again and again.
    #[arg(long, global = true)]
    park: bool,
    /// Where the floor's probe writes: on the server's device.
    #[arg(long, global = true, default_value = ".", value_name = "DIR")]
    floor: PathBuf,
    /// Leave the floor out.
    #[arg(long, global = true)]
    no_floor: bool,
    /// How the probe's core waits: as the server's cores do.
    #[arg(long, global = true, default_value = "adaptive", value_name = "MODE")]
    poll: PollMode,
    /// The CPU that the probe runs on; by default where a server's first data core does.
    #[arg(long, global = true)]
    cpu: Option<usize>,
    /// One JSON object instead of a table.
    #[arg(long, global = true)]
    json: bool,
}

/// Runs the load and prints what came of it.
pub fn run(args: &BenchArgs) -> Result<(), Failure> {
    let common = &args.common;
    let mode = match args.load {
        Load::Ping { answers } => Mode::Ping { answers },
        Load::Rate { per_second, seconds } => {
            Mode::Rate { per_second, length: Duration::from_secs_f64(seconds) }
        }
        Load::Flood { in_flight, seconds } => {
            Mode::Flood { in_flight, length: Duration::from_secs_f64(seconds) }
        }
        Load::Failover(ref args) => return failover::run(args, &common.topic, common.json),
    };
    let cpu = pin_client(common.cpu)?;
    let floor =
        FloorPlace { folder: common.floor.clone(), place: Place { poll: common.poll, cpu } };
    let config = LoadConfig {
        mode,
        bootstrap: common.bootstrap.clone(),
        topic: common.topic.clone(),
        partitions: common.partitions,
        only: common.only,
        connections: common.connections,
        shape: Shape {
            record_bytes: common.record_bytes,
            batch: common.batch,
            timestamp_ms: clock::now().wall.0,
        },
        wait: if common.park { Wait::Park } else { Wait::Spin },
        floor: (!common.no_floor).then_some(floor),
    };
    let ticker = Ticker::start();
    let report = load::run(&config, &mut |text| ticker.say(text))?;
    ticker.finish();
    print(&report, common.json)
}
