//! What the worlds' engines and cores are set to.

use std::time::Duration;

use base::ShardId;
use engine::journal::JournalConfig;
use engine::{EngineConfig, Planted};
use shard::{CoreSettings, Peering};

use crate::knobs::Knobs;

const PAGE: u32 = base::PAGE_BYTES as u32;

/// Pages of a segment: what an engine carries forward must fit the journal many times.
pub(super) fn segment_pages(knobs: &Knobs) -> u64 {
    knobs.segment_pages.max(32)
}

/// A journal of segments of so many pages.
pub(super) fn journal(
    knobs: &Knobs,
    segment_pages: u64,
    shard: ShardId,
    id: u64,
    planted: Planted,
) -> JournalConfig {
    let segment_bytes = segment_pages as u32 * PAGE;
    JournalConfig {
        segment_bytes,
        segments: knobs.segments as u16,
        frame_max_bytes: segment_bytes / 4 / PAGE * PAGE,
        window: knobs.window as u8,
        idle_seal: Duration::from_micros(knobs.idle_seal_us),
        planted,
        ..JournalConfig::new(shard, id)
    }
}

/// The engine of a data shard, with as many bins as its journal needs and `spare_bins` more.
pub(super) fn data_engine(
    knobs: &Knobs,
    shard: ShardId,
    id: u64,
    planted: Planted,
    spare_bins: u32,
) -> EngineConfig {
    let journal = journal(knobs, segment_pages(knobs), shard, id, planted);
    let mut config = EngineConfig::new(journal);
    config.bin_bytes = knobs.bin_pages * u64::from(PAGE);
    config.bins_max = config.reserved_bins() + spare_bins;
    config
}

/// The engine of a control shard, with so many bins more than its journal needs.
pub(super) fn control_engine(
    knobs: &Knobs,
    id: u64,
    planted: Planted,
    spare_bins: u32,
) -> EngineConfig {
    let journal =
        JournalConfig { segments: 4, ..journal(knobs, 16, ShardId::CONTROL, id, planted) };
    let mut config = EngineConfig::new(journal);
    config.bin_bytes = 1 << 20;
    config.bins_max = config.reserved_bins() + spare_bins;
    config
}

pub(super) fn core(peering: Option<Peering>) -> CoreSettings {
    CoreSettings {
        auto_create_topics: false,
        default_partitions: 1,
        request_bytes_max: 8 << 20,
        fetch_bytes_max: 1 << 20,
        peering,
        groups: Default::default(),
        seed: 0,
    }
}
