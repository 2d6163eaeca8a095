//! `chiplog serve`: from settings to a running server, and back to a sealed log.
//!
//! ```text
//!  main thread     settings ─▶ folder ─▶ sockets ─▶ plans ─▶ … events … ─▶ joins all, exits
//!  data core N     ring::Reactor runs shard::Core            │ ▲
//!  control core    glommio runs shard::ControlShard, HTTP    │ └ started, recovered, ready, ended
//!  signals         SIGTERM, Ctrl-C ──────────────────────────┘
//! ```

mod cluster_plan;
mod cores;
mod data_core;
mod engines;
mod herald;
mod report;
pub(crate) mod shard_plan;
mod sockets;
mod supervisor;
pub(crate) mod watched;

use std::path::Path;
use std::sync::mpsc::channel;
use std::time::Instant;

use base::{CoreId, ShardId};
use engine::journal::MissingSegment;
use replication::Boot;
use ring::{RingOptions, StartReport, Stopped};
use shard::Loss;

use crate::cli::serve_args::ServeArgs;
use crate::data_folder::DataFolder;
use crate::failure::Failure;
use crate::{output, signals};
use cores::Assignment;
pub use data_core::CoreError;
use herald::Herald;
use report::Report;
use sockets::Sockets;
use supervisor::Supervisor;
use watched::Recovered;

/// What threads tell the main thread.
#[derive(Debug)]
pub enum Event {
    CoreStarted {
        core: CoreId,
        report: StartReport,
    },
    Recovered(Box<Recovered>),
    /// The shard runs as this boot.
    Opened {
        shard: ShardId,
        boot: Boot,
    },
    /// The shard's journal holds a durable frame.
    Activated(ShardId),
    /// A partition lost records, or may have.
    Lost(Loss),
    /// The shard cannot open: the disk did not take the first file that its journal needs.
    LacksSegment {
        shard: ShardId,
        missing: MissingSegment,
    },
    /// The shard cannot start: its journal is full, and the disk did not take a bin to empty it into.
    LacksBin {
        shard: ShardId,
        wanted_bytes: u64,
    },
    ShardFailed {
        shard: ShardId,
        reason: String,
    },
    ControlFailed(String),
    /// Every shard that can serve does.
    Ready,
    /// After an announced stop: nothing is led here any more, or it took too long.
    Left,
    CoreEnded {
        core: CoreId,
        result: Result<Stopped, CoreError>,
    },
    StopAsked,
}

/// Serves until a signal asks to stop.
pub fn run(args: &ServeArgs) -> Result<(), Failure> {
    let started = Instant::now();
    let config = args.resolve()?;
    abort_on_panic();
    let ring = RingOptions { disabled: config.ring_disabled, ..RingOptions::default() };
    let features = ring::probe(&ring).map_err(Failure::Ring)?;
    let folder = DataFolder::open(&config, |pid| {
        output::note(format_args!(
            "process {pid}, which served this folder, is gone; waiting for the kernel to close its \
             files"
        ));
    })?;
    if let Some(path) = &config.pid_file {
        write_pid(path)?;
    }
    let assignment =
        Assignment::new(&config, folder.meta().shard_count()).map_err(Failure::Cpus)?;
    let sockets = Sockets::open(&config, &assignment)?;
    let report = Report::start(started, &config, &folder, &assignment, &sockets, &features);
    let device = match ring::measure_dsync(folder.path(), &ring) {
        Err(error) if error.is_full_disk() => None,
        measured => Some(measured.map_err(Failure::Device)?),
    };
    match &device {
        Some(device) => report.device(device),
        None => report.full_device(),
    }
    let (events, heard) = channel();
    let stop = events.clone();
    signals::on_stop(move || {
        // Nobody listens any more if the server is already ending for another reason.
        let _ = stop.send(Event::StopAsked);
    })
    .map_err(Failure::Signals)?;
    let plans =
        engines::plan(&config, (&folder, device.as_ref()), &assignment, sockets, &events, args)?;
    report.memory(&config, &plans);
    let herald = Herald::start(&config, folder.meta());
    let stoppers = plans.stoppers();
    let control = plans.control.start()?;
    let cores = plans.cores.into_iter().map(data_core::CorePlan::start).collect::<Result<_, _>>();
    let cores = cores.map_err(Failure::Thread)?;
    Supervisor { heard, report, folder, herald, stoppers, cores, control }.run()
}

fn write_pid(path: &Path) -> Result<(), Failure> {
    let pid = format!("{}\n", std::process::id());
    std::fs::write(path, pid).map_err(|source| Failure::PidFile { path: path.to_owned(), source })
}

/// A core that lost its state machine must take the process along: what it had not acked is safe,
/// and a half-dead server is worse than none.
fn abort_on_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        std::process::abort();
    }));
}
