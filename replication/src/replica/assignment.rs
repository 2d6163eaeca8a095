//! What the cluster log says of one partition, as far as a replica of it must know.

use base::{Epoch, PartitionId};

use crate::Placement;
use crate::node::Boot;
use crate::replicas::REPLICAS_MAX;

/// See the module's description. Comes from one version of the cluster's state, which includes
/// the boot of the shard that reads it: else a shard whose disk was replaced could follow a leader
/// that was deposed with its help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    pub partition: PartitionId,
    pub epoch: Epoch,
    /// `None` while electing.
    pub leader: Option<(Placement, Boot)>,
    /// The newest epoch that the cluster log knows to be opened at a quorum.
    pub opened: Option<Epoch>,
    pub config: Config,
    /// Replicas that must hold a record durably before it is answered at acks=all; a majority at
    /// least, whatever stands here.
    pub insync_min: u16,
}

/// Who holds a partition, and whose word counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    pub version: u32,
    /// The replicas in force, preferred leader first.
    pub replicas: Vec<Placement>,
    /// While joint: the replicas to come. A quorum is then a majority of both.
    pub incoming: Option<Vec<Placement>>,
    /// Replicas that are fed but count for nothing: those that join, and those whose log is not
    /// proven. They may stand in `replicas` and `incoming` too, and are part of their size.
    pub learners: Vec<Placement>,
}

impl Config {
    /// Everyone who is to hold the partition, each once.
    #[must_use]
    pub fn members(&self) -> Vec<Placement> {
        let incoming = self.incoming.as_deref().unwrap_or_default();
        let mut members: Vec<Placement> = Vec::with_capacity(self.replicas.len());
        for placement in self.replicas.iter().chain(incoming).chain(&self.learners) {
            if !members.contains(placement) {
                members.push(*placement);
            }
        }
        members
    }

    /// The config to come, as if it stood alone: a known mistake.
    pub(super) fn incoming_alone(&self) -> Self {
        let replicas = self.incoming.clone().unwrap_or_default();
        Self { replicas, incoming: None, ..self.clone() }
    }

    /// The greatest value that a quorum has reached: in each config in force, a majority of its
    /// replicas and at least `count_min` of them. `reached` says how far a replica is, `None` if it
    /// does not count. `None`: no quorum.
    pub fn quorum_of<T: Ord + Copy>(
        &self,
        count_min: u16,
        reached: impl Fn(Placement) -> Option<T>,
    ) -> Option<T> {
        let of = |config: &[Placement]| {
            let majority = config.len() / 2 + 1;
            let mut all = [None; REPLICAS_MAX];
            for (slot, replica) in all.iter_mut().zip(config) {
                *slot = reached(*replica).filter(|_| !self.learners.contains(replica));
            }
            all.sort_unstable_by(|a, b| b.cmp(a));
            all.get(majority.max(usize::from(count_min)) - 1).copied().flatten()
        };
        let own = of(&self.replicas);
        self.incoming.as_ref().map_or(own, |incoming| own.min(of(incoming)))
    }
}

#[cfg(test)]
mod tests {
    use base::{NodeId, ShardId};

    use super::*;

    fn at(node: u16) -> Placement {
        Placement { node: NodeId(node), shard: ShardId(0) }
    }

    fn config(replicas: &[u16]) -> Config {
        Config { replicas: replicas.iter().map(|n| at(*n)).collect(), ..Config::default() }
    }

    fn by_node(values: [Option<u32>; 6]) -> impl Fn(Placement) -> Option<u32> {
        move |placement| values[usize::from(placement.node.0)]
    }

    #[test]
    fn a_quorum_is_a_majority_that_no_learner_is_part_of() {
        let ends = [Some(30), Some(20), Some(10), Some(0), None, None];
        assert_eq!(config(&[0, 1, 2]).quorum_of(1, by_node(ends)), Some(20));
        assert_eq!(config(&[0, 1, 2]).quorum_of(3, by_node(ends)), Some(10));
        assert_eq!(config(&[0]).quorum_of(1, by_node(ends)), Some(30));
        assert_eq!(config(&[0, 1, 2, 3]).quorum_of(1, by_node(ends)), Some(10));
        assert_eq!(config(&[0, 4, 5]).quorum_of(1, by_node(ends)), None);
        let learning = Config { learners: vec![at(1)], ..config(&[0, 1, 2]) };
        assert_eq!(learning.quorum_of(1, by_node(ends)), Some(10));
        assert_eq!(config(&[0, 1]).quorum_of(3, by_node(ends)), None, "more than there are");
    }

    #[test]
    fn while_joint_both_configs_must_agree() {
        let joint = Config { incoming: Some(vec![at(2), at(3), at(4)]), ..config(&[0, 1, 2]) };
        let ends = [Some(30), Some(30), Some(30), None, None, None];
        assert_eq!(joint.quorum_of(1, by_node(ends)), None, "only the old one");
        let ends = [Some(30), Some(20), Some(30), Some(10), None, None];
        assert_eq!(joint.quorum_of(1, by_node(ends)), Some(10));
        assert_eq!(joint.members().len(), 5);
    }
}
