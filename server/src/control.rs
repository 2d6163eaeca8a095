//! The control core: one glommio thread beside the data cores. It runs the control shard, whose
//! operations go to glommio's files and whose mail goes over the ring's mailboxes, and serves
//! HTTP to operators. If it stalls, appends do not.

mod bell;
mod disk;
mod driver;
mod http;
mod links;
mod metrics;
mod news;
mod notifier;
mod pages;
mod wake;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Instant;

use glommio::{ExecutorJoinHandle, GlommioError, LocalExecutorBuilder, Placement};
use ring::{Mailboxes, ReactorCounters};
use shard::{ControlSettings, ControlShard, Mail};
use thiserror::Error;

use crate::faults::{Board, Gate};
use crate::serve::Event;
use crate::serve::shard_plan::{OpenShard, ShardError, ShardPlan};
pub(crate) use bell::Bell;
use disk::Disk;
use driver::Driver;
#[cfg(test)]
pub(crate) use links::LinkEvent;
use links::Links;
pub(crate) use links::{FRAME_MAX, LinkPlan, control_of};
use notifier::Notifier;
use pages::Pages;

/// Everything the control core needs, gathered on the main thread.
#[derive(Debug)]
pub struct ControlPlan {
    pub shard: ShardPlan,
    pub settings: ControlSettings,
    /// `None` for a single node.
    pub(crate) links: Option<LinkPlan>,
    pub mailboxes: Mailboxes<Mail>,
    pub admin: SocketAddr,
    pub token: Option<String>,
    /// By data core.
    pub counters: Vec<Arc<ReactorCounters>>,
    pub events: Sender<Event>,
    /// `None` unless faults may be injected.
    pub(crate) faults: Option<FaultPlan>,
}

/// What a board of faults must know of the node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FaultPlan {
    pub(crate) seed: u64,
    pub(crate) cores: u16,
    pub(crate) shards: u16,
}

/// Why the control core does not run.
#[derive(Debug, Error)]
pub enum ControlError {
    #[error("the control core cannot start: {0}")]
    Start(String),
    #[error(transparent)]
    Shard(#[from] ShardError),
    #[error("the control core cannot open its files: {0}")]
    Files(String),
    #[error("the control core cannot serve the admin port {address}: {source}")]
    Admin { address: SocketAddr, source: std::io::Error },
    #[error("the control core cannot listen for other nodes on {address}: {source}")]
    Links { address: SocketAddr, source: std::io::Error },
}

/// A running control core.
#[derive(Debug)]
pub struct ControlThread {
    thread: ExecutorJoinHandle<Result<(), ControlError>>,
    /// Its other end goes with what the thread runs.
    running: Receiver<()>,
}

impl ControlPlan {
    /// Starts the thread.
    pub fn start(self) -> Result<ControlThread, ControlError> {
        let explain = |error: GlommioError<()>| ControlError::Start(error.to_string());
        let (runs, running) = channel();
        LocalExecutorBuilder::new(Placement::Unbound)
            .name("control")
            .io_memory(4 << 20)
            .ring_depth(128)
            .spawn(|| async move {
                let events = self.events.clone();
                let _runs: Sender<()> = runs;
                let result = self.run().await;
                if let Err(error) = &result {
                    // The main thread listens until this one has been joined.
                    let _ = events.send(Event::ControlFailed(error.to_string()));
                }
                result
            })
            .map(|thread| ControlThread { thread, running })
            .map_err(explain)
    }

    async fn run(self) -> Result<(), ControlError> {
        let bell = Rc::new(Bell::default());
        let (path, cores) = (self.shard.path.clone(), self.counters.len());
        let OpenShard { folder, engine, arena: _ } = self.shard.open()?;
        let board = self.faults.map(|plan| Rc::new(plan.board()));
        let gate = board.as_ref().map(|board| board.gate.clone());
        let files = Disk::open(path, folder, Rc::clone(&bell), gate.clone()).await;
        let disk = files.map_err(|error| ControlError::Files(error.to_string()))?;
        let shard = ControlShard::of_cluster(engine, self.settings);
        let shard = Rc::new(RefCell::new(shard));
        let pages = Pages::new(Rc::clone(&shard), self.counters, Rc::clone(&bell), board.clone());
        let address = self.admin;
        let http = http::serve(address, self.token, Rc::new(pages))
            .map_err(|source| ControlError::Admin { address, source })?;
        let wake = wake::source(self.mailboxes.event())
            .map_err(|error| ControlError::Start(error.to_string()))?;
        wake.ring(Rc::clone(&bell));
        let links = self.links.map(|plan| start_links(plan, &bell, gate)).transpose()?;
        let cores = u16::try_from(cores).expect("cores are numbered so");
        let notifier = Notifier::new(cores, board.clone());
        Driver::new(shard, disk, self.mailboxes, links, bell, (self.events, notifier)).run().await;
        // Closes the port now: with the executor's ring it would close somewhat later.
        http.cancel().await;
        Ok(())
    }
}

impl FaultPlan {
    fn board(self) -> Board {
        Board::new(self.seed, self.cores, self.shards)
    }
}

fn start_links(plan: LinkPlan, bell: &Rc<Bell>, gate: Option<Gate>) -> Result<Links, ControlError> {
    let address = plan.listen;
    plan.start(Rc::clone(bell), gate).map_err(|source| ControlError::Links { address, source })
}

impl ControlThread {
    /// Waits for the end until `by`; `None` if it has not come.
    pub fn join_by(self, by: Instant) -> Option<Result<(), ControlError>> {
        let left = by.saturating_duration_since(Instant::now());
        if self.running.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
            return None;
        }
        let joined = self.thread.join();
        Some(joined.unwrap_or_else(|error| Err(ControlError::Start(error.to_string()))))
    }
}
