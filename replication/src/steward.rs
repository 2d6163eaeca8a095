//! What a control core does about partitions beside keeping the cluster log: it tells the control
//! leader how its shards are and what its leaders have done, and passes fences on; if it is the
//! control leader itself, it detects, elects and moves.
//!
//! ```text
//!   own shards ─ beat, heard, report, fenced ─▶ Steward ─▶ Fence ─▶ own shards
//!   other nodes ◀──────── ControlMessage ─────▶   │
//!                                                 └─▶ Propose ─▶ cluster log
//! ```

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use base::{Instant, NodeId, ShardId};

use crate::control_message::{
    Beat, Fence, FenceAnswers, Heartbeat, PreFence, PreFenceAnswer, REPORTS_MAX, Reports, Slow,
};
use crate::detector::{HEARTBEAT, Suspicion};
use crate::echoes::Echoes;
use crate::elector::Order;
use crate::leadership::{CaughtUp, HandOver, Opened};
use crate::node::Boot;
use crate::{
    ClusterState, Command, ControlMessage, Detector, Elector, LogIndex, Placement, Planted, Term,
    mover,
};

/// How long leaders wait for the cluster log before they repeat themselves.
const REPEAT: Duration = Duration::from_millis(100);
/// Partitions that change their leader by hand-over at a time, so that each is held up shortly.
const HAND_OVERS_MAX: usize = 64;

/// See the module's description.
#[derive(Debug)]
pub struct Steward {
    me: NodeId,
    pub elector: Elector,
    pub detector: Detector,
    role: Role,
    shards: BTreeMap<ShardId, OwnShard>,
    /// When shards of this node last heard from shards of others.
    hearsay: BTreeMap<Placement, (Boot, Instant)>,
    reports: Reports,
    /// When nodes were heard last, by any message.
    heard: BTreeMap<NodeId, Instant>,
    /// Who led the cluster log before this node knew of nobody, or of itself.
    followed: Option<NodeId>,
    /// Boots that supervisors saw die, while this node did not lead: whoever leads next must know.
    deaths: BTreeMap<Placement, Boot>,
    /// This node is about to stop.
    leaves: bool,
    echoes: Echoes,
    /// Who fenced in this term.
    fencer: Option<(Term, NodeId)>,
    next_beat: Instant,
    next_report: Instant,
    /// The proposed state whose moves were looked at last.
    moved: Option<LogIndex>,
    /// When leaders are looked at again though the state is the same.
    next_relief: Instant,
    outputs: VecDeque<Stewarding>,
}

/// What this node is to the cluster log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Leads(Term),
    Follows(NodeId),
    /// Nobody leads, as far as is known.
    Alone,
}

/// What the steward wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stewarding {
    Send {
        to: NodeId,
        message: ControlMessage,
    },
    /// To an own shard; [`Steward::fenced`] takes the answer.
    Fence(Fence),
    /// To the cluster log, which this node leads. A refusal is no harm.
    Propose(Command),
    /// For operators.
    Tell(Order),
}

#[derive(Clone, Copy, Debug)]
struct OwnShard {
    boot: Boot,
    alive: Instant,
    slow: Slow,
}

impl Steward {
    #[must_use]
    pub fn new(me: NodeId, suspect_min: Duration, planted: Planted) -> Self {
        Self {
            me,
            elector: Elector::new(planted),
            detector: Detector::new(suspect_min),
            role: Role::Alone,
            shards: BTreeMap::new(),
            hearsay: BTreeMap::new(),
            reports: Reports::default(),
            heard: BTreeMap::new(),
            followed: None,
            deaths: BTreeMap::new(),
            leaves: false,
            echoes: Echoes::default(),
            fencer: None,
            next_beat: Instant(0),
            next_report: Instant(0),
            moved: None,
            next_relief: Instant(0),
            outputs: VecDeque::new(),
        }
    }

    /// Says what this node is to the cluster log; to be called whenever that may have changed.
    pub fn become_role(&mut self, role: Role) {
        if self.role == role {
            return;
        }
        self.role = role;
        (self.next_beat, self.next_report, self.moved) = (Instant(0), Instant(0), None);
        if let Role::Leads(term) = role {
            let missed = self.followed.take();
            let missed = missed.and_then(|node| Some((node, *self.heard.get(&node)?)));
            self.elector.lead(term);
            self.detector.lead(missed);
            return;
        }
        if let Role::Follows(leader) = role {
            self.followed = Some(leader);
        }
        self.elector.resign();
        self.detector.resign();
    }

