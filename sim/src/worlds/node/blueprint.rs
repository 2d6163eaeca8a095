//! What a node is made of.

use std::sync::Arc;
use std::time::Duration;

use base::{CoreId, NodeId, ShardId};
use engine::journal::JournalConfig;
use engine::{EngineConfig, Planted};
use replication::Uuid;
use replication::command::NodeRegistered;
use shard::{Address, CoreSettings, Layout};

use crate::knobs::Knobs;
use crate::random::Random;
use crate::worlds::engine::segment_pages;

const PAGE: u32 = base::PAGE_BYTES as u32;

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
        let mut engines: Vec<_> =
            (0..shards).map(|shard| data_engine(knobs, ShardId(shard), random, planted)).collect();
        engines.push(control_engine(knobs, random, planted));
        Self {
            cluster: Uuid([7; 16]),
            layout: Arc::new(layout),
            registered,
            settings: CoreSettings {
                auto_create_topics: false,
                default_partitions: 1,
                request_bytes_max: 8 << 20,
                fetch_bytes_max: 1 << 20,
                peering: None,
                groups: Default::default(),
                seed: 0,
            },
            engines,
            cores,
            mail_us: knobs.mail_us,
            spare_pages: knobs.arena_spare_pages,
        }
    }
}

fn data_engine(
    knobs: &Knobs,
    shard: ShardId,
    random: &mut Random,
    planted: Planted,
) -> EngineConfig {
    let segment_bytes = segment_pages(knobs) as u32 * PAGE;
    let journal = JournalConfig {
        segment_bytes,
        segments: knobs.segments as u16,
        frame_max_bytes: segment_bytes / 4 / PAGE * PAGE,
        window: knobs.window as u8,
        idle_seal: Duration::from_micros(knobs.idle_seal_us),
        planted,
        ..JournalConfig::new(shard, random.draw())
    };
    let mut config = EngineConfig::new(journal);
    config.bin_bytes = knobs.bin_pages * u64::from(PAGE);
    config.bins_max = config.reserved_bins() + knobs.spare_bins as u32;
    config.producers_max = knobs.producers_max as usize;
    config
}

fn control_engine(knobs: &Knobs, random: &mut Random, planted: Planted) -> EngineConfig {
    let journal = JournalConfig {
        segment_bytes: 16 * PAGE,
        segments: 4,
        frame_max_bytes: 4 * PAGE,
        window: knobs.window as u8,
        idle_seal: Duration::from_micros(knobs.idle_seal_us),
        planted,
        ..JournalConfig::new(ShardId::CONTROL, random.draw())
    };
    let mut config = EngineConfig::new(journal);
    config.bin_bytes = 1 << 20;
    config.bins_max = config.reserved_bins() + 4;
    config
}
