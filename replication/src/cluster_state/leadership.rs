//! What commands about leaders and replicas change. The rules have let them pass.

use base::{NodeId, PartitionId, ShardId};

use crate::leadership::Chosen;
use crate::node::Boot;
use crate::{ClusterState, Command, Leader, Partition, Placement};

impl ClusterState {
    pub(super) fn apply_leadership(&mut self, command: &Command) {
        match command {
            Command::ShardFenced { node, shard, boot } => self.fence(*node, *shard, *boot),
            Command::ShardReturned { node, shard, .. } => {
                self.shard_mut(Placement { node: *node, shard: *shard }).fenced = false;
            }
            Command::ShardDistrusted { node, shard } => {
                let placement = Placement { node: *node, shard: *shard };
                self.shard_mut(placement).distrusted = true;
                self.distrust(placement);
            }
            Command::LeadersChosen { chosen } => self.choose(chosen, |partition, leader| {
                partition.leader = Some(leader);
                partition.forced = partition.forced.filter(|forced| *forced != partition.epoch);
            }),
            Command::UncleanLeadersChosen { chosen } => self.choose(chosen, |partition, leader| {
                partition.leader = Some(leader);
                partition.learners.retain(|learner| learner != leader.placement);
            }),
            Command::LeadersHandedOver { chosen } => {
                self.choose(chosen, |partition, leader| partition.enter_epoch(Some(leader)));
            }
            Command::ReassignmentsJoined { chosen } => self.choose(chosen, |partition, leader| {
                partition.join();
                partition.enter_epoch(Some(leader));
            }),
            Command::UncleanElectionsAllowed { elections } => {
                for one in elections {
                    self.partition_mut(one.partition).forced = Some(one.epoch);
                }
            }
            Command::EpochsOpened { opened } => {
                for one in opened {
                    self.reshape(one.partition, Partition::open);
                }
            }
            Command::ReassignmentsStarted { moves } => {
                for one in moves {
                    self.reshape(one.partition, |partition| partition.start_move(one.target));
                }
            }
            Command::ReassignmentsCancelled { partitions } => {
                for id in partitions {
                    self.reshape(*id, Partition::cancel_move);
                }
            }
            Command::ReplicasCaughtUp { caught_up } => {
                for one in caught_up {
                    let partition = self.partition_mut(one.partition);
                    partition.learners.retain(|learner| learner != one.replica);
                }
            }
            Command::HandOversWanted { hand_overs } => {
                for one in hand_overs {
                    self.partition_mut(one.partition).successor = Some(one.to);
                }
            }
            other => panic!("{other:?} is not about leaders"),
        }
    }

    /// A shard has started: what it led is led by nobody, what it holds alone it leads.
    pub(super) fn boot(&mut self, placement: Placement, boot: Boot) {
        let shard = self.shard_mut(placement);
        let replaced = shard.boot.is_some_and(|known| known.journal != boot.journal);
        shard.boot = Some(boot);
        (shard.fenced, shard.distrusted) = (false, false);
        if replaced {
            self.distrust(placement);
        }
        let leader = Leader { placement, boot };
        let leads = |partition: &Partition| partition.leader.map(|one| one.placement);
        self.topics.change_each(
            |partition| partition.sole() == Some(placement) || leads(partition) == Some(placement),
            |partition| {
                let alone = partition.sole() == Some(placement);
                partition.enter_epoch(alone.then_some(leader));
            },
        );
    }

    /// A partition that nobody has led yet, led by its first replica that runs.
    pub(super) fn newborn(&self, mut partition: Partition) -> Partition {
        let alone = partition.sole().is_some();
        partition.leader = partition.replicas.iter().find_map(|placement| {
            let shard = self.shard(*placement).ok()?;
            let boot = shard.boot.filter(|_| alone || !shard.fenced)?;
            Some(Leader { placement: *placement, boot })
        });
        partition
    }

    /// Counts the replicas of a partition in or out of the loads of their shards.
    pub(super) fn count(&mut self, partition: &Partition, weigh: impl Fn(&mut u32)) {
        for member in partition.members() {
            weigh(&mut self.shard_mut(member).partitions);
        }
        weigh(&mut self.shard_mut(partition.preferred()).preferred);
    }

    fn fence(&mut self, node: NodeId, shard: ShardId, boot: Boot) {
        let placement = Placement { node, shard };
        self.shard_mut(placement).fenced = true;
        let fenced = Some(Leader { placement, boot });
        self.topics.change_each(
            // What nobody else holds nobody else can lead.
            |partition| partition.leader == fenced && partition.sole().is_none(),
            |partition| partition.enter_epoch(None),
        );
    }

    fn distrust(&mut self, placement: Placement) {
        self.topics.change_each(
            |partition| partition.has_member(placement) && partition.sole() != Some(placement),
            |partition| {
                partition.learners.add(placement);
                partition.successor = partition.successor.filter(|to| *to != placement);
            },
        );
    }

    fn choose(&mut self, chosen: &[Chosen], begin: impl Fn(&mut Partition, Leader)) {
        for one in chosen {
            begin(self.partition_mut(one.partition), one.leader);
        }
    }

    /// Changes who the members of a partition are.
    fn reshape(&mut self, id: PartitionId, change: impl FnOnce(&mut Partition)) {
        let before = *self.partition_mut(id);
        let partition = self.partition_mut(id);
        change(partition);
        let after = *partition;
        self.count(&before, |load| *load -= 1);
        self.count(&after, |load| *load += 1);
    }

    fn partition_mut(&mut self, id: PartitionId) -> &mut Partition {
        let topic = self.topics.get_mut(id.topic).expect("a checked topic exists");
        &mut topic.partitions[id.index as usize]
    }
}
