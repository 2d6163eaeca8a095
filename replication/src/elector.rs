//! Elections of partition leaders, run by whoever leads the cluster log.
//!
//! ```text
//!   state: no leader in epoch e ─▶ one Fence per shard that holds such partitions
//!                                    │ answers: the logs as of the promise
//!                                    ▼
//!                             a quorum proves its logs? ─no─▶ wait; after a while: halted, loudly
//!                                    │ yes
//!                                    ▼
//!                             LeadersChosen (its replication is the announcement)
//! ```
//! The elector remembers nothing that matters: a new control leader finds the partition still
//! without a leader and fences the same epoch again. Fences are sent for what is committed;
//! choices are made against what has been proposed, since they will stand behind it in the log.

mod verdict;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use base::{Epoch, Instant, NodeId, PartitionId};

pub use self::verdict::{Answered, Loss, Patience, Shortage, Verdict, judge};
use crate::control_message::{FENCE_PARTITIONS_MAX, Fence, FenceAnswers};
use crate::leadership::Chosen;
use crate::node::Boot;
use crate::{ClusterState, Command, LogIndex, Partition, Placement, Planted, Term};

/// How long an answer to a fence is waited for before it is asked for again; twice as long each
/// time, up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(1);
/// How long the unheard are waited for before a torn log counts.
const TORN_GRACE: Duration = Duration::from_secs(2);
/// How long an election may take before its partition is called halted.
const HALT_AFTER: Duration = Duration::from_secs(5);
/// The most leaders in one command, so that it fits an entry.
const CHOSEN_MAX: usize = 4_096;

/// See the module's description.
#[derive(Debug, Default)]
pub struct Elector {
    planted: Planted,
    /// Of this node's reign over the cluster log, while it lasts.
    term: Option<Term>,
    elections: BTreeMap<PartitionId, Election>,
    /// Shards that owe answers.
    asked: BTreeMap<Placement, Asked>,
    /// Elections to be judged anew.
    dirty: BTreeSet<PartitionId>,
    /// The versions that were surveyed last: committed and proposed.
    surveyed: Option<(LogIndex, LogIndex)>,
    orders: VecDeque<Order>,
}

/// What the elector wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    Fence {
        to: NodeId,
        fence: Fence,
    },
    /// To the cluster log. A refusal is no harm: the elector looks again.
    Propose(Command),
    /// For operators: the partition stands still until more replicas are heard.
    Halted {
        partition: PartitionId,
        epoch: Epoch,
        shortage: Shortage,
    },
    /// For operators: the election that they forced has lost records.
    Lost {
        chosen: Chosen,
        loss: Loss,
    },
}

#[derive(Debug)]
struct Election {
    epoch: Epoch,
    since: Instant,
    /// When it was judged last.
    looked: Instant,
    answers: Vec<Answered>,
    /// It was proposed at this time, and is not in the log yet.
    proposed: Option<Instant>,
    /// An operator has been told.
    halted: Option<Shortage>,
}

/// A shard that was fenced.
#[derive(Debug)]
struct Asked {
    boot: Boot,
    due: Instant,
    wait: Duration,
    unanswered: BTreeSet<PartitionId>,
}

impl Elector {
    #[must_use]
    pub fn new(planted: Planted) -> Self {
        Self { planted, ..Self::default() }
    }

    /// This node leads the cluster log from now on.
    pub fn lead(&mut self, term: Term) {
        self.resign();
        self.term = Some(term);
    }

    /// It does so no more.
    pub fn resign(&mut self) {
        *self = Self::new(self.planted);
    }

    #[must_use]
    pub fn is_leading(&self) -> bool {
        self.term.is_some()
    }

    /// A link to `node` stands anew: whatever was on the old one is asked again at once.
    pub fn peer_up(&mut self, now: Instant, node: NodeId) {
        for (_, asked) in self.asked.iter_mut().filter(|(placement, _)| placement.node == node) {
            (asked.due, asked.wait) = (now, RETRY_MIN);
        }
    }

