//! Who is taken for dead, decided by whoever leads the cluster log.
//!
//! ```text
//!   Heartbeat, any message ─▶ silence of a shard ─ too long ─▶ PreFence to all other nodes
//!                                                                 │ "when did you hear from it?"
//!                             its followers hear it: a quorum ◀───┴───▶ no quorum: ShardFenced
//!                             (then it goes on: only we are deaf)
//!   Died, by its supervisor ───────────────────────────────────────────▶ ShardFenced at once
//!   fenced, and heard again for a while ───────────────────────────────▶ ShardReturned
//! ```
//! A wrong guess costs an election and no record: what a fenced leader still appends is refused.

mod arrivals;
mod health;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use base::{Instant, NodeId, ShardId};

use self::arrivals::Arrivals;
pub use self::health::Health;
use crate::control_message::{Beat, Heartbeat, PreFence, PreFenceAnswer, Slow};
use crate::node::Boot;
use crate::{ClusterState, Command, Partition, Placement, Proposal};

/// How often a node says that its shards live.
pub const HEARTBEAT: Duration = Duration::from_millis(10);
/// The shortest silence that is suspicious.
pub const SUSPECT_MIN: Duration = Duration::from_millis(250);
/// The same on bare metal with cores to spare.
pub const SUSPECT_MIN_BARE_METAL: Duration = Duration::from_millis(100);
/// How long answers to a [`PreFence`] are waited for.
const PRE_FENCE_WAIT: Duration = Duration::from_millis(50);
/// How long a shard that was fenced must be heard from before it counts as returned.
const RETURN_AFTER: Duration = Duration::from_secs(1);
/// How long a shard must be heard from before it is given back what it led before.
const STEADY_AFTER: Duration = Duration::from_secs(1);
/// If this node itself did nothing for so long, it has no right to complain of silence.
const OWN_PAUSE: Duration = Duration::from_millis(50);
/// Own pauses that one silence is forgiven for: a node without enough CPU pauses all the time, and
/// would wait for the dead for ever.
const PARDONS_MAX: u8 = 4;

/// See the module's description.
#[derive(Debug)]
pub struct Detector {
    suspect_min: Duration,
    /// This node leads the cluster log.
    leading: bool,
    nodes: BTreeMap<NodeId, Arrivals>,
    shards: BTreeMap<Placement, Watched>,
    /// Nodes that are about to stop.
    leaving: BTreeSet<NodeId>,
    /// Who led the cluster log before, and when it was heard last: it was missed, and is suspected
    /// without a second wait.
    missed: Option<(NodeId, Instant)>,
    /// Counts questions.
    round: u64,
    last_turn: Option<Instant>,
    orders: VecDeque<Suspicion>,
}

/// What the detector wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Suspicion {
    /// To this node, which may be the own one.
    Ask { to: NodeId, question: PreFence },
    /// To the cluster log. A refusal is no harm: the detector looks again.
    Propose(Command),
}

#[derive(Debug)]
struct Watched {
    boot: Boot,
    /// The last sign of life.
    alive: Instant,
    /// Since when it has been heard without a suspicious silence.
    steady: Instant,
    slow: Slow,
    question: Option<Question>,
    /// Own pauses since it was heard from.
    pardons: u8,
}

/// A suspicion that is being looked into.
#[derive(Debug)]
struct Question {
    round: u64,
    asked: Instant,
    /// Who was asked, and what they said: heard lately or not.
    answers: BTreeMap<NodeId, Option<bool>>,
    settled: bool,
}

impl Detector {
    #[must_use]
    pub fn new(suspect_min: Duration) -> Self {
        Self {
            suspect_min,
            leading: false,
            nodes: BTreeMap::new(),
            shards: BTreeMap::new(),
            leaving: BTreeSet::new(),
            missed: None,
            round: 0,
            last_turn: None,
            orders: VecDeque::new(),
        }
    }

    /// This node leads the cluster log from now on: everyone has as long as ever to be heard, but
    /// for the leader before, which was heard then for the last time.
    pub fn lead(&mut self, missed: Option<(NodeId, Instant)>) {
        self.resign();
        (self.leading, self.missed) = (true, missed);
    }

    /// It does so no more.
    pub fn resign(&mut self) {
        let round = self.round;
        *self = Self { round, ..Self::new(self.suspect_min) };
    }

