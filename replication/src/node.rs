//! The machines of a cluster and their shards.

use base::{Incarnation, NodeId, ProducerId, ShardId};

use crate::Placement;
use crate::command::NodeRegistered;

/// Producer ids in one [`ProducerIdBlock`].
pub const PRODUCER_IDS_PER_BLOCK: u64 = 1_000;

/// A registered node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its latest registration.
    pub registered: NodeRegistered,
    /// By number.
    pub shards: Vec<Shard>,
}

/// What the cluster knows of a shard.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Shard {
    /// Its latest start; `None` before the first.
    pub boot: Option<Boot>,
    /// Replicas placed here, those that a move will bring or take included.
    pub partitions: u32,
    /// Partitions whose preferred leader this shard is.
    pub preferred: u32,
    /// This boot is taken for dead or out of reach.
    pub fenced: bool,
    /// What this boot says of its log counts for nothing: learners here stay learners.
    pub distrusted: bool,
    /// The latest block granted to it, in this boot or an earlier one.
    pub producer_ids: Option<ProducerIdBlock>,
}

/// A start of a shard, on the journal of that random id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boot {
    pub journal: u64,
    pub boot: Incarnation,
}

/// Producer ids that one boot of a shard may hand out: what an earlier boot left over is lost,
/// since nobody remembers how much it used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdBlock {
    pub boot: Incarnation,
    pub first: ProducerId,
}

impl Node {
    pub(crate) fn new(registered: NodeRegistered) -> Self {
        let shards = vec![Shard::default(); usize::from(registered.shards)];
        Self { registered, shards }
    }

    #[must_use]
    pub fn id(&self) -> NodeId {
        self.registered.node
    }

    #[must_use]
    pub fn shard(&self, shard: ShardId) -> Option<&Shard> {
        self.shards.get(usize::from(shard.0))
    }

    /// Where each of its shards is, in order.
    pub fn placements(&self) -> impl Iterator<Item = Placement> {
        let node = self.id();
        (0..self.registered.shards).map(move |shard| Placement { node, shard: ShardId(shard) })
    }
}
