//! What the answers to a fence say: who shall lead, or why nobody can yet.
//!
//! The winner's log must hold every committed record (I7). A committed record is durable on a
//! quorum of its epoch's config, and any two quorums meet; so it is enough to hear a quorum that can
//! prove its logs, and to take the highest (last reign, log end) of them. The last reign is the
//! newest whose opening stands in the log, with or without records (H1).

use core::fmt;

use base::{LogEnd, Offset, PartitionId};

use crate::leadership::Chosen;
use crate::node::Boot;
use crate::replica::{FenceAnswer, Proof};
use crate::{ClusterState, Leader, Mutant, Partition, Placement, Planted};

/// What one replica answered to the fence of the epoch that is to get a leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    pub replica: Placement,
    pub boot: Boot,
    pub answer: FenceAnswer,
}

/// The state of an election.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Lead(Chosen),
    /// An operator allowed it: the leader may lack records.
    LeadUnclean(Chosen, Loss),
    /// More answers are to come, or the grace period of the torn is not over.
    Wait(Shortage),
}

/// Why an election has no winner: nobody knows enough.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shortage {
    /// Have answered and count.
    pub proven: Vec<Placement>,
    /// Have answered and cannot prove that their log is whole.
    pub unproven: Vec<Placement>,
    /// Have not answered.
    pub unheard: Vec<Placement>,
}

/// What an unclean election loses, as far as the answers tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The new leader's log end.
    pub log_end: LogEnd,
    /// The highest offset that a replica knew to be committed: at least what lies between is lost.
    pub known_committed: Offset,
    /// Replicas that did not answer, and may have held more.
    pub unheard: usize,
}

/// How patient an election has been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Torn logs count from now on.
    pub torn_counts: bool,
}

/// Judges the answers to the fence of partition `id` in its epoch. `state` is what the choice will
/// stand behind in the cluster log.
#[must_use]
pub fn judge(
    planted: Planted,
    state: &ClusterState,
    id: PartitionId,
    partition: &Partition,
    answers: &[Answered],
    patience: Patience,
) -> Verdict {
    let current: Vec<&Answered> = answers
        .iter()
        .filter(|one| partition.has_member(one.replica))
        .filter(|one| is_current(planted, state, one))
        .filter(|one| one.answer.view.promised == partition.epoch)
        .collect();
    let all_heard = partition.members().all(|member| current.iter().any(|a| a.replica == member));
    let torn_counts = patience.torn_counts || all_heard;
    let counted: Vec<&Answered> = current
        .iter()
        .copied()
        .filter(|one| counts(planted, partition, one, torn_counts))
        .collect();
    let heard = |placement: Placement| counted.iter().any(|one| one.replica == placement);
    if is_quorum(planted, partition, heard) {
        let best = best(planted, state, partition, &counted).expect("a quorum has members");
        return Verdict::Lead(chosen(id, partition, best));
    }
    if partition.may_lose()
        && torn_counts
        && let Some(best) = best(planted, state, partition, &current)
    {
        return Verdict::LeadUnclean(chosen(id, partition, best), loss(partition, &current, best));
    }
    Verdict::Wait(shortage(partition, &current, &counted))
}

/// Whether the answer is of the boot that the cluster log knows: a log that was replaced since
/// proves nothing of what an earlier one promised (H3, H7).
fn is_current(planted: Planted, state: &ClusterState, one: &Answered) -> bool {
    planted.is(Mutant::ForgetIncarnation)
        || state.shard(one.replica).is_ok_and(|shard| shard.boot == Some(one.boot))
}

/// I8: only proven logs of replicas whose word counts.
fn counts(planted: Planted, partition: &Partition, one: &Answered, torn_counts: bool) -> bool {
    if planted.is(Mutant::ElectUnproven) {
        return true;
    }
    let proven = match one.answer.view.proof {
        Proof::Clean => true,
        Proof::Torn => torn_counts,
        Proof::Suspect | Proof::Rebuilding => false,
    };
    proven && partition.counts(one.replica)
}

fn is_quorum(planted: Planted, partition: &Partition, heard: impl Fn(Placement) -> bool) -> bool {
    let most = |config: &[Placement]| {
        config.len() / 2 < config.iter().filter(|member| heard(**member)).count()
    };
    if planted.is(Mutant::ElectUnproven) {
        return partition.configs().all(most);
    }
    if planted.is(Mutant::ElectByNewConfig)
        && let Some(moving) = partition.reassignment.filter(|moving| moving.joint)
    {
        return most(&moving.target);
    }
    partition.is_quorum(heard)
}

/// The highest log; among equal ones a shard that is not taken for dead, one that stays, and the
/// one that is preferred.
fn best<'a>(
    planted: Planted,
    state: &ClusterState,
    partition: &Partition,
    answers: &[&'a Answered],
) -> Option<&'a Answered> {
    let order = preference(partition);
    let rank = |one: &Answered| {
        let reach = if planted.is(Mutant::ElectLongest) { None } else { one.answer.last_epoch };
        let fenced = state.shard(one.replica).is_ok_and(|shard| shard.fenced);
        let place = order.iter().position(|placement| *placement == one.replica);
        (reach, one.answer.view.log_end, !fenced, core::cmp::Reverse(place))
    };
    answers.iter().copied().max_by_key(|one| rank(one))
}

/// Members by how welcome they are as leaders.
fn preference(partition: &Partition) -> Vec<Placement> {
    let target = partition.reassignment.map(|moving| moving.target);
    let mut order: Vec<Placement> = target.iter().flat_map(|target| target.to_vec()).collect();
    order.extend(partition.members());
    order
}

fn chosen(id: PartitionId, partition: &Partition, best: &Answered) -> Chosen {
    Chosen {
        partition: id,
        epoch: partition.epoch,
        leader: Leader { placement: best.replica, boot: best.boot },
        config_version: partition.config_version,
    }
}

fn loss(partition: &Partition, current: &[&Answered], best: &Answered) -> Loss {
    let known = current.iter().map(|one| one.answer.view.committed.0).max();
    Loss {
        log_end: best.answer.view.log_end,
        known_committed: known.unwrap_or_default(),
        unheard: partition.members().count() - current.len(),
    }
}

fn shortage(partition: &Partition, current: &[&Answered], counted: &[&Answered]) -> Shortage {
    let mut shortage = Shortage::default();
    for member in partition.members() {
        let among = |answers: &[&Answered]| answers.iter().any(|one| one.replica == member);
        if among(counted) {
            shortage.proven.push(member);
        } else if among(current) {
            shortage.unproven.push(member);
        } else {
            shortage.unheard.push(member);
        }
    }
    shortage
}

impl Loss {
    /// Records that are lost for certain.
    #[must_use]
    pub fn records_min(&self) -> u64 {
        self.known_committed.0.saturating_sub(self.log_end.0.0)
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = |placements: &[Placement]| {
            let names = placements.iter().map(|at| format!("{}/{}", at.node, at.shard));
            names.collect::<Vec<_>>().join(", ")
        };
        write!(f, "no quorum can prove what was committed")?;
        if !self.unheard.is_empty() {
            write!(f, "; not heard: {}", nodes(&self.unheard))?;
        }
        if !self.unproven.is_empty() {
            write!(f, "; cannot prove their logs: {}", nodes(&self.unproven))?;
        }
        Ok(())
    }
}