    /// Any message of `node` arrived.
    pub fn hear(&mut self, now: Instant, node: NodeId) {
        self.heard.insert(node, now);
        self.detector.heard(now, node);
    }

    /// This node is about to stop: what its shards lead is to be handed over.
    pub fn leave(&mut self) {
        self.leaves = true;
        self.next_beat = Instant(0);
    }

    /// A shard of this node did something.
    pub fn beat(&mut self, now: Instant, shard: ShardId, boot: Boot, slow: Slow) {
        self.shards.insert(shard, OwnShard { boot, alive: now, slow });
    }

    /// A shard of this node does nothing any more: the boot that it was.
    pub fn failed(&mut self, shard: ShardId) -> Option<Boot> {
        self.shards.remove(&shard).map(|own| own.boot)
    }

    /// A shard of this node heard from a boot of another node's shard.
    pub fn heard(&mut self, now: Instant, from: Placement, boot: Boot) {
        self.hearsay.insert(from, (boot, now));
    }

    /// A leader here has opened its epoch at a quorum.
    pub fn opened(&mut self, opened: Opened) {
        self.reports.opened.push(opened);
        self.next_report = Instant(0);
    }

    /// A learner has caught up with a leader here.
    pub fn caught_up(&mut self, caught_up: CaughtUp) {
        self.reports.caught_up.push(caught_up);
        self.next_report = Instant(0);
    }

    /// A leader here has stopped, and its successor holds all it held.
    pub fn handed_over(&mut self, handed_over: HandOver) {
        self.reports.handed_over.push(handed_over);
        self.next_report = Instant(0);
    }

    /// A shard of this node has answered a fence, durably.
    pub fn fenced(&mut self, answers: FenceAnswers) {
        let known = self.fencer.filter(|(term, _)| *term == answers.term);
        match known {
            Some((_, node)) if node == self.me => self.elector.answered(node, answers),
            Some((_, node)) => self.send(node, ControlMessage::FenceAnswers(answers)),
            None => {}
        }
    }

    /// A link to `node` stands anew.
    pub fn peer_up(&mut self, now: Instant, node: NodeId) {
        self.elector.peer_up(now, node);
        (self.next_beat, self.next_report) = (Instant(0), Instant(0));
    }

    /// Takes a message that is not of the cluster log. `proposed` is what all proposals so far will
    /// have made.
    pub fn handle(
        &mut self,
        now: Instant,
        from: NodeId,
        message: ControlMessage,
        proposed: &ClusterState,
    ) {
        match message {
            ControlMessage::Raft(_)
            | ControlMessage::Propose { .. }
            | ControlMessage::Proposed { .. } => {
                panic!("the cluster log takes its messages itself: {message:?}")
            }
            ControlMessage::Echo { sent } => self.send(from, ControlMessage::Echoed { sent }),
            ControlMessage::Echoed { sent } => self.echoes.returned(now, from, sent),
            ControlMessage::Fence(fence) => self.pass_fence(from, fence),
            ControlMessage::FenceAnswers(answers) => self.elector.answered(from, answers),
            ControlMessage::PreFence(question) => {
                let answer = self.testify(now, &question);
                self.send(from, ControlMessage::PreFenceAnswer(answer));
            }
            ControlMessage::PreFenceAnswer(answer) => self.detector.answered(from, &answer),
            ControlMessage::Heartbeat(heartbeat) => self.detector.heartbeat(now, from, &heartbeat),
            ControlMessage::Died(dead) if matches!(self.role, Role::Leads(_)) => {
                self.detector.died(proposed, from, &dead);
            }
            ControlMessage::Died(dead) => {
                let at = |shard| Placement { node: from, shard };
                self.deaths.extend(dead.into_iter().map(|(shard, boot)| (at(shard), boot)));
            }
            ControlMessage::Reports(reports) => self.settle(proposed, &reports),
        }
    }

