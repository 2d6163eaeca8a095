//! `chiplog fault`: make a server go wrong, to see what it does.

mod port;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::faults::request::{ErrnoName, FaultRequest, On, WayName, What};
use crate::output;
use port::AdminPort;

pub const EXAMPLES: &str = "\
Examples:
  chiplog serve --enable-faults                                 a server that allows it
  chiplog fault disk delay 20ms --for 1m                        a slow disk
  chiplog fault disk error --errno enospc --file bins           a full disk, as bins see it
  chiplog fault disk tear --shard 0 --percent 1                 power that fails in a write
  chiplog fault net cut --peer 2 --way in                       deaf to node 2
  chiplog fault net loss 5 --for 30s                            a bad cable
  chiplog fault pause --shard 0 --for 5s                        a core that stands still
  chiplog fault list
  chiplog fault clear

Each fault ends by itself. It holds on the one node whose admin port is named, and is shown by
`chiplog cluster status`, `chiplog cluster health` and in /metrics.";

const DISK_EXAMPLES: &str = "\
Examples:
  chiplog fault disk delay 20ms --on writes --for 1m
  chiplog fault disk freeze --shard control --for 5s
  chiplog fault disk error --errno enospc --file bins
  chiplog fault disk drop --percent 1
  chiplog fault disk tear --file segment-3";

const NET_EXAMPLES: &str = "\
Examples:
  chiplog fault net delay 5ms --jitter 20ms
  chiplog fault net loss 5 --peer 1
  chiplog fault net cut --peer 2 --way in --for 30s
  chiplog fault net reset";

const PAUSE_EXAMPLES: &str = "\
Examples:
  chiplog fault pause --shard 0 --for 5s
  chiplog fault pause --shard control --for 1s";

const LIST_EXAMPLES: &str = "\
Examples:
  chiplog fault list --admin 127.0.0.1:19101
  chiplog fault list --json";

const CLEAR_EXAMPLES: &str = "\
Examples:
  chiplog fault clear
  chiplog fault clear 3";

#[derive(Debug, Args)]
pub struct FaultArgs {
    #[command(subcommand)]
    command: FaultCommand,
    /// The admin port of the node.
    #[arg(long, value_name = "HOST:PORT", env = "CHIPLOG_ADMIN", default_value = "127.0.0.1:9644")]
    #[arg(global = true)]
    admin: String,
    /// A file with the token that the admin port asks for.
    #[arg(long, value_name = "FILE", env = "CHIPLOG_ADMIN_TOKEN_FILE", global = true)]
    token_file: Option<PathBuf>,
    /// When the fault ends by itself, an hour at most.
    #[arg(long = "for", value_name = "TIME", default_value = "10s", value_parser = time)]
    #[arg(global = true)]
    lasts: Duration,
}

#[derive(Debug, Subcommand)]
enum FaultCommand {
    /// What becomes of reads and writes of files.
    #[command(after_help = DISK_EXAMPLES)]
    Disk(DiskArgs),
    /// What becomes of bytes between this node and others.
    #[command(after_help = NET_EXAMPLES)]
    Net(NetArgs),
    /// Let the core of a shard do nothing; that ends by itself alone.
    #[command(after_help = PAUSE_EXAMPLES)]
    Pause {
        #[command(flatten)]
        shard: ShardArgs,
    },
    /// Show the faults that hold.
    #[command(after_help = LIST_EXAMPLES)]
    List {
        /// One JSON value instead of text.
        #[arg(long)]
        json: bool,
    },
    /// End a fault, or all of them.
    #[command(after_help = CLEAR_EXAMPLES)]
    Clear {
        /// The number in the list.
        number: Option<u32>,
    },
}

#[derive(Debug, Args)]
struct ShardArgs {
    /// A shard of the node, or `control`; by default all.
    #[arg(long, value_name = "N", global = true)]
    shard: Option<String>,
}

#[derive(Debug, Args)]
struct DiskArgs {
    #[command(subcommand)]
    what: DiskWhat,
    #[command(flatten)]
    shard: ShardArgs,
    /// `journal`, `bins`, `segment-N` or `bin-N`; by default all.
    #[arg(long, value_name = "FILE", global = true)]
    file: Option<String>,
    /// The operations that are hit.
    #[arg(long, value_name = "WHICH", global = true)]
    on: Option<On>,
    /// Of a hundred of them, so many are hit.
    #[arg(long, value_name = "N", global = true)]
    percent: Option<u8>,
}

#[derive(Debug, Subcommand)]
enum DiskWhat {
    /// They begin later.
    #[command(after_help = DISK_EXAMPLES)]
    Delay {
        #[arg(value_parser = time)]
        by: Duration,
    },
    /// They begin when the fault ends.
    #[command(after_help = DISK_EXAMPLES)]
    Freeze,
    /// They fail, and nothing is done.
    #[command(after_help = DISK_EXAMPLES)]
    Error {
        #[arg(long, value_name = "WHICH", default_value = "eio")]
        errno: ErrnoName,
    },
    /// Writes succeed, and nothing is done: a disk that lies.
    #[command(after_help = DISK_EXAMPLES)]
    Drop,
    /// Writes of frames fail half done, other writes fail.
    #[command(after_help = DISK_EXAMPLES)]
    Tear,
}

