//! What a folder's meta says about the engines in it.

use base::ShardId;
use engine::EngineConfig;
use engine::journal::JournalConfig;

use super::Meta;

const SEGMENTS: u64 = 16;
const FRAME_MAX_BYTES: u64 = 8 << 20;
const CONTROL_BIN_BYTES: u64 = 4 << 20;

impl Meta {
    /// Bytes of the files that a new folder cannot do without: each shard begins in one segment.
    pub(super) fn first_bytes(&self) -> u64 {
        let shards = (0..self.shard_count()).map(ShardId).chain([ShardId::CONTROL]);
        shards.map(|shard| u64::from(self.engine_config(shard).journal.segment_bytes)).sum()
    }

    /// The engine of a shard as the folder was formatted; all that may change has its default.
    #[must_use]
    pub fn engine_config(&self, shard: ShardId) -> EngineConfig {
        let is_control = shard == ShardId::CONTROL;
        let bytes = if is_control { self.control_journal_bytes } else { self.journal_bytes };
        let segment_bytes = bytes / SEGMENTS;
        let mut journal = JournalConfig::new(shard, self.journal_id(shard));
        journal.segment_bytes = segment_bytes as u32;
        journal.segments = SEGMENTS as u16;
        journal.frame_max_bytes = (segment_bytes / 4).min(FRAME_MAX_BYTES) as u32;
        EngineConfig {
            bin_bytes: if is_control { CONTROL_BIN_BYTES } else { self.bin_bytes },
            activated: self.is_activated(shard),
            admits_without_bins: is_control,
            ..EngineConfig::new(journal)
        }
    }
}
