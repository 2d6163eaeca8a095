//! A partition as the cluster knows it: who holds it, who leads it, in which epoch.
//!
//! ```text
//!              ShardFenced, ShardBooted               EpochsOpened
//!   led, epoch e ────────────▶ electing, e + 1 ─LeadersChosen─▶ led, e + 1 ─▶ opened
//!       └──────────LeadersHandedOver, ReassignmentsJoined──────────▲
//!
//!   settled ─ReassignmentsStarted─▶ learning ─ReassignmentsJoined─▶ joint ─EpochsOpened─▶ settled
//!                         │ target joins as learners    │ majorities of old and new
//! ```

use base::{Epoch, PartitionId};

use crate::node::Boot;
use crate::replica::{Assignment, Config};
use crate::{Placement, Replicas};

/// See the module's description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The config in force, preferred leader first.
    pub replicas: Replicas,
    /// Members whose acks and answers count for nothing until they hold what the leader holds: those
    /// that join, and those whose log cannot be proven.
    pub learners: Replicas,
    pub reassignment: Option<Reassignment>,
    /// Counts changes of what a quorum is.
    pub config_version: u32,
    pub epoch: Epoch,
    /// `None` while electing: nobody ever led in `epoch`.
    pub leader: Option<Leader>,
    /// The newest epoch that is known to have been opened at a quorum.
    pub opened: Option<Epoch>,
    /// To whom the leader shall hand over.
    pub successor: Option<Placement>,
    /// The newest epoch in which an operator accepts a leader that may lack committed records.
    pub forced: Option<Epoch>,
}

/// A leader is a boot of a shard: no restart resumes an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leader {
    pub placement: Placement,
    pub boot: Boot,
}

/// A move of a partition to other replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reassignment {
    /// The config to come, preferred leader first.
    pub target: Replicas,
    /// From now on until the epoch is opened, a quorum is a majority of both configs.
    pub joint: bool,
}

impl Partition {
    /// A partition that nobody has led yet.
    #[must_use]
    pub fn new(replicas: Replicas) -> Self {
        Self {
            replicas,
            learners: Replicas::EMPTY,
            reassignment: None,
            config_version: 0,
            epoch: Epoch(0),
            leader: None,
            opened: None,
            successor: None,
            forced: None,
        }
    }

    /// The first of the replicas.
    #[must_use]
    pub fn preferred(&self) -> Placement {
        self.replicas[0]
    }

    /// Everyone who holds it or is to hold it, each once.
    pub fn members(&self) -> impl Iterator<Item = Placement> {
        let target = self.reassignment.map_or(Replicas::EMPTY, |moving| moving.target);
        let replicas = self.replicas;
        let joining = (0..target.len()).map(move |index| target[index]);
        let joining = joining.filter(move |placement| !replicas.contains(placement));
        (0..replicas.len()).map(move |index| replicas[index]).chain(joining)
    }

    #[must_use]
    pub fn has_member(&self, placement: Placement) -> bool {
        self.members().any(|member| member == placement)
    }

    /// The configs in force: two while joint.
    pub fn configs(&self) -> impl Iterator<Item = &[Placement]> {
        let joint = self.reassignment.as_ref().filter(|moving| moving.joint);
        [&self.replicas].into_iter().chain(joint.map(|moving| &moving.target)).map(|own| &**own)
    }

    /// Whether acks and answers of `placement` count.
    #[must_use]
    pub fn counts(&self, placement: Placement) -> bool {
        self.configs().any(|config| config.contains(&placement))
            && !self.learners.contains(&placement)
    }

    /// Whether those for whom `has` holds are a majority of every config in force. Learners stand
    /// in the way: they are part of a config's size and never of its majority.
    #[must_use]
    pub fn is_quorum(&self, has: impl Fn(Placement) -> bool) -> bool {
        self.configs().all(|config| {
            let counted = config.iter().filter(|member| !self.learners.contains(member));
            config.len() / 2 < counted.filter(|member| has(**member)).count()
        })
    }

    /// What a replica of partition `id` must know of it.
    #[must_use]
    pub fn assignment(&self, id: PartitionId, insync_min: u16) -> Assignment {
        let incoming = self.reassignment.filter(|moving| moving.joint);
        // Who has caught up is fed on until it counts: the leader may be waiting to hand over to it.
        let joining = self.reassignment.filter(|moving| !moving.joint).map(|moving| moving.target);
        let joining = joining.as_deref().unwrap_or_default().iter();
        let joining = joining.filter(|placement| {
            !self.replicas.contains(placement) && !self.learners.contains(placement)
        });
        let config = Config {
            version: self.config_version,
            replicas: self.replicas.to_vec(),
            incoming: incoming.map(|moving| moving.target.to_vec()),
            learners: self.learners.iter().chain(joining).copied().collect(),
        };
        let leader = self.leader.map(|leader| (leader.placement, leader.boot));
        Assignment {
            partition: id,
            epoch: self.epoch,
            leader,
            opened: self.opened,
            config,
            insync_min,
        }
    }

    /// The only replica of a partition that has one: it needs nobody's consent to lead.
    #[must_use]
    pub fn sole(&self) -> Option<Placement> {
        match *self.replicas {
            [only] if !self.is_joint() => Some(only),
            _ => None,
        }
    }

    #[must_use]
    pub fn is_joint(&self) -> bool {
        self.reassignment.is_some_and(|moving| moving.joint)
    }

    /// Whether an operator accepts that this election loses records.
    #[must_use]
    pub fn may_lose(&self) -> bool {
        self.forced == Some(self.epoch)
    }