    /// Any message is a sign of its node's life.
    pub fn heard(&mut self, now: Instant, node: NodeId) {
        self.nodes.entry(node).or_insert_with(|| Arrivals::new(now)).heard(now);
    }

    pub fn heartbeat(&mut self, now: Instant, node: NodeId, heartbeat: &Heartbeat) {
        self.heard(now, node);
        if heartbeat.leaves {
            self.leaving.insert(node);
        } else {
            self.leaving.remove(&node);
        }
        for Beat { shard, boot, silent_ms, slow } in &heartbeat.beats {
            let at = Placement { node, shard: *shard };
            let Some(watched) = self.shards.get_mut(&at).filter(|known| known.boot == *boot) else {
                continue;
            };
            let silent = Duration::from_millis(u64::from(*silent_ms)).as_nanos() as u64;
            let alive = Instant(now.0.saturating_sub(silent));
            if watched.alive < alive {
                (watched.alive, watched.pardons) = (alive, 0);
            }
            watched.slow = *slow;
        }
    }

    /// Takes what `node` knows of a suspect.
    pub fn answered(&mut self, node: NodeId, answer: &PreFenceAnswer) {
        // By the time it is asked for, a death is as long ago as the silence that gave rise to it.
        let lately = self.threshold(answer.suspect.node) / 2;
        let Some(watched) = self.shards.get_mut(&answer.suspect) else { return };
        let Some(question) = watched.question.as_mut() else { return };
        if question.round != answer.round {
            return;
        }
        if let Some(told) = question.answers.get_mut(&node) {
            let within = |ms: u32| Duration::from_millis(u64::from(ms)) <= lately;
            *told = Some(answer.heard_ms.is_some_and(within));
        }
    }

    /// A supervisor saw these boots of `node` die: what they led is to be led by others.
    pub fn died(&mut self, state: &ClusterState, node: NodeId, dead: &[(ShardId, Boot)]) {
        for (shard, boot) in dead {
            let known = state.shard(Placement { node, shard: *shard });
            if known.is_ok_and(|known| known.boot == Some(*boot) && !known.fenced) {
                let (shard, boot) = (*shard, *boot);
                self.propose(Command::ShardFenced { node, shard, boot });
            }
        }
    }

    /// Looks at everyone. `state` is what all proposals so far will have made.
    pub fn turn(&mut self, now: Instant, state: &ClusterState) {
        if !self.leading {
            return;
        }
        self.forgive_own_pause(now);
        self.survey(now, state);
        for at in self.shards.keys().copied().collect::<Vec<_>>() {
            self.look_at(now, state, at);
        }
    }

    /// Whether the node is about to stop.
    #[must_use]
    pub fn is_leaving(&self, node: NodeId) -> bool {
        self.leaving.contains(&node)
    }

