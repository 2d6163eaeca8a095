//! What an operator may set for groups, and the bounds that keep their memory in hand.

use core::time::Duration;

/// See the module's description. The names in brackets are Kafka's.
#[derive(Clone, Debug)]
pub struct GroupSettings {
    /// How long the first rebalance of an empty group waits for further members
    /// (`group.initial.rebalance.delay.ms`).
    pub initial_rebalance_delay: Duration,
    /// `group.min.session.timeout.ms`.
    pub session_timeout_min: Duration,
    /// `group.max.session.timeout.ms`.
    pub session_timeout_max: Duration,
    /// `offset.metadata.max.bytes`.
    pub offset_metadata_bytes_max: usize,
    /// How long the offsets of a group without members are kept (`offsets.retention.minutes`).
    pub offset_retention: Duration,
    /// Members of one group (`group.max.size`).
    pub members_max: usize,
    /// Bytes of names, metadata and assignments of one group's members.
    pub group_bytes_max: usize,
    /// Groups of one partition of the offsets topic.
    pub groups_max: usize,
    /// Partitions with a committed offset in one group.
    pub offsets_max: usize,
    /// Bytes behind the last snapshot of a partition's state before the next one is written.
    pub snapshot_bytes: usize,
}

impl Default for GroupSettings {
    fn default() -> Self {
        Self {
            initial_rebalance_delay: Duration::from_secs(3),
            session_timeout_min: Duration::from_secs(6),
            session_timeout_max: Duration::from_secs(30 * 60),
            offset_metadata_bytes_max: 4096,
            offset_retention: Duration::from_secs(7 * 24 * 60 * 60),
            members_max: 16_384,
            group_bytes_max: 32 << 20,
            groups_max: 20_000,
            offsets_max: 200_000,
            snapshot_bytes: 4 << 20,
        }
    }
}
