//! One core of our own in this process: the same shell that runs the server's.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::Duration;

use base::{Arena, FileId, FileKind, Listener, Machine, ShardId};
use ring::{
    NetOptions, Plan, PlannedShard, PollMode, ReactorConfig, ShardFolder, Stopper, map_pages, mesh,
};

use crate::BenchError;

pub(crate) const SHARD: ShardId = ShardId(0);
/// The one file that is written: zeroed before, as a journal segment is.
pub(crate) const FILE: FileId = FileId { shard: SHARD, kind: FileKind::Segment(0) };
/// Its size, and the arena's.
pub(crate) const FILE_BYTES: u64 = 64 << 20;

const ARENA_BYTES: usize = 32 << 20;

/// How the core runs.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub poll: PollMode,
    /// `None` leaves it to the kernel.
    pub cpu: Option<usize>,
}

/// A running core; stopped when dropped.
#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) address: SocketAddr,
    stopper: Stopper,
    thread: Option<JoinHandle<()>>,
    _folder: Scratch,
}

/// A folder that goes when this is dropped.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Rig {
    /// Runs the machine that `make` makes of an arena, with files in a folder of its own below
    /// `folder`.
    pub(crate) fn start<M: Machine<Mail = ()>>(
        place: Place,
        folder: &Path,
        make: impl FnOnce(Arena) -> M + Send + 'static,
    ) -> Result<Self, BenchError> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(setup("listen on loopback"))?;
        let address = listener.local_addr().map_err(setup("listen on loopback"))?;
        let scratch = Scratch::new(folder, address.port())?;
        let boxes = mesh(1, 8).map_err(setup("make an eventfd"))?.data.swap_remove(0);
        let mut plan = Plan::new(config(place), boxes);
        plan.listeners.push((Listener::Node, listener));
        let shard = ShardFolder::open(&scratch.0, SHARD, Duration::from_secs(10))
            .map_err(|error| BenchError::Setup(error.to_string()))?;
        let (memory, arena) =
            map_pages(ARENA_BYTES).map_err(|error| BenchError::Setup(error.to_string()))?;
        plan.shards.push(PlannedShard { folder: shard, arena });
        let stopper = plan.stopper();
        let (started, report) = channel();
        let thread = std::thread::spawn(move || match plan.start() {
            Ok(mut reactor) => {
                // The other end waits for exactly one message.
                let _ = started.send(None);
                if let Err(error) = reactor.run(&mut make(Arena::new(memory))) {
                    panic!("the probe's ring failed: {error}");
                }
            }
            Err(error) => drop(started.send(Some(error.to_string()))),
        });
        match report.recv() {
            Ok(None) => Ok(Self { address, stopper, thread: Some(thread), _folder: scratch }),
            Ok(Some(error)) => Err(BenchError::Setup(error)),
            Err(_) => Err(BenchError::Setup("the probe's thread ended".into())),
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stopper.stop();
        if let Some(thread) = self.thread.take() {
            // What it said when it panicked is on standard error already.
            let _ = thread.join();
        }
    }
}

impl Scratch {
    /// The port makes the name unlike that of any other probe that runs now.
    fn new(folder: &Path, port: u16) -> Result<Self, BenchError> {
        let path = folder.join(format!(".chiplog-floor-{port}"));
        if path.exists() {
            std::fs::remove_dir_all(&path).map_err(setup("clear an old probe's folder"))?;
        }
        std::fs::create_dir_all(&path).map_err(setup("make a folder for the probe"))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A folder left behind is cleared by the next probe that gets its name.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn config(place: Place) -> ReactorConfig {
    ReactorConfig {
        cpu: place.cpu,
        poll: place.poll,
        net: NetOptions { connections: 16, ..NetOptions::default() },
        ..ReactorConfig::default()
    }
}

fn setup(action: &'static str) -> impl FnOnce(std::io::Error) -> BenchError {
    move |source| BenchError::Setup(format!("cannot {action}: {source}"))
}
