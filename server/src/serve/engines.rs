//! Plans of every core: folders opened and locked, memory mapped, queues made.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use base::{CoreId, Listener, ShardId};
use engine::EngineConfig;
use engine::journal::JournalConfig;
use replication::command::NodeRegistered;
use ring::memory::Backing;
use ring::{
    Mapping, NetOptions, Plan, PlannedShard, ReactorConfig, RingOptions, ShardFolder, Stopper,
    map_pages, mesh,
};
use shard::{Address, CoreSettings, Layout, Mail};

use super::cores::Assignment;
use super::data_core::{CorePlan, EnginePlan};
use super::sockets::Sockets;
use super::{Event, PATIENCE};
use crate::cli::serve_args::ServeArgs;
use crate::config::Config;
use crate::control::ControlPlan;
use crate::data_folder::{DataFolder, FolderError, Meta};
use crate::failure::Failure;

/// Messages in the queue between two cores.
const MAIL_QUEUE: usize = 4096;
const SEGMENTS: u64 = 16;
const FRAME_MAX_BYTES: u64 = 8 << 20;
const CONTROL_BIN_BYTES: u64 = 4 << 20;

/// Plans of a whole server.
#[derive(Debug)]
pub(super) struct Plans {
    pub(super) cores: Vec<CorePlan>,
    pub(super) control: ControlPlan,
    /// Of all journals' mirrors in memory.
    pub(super) arena_bytes: u64,
    pub(super) backing: Backing,
}

/// The handles by which cores are asked to stop.
#[derive(Debug)]
pub(super) struct Stoppers {
    pub(super) cores: Vec<Stopper>,
    pub(super) control: Stopper,
}

impl Plans {
    pub(super) fn stoppers(&self) -> Stoppers {
        Stoppers {
            cores: self.cores.iter().map(|core| core.ring.stopper()).collect(),
            control: self.control.mailboxes.stopper(),
        }
    }
}

/// Opens every shard and puts it on its core.
pub(super) fn plan(
    config: &Config,
    folder: &DataFolder,
    assignment: &Assignment,
    sockets: Sockets,
    events: &Sender<Event>,
    args: &ServeArgs,
) -> Result<Plans, Failure> {
    let mesh = mesh::<Mail>(assignment.cores(), MAIL_QUEUE).map_err(Failure::Thread)?;
    let layout = Arc::new(layout(config, folder.meta(), assignment, &sockets));
    let (mut arena_bytes, mut backing) = (0, Backing::Reserved);
    let mut account = |mapping: &Mapping| {
        arena_bytes += mapping.bytes() as u64;
        if backing != mapping.backing() {
            backing = mapping.backing();
        }
    };
    let mut shard_listeners: Vec<_> = sockets.shards.into_iter().map(Some).collect();
    let mut cores = Vec::new();
    for ((boxes, node_listener), number) in mesh.data.into_iter().zip(sockets.node).zip(0..) {
        let id = CoreId(number);
        let mut ring = Plan::new(reactor_config(config, assignment, id, args), boxes);
        ring.listeners.push((Listener::Node, node_listener));
        ring.hold = Some(folder.lock().duplicate().map_err(Failure::Thread)?.into());
        let mut engines = Vec::new();
        for shard in assignment.shards_of(id) {
            let (files, engine, arena) = open_shard(config, folder, shard, args)?;
            account(&arena);
            ring.shards.push(PlannedShard { folder: files, arena });
            engines.push(engine);
            let listener = shard_listeners[usize::from(shard.0)].take();
            let listener = listener.expect("each shard is on one core");
            ring.listeners.push((Listener::Core(shard), listener));
        }
        cores.push(CorePlan {
            id,
            ring,
            engines,
            layout: Arc::clone(&layout),
            settings: core_settings(config),
            cluster: folder.meta().cluster(),
            events: events.clone(),
        });
    }
    let (files, engine, arena) = open_shard(config, folder, ShardId::CONTROL, args)?;
    account(&arena);
    let control = ControlPlan {
        path: folder.shard_path(ShardId::CONTROL),
        folder: files,
        engine: engine.config,
        memory: engine.memory,
        cluster: folder.meta().cluster(),
        node: registration(&layout, assignment),
        mailboxes: mesh.control,
        admin: sockets.admin,
        token: config.admin.token.clone(),
        counters: cores.iter().map(|core| core.ring.counters()).collect(),
        events: events.clone(),
    };
    Ok(Plans { cores, control, arena_bytes, backing })
}

