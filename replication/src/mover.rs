//! What follows from the state and from leaders' reports: moves that can take their next step,
//! leaders that have handed over, learners that have caught up.
//!
//! Every function here reads a state and says what to propose next; nothing is remembered, so that
//! any control leader goes on where the one before stopped.

use base::{Epoch, NodeId, PartitionId};

use crate::control_message::Reports;
use crate::leadership::{Chosen, HandOver, Opened};
use crate::{ClusterState, Command, Leader, Partition, Placement};

/// The most items in one command, so that it fits an entry.
const ITEMS_MAX: usize = 4_096;

/// The commands that `reports` of leaders amount to in this state. What is old or moot is left out:
/// leaders repeat themselves until the state says so.
#[must_use]
pub fn settle(state: &ClusterState, reports: &Reports) -> Vec<Command> {
    let mut commands = Vec::new();
    let opened = sorted(&reports.opened, |one| one.partition);
    let opened = opened.into_iter().filter(|one| ends_joint(state, one));
    push(&mut commands, opened, |opened| Command::EpochsOpened { opened });

    let caught_up = sorted(&reports.caught_up, |one| one.partition);
    let caught_up = caught_up.into_iter().filter(|one| state.admits_caught_up(one));
    push(&mut commands, caught_up, |caught_up| Command::ReplicasCaughtUp { caught_up });

    let handed_over = sorted(&reports.handed_over, |one| one.partition);
    let (joined, kept): (Vec<_>, Vec<_>) = handed_over
        .into_iter()
        .filter_map(|one| Some((successor(state, &one)?, joins(state, &one))))
        .partition(|(_, joins)| *joins);
    let chosen = |all: Vec<(Chosen, bool)>| all.into_iter().map(|(chosen, _)| chosen);
    push(&mut commands, chosen(kept), |chosen| Command::LeadersHandedOver { chosen });
    push(&mut commands, chosen(joined), |chosen| Command::ReassignmentsJoined { chosen });
    commands
}

/// Drops what has come true, or never will: the rest is to be said again.
pub fn prune(state: &ClusterState, reports: &mut Reports) {
    reports.opened.retain(|one| ends_joint(state, one));
    reports.caught_up.retain(|one| state.admits_caught_up(one));
    reports.handed_over.retain(|one| successor(state, one).is_some());
}

/// The next steps of moves that wait for nothing: new replicas that count from now on under the
/// leader there is, and leaders that must go first.
#[must_use]
pub fn follow_up(state: &ClusterState) -> Vec<Command> {
    let (mut joined, mut wanted) = (Vec::new(), Vec::new());
    for topic in state.topics().iter() {
        for (id, partition) in topic.partition_ids().zip(&topic.partitions) {
            let (Some(moving), Some(leader)) = (partition.reassignment, partition.leader) else {
                continue;
            };
            let stays = moving.target.contains(&leader.placement);
            if stays && partition.is_ready_to_join() {
                joined.push(next(id, partition, leader));
            }
            let goes = !stays && !partition.successor.is_some_and(|to| state.is_up(to));
            let opened = partition.opened == Some(partition.epoch);
            if goes && (partition.is_ready_to_join() || (moving.joint && opened)) {
                let up = |to: &&Placement| state.is_up(**to) && !partition.learners.contains(to);
                if let Some(to) = moving.target.iter().find(up) {
                    wanted.push(HandOver { partition: id, epoch: partition.epoch, to: *to });
                }
            }
        }
    }
    let mut commands = Vec::new();
    push(&mut commands, joined.into_iter(), |chosen| Command::ReassignmentsJoined { chosen });
    push(&mut commands, wanted.into_iter(), |hand_overs| Command::HandOversWanted { hand_overs });
    commands
}

/// Leaders that are to go: those of nodes that leave, those that stopped for a successor that is gone
/// meanwhile, and those whose partition prefers another who is ready. At most `most` at a time.
#[must_use]
pub fn relieve(
    state: &ClusterState,
    leaves: impl Fn(NodeId) -> bool,
    is_ready: impl Fn(Placement) -> bool,
    most: usize,
) -> Vec<Command> {
    let (mut under_way, mut wanted) = (0, Vec::new());
    let is_heir = |to: Placement| state.is_up(to) && !leaves(to.node);
    for topic in state.topics().iter() {
        for (id, partition) in topic.partition_ids().zip(&topic.partitions) {
            let Some(leader) = partition.leader.filter(|_| partition.sole().is_none()) else {
                continue;
            };
            if partition.successor.is_some_and(is_heir) {
                under_way += 1;
                continue;
            }
            let must = partition.successor.is_some() || leaves(leader.placement.node);
            let heir =
                |to: &Placement| *to != leader.placement && partition.counts(*to) && is_heir(*to);
            let preferred = Some(partition.preferred()).filter(heir);
            let to = if must {
                let heirs: Vec<_> = partition.members().filter(heir).collect();
                preferred.or_else(|| heirs.get(id.index as usize % heirs.len().max(1)).copied())
            } else {
                let may = partition.reassignment.is_none();
                preferred.filter(|preferred| may && is_ready(*preferred))
            };
            wanted.extend(to.map(|to| HandOver { partition: id, epoch: partition.epoch, to }));
        }
    }
    let mut commands = Vec::new();
    wanted.truncate(most.saturating_sub(under_way));
    push(&mut commands, wanted.into_iter(), |hand_overs| Command::HandOversWanted { hand_overs });
    commands
}

/// Whether the cluster log waits for this epoch to be opened. Others it need not know of.
fn ends_joint(state: &ClusterState, one: &Opened) -> bool {
    let known = state.topics().partition(one.partition);
    known.is_some_and(|known| {
        known.epoch == one.epoch && known.opened != Some(one.epoch) && known.is_joint()
    })
}

/// The successor of a leader that handed over, as the leader of the next epoch. `None` if the state
/// has gone on.
fn successor(state: &ClusterState, one: &HandOver) -> Option<Chosen> {
    let partition = state.topics().partition(one.partition)?;
    let boot = state.shard(one.to).ok()?.boot?;
    let leads = partition.leader.is_some_and(|leader| leader.placement != one.to);
    let may = leads && partition.epoch == one.epoch && !partition.learners.contains(&one.to);
    let heir = partition.counts(one.to) || joins(state, one);
    let leader = Leader { placement: one.to, boot };
    (may && heir).then(|| next(one.partition, partition, leader))
}

/// Whether the hand-over is the step of a move that makes its new replicas count.
fn joins(state: &ClusterState, one: &HandOver) -> bool {
    state.topics().partition(one.partition).is_some_and(|partition| {
        let target = partition.reassignment.map(|moving| moving.target);
        partition.is_ready_to_join() && target.is_some_and(|target| target.contains(&one.to))
    })
}

fn next(id: PartitionId, partition: &Partition, leader: Leader) -> Chosen {
    let (epoch, config_version) = (Epoch(partition.epoch.0 + 1), partition.config_version);
    Chosen { partition: id, epoch, leader, config_version }
}

/// In the order of `key`, the first of each.
fn sorted<T: Copy, K: Ord>(items: &[T], key: impl Fn(&T) -> K) -> Vec<T> {
    let mut items = items.to_vec();
    items.sort_by_key(&key);
    items.dedup_by(|a, b| key(a) == key(b));
    items
}

fn push<T: Copy>(
    commands: &mut Vec<Command>,
    items: impl Iterator<Item = T>,
    command: impl Fn(Vec<T>) -> Command,
) {
    let items: Vec<T> = items.collect();
    commands.extend(items.chunks(ITEMS_MAX).map(|items| command(items.to_vec())));
}