    /// Whether the replicas to come hold what the leader holds.
    #[must_use]
    pub fn is_ready_to_join(&self) -> bool {
        self.reassignment.is_some_and(|moving| {
            !moving.joint && !moving.target.iter().any(|member| self.learners.contains(member))
        })
    }

    /// Begins the next epoch under `leader`, or without one.
    pub(crate) fn enter_epoch(&mut self, leader: Option<Leader>) {
        self.epoch = Epoch(self.epoch.0 + 1);
        self.leader = leader;
        self.successor = None;
    }

    pub(crate) fn start_move(&mut self, target: Replicas) {
        self.cancel_move();
        if self.replicas.is_permutation_of(&target) {
            self.replicas = target;
            return;
        }
        for joining in target.iter().filter(|placement| !self.replicas.contains(placement)) {
            self.learners.add(*joining);
        }
        self.reassignment = Some(Reassignment { target, joint: false });
    }

    /// From now on both configs count.
    pub(crate) fn join(&mut self) {
        let moving = self.reassignment.as_mut().expect("a checked move is under way");
        moving.joint = true;
        self.config_version += 1;
    }

    pub(crate) fn cancel_move(&mut self) {
        let replicas = self.replicas;
        self.reassignment = None;
        self.learners.retain(|placement| replicas.contains(&placement));
        self.successor = self.successor.filter(|to| replicas.contains(to));
    }

    /// Leaves the old config behind if the leader of this epoch stands in the new one.
    pub(crate) fn open(&mut self) {
        self.opened = Some(self.epoch);
        let Some(Reassignment { target, joint: true }) = self.reassignment else { return };
        if self.leader.is_some_and(|leader| target.contains(&leader.placement)) {
            self.replicas = target;
            self.config_version += 1;
            self.cancel_move();
        }
    }
}

#[cfg(test)]
mod tests {
    use base::{NodeId, ShardId, TopicNumber};

    use super::*;

    fn at(node: u16) -> Placement {
        Placement { node: NodeId(node), shard: ShardId(0) }
    }

    fn partition(nodes: &[u16]) -> Partition {
        Partition::new(replicas(nodes))
    }

    fn replicas(nodes: &[u16]) -> Replicas {
        let placements: Vec<_> = nodes.iter().copied().map(at).collect();
        Replicas::new(&placements).unwrap()
    }

    #[test]
    fn a_quorum_is_a_majority_that_no_learner_is_part_of() {
        let mut partition = partition(&[0, 1, 2]);
        assert!(partition.is_quorum(|placement| placement != at(0)));
        assert!(!partition.is_quorum(|placement| placement == at(0)));
        partition.learners = replicas(&[1]);
        assert!(!partition.is_quorum(|placement| placement != at(0)));
        assert!(partition.is_quorum(|placement| placement != at(1)));
        assert!(partition.counts(at(0)) && !partition.counts(at(1)) && !partition.counts(at(7)));
    }

    #[test]
    fn while_joint_both_configs_must_agree() {
        let mut partition = partition(&[0, 1, 2]);
        partition.start_move(replicas(&[2, 3, 4]));
        assert_eq!(partition.members().count(), 5);
        assert_eq!(partition.learners, replicas(&[3, 4]));
        assert!(partition.is_quorum(|placement| placement.node < NodeId(2)), "only the old one");
        partition.learners = Replicas::EMPTY;
        assert!(partition.is_ready_to_join());
        partition.join();
        assert!(!partition.is_quorum(|placement| placement.node < NodeId(2)));
        assert!(!partition.is_quorum(|placement| NodeId(2) < placement.node));
        assert!(partition.is_quorum(|placement| {
            [NodeId(0), NodeId(2), NodeId(4)].contains(&placement.node)
        }));
    }

    #[test]
    fn who_has_caught_up_is_fed_until_it_counts() {
        let id = PartitionId::new(TopicNumber(1), 0);
        let mut partition = partition(&[0, 1, 2]);
        partition.start_move(replicas(&[2, 3, 4]));
        partition.learners.retain(|placement| placement != at(3));
        let config = partition.assignment(id, 1).config;
        assert_eq!((config.members().len(), config.learners), (5, vec![at(4), at(3)]));
        partition.learners = Replicas::EMPTY;
        partition.join();
        let config = partition.assignment(id, 1).config;
        assert_eq!((config.members().len(), config.learners), (5, Vec::new()));
    }

    #[test]
    fn the_old_config_ends_only_under_a_leader_of_the_new_one() {
        let boot = Boot { journal: 1, boot: base::Incarnation(1) };
        let mut partition = partition(&[0, 1]);
        partition.start_move(replicas(&[1, 2]));
        partition.learners = Replicas::EMPTY;
        partition.join();
        partition.enter_epoch(Some(Leader { placement: at(0), boot }));
        partition.open();
        assert!(partition.is_joint() && partition.opened == Some(Epoch(1)));
        partition.enter_epoch(Some(Leader { placement: at(2), boot }));
        partition.open();
        assert_eq!((partition.replicas, partition.reassignment), (replicas(&[1, 2]), None));
    }

    #[test]
    fn a_move_among_the_same_replicas_only_changes_whom_is_preferred() {
        let mut partition = partition(&[0, 1, 2]);
        partition.start_move(replicas(&[2, 0, 1]));
        assert_eq!((partition.preferred(), partition.reassignment), (at(2), None));
        partition.start_move(replicas(&[3, 0, 1]));
        partition.cancel_move();
        assert!(partition.learners.is_empty() && !partition.has_member(at(3)));
    }
}
