//! Numbers of a data core, as it tells them to the control core when asked.

use base::{CoreId, Epoch, LatencyHistogram, Offset, PartitionId, ShardId};
use engine::EngineMetrics;
use replication::Placement;

/// One core's numbers.
#[derive(Clone, Debug)]
pub struct CoreMetrics {
    pub core: CoreId,
    pub shards: Vec<ShardMetrics>,
    /// Requests that wait for other shards, the control core, the disk, or for records.
    pub jobs: usize,
    /// Connections whose next request waits for room in a journal.
    pub stalled: usize,
}

/// One shard's numbers.
#[derive(Clone, Debug)]
pub struct ShardMetrics {
    pub shard: ShardId,
    pub engine: EngineMetrics,
    /// How long batches waited from their append to stable storage.
    pub ack_times: LatencyHistogram,
    /// Answers that wait for a frame to become durable.
    pub gated: usize,
    /// Appends that wait for room in the journal.
    pub held: usize,
    /// Fetches that wait for the disk.
    pub reading: usize,
    /// Fetches that wait for records.
    pub watches: usize,
    /// Partitions led here that other shards hold replicas of.
    pub led: Vec<LedMetrics>,
}

/// A replicated partition, as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedMetrics {
    pub partition: PartitionId,
    pub epoch: Epoch,
    pub committed: Offset,
    /// The other replicas: records of the log that each does not hold durably yet, and whether its
    /// word counts.
    pub followers: Vec<(Placement, u64, bool)>,
}