    /// Goes on with everything. `committed` is the newest state that is agreed.
    pub fn turn(&mut self, now: Instant, committed: &ClusterState, proposed: &ClusterState) {
        self.call(now);
        self.send_heartbeat(now);
        self.send_reports(now, committed, proposed);
        if !matches!(self.role, Role::Leads(_)) {
            return;
        }
        for (Placement { node, shard }, boot) in core::mem::take(&mut self.deaths) {
            self.detector.died(proposed, node, &[(shard, boot)]);
        }
        self.detector.turn(now, proposed);
        while let Some(suspicion) = self.detector.poll() {
            match suspicion {
                Suspicion::Propose(command) => self.propose(command),
                Suspicion::Ask { to, question } if to == self.me => {
                    let answer = self.testify(now, &question);
                    self.detector.answered(self.me, &answer);
                }
                Suspicion::Ask { to, question } => {
                    self.send(to, ControlMessage::PreFence(question));
                }
            }
        }
        self.elector.turn(now, committed, proposed);
        while let Some(order) = self.elector.poll() {
            match order {
                Order::Propose(command) => self.propose(command),
                Order::Fence { to, fence } if to == self.me => self.pass_fence(to, fence),
                Order::Fence { to, fence } => self.send(to, ControlMessage::Fence(fence)),
                tidings => self.outputs.push_back(Stewarding::Tell(tidings)),
            }
        }
        self.move_on(now, proposed);
    }

    /// Takes the next steps of moves, and of leaders that are to go.
    fn move_on(&mut self, now: Instant, proposed: &ClusterState) {
        let is_new = self.moved != Some(proposed.version());
        self.moved = Some(proposed.version());
        if is_new {
            mover::follow_up(proposed).into_iter().for_each(|command| self.propose(command));
        }
        if is_new || self.next_relief <= now {
            self.next_relief = now.plus(REPEAT);
            let leaves = |node| self.detector.is_leaving(node);
            let is_ready = |at| self.detector.is_steady(now, at);
            let commands = mover::relieve(proposed, leaves, is_ready, HAND_OVERS_MAX);
            commands.into_iter().for_each(|command| self.propose(command));
        }
    }

    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        let beat = (self.role != Role::Alone).then_some(self.next_beat);
        let report = (!self.reports.is_empty()).then_some(self.next_report);
        let own = [beat, report, self.elector.next_timeout(), self.detector.next_timeout()];
        own.into_iter().flatten().min()
    }

    pub fn poll(&mut self) -> Option<Stewarding> {
        self.outputs.pop_front()
    }

    fn send(&mut self, to: NodeId, message: ControlMessage) {
        self.outputs.push_back(Stewarding::Send { to, message });
    }

    fn propose(&mut self, command: Command) {
        self.outputs.push_back(Stewarding::Propose(command));
    }

    /// An older control leader than one that has fenced already is not listened to.
    fn pass_fence(&mut self, from: NodeId, fence: Fence) {
        if self.fencer.is_none_or(|(term, _)| term <= fence.term) {
            self.fencer = Some((fence.term, from));
            self.outputs.push_back(Stewarding::Fence(fence));
        }
    }

    /// When a shard of this node heard from the suspect.
    fn testify(&self, now: Instant, question: &PreFence) -> PreFenceAnswer {
        let PreFence { suspect, boot, round } = *question;
        let heard = self.hearsay.get(&suspect).filter(|(known, _)| *known == boot);
        PreFenceAnswer { suspect, round, heard_ms: heard.map(|(_, at)| millis(now.since(*at))) }
    }

    fn settle(&mut self, proposed: &ClusterState, reports: &Reports) {
        if matches!(self.role, Role::Leads(_)) {
            mover::settle(proposed, reports).into_iter().for_each(|command| self.propose(command));
        }
    }

    /// Asks every node for an echo now and then, as long as heartbeats wake this one.
    fn call(&mut self, now: Instant) {
        if self.role != Role::Alone && self.echoes.is_due(now) {
            let calls = self.heard.keys().map(|to| (*to, ControlMessage::Echo { sent: now }));
            self.outputs.extend(calls.map(|(to, message)| Stewarding::Send { to, message }));
        }
    }

    fn send_heartbeat(&mut self, now: Instant) {
        if now < self.next_beat || self.role == Role::Alone {
            return;
        }
        self.next_beat = now.plus(HEARTBEAT);
        let is_far = self.echoes.is_slow();
        let beat = |(shard, own): (&ShardId, &OwnShard)| Beat {
            shard: *shard,
            boot: own.boot,
            silent_ms: millis(now.since(own.alive)),
            slow: Slow { net: own.slow.net || is_far, ..own.slow },
        };
        let beats = self.shards.iter().map(beat).collect();
        let heartbeat = Heartbeat { beats, leaves: self.leaves };
        match self.role {
            Role::Follows(leader) => self.send(leader, ControlMessage::Heartbeat(heartbeat)),
            Role::Leads(_) | Role::Alone => self.detector.heartbeat(now, self.me, &heartbeat),
        }
    }

    fn send_reports(&mut self, now: Instant, committed: &ClusterState, proposed: &ClusterState) {
        if self.reports.is_empty() || now < self.next_report {
            return;
        }
        mover::prune(committed, &mut self.reports);
        self.next_report = now.plus(REPEAT);
        let some = Reports {
            opened: first(&self.reports.opened),
            caught_up: first(&self.reports.caught_up),
            handed_over: first(&self.reports.handed_over),
        };
        match self.role {
            _ if some.is_empty() => {}
            Role::Leads(_) => self.settle(proposed, &some),
            Role::Follows(leader) => self.send(leader, ControlMessage::Reports(some)),
            Role::Alone => {}
        }
    }
}

