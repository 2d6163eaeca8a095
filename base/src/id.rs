//! Names of things, each a type of its own: none converts into another by accident.

use core::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $int);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A machine of the cluster: 0–999.
    NodeId(u16)
);
id!(
    /// One journal and the partitions it owns, on one node. Fixed when the data folder is formatted.
    ShardId(u16)
);
id!(
    /// A pinned thread with one ring. Hosts one shard, or more if the machine shrank.
    CoreId(u16)
);
id!(
    /// A topic's number in the cluster log: given once, never reused, so that a topic created
    /// again under an old name can never be confused with the deleted one.
    TopicNumber(u32)
);
id!(
    /// A record's position in its partition: dense, from 0. Never above `i64::MAX`.
    Offset(u64)
);
id!(
    /// The reign of one leader over a partition (Kafka's leader epoch). Never above `i32::MAX`.
    Epoch(u32)
);
id!(
    /// A journal frame's place in the global, dense order of its shard.
    Seq(u64)
);
id!(
    /// How often the process that wrote a journal frame had been started on this journal.
    Incarnation(u32)
);
id!(
    /// An idempotent producer's id. Never above `i64::MAX`.
    ProducerId(u64)
);
id!(
    /// A producer id's fencing epoch. Never above `i16::MAX`.
    ProducerEpoch(u16)
);

impl CoreId {
    /// The control core, whose number never collides with a data core's.
    pub const CONTROL: Self = Self(u16::MAX);

    /// Where mail for other nodes goes: no core, but the links of the control core.
    pub const PEERS: Self = Self(u16::MAX - 1);
}

impl ShardId {
    /// The control shard, which holds the cluster log.
    pub const CONTROL: Self = Self(u16::MAX);
}

impl Offset {
    pub const ZERO: Self = Self(0);

    /// The offset `records` further on.
    #[must_use]
    pub fn plus(self, records: u64) -> Self {
        Self(self.0.checked_add(records).expect("offsets stay below i64::MAX"))
    }

    /// Records from `start` to `self`. Panics if `self` lies before `start`.
    #[must_use]
    pub fn since(self, start: Self) -> u64 {
        self.0.checked_sub(start.0).expect("an end never lies before its start")
    }
}

impl Seq {
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A partition of a topic, cluster-wide.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PartitionId {
    pub topic: TopicNumber,
    pub index: u32,
}

impl PartitionId {
    #[must_use]
    pub const fn new(topic: TopicNumber, index: u32) -> Self {
        Self { topic, index }
    }

    /// Both halves in one integer, for formats on disk and for hashing.
    #[must_use]
    pub const fn to_u64(self) -> u64 {
        (self.topic.0 as u64) << 32 | self.index as u64
    }

    /// The inverse of [`PartitionId::to_u64`].
    #[must_use]
    pub const fn from_u64(packed: u64) -> Self {
        Self { topic: TopicNumber((packed >> 32) as u32), index: packed as u32 }
    }
}

impl fmt::Debug for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{}-{}", self.topic.0, self.index)
    }
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

macro_rules! watermark {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
        pub struct $name(pub Offset);
    };
}

watermark!(
    /// The first offset that a partition still holds or promises to serve.
    LogStart
);
watermark!(
    /// One past the last record appended in memory.
    LogEnd
);
watermark!(
    /// One past the last record on this shard's own stable storage.
    Durable
);
watermark!(
    /// One past the last record durable on a quorum: what consumers may see (Kafka's high watermark).
    Committed
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_id_survives_packing() {
        let id = PartitionId::new(TopicNumber(u32::MAX), 7);
        assert_eq!(PartitionId::from_u64(id.to_u64()), id);
    }

    #[test]
    #[should_panic(expected = "an end never lies before its start")]
    fn counting_backwards_panics() {
        let _ = Offset(3).since(Offset(4));
    }
}
