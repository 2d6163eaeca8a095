//! The rules of who may lead and what may count: I1, and the steps of a move.

use base::{Epoch, NodeId, PartitionId, ShardId};

use crate::leadership::{CaughtUp, Chosen, HandOver, Item, Move, Opened};
use crate::node::Boot;
use crate::{ClusterState, Command, Leader, Partition, Placement, Rejected, Replicas, Shard};

/// Kafka's epochs are signed.
const EPOCH_MAX: Epoch = Epoch(i32::MAX as u32);

impl ClusterState {
    /// Holds the commands about leaders and replicas to their rules.
    pub(super) fn check_leadership(&self, command: &Command) -> Result<(), Rejected> {
        match command {
            Command::ShardFenced { node, shard, boot }
            | Command::ShardReturned { node, shard, boot } => {
                self.check_current(Placement { node: *node, shard: *shard }, *boot).map(|_| ())
            }
            Command::ShardDistrusted { node, shard } => {
                self.shard(Placement { node: *node, shard: *shard }).map(|_| ())
            }
            Command::LeadersChosen { chosen } => check_each(chosen, |one| self.check_chosen(one)),
            Command::LeadersHandedOver { chosen } => {
                check_each(chosen, |one| self.check_handed_over(one))
            }
            Command::UncleanElectionsAllowed { elections } => {
                check_each(elections, |one| self.check_electing(one.partition, one.epoch))
            }
            Command::UncleanLeadersChosen { chosen } => {
                check_each(chosen, |one| self.check_forced(one))
            }
            Command::EpochsOpened { opened } => check_each(opened, |one| self.check_opened(one)),
            Command::ReassignmentsStarted { moves } => {
                check_each(moves, |one| self.check_move(one))
            }
            Command::ReassignmentsCancelled { partitions } => {
                check_each(partitions, |one| self.check_cancel(*one))
            }
            Command::ReassignmentsJoined { chosen } => {
                check_each(chosen, |one| self.check_joined(one))
            }
            Command::ReplicasCaughtUp { caught_up } => {
                check_each(caught_up, |one| self.check_caught_up(one))
            }
            Command::HandOversWanted { hand_overs } => {
                check_each(hand_overs, |one| self.check_hand_over(one))
            }
            other => panic!("{other:?} is not about leaders"),
        }
    }

    /// The replicas of one partition: each on a node of its own that exists.
    pub(super) fn check_replicas(&self, replicas: &Replicas) -> Result<(), Rejected> {
        if replicas.is_empty() {
            return Err(Rejected::Replicas);
        }
        for (index, placement) in replicas.iter().enumerate() {
            self.shard(*placement)?;
            if replicas[..index].iter().any(|other| other.node == placement.node) {
                return Err(Rejected::SameNode(placement.node));
            }
        }
        Ok(())
    }

    pub(crate) fn partition(&self, id: PartitionId) -> Result<&Partition, Rejected> {
        self.topics().partition(id).ok_or(Rejected::NoPartition(id))
    }

    fn check_current(&self, at: Placement, boot: Boot) -> Result<&Shard, Rejected> {
        let shard = self.shard(at)?;
        if shard.boot == Some(boot) { Ok(shard) } else { Err(not_current(at.node, at.shard)) }
    }

    /// The partition is without a leader in this very epoch.
    fn check_electing(&self, id: PartitionId, epoch: Epoch) -> Result<(), Rejected> {
        let partition = self.partition(id)?;
        check_epoch(id, partition.epoch, epoch)?;
        partition.leader.map_or(Ok(()), |_| Err(Rejected::EpochTaken(id)))
    }

    /// The partition has a leader in this very epoch.
    fn check_led(&self, id: PartitionId, epoch: Epoch) -> Result<(&Partition, Leader), Rejected> {
        let partition = self.partition(id)?;
        check_epoch(id, partition.epoch, epoch)?;
        let leader = partition.leader.ok_or(Rejected::NoLeader(id))?;
        Ok((partition, leader))
    }

    fn check_chosen(&self, chosen: &Chosen) -> Result<(), Rejected> {
        self.check_electing(chosen.partition, chosen.epoch)?;
        let at = chosen.leader.placement;
        self.check_candidate(chosen, |partition| partition.counts(at))
    }

    fn check_forced(&self, chosen: &Chosen) -> Result<(), Rejected> {
        self.check_electing(chosen.partition, chosen.epoch)?;
        let at = chosen.leader.placement;
        self.check_candidate(chosen, |partition| partition.may_lose() && partition.has_member(at))
    }