/// As many as fit a message.
fn first<T: Copy>(items: &[T]) -> Vec<T> {
    items[..items.len().min(REPORTS_MAX)].to_vec()
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use base::{Epoch, PartitionId, TopicNumber};

    use super::*;
    use crate::Uuid;

    fn steward(node: u16) -> Steward {
        Steward::new(NodeId(node), Duration::from_millis(250), Planted::default())
    }

    fn sent(steward: &mut Steward) -> Vec<(NodeId, ControlMessage)> {
        let sent = core::iter::from_fn(|| steward.poll()).filter_map(|output| match output {
            Stewarding::Send { to, message } => Some((to, message)),
            _ => None,
        });
        sent.collect()
    }

    #[test]
    fn heartbeats_go_to_whoever_leads_the_cluster_log() {
        let state = ClusterState::new(Uuid([1; 16]));
        let mut steward = steward(2);
        let boot = Boot { journal: 1, boot: base::Incarnation(1) };
        steward.beat(Instant(0), ShardId(0), boot, Slow::default());
        steward.turn(Instant(0), &state, &state);
        assert!(sent(&mut steward).is_empty(), "nobody leads");
        steward.become_role(Role::Follows(NodeId(1)));
        let now = Instant(7_000_000);
        steward.turn(now, &state, &state);
        let beat = Beat { shard: ShardId(0), boot, silent_ms: 7, slow: Slow::default() };
        let heartbeat = ControlMessage::Heartbeat(Heartbeat { beats: vec![beat], leaves: false });
        assert_eq!(sent(&mut steward), [(NodeId(1), heartbeat)]);
        assert_eq!(steward.next_timeout(), Some(now.plus(HEARTBEAT)));
    }

    #[test]
    fn a_fence_of_an_older_control_leader_is_not_passed_on() {
        let state = ClusterState::new(Uuid([1; 16]));
        let mut steward = steward(2);
        let partition = PartitionId::new(TopicNumber(1), 0);
        let fence = |term| Fence {
            term: Term(term),
            index: LogIndex(1),
            shard: ShardId(0),
            fenced: Vec::new(),
            promises: vec![(partition, Epoch(1))],
        };
        let mut passed = |term, from| {
            let message = ControlMessage::Fence(fence(term));
            steward.handle(Instant(0), NodeId(from), message, &state);
            steward.poll()
        };
        assert_eq!(passed(4, 0), Some(Stewarding::Fence(fence(4))));
        assert_eq!(passed(3, 1), None);
        assert_eq!(passed(4, 0), Some(Stewarding::Fence(fence(4))), "asked again");
        let boot = Boot { journal: 1, boot: base::Incarnation(1) };
        let answers =
            |term| FenceAnswers { term: Term(term), shard: ShardId(0), boot, answers: Vec::new() };
        steward.fenced(answers(3));
        assert!(sent(&mut steward).is_empty());
        steward.fenced(answers(4));
        assert_eq!(sent(&mut steward), [(NodeId(0), ControlMessage::FenceAnswers(answers(4)))]);
    }
}
