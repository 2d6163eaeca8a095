//! What a node is made of.

use std::sync::Arc;

use base::{CoreId, NodeId, ShardId};
use engine::{EngineConfig, Planted};
use replication::Uuid;
use replication::command::NodeRegistered;
use shard::{Address, CoreSettings, Layout};

use crate::knobs::Knobs;
use crate::random::Random;
use crate::worlds::settings;

/// See the module's description. The same at every start.
#[derive(Debug)]
pub(super) struct Blueprint {
    pub(super) cluster: Uuid,
    pub(super) layout: Arc<Layout>,
    pub(super) registered: NodeRegistered,
    pub(super) settings: CoreSettings,
    pub(super) engines: Vec<EngineConfig>,
    /// Data cores.
    pub(super) cores: u16,
    pub(super) mail_us: u64,
    /// Pages of each arena beyond what its journal can hold.
    pub(super) spare_pages: u64,
}

impl Blueprint {
    pub(super) fn draw(knobs: &Knobs, random: &mut Random, planted: Planted) -> Self {
        let shards = knobs.shards as u16;
        let cores = knobs.cores.min(knobs.shards) as u16;
        let address = |port| Address { host: "localhost".to_owned(), port };
        let layout = Layout {
            node: NodeId(0),
            cluster_id: "sim".to_owned(),
            shard_cores: (0..shards).map(|shard| CoreId(shard % cores)).collect(),
            control: CoreId::CONTROL,
            node_address: address(9092),
            core_address: address(9100),
            rack: None,
        };
        let registered = NodeRegistered {
            node: NodeId(0),
            shards,
            host: "localhost".to_owned(),
            port: 9092,
            core_host: "localhost".to_owned(),
            core_port: 9100,
            rack: None,
        };
        let spare_bins = knobs.spare_bins as u32;
        let mut data_engine = |shard| {
            let id = random.draw();
            let mut config = settings::data_engine(knobs, ShardId(shard), id, planted, spare_bins);
            config.producers_max = knobs.producers_max as usize;
            config
        };
        let mut engines: Vec<_> = (0..shards).map(&mut data_engine).collect();
        engines.push(settings::control_engine(knobs, random.draw(), planted, 4));
        Self {
            cluster: Uuid([7; 16]),
            layout: Arc::new(layout),
            registered,
            settings: settings::core(None),
            engines,
            cores,
            mail_us: knobs.mail_us,
            spare_pages: knobs.arena_spare_pages,
        }
    }
}
