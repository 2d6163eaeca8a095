//! One data core: its plan on the main thread, its life on a thread of its own.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use base::CoreId;
use replication::{ClusterState, Uuid};
use ring::{Plan, PlannedShard, Stopped};
use shard::{Core, CoreSettings, Layout, Mail};
use thiserror::Error;

use super::Event;
use super::shard_plan::{OpenShard, ShardError, ShardPlan};
use super::watched::Watched;
use crate::faults::Interposer;

/// Everything a data core needs.
#[derive(Debug)]
pub(super) struct CorePlan {
    pub(super) id: CoreId,
    pub(super) ring: Plan<Mail>,
    pub(super) shards: Vec<ShardPlan>,
    pub(super) layout: Arc<Layout>,
    pub(super) settings: CoreSettings,
    pub(super) cluster: Uuid,
    pub(super) events: Sender<Event>,
    /// `None` unless faults may be injected.
    pub(super) faults: Option<Interposer>,
}

/// Why a data core ended by itself.
#[derive(Debug, Error)]
pub enum CoreError {
    #[error(transparent)]
    Shard(#[from] ShardError),
    #[error(transparent)]
    Start(#[from] ring::StartError),
    #[error(transparent)]
    Run(#[from] ring::ReactorError),
    #[error("it stopped unasked")]
    Unasked,
}

impl CorePlan {
    /// Starts the thread; how it ends comes as an event.
    pub(super) fn start(self) -> io::Result<JoinHandle<()>> {
        let name = format!("core {}", self.id);
        std::thread::Builder::new().name(name).spawn(|| {
            let (core, events) = (self.id, self.events.clone());
            let result = self.run();
            // The main thread listens until every core has ended.
            let _ = events.send(Event::CoreEnded { core, result });
        })
    }

    fn run(mut self) -> Result<Stopped, CoreError> {
        let mut engines = Vec::new();
        for plan in self.shards {
            let shard = plan.shard;
            let OpenShard { folder, engine, arena } = plan.open()?;
            self.ring.shards.push(PlannedShard { folder, arena });
            engines.push((shard, engine));
        }
        let state = Arc::new(ClusterState::new(self.cluster));
        let core = Core::new(self.id, self.layout, self.settings, state, engines);
        let mut reactor = self.ring.start()?;
        let report = reactor.report().clone();
        let _ = self.events.send(Event::CoreStarted { core: self.id, report });
        Ok(reactor.run(&mut Watched::new(core, self.events, self.faults))?)
    }
}
