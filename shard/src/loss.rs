//! What a partition lost, in words for an operator.

use core::fmt;
use std::sync::Arc;

use base::{PartitionId, ShardId};
use engine::Halt;

/// A partition of a shard that lost records, or may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    pub shard: ShardId,
    pub partition: PartitionId,
    /// `None` if the cluster knows no such topic.
    pub topic: Option<Arc<str>>,
    pub halt: Halt,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shard, partition, topic, halt } = self;
        match topic {
            Some(topic) => write!(f, "{topic}-{} of shard {shard}: {halt}", partition.index),
            None => write!(f, "partition {partition} of shard {shard}: {halt}"),
        }
    }
}