    /// Takes what a shard of `node` answered.
    pub fn answered(&mut self, node: NodeId, answers: FenceAnswers) {
        if self.term != Some(answers.term) {
            return;
        }
        let replica = Placement { node, shard: answers.shard };
        let boot = answers.boot;
        for answer in answers.answers {
            let id = answer.partition;
            let Some(election) = self.elections.get_mut(&id) else { continue };
            if answer.view.promised != election.epoch {
                continue;
            }
            election.answers.retain(|one| one.replica != replica);
            election.answers.push(Answered { replica, boot, answer });
            self.dirty.insert(id);
            if let Some(asked) = self.asked.get_mut(&replica).filter(|asked| asked.boot == boot) {
                asked.unanswered.remove(&id);
            }
        }
    }

    /// Goes on with all elections. `proposed` is what all proposals so far will have made.
    pub fn turn(&mut self, now: Instant, committed: &ClusterState, proposed: &ClusterState) {
        let Some(term) = self.term else { return };
        let versions = (committed.version(), proposed.version());
        if self.surveyed != Some(versions) {
            self.surveyed = Some(versions);
            self.survey(now, committed, proposed);
        }
        self.wake_impatient(now);
        self.judge_dirty(now, proposed);
        self.send_fences(now, term, committed);
    }

    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        let fences = self.asked.values().filter(|asked| !asked.unanswered.is_empty());
        let fences = fences.map(|asked| asked.due).min();
        let elections = self.elections.values().filter_map(Election::next_look).min();
        [fences, elections].into_iter().flatten().min()
    }

    pub fn poll(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// Partitions that nobody leads, and since when.
    pub fn elections(&self) -> impl Iterator<Item = (PartitionId, Instant)> {
        self.elections.iter().map(|(id, election)| (*id, election.since))
    }

    /// Partitions that stand still, and why.
    pub fn halted(&self) -> impl Iterator<Item = (PartitionId, &Shortage)> {
        self.elections.iter().filter_map(|(id, election)| Some((*id, election.halted.as_ref()?)))
    }

    /// Brings elections and questions in line with the state.
    fn survey(&mut self, now: Instant, committed: &ClusterState, proposed: &ClusterState) {
        let mut open = BTreeMap::new();
        for topic in committed.topics().iter() {
            for (id, partition) in topic.partition_ids().zip(&topic.partitions) {
                let electing = partition.leader.is_none() && partition.sole().is_none();
                let same =
                    |other: &&Partition| other.leader.is_none() && other.epoch == partition.epoch;
                if electing && let Some(partition) = proposed.topics().partition(id).filter(same) {
                    open.insert(id, partition);
                }
            }
        }
        self.elections.retain(|id, election| {
            open.get(id).is_some_and(|partition| partition.epoch == election.epoch)
        });
        for asked in self.asked.values_mut() {
            asked.unanswered.retain(|id| self.elections.contains_key(id));
        }
        for (id, partition) in open {
            let election = Election::new(now, partition.epoch);
            self.elections.entry(id).or_insert(election);
            self.dirty.insert(id);
            for member in partition.members() {
                if let Ok(Some(boot)) = committed.shard(member).map(|shard| shard.boot) {
                    self.ask(now, id, member, boot);
                }
            }
        }
    }

    /// Fences `member`, unless this boot of it has answered or owes an answer already.
    fn ask(&mut self, now: Instant, id: PartitionId, member: Placement, boot: Boot) {
        let answers = self.elections.get(&id).map(|election| &election.answers);
        let known = |one: &Answered| one.replica == member && one.boot == boot;
        if answers.is_some_and(|answers| answers.iter().any(known)) {
            return;
        }
        let fresh = Asked { boot, due: now, wait: RETRY_MIN, unanswered: BTreeSet::new() };
        let asked = self.asked.entry(member).or_insert(fresh);
        if asked.boot != boot {
            asked.boot = boot;
            (asked.due, asked.wait) = (now, RETRY_MIN);
        }
        if asked.unanswered.insert(id) {
            (asked.due, asked.wait) = (now, RETRY_MIN);
        }
    }

    /// Elections whose patience is over are judged although nothing new was heard.
    fn wake_impatient(&mut self, now: Instant) {
        let due = |election: &Election| election.next_look().is_some_and(|at| at <= now);
        let due = self.elections.iter().filter(|(_, election)| due(election));
        self.dirty.extend(due.map(|(id, _)| *id));
    }

    fn judge_dirty(&mut self, now: Instant, proposed: &ClusterState) {
        let (mut clean, mut unclean) = (Vec::new(), Vec::new());
        for id in core::mem::take(&mut self.dirty) {
            let Some(election) = self.elections.get_mut(&id) else { continue };
            let Some(partition) = proposed.topics().partition(id) else { continue };
            if election.is_underway(now) {
                continue;
            }
            (election.looked, election.proposed) = (now, None);
            let patience = Patience { torn_counts: TORN_GRACE <= now.since(election.since) };
            let answers = &election.answers;
            match judge(self.planted, proposed, id, partition, answers, patience) {
                Verdict::Lead(chosen) => {
                    election.proposed = Some(now);
                    clean.push(chosen);
                }
                Verdict::LeadUnclean(chosen, loss) => {
                    election.proposed = Some(now);
                    unclean.push(chosen);
                    self.orders.push_back(Order::Lost { chosen, loss });
                }
                Verdict::Wait(shortage) => {
                    let epoch = election.epoch;
                    if election.halts(now, &shortage) {
                        self.orders.push_back(Order::Halted { partition: id, epoch, shortage });
                    }
                }
            }
        }
        let clean = clean.chunks(CHOSEN_MAX).map(|chosen| chosen.to_vec());
        let clean = clean.map(|chosen| Command::LeadersChosen { chosen });
        let unclean = unclean.chunks(CHOSEN_MAX).map(|chosen| chosen.to_vec());
        let unclean = unclean.map(|chosen| Command::UncleanLeadersChosen { chosen });
        self.orders.extend(clean.chain(unclean).map(Order::Propose));
    }

    fn send_fences(&mut self, now: Instant, term: Term, committed: &ClusterState) {
        for (placement, asked) in &mut self.asked {
            if asked.unanswered.is_empty() || now < asked.due {
                continue;
            }
            asked.due = now.plus(asked.wait);
            asked.wait = (asked.wait * 2).min(RETRY_MAX);
            let promise =
                |id: &PartitionId| self.elections.get(id).map(|election| (*id, election.epoch));
            let promises: Vec<_> = asked.unanswered.iter().filter_map(promise).collect();
            for promises in promises.chunks(FENCE_PARTITIONS_MAX) {
                let fence = Fence {
                    term,
                    index: committed.version(),
                    shard: placement.shard,
                    fenced: fenced(committed),
                    promises: promises.to_vec(),
                };
                self.orders.push_back(Order::Fence { to: placement.node, fence });
            }
        }
    }
}

