//! Where clients are sent who asked the wrong broker: the partition's leader and how it is reached
//! (KIP-951), so that they need no look at metadata in between.

use std::sync::Arc;

use base::{Epoch, Listener, NodeId};
use net::ErrorCode;
use net::api::{fetch, produce};
use replication::{ClusterState, Placement, Topic};

use crate::brokers::{Broker, broker_id, brokers, reachable_leader};
use crate::job::Part;

/// See the module's description. What a client of `listener` is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Redirects<'a> {
    pub(crate) state: &'a ClusterState,
    /// The own one.
    pub(crate) node: NodeId,
    pub(crate) listener: Listener,
}

/// The broker that leads a partition, and its epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leader {
    id: i32,
    epoch: Epoch,
}

impl<'a> Redirects<'a> {
    /// The leader of partition `index` of `topic`, if `part` was refused because it is another, or
    /// of another epoch.
    pub(crate) fn leader(
        &self,
        topic: Option<&Arc<Topic>>,
        index: i32,
        part: &Part,
    ) -> Option<Leader> {
        let code = part.refusal()?;
        if !matches!(code, ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch) {
            return None;
        }
        let partition = topic?.partitions.get(usize::try_from(index).ok()?)?;
        let leader = reachable_leader(self.state, partition)?;
        if code == ErrorCode::NotLeaderOrFollower && self.stands_for(leader) {
            // It was asked, and knows better than the state here that it does not lead any more.
            return None;
        }
        Some(Leader { id: broker_id(self.listener, leader), epoch: partition.epoch })
    }

    /// Whether who asks this listener asks that shard.
    fn stands_for(&self, shard: Placement) -> bool {
        let is_its = match self.listener {
            Listener::Node => true,
            Listener::Core(own) | Listener::Peer(own) => own == shard.shard,
        };
        shard.node == self.node && is_its
    }

    /// The brokers of `leaders`, each once.
    pub(crate) fn endpoints(&self, leaders: impl Iterator<Item = Leader>) -> Vec<Broker<'a>> {
        let mut ids: Vec<i32> = leaders.map(|leader| leader.id).collect();
        if ids.is_empty() {
            return Vec::new();
        }
        ids.sort_unstable();
        let mut known = brokers(self.state, self.listener);
        known.retain(|broker| ids.binary_search(&broker.id).is_ok());
        known
    }
}

/// What a produce response says of a leader; the default says nothing.
pub(crate) fn in_produced(leader: Option<Leader>) -> produce::LeaderIdAndEpoch {
    leader.map_or_else(Default::default, |leader| produce::LeaderIdAndEpoch {
        leader_id: leader.id,
        leader_epoch: leader.epoch.0.cast_signed(),
    })
}

/// What a fetch response says of a leader; the default says nothing.
pub(crate) fn in_fetched(leader: Option<Leader>) -> fetch::LeaderIdAndEpoch {
    leader.map_or_else(Default::default, |leader| fetch::LeaderIdAndEpoch {
        leader_id: leader.id,
        leader_epoch: leader.epoch.0.cast_signed(),
    })
}