    /// The epoch follows one with a leader: nobody can have been elected in between.
    fn check_handed_over(&self, chosen: &Chosen) -> Result<(), Rejected> {
        let id = chosen.partition;
        let partition = self.partition(id)?;
        let leader = partition.leader.ok_or(Rejected::NoLeader(id))?;
        check_epoch(id, next(partition.epoch), chosen.epoch)?;
        let at = chosen.leader.placement;
        if leader.placement == at {
            return Err(Rejected::LeadsAlready { partition: id, at });
        }
        self.check_candidate(chosen, |partition| partition.counts(at))
    }

    fn check_joined(&self, chosen: &Chosen) -> Result<(), Rejected> {
        let id = chosen.partition;
        let partition = self.partition(id)?;
        partition.leader.ok_or(Rejected::NoLeader(id))?;
        check_epoch(id, next(partition.epoch), chosen.epoch)?;
        let moving = partition.reassignment.ok_or(Rejected::NoReassignment(id))?;
        if !partition.is_ready_to_join() {
            return Err(if moving.joint { Rejected::Joint(id) } else { Rejected::NotCaughtUp(id) });
        }
        let at = chosen.leader.placement;
        self.check_candidate(chosen, |_| moving.target.contains(&at))
    }

    fn check_candidate(
        &self,
        chosen: &Chosen,
        may_lead: impl Fn(&Partition) -> bool,
    ) -> Result<(), Rejected> {
        let (id, at) = (chosen.partition, chosen.leader.placement);
        let partition = self.partition(id)?;
        let (known, proposed) = (partition.config_version, chosen.config_version);
        if known != proposed {
            return Err(Rejected::ConfigVersion { partition: id, known, proposed });
        }
        if EPOCH_MAX < chosen.epoch {
            return Err(Rejected::Epoch {
                partition: id,
                known: EPOCH_MAX,
                proposed: chosen.epoch,
            });
        }
        if !may_lead(partition) {
            return Err(Rejected::NoProvenReplica { partition: id, at });
        }
        self.check_current(at, chosen.leader.boot).map(|_| ())
    }

    fn check_opened(&self, opened: &Opened) -> Result<(), Rejected> {
        self.check_led(opened.partition, opened.epoch).map(|_| ())
    }

    fn check_move(&self, one: &Move) -> Result<(), Rejected> {
        if self.partition(one.partition)?.is_joint() {
            return Err(Rejected::Joint(one.partition));
        }
        self.check_replicas(&one.target)
    }

    fn check_cancel(&self, id: PartitionId) -> Result<(), Rejected> {
        match self.partition(id)?.reassignment {
            None => Err(Rejected::NoReassignment(id)),
            Some(moving) if moving.joint => Err(Rejected::Joint(id)),
            Some(_) => Ok(()),
        }
    }

    pub(crate) fn admits_caught_up(&self, one: &CaughtUp) -> bool {
        self.check_caught_up(one).is_ok()
    }

    fn check_caught_up(&self, one: &CaughtUp) -> Result<(), Rejected> {
        let (partition, _) = self.check_led(one.partition, one.epoch)?;
        let Placement { node, shard } = one.replica;
        let distrusted = self.check_current(one.replica, one.boot)?.distrusted;
        if distrusted || !partition.learners.contains(&one.replica) {
            return Err(not_current(node, shard));
        }
        Ok(())
    }

    fn check_hand_over(&self, one: &HandOver) -> Result<(), Rejected> {
        let (id, at) = (one.partition, one.to);
        let (partition, leader) = self.check_led(id, one.epoch)?;
        if leader.placement == at {
            return Err(Rejected::LeadsAlready { partition: id, at });
        }
        if !partition.has_member(at) || partition.learners.contains(&at) {
            return Err(Rejected::NoProvenReplica { partition: id, at });
        }
        Ok(())
    }
}

/// Each partition once, in order: two items for one partition would each be held to a state that
/// the other changes.
fn check_each<T: Item>(
    items: &[T],
    check: impl FnMut(&T) -> Result<(), Rejected>,
) -> Result<(), Rejected> {
    let rises = |pair: &[T]| pair[0].partition() < pair[1].partition();
    if items.is_empty() || !items.windows(2).all(rises) {
        return Err(Rejected::Unordered);
    }
    items.iter().try_for_each(check)
}

fn check_epoch(partition: PartitionId, known: Epoch, proposed: Epoch) -> Result<(), Rejected> {
    if known == proposed {
        return Ok(());
    }
    Err(Rejected::Epoch { partition, known, proposed })
}

fn next(epoch: Epoch) -> Epoch {
    Epoch(epoch.0 + 1)
}

fn not_current(node: NodeId, shard: ShardId) -> Rejected {
    Rejected::NotCurrent { node, shard }
}