impl Election {
    fn new(now: Instant, epoch: Epoch) -> Self {
        let answers = Vec::new();
        Self { epoch, since: now, looked: now, answers, proposed: None, halted: None }
    }

    /// A choice was proposed lately: it stands in the log soon, or is lost with its proposer.
    fn is_underway(&self, now: Instant) -> bool {
        self.proposed.is_some_and(|at| now.since(at) < RETRY_MAX)
    }

    /// Whether to tell an operator: the first time, and when the reason has changed.
    fn halts(&mut self, now: Instant, shortage: &Shortage) -> bool {
        let late = HALT_AFTER <= now.since(self.since);
        if !late || self.halted.as_ref() == Some(shortage) {
            return false;
        }
        self.halted = Some(shortage.clone());
        true
    }

    /// When to judge it again though nothing is heard.
    fn next_look(&self) -> Option<Instant> {
        if let Some(proposed) = self.proposed {
            return Some(proposed.plus(RETRY_MAX));
        }
        let moments = [self.since.plus(TORN_GRACE), self.since.plus(HALT_AFTER)];
        moments.into_iter().find(|moment| self.looked < *moment)
    }
}

/// Boots that are taken for dead.
fn fenced(state: &ClusterState) -> Vec<(Placement, Boot)> {
    let shards = state.nodes().flat_map(|node| node.shards.iter().zip(node.placements()));
    let fenced = shards.filter(|(shard, _)| shard.fenced);
    fenced.filter_map(|(shard, placement)| Some((placement, shard.boot?))).collect()
}