fn open_shard(
    config: &Config,
    folder: &DataFolder,
    shard: ShardId,
    args: &ServeArgs,
) -> Result<(ShardFolder, EnginePlan, Mapping), Failure> {
    let path = folder.shard_path(shard);
    std::fs::create_dir_all(&path).map_err(|source| FolderError::Io {
        action: "create",
        path: path.clone(),
        source,
    })?;
    let files = ShardFolder::open(&path, shard, PATIENCE).map_err(Failure::ShardFolder)?;
    let config = engine_config(config, folder.meta(), shard, args);
    let (memory, arena) = map_pages(config.arena_bytes() as usize).map_err(Failure::Memory)?;
    let existing = files.existing();
    Ok((files, EnginePlan { shard, config, memory, existing }, arena))
}

fn engine_config(config: &Config, meta: &Meta, shard: ShardId, args: &ServeArgs) -> EngineConfig {
    let is_control = shard == ShardId::CONTROL;
    let bytes = if is_control { meta.control_journal_bytes } else { meta.journal_bytes };
    let segment_bytes = bytes / SEGMENTS;
    let mut journal = JournalConfig::new(shard, meta.journal_id(shard));
    journal.segment_bytes = segment_bytes as u32;
    journal.segments = SEGMENTS as u16;
    journal.frame_max_bytes = (segment_bytes / 4).min(FRAME_MAX_BYTES) as u32;
    journal.window = config.journal_window;
    journal.planted = args.engine_mutant();
    EngineConfig {
        bin_bytes: if is_control { CONTROL_BIN_BYTES } else { meta.bin_bytes },
        bins_max: config.bins_max,
        activated: meta.is_activated(shard),
        ..EngineConfig::new(journal)
    }
}

fn reactor_config(
    config: &Config,
    assignment: &Assignment,
    core: CoreId,
    args: &ServeArgs,
) -> ReactorConfig {
    ReactorConfig {
        cpu: assignment.cpu(core),
        helper_cpus: assignment.other_cpus().to_vec(),
        poll: config.poll,
        ring: RingOptions { disabled: config.ring_disabled, ..RingOptions::default() },
        net: NetOptions { connections: config.limits.connections, ..NetOptions::default() },
        planted: args.ring_mutant(),
        ..ReactorConfig::default()
    }
}

fn core_settings(config: &Config) -> CoreSettings {
    CoreSettings {
        auto_create_topics: config.topics.auto_create,
        default_partitions: config.topics.partitions,
        request_bytes_max: config.limits.request_bytes,
        fetch_bytes_max: config.limits.fetch_bytes,
        seed: random_seed(),
    }
}

fn random_seed() -> u128 {
    let mut seed = [0; 16];
    getrandom::fill(&mut seed).expect("the kernel has randomness once it runs programs");
    u128::from_ne_bytes(seed)
}

fn layout(config: &Config, meta: &Meta, assignment: &Assignment, sockets: &Sockets) -> Layout {
    let address = |host: &str, port| Address { host: host.to_owned(), port };
    Layout {
        node: meta.node(),
        cluster_id: meta.cluster().to_string(),
        shard_cores: assignment.hosts().to_vec(),
        control: CoreId::CONTROL,
        node_address: address(&config.node_view.advertise.0, sockets.node_port()),
        core_address: address(&config.core_view.advertise.0, sockets.core_port()),
        rack: None,
    }
}

fn registration(layout: &Layout, assignment: &Assignment) -> NodeRegistered {
    NodeRegistered {
        node: layout.node,
        shards: assignment.shards(),
        host: layout.node_address.host.clone(),
        port: layout.node_address.port,
        core_host: layout.core_address.host.clone(),
        core_port: layout.core_address.port,
        rack: layout.rack.clone(),
    }
}
