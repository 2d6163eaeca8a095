//! One data core: its plan on the main thread, its life on a thread of its own.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use base::{CoreId, FileId, PageMemory, ShardId};
use engine::{Engine, EngineConfig};
use replication::{ClusterState, Uuid};
use ring::{Plan, Stopped};
use shard::{Core, CoreSettings, Layout, Mail};

use super::Event;
use super::watched::Watched;

/// Everything a data core needs.
#[derive(Debug)]
pub(super) struct CorePlan {
    pub(super) id: CoreId,
    pub(super) ring: Plan<Mail>,
    pub(super) engines: Vec<EnginePlan>,
    pub(super) layout: Arc<Layout>,
    pub(super) settings: CoreSettings,
    pub(super) cluster: Uuid,
    pub(super) events: Sender<Event>,
}

/// What an engine is opened with.
#[derive(Debug)]
pub(super) struct EnginePlan {
    pub(super) shard: ShardId,
    pub(super) config: EngineConfig,
    pub(super) memory: PageMemory,
    pub(super) existing: Vec<(FileId, u64)>,
}

impl EnginePlan {
    fn open(self) -> (ShardId, Engine) {
        (self.shard, Engine::open(self.config, self.memory, &self.existing))
    }
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

    fn run(self) -> Result<Stopped, String> {
        let engines = self.engines.into_iter().map(EnginePlan::open).collect();
        let state = Arc::new(ClusterState::new(self.cluster));
        let core = Core::new(self.id, self.layout, self.settings, state, engines);
        let mut reactor = self.ring.start().map_err(|error| error.to_string())?;
        let report = reactor.report().clone();
        let _ = self.events.send(Event::CoreStarted { core: self.id, report });
        reactor.run(&mut Watched::new(core, self.events)).map_err(|error| error.to_string())
    }
}
