//! What an engine is told once, and what a partition is told by its topic.

use base::PAGE_BYTES;

use crate::bins::BinBytes;
use crate::journal::JournalConfig;
use crate::store;

/// Sizes and limits of one shard's engine.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    pub journal: JournalConfig,
    /// Bytes of a bin file: a multiple of 4096, at least 64 KiB and eight journal frames. Bins made
    /// earlier keep their size.
    pub bin_bytes: u64,
    /// Bin files that this shard may have; a journal frame must hold 16 bytes for each.
    pub bins_max: u32,
    /// Idempotent producers remembered, all partitions together, about 300 bytes each.
    pub producers_max: usize,
    /// An idempotent producer that is silent for longer is forgotten.
    pub producer_expiry_ms: i64,
    /// Destaged bytes that may await an fdatasync: small (1 MiB) on a device without FUA, where every
    /// journal frame flushes all of them, larger elsewhere.
    pub unsynced_max_bytes: u32,
    /// Disk reads in flight.
    pub reads_max: usize,
    /// This journal has acked something once: an empty one is then a lost one, not a fresh one.
    pub activated: bool,
    /// An operator accepts that acked records of the whole shard may be lost, so that it can go on
    /// (`chiplog repair --accept-loss`).
    pub accept_loss: bool,
    /// Batches are taken as long as the journal has room, also while no bin can be made: for a small
    /// log without which nothing else works, such as the cluster's.
    pub admits_without_bins: bool,
}

impl EngineConfig {
    /// The defaults: bins of 256 MiB, 4,096 of them, 100,000 producers for a day.
    #[must_use]
    pub fn new(journal: JournalConfig) -> Self {
        Self {
            journal,
            bin_bytes: 256 << 20,
            bins_max: 4096,
            producers_max: 100_000,
            producer_expiry_ms: 24 * 3600 * 1000,
            unsynced_max_bytes: 16 << 20,
            reads_max: 16,
            activated: false,
            accept_loss: false,
            admits_without_bins: false,
        }
    }

    /// Arena bytes that hold whatever the journal can hold, reserve included.
    #[must_use]
    pub fn arena_bytes(&self) -> u64 {
        let journal =
            u64::from(self.journal.all_segments()) * u64::from(self.journal.segment_bytes);
        // A frame never straddles the arena's end.
        journal + 2 * u64::from(self.journal.frame_max_bytes)
    }

    /// Bytes of buffers that are kept for reading bins and writing them.
    #[must_use]
    pub fn buffer_bytes(&self) -> u64 {
        store::POOL_BYTES as u64
    }

    /// Bins that must be there so that everything in the journal can leave it on a full disk.
    #[must_use]
    pub fn reserved_bins(&self) -> u32 {
        let journal = u64::from(self.journal.segments) * u64::from(self.journal.segment_bytes);
        journal.div_ceil(self.bin_bytes) as u32 + 2
    }

    pub(crate) fn check(&self) {
        let least = (8 * u64::from(self.journal.frame_max_bytes)).max(64 << 10);
        assert!(
            self.bin_bytes.is_multiple_of(PAGE_BYTES as u64) && least <= self.bin_bytes,
            "bins of {} bytes: use a multiple of 4096, at least {least}",
            self.bin_bytes
        );
        let table = self.bins_max as usize * size_of::<BinBytes>();
        assert!(
            table <= self.journal.max_payload_bytes() as usize,
            "{} bins: their table exceeds a journal frame",
            self.bins_max
        );
    }
}

/// A topic's settings, as far as storage acts on them. Told again at every start; only `replicated`
/// is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionSettings {
    /// `None`: for ever.
    pub retention_ms: Option<u64>,
    /// `None`: without limit.
    pub retention_bytes: Option<u64>,
    pub max_message_bytes: u32,
    /// Record timestamps are the broker's (`message.timestamp.type=LogAppendTime`).
    pub append_time: bool,
    /// How far a record's timestamp may lie in the past, ms.
    pub timestamp_before_max_ms: i64,
    /// How far a record's timestamp may lie in the future, ms.
    pub timestamp_after_max_ms: i64,
    /// Other shards hold replicas: what a restart finds is committed only as far as it can be proved,
    /// and the log start moves on a leader's word alone.
    pub replicated: bool,
}

impl Default for PartitionSettings {
    /// Kafka's defaults, but nothing is deleted before the topic's own settings are known.
    fn default() -> Self {
        Self {
            retention_ms: None,
            retention_bytes: None,
            max_message_bytes: 1_048_588,
            append_time: false,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            replicated: false,
        }
    }
}