#[derive(Debug, Args)]
struct NetArgs {
    #[command(subcommand)]
    what: NetWhat,
    /// The number of the other node; by default all.
    #[arg(long, value_name = "NODE", global = true)]
    peer: Option<u16>,
    /// The direction, seen from this node; by default both.
    #[arg(long, value_name = "WAY", global = true)]
    way: Option<WayName>,
}

#[derive(Debug, Subcommand)]
enum NetWhat {
    /// Bytes pass later.
    #[command(after_help = NET_EXAMPLES)]
    Delay {
        #[arg(value_parser = time)]
        by: Duration,
        /// Up to so much later on top.
        #[arg(long, value_name = "TIME", value_parser = time)]
        jitter: Option<Duration>,
    },
    /// Packets are lost: TCP sends them again 200 ms later, and all behind them wait.
    #[command(after_help = NET_EXAMPLES)]
    Loss {
        /// Of a hundred, so many.
        percent: u8,
    },
    /// Nothing passes until the fault ends.
    #[command(after_help = NET_EXAMPLES)]
    Cut,
    /// Connections break, and none comes to stand.
    #[command(after_help = NET_EXAMPLES)]
    Reset,
}

/// Does what the command line says.
pub fn run(args: &FaultArgs) -> Result<(), Failure> {
    let port = AdminPort::of(&args.admin, args.token_file.as_deref())?;
    match &args.command {
        FaultCommand::List { json } => list(&port.get("/faults")?, *json),
        FaultCommand::Clear { number } => {
            let cleared = port.post("/faults/clear", &json!({ "number": number }))?;
            output::line(format_args!("cleared {}", cleared["cleared"]))
        }
        FaultCommand::Pause { shard } => {
            let mut request = FaultRequest::new(What::Pause, args.lasts);
            request.shard.clone_from(&shard.shard);
            inject(&port, &request)
        }
        FaultCommand::Disk(disk) => inject(&port, &of_disk(disk, args.lasts)),
        FaultCommand::Net(net) => inject(&port, &of_net(net, args.lasts)),
    }
}

fn of_disk(args: &DiskArgs, lasts: Duration) -> FaultRequest {
    let (what, by, errno) = match &args.what {
        DiskWhat::Delay { by } => (What::DiskDelay, Some(*by), None),
        DiskWhat::Freeze => (What::DiskFreeze, None, None),
        DiskWhat::Error { errno } => (What::DiskError, None, Some(*errno)),
        DiskWhat::Drop => (What::DiskDrop, None, None),
        DiskWhat::Tear => (What::DiskTear, None, None),
    };
    FaultRequest {
        by_ms: by.map(milliseconds),
        errno,
        shard: args.shard.shard.clone(),
        file: args.file.clone(),
        on: args.on,
        percent: args.percent,
        ..FaultRequest::new(what, lasts)
    }
}

fn of_net(args: &NetArgs, lasts: Duration) -> FaultRequest {
    let (what, by, jitter, percent) = match &args.what {
        NetWhat::Delay { by, jitter } => (What::NetDelay, Some(*by), *jitter, None),
        NetWhat::Loss { percent } => (What::NetLoss, None, None, Some(*percent)),
        NetWhat::Cut => (What::NetCut, None, None, None),
        NetWhat::Reset => (What::NetReset, None, None, None),
    };
    FaultRequest {
        by_ms: by.map(milliseconds),
        jitter_ms: jitter.map(milliseconds),
        percent,
        peer: args.peer,
        way: args.way,
        ..FaultRequest::new(what, lasts)
    }
}

fn inject(port: &AdminPort, request: &FaultRequest) -> Result<(), Failure> {
    let body = serde_json::to_value(request).expect("plain values");
    let injected = port.post("/faults", &body)?;
    output::line(format_args!("fault {}", injected["number"]))
}

fn list(faults: &Value, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return output::line(format_args!("{faults}"));
    }
    if faults["enabled"] == json!(false) {
        return output::line(format_args!("off: the server was not started with --enable-faults"));
    }
    let rows = faults["faults"].as_array().map_or(&[][..], Vec::as_slice).iter().map(|fault| {
        let left = fault["ends_in_ms"].as_u64().unwrap_or_default() as f64 / 1000.0;
        let phrase = fault["fault"].as_str().unwrap_or_default().to_owned();
        [fault["number"].to_string(), format!("{left:.1} s"), phrase]
    });
    output::table(["FAULT", "ENDS IN", "WHAT"], rows)
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn time(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "expects a time such as 20ms, 5s or 1m".to_owned())
}