    /// Whether the shard has been heard from for a while, and is not known to be slow or to leave.
    #[must_use]
    pub fn is_steady(&self, now: Instant, at: Placement) -> bool {
        let steady = |watched: &Watched| {
            watched.question.is_none()
                && watched.slow == Slow::default()
                && STEADY_AFTER <= now.since(watched.steady)
        };
        !self.is_leaving(at.node) && self.shards.get(&at).is_some_and(steady)
    }

    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        let last = self.last_turn.filter(|_| self.leading)?;
        Some(last.plus(OWN_PAUSE / 2))
    }

    pub fn poll(&mut self) -> Option<Suspicion> {
        self.orders.pop_front()
    }

    /// How the shard is. Only the control leader knows whom it suspects.
    #[must_use]
    pub fn health(&self, state: &ClusterState, at: Placement) -> Health {
        let watched = self.shards.get(&at);
        let learns = |partition: &Partition| partition.learners.contains(&at);
        let mut partitions = state.topics().iter().flat_map(|topic| &topic.partitions);
        match watched {
            _ if !state.is_up(at) => Health::Dead,
            Some(watched) if watched.question.is_some() => Health::Suspect,
            Some(watched) if watched.slow.disk => Health::SlowDisk,
            Some(watched) if watched.slow.net => Health::SlowNet,
            _ if partitions.any(learns) => Health::Learner,
            _ => Health::Healthy,
        }
    }

    /// A node that slept finds everyone silent, and hears from the living right after.
    fn forgive_own_pause(&mut self, now: Instant) {
        let slept = self.last_turn.is_some_and(|last| OWN_PAUSE <= now.since(last));
        self.last_turn = Some(now);
        if slept {
            for watched in self.shards.values_mut() {
                if watched.pardons < PARDONS_MAX {
                    (watched.alive, watched.question) = (now, None);
                    watched.pardons += 1;
                }
            }
        }
    }

    /// Watches exactly the boots that the state knows.
    fn survey(&mut self, now: Instant, state: &ClusterState) {
        self.shards.retain(|at, watched| {
            state.shard(*at).is_ok_and(|shard| shard.boot == Some(watched.boot))
        });
        let missed = self.missed.take();
        for node in state.nodes() {
            for (shard, at) in node.shards.iter().zip(node.placements()) {
                if let Some(boot) = shard.boot {
                    let missed = missed.filter(|(missed, _)| *missed == at.node);
                    let since = missed.map_or(now, |(_, heard)| heard);
                    self.shards.entry(at).or_insert_with(|| Watched::new(since, boot));
                }
            }
        }
    }

    fn threshold(&self, node: NodeId) -> Duration {
        let known = self.nodes.get(&node);
        known.map_or(self.suspect_min, |known| known.suspect_after(self.suspect_min))
    }

    fn look_at(&mut self, now: Instant, state: &ClusterState, at: Placement) {
        let threshold = self.threshold(at.node);
        let fenced = state.shard(at).is_ok_and(|shard| shard.fenced);
        let watched = self.shards.get_mut(&at).expect("the caller lists what is watched");
        let silent = threshold <= now.since(watched.alive);
        if silent {
            watched.steady = now;
        } else {
            watched.question = None;
        }
        let boot = watched.boot;
        let Placement { node, shard } = at;
        match (silent, fenced) {
            (false, true) if RETURN_AFTER <= now.since(watched.steady) => {
                watched.steady = now;
                self.propose(Command::ShardReturned { node, shard, boot });
            }
            (true, false) => match &mut watched.question {
                None => self.ask(now, state, at, boot),
                Some(question) => {
                    if question.may_settle(now) && question.convicts(state, at) {
                        self.propose(Command::ShardFenced { node, shard, boot });
                    } else if (threshold / 2).max(PRE_FENCE_WAIT) <= now.since(question.asked) {
                        self.ask(now, state, at, boot);
                    }
                }
            },
            (false, _) | (true, true) => {}
        }
    }

    fn ask(&mut self, now: Instant, state: &ClusterState, at: Placement, boot: Boot) {
        self.round += 1;
        let question = PreFence { suspect: at, boot, round: self.round };
        let nodes = state.nodes().map(|node| node.id()).filter(|node| *node != at.node);
        let answers: BTreeMap<_, _> = nodes.map(|node| (node, None)).collect();
        let asks = answers.keys().map(|to| Suspicion::Ask { to: *to, question });
        self.orders.extend(asks);
        let watched = self.shards.get_mut(&at).expect("only the watched are suspected");
        watched.question =
            Some(Question { round: self.round, asked: now, answers, settled: false });
    }

    fn propose(&mut self, command: Command) {
        self.orders.push_back(Suspicion::Propose(command));
    }
}

impl Watched {
    fn new(now: Instant, boot: Boot) -> Self {
        Self { boot, alive: now, steady: now, slow: Slow::default(), question: None, pardons: 0 }
    }
}

impl Question {
    /// Whether all that is to be heard was heard, once.
    fn may_settle(&mut self, now: Instant) -> bool {
        let complete = self.answers.values().all(Option::is_some);
        let ready = complete || PRE_FENCE_WAIT <= now.since(self.asked);
        ready && !core::mem::replace(&mut self.settled, ready)
    }

    /// Whether the suspect's followers do not hear it either: too few to commit anything.
    fn convicts(&self, state: &ClusterState, at: Placement) -> bool {
        let hears = |node: NodeId| self.answers.get(&node).copied().flatten() == Some(true);
        let mut leads = false;
        for partition in state.topics().iter().flat_map(|topic| &topic.partitions) {
            let leader = partition.leader.map(|leader| leader.placement);
            if leader != Some(at) || partition.sole().is_some() {
                continue;
            }
            leads = true;
            if !partition.is_quorum(|member| member == at || hears(member.node)) {
                return true;
            }
        }
        !leads && !self.answers.keys().any(|node| hears(*node))
    }
}

/// A detector's or elector's command, as the cluster log takes it.
impl From<Command> for Proposal {
    fn from(command: Command) -> Self {
        Self::Decree(command)
    }
}
