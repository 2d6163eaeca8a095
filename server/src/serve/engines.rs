//! Plans of every core: who hosts what, with which settings, and the queues between them.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use base::{CoreId, Listener, ShardId};
use engine::EngineConfig;
use replication::command::NodeRegistered;
use ring::{DeviceReport, NetOptions, Plan, ReactorConfig, RingOptions, Stopper, mesh};
use shard::groups::settings::GroupSettings;
use shard::{Address, CoreSettings, Layout, Mail};

use super::Event;
use super::cluster_plan::{control_settings, link_plan, others, peering};
use super::cores::Assignment;
use super::data_core::CorePlan;
use super::shard_plan::ShardPlan;
use super::sockets::Sockets;
use crate::cli::serve_args::ServeArgs;
use crate::config::Config;
use crate::control::{ControlPlan, FaultPlan};
use crate::data_folder::{DataFolder, Meta};
use crate::failure::Failure;
use crate::faults::Interposer;

/// Messages in the queue between two cores.
const MAIL_QUEUE: usize = 4096;

/// Plans of a whole server.
#[derive(Debug)]
pub(super) struct Plans {
    pub(super) cores: Vec<CorePlan>,
    pub(super) control: ControlPlan,
}

/// The handles by which cores are asked to stop.
#[derive(Debug)]
pub(super) struct Stoppers {
    pub(super) cores: Vec<Stopper>,
    pub(super) control: Stopper,
}

impl Plans {
    /// Memory that mirrors the journals.
    pub(super) fn arena_bytes(&self) -> u64 {
        let shards = self.cores.iter().flat_map(|core| &core.shards);
        shards.chain([&self.control.shard]).map(|shard| shard.engine.arena_bytes()).sum()
    }

    /// Buffers that the cores receive into.
    pub(super) fn receive_bytes(&self) -> u64 {
        let options = self.cores.iter().map(|core| &core.ring.config.net);
        options.map(|net| u64::from(net.buffers) * u64::from(net.buffer_bytes)).sum()
    }

    /// Buffers for what is read from bins and written to them.
    pub(super) fn bin_buffer_bytes(&self) -> u64 {
        let shards = self.cores.iter().flat_map(|core| &core.shards);
        shards.chain([&self.control.shard]).map(|shard| shard.engine.buffer_bytes()).sum()
    }

    pub(super) fn stoppers(&self) -> Stoppers {
        Stoppers {
            cores: self.cores.iter().map(|core| core.ring.stopper()).collect(),
            control: self.control.mailboxes.stopper(),
        }
    }
}

/// Puts every shard on its core.
pub(super) fn plan(
    config: &Config,
    (folder, device): (&DataFolder, Option<&DeviceReport>),
    assignment: &Assignment,
    sockets: Sockets,
    events: &Sender<Event>,
    args: &ServeArgs,
) -> Result<Plans, Failure> {
    let mesh = mesh::<Mail>(assignment.cores(), MAIL_QUEUE).map_err(Failure::Thread)?;
    let layout = Arc::new(layout(config, folder.meta(), assignment, &sockets));
    let shard_plan = |shard| ShardPlan {
        shard,
        path: folder.shard_path(shard),
        engine: engine_config(config, folder.meta(), shard, args),
    };
    let mut shard_listeners: Vec<_> = sockets.shards.into_iter().map(Some).collect();
    let (control_listen, peer_listeners) =
        sockets.peers.map_or((None, Vec::new()), |peers| (Some(peers.control), peers.shards));
    let mut peer_listeners: Vec<_> = peer_listeners.into_iter().map(Some).collect();
    let mut cores = Vec::new();
    for ((boxes, node_listener), number) in mesh.data.into_iter().zip(sockets.node).zip(0..) {
        let id = CoreId(number);
        let mut ring = Plan::new(reactor_config(config, assignment, id, args), boxes);
        ring.listeners.push((Listener::Node, node_listener));
        ring.hold = Some(folder.lock().duplicate().map_err(Failure::Thread)?.into());
        for shard in assignment.shards_of(id) {
            let listener = shard_listeners[usize::from(shard.0)].take();
            let listener = listener.expect("each shard is on one core");
            ring.listeners.push((Listener::Core(shard), listener));
            let peer_listener = peer_listeners.get_mut(usize::from(shard.0)).and_then(Option::take);
            ring.listeners.extend(peer_listener.map(|listener| (Listener::Peer(shard), listener)));
        }
        cores.push(CorePlan {
            id,
            ring,
            shards: assignment.shards_of(id).map(shard_plan).collect(),
            layout: Arc::clone(&layout),
            settings: core_settings(config, device),
            cluster: folder.meta().cluster(),
            events: events.clone(),
            faults: interposer(config, folder.meta(), assignment, id),
        });
    }
    let node = registration(&layout, assignment);
    let control = ControlPlan {
        shard: shard_plan(ShardId::CONTROL),
        settings: control_settings(config, folder.meta(), node, assignment.cores()),
        links: link_plan(config, folder.meta(), control_listen),
        mailboxes: mesh.control,
        admin: sockets.admin,
        token: config.admin.token.clone(),
        counters: cores.iter().map(|core| core.ring.counters()).collect(),
        events: events.clone(),
        faults: config.enable_faults.then(|| FaultPlan {
            seed: random_seed() as u64,
            cores: assignment.cores(),
            shards: assignment.shards(),
        }),
    };
    Ok(Plans { cores, control })
}

fn interposer(
    config: &Config,
    meta: &Meta,
    assignment: &Assignment,
    core: CoreId,
) -> Option<Interposer> {
    let nodes = others(&config.cluster, meta).collect();
    let shards = assignment.shards_of(core).collect();
    config.enable_faults.then(|| Interposer::new(random_seed() as u64, shards, nodes))
}

fn engine_config(config: &Config, meta: &Meta, shard: ShardId, args: &ServeArgs) -> EngineConfig {
    let mut engine = meta.engine_config(shard);
    engine.bins_max = config.bins_max;
    engine.journal.window = config.journal_window;
    engine.journal.planted = args.engine_mutant();
    engine
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

fn core_settings(config: &Config, device: Option<&DeviceReport>) -> CoreSettings {
    CoreSettings {
        auto_create_topics: config.topics.auto_create,
        default_partitions: config.topics.partitions,
        request_bytes_max: config.limits.request_bytes,
        fetch_bytes_max: config.limits.fetch_bytes,
        peering: peering(config, device),
        groups: GroupSettings {
            initial_rebalance_delay: config.initial_rebalance_delay,
            ..GroupSettings::default()
        },
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
        rack: config.cluster.rack.clone(),
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
