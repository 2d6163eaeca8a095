//! A member that leads: it sends its log to all others, and commits what a majority holds.

use core::time::Duration;
use std::collections::BTreeMap;

use base::{Incarnation, Instant, NodeId};

use super::entries::Entries;
use super::message::{Position, RaftBody, RaftMessage};
use super::{ClusterLog, LogSettings, Role};
use crate::cluster_state::FEATURE_LEVEL_MAX;
use crate::{Command, LogIndex, Mutant, Term, Voter, Voters};

/// Bytes of entries on their way to one member, or one message.
const WINDOW_BYTES: u64 = 1 << 20;

#[derive(Debug)]
pub(super) struct Leader {
    /// Voters and learners; a voter's old journal and its new one are two members.
    pub(super) members: BTreeMap<Voter, Member>,
}

/// What the leader knows of another member.
#[derive(Debug)]
pub(super) struct Member {
    /// Held for good.
    pub(super) matched: LogIndex,
    /// The start and the count of its newest acknowledgement.
    acked: (Incarnation, u64),
    next: LogIndex,
    /// Whether it holds what is before `next` is not known.
    probing: bool,
    /// The newest commit it was told of.
    told: LogIndex,
    pub(super) heard: Instant,
    sent: Option<Instant>,
    /// It lost what it had acknowledged: it counts no more.
    pub(super) forgot: bool,
}

impl Leader {
    pub(super) fn next_beat(&self, heartbeat: Duration) -> Option<Instant> {
        let beat = |member: &Member| member.sent.map_or(Instant(0), |sent| sent.plus(heartbeat));
        self.members.values().map(beat).min()
    }
}

impl Member {
    /// One whose log may be the leader's up to `last`.
    pub(super) fn new(now: Instant, last: LogIndex, probing: bool) -> Self {
        Self {
            matched: LogIndex(0),
            acked: (Incarnation(0), 0),
            next: last.next(),
            probing,
            told: LogIndex(0),
            heard: now,
            sent: None,
            forgot: false,
        }
    }

    /// The next message that is due: entries while there is room for them, or a heartbeat.
    fn next_append(
        &mut self,
        now: Instant,
        entries: &Entries,
        committed: LogIndex,
        settings: &LogSettings,
    ) -> Option<RaftBody> {
        let heartbeat = settings.timing.heartbeat;
        let is_silent = self.sent.is_none_or(|sent| heartbeat <= now.since(sent));
        let index = LogIndex(self.next.0 - 1);
        let in_flight = entries.bytes_between(self.matched.min(index), index);
        let has_room = !self.probing && self.next <= entries.last() && in_flight < WINDOW_BYTES;
        if !is_silent && !has_room && committed <= self.told {
            return None;
        }
        let batch = match has_room {
            true => entries.batch(self.next, settings.append_bytes_max),
            false => Vec::new(),
        };
        let term = entries.term(index).expect("the leader's log reaches up to what it sends");
        let previous = Position { index, term };
        self.next = LogIndex(self.next.0 + batch.len() as u64);
        self.told = committed;
        self.sent = Some(now);
        Some(RaftBody::Append { previous, committed, entries: batch })
    }

    fn take_missing(&mut self, answer: (Incarnation, u64), claim: Missing) {
        let Missing { previous, last, retry } = claim;
        if self.acked < answer && (last < self.matched || previous <= self.matched) {
            self.forgot = true;
            self.matched = LogIndex(0);
        }
        // What was said of a place that is not tried any more says nothing.
        if self.next <= previous || previous <= self.matched {
            return;
        }
        self.next = retry.min(LogIndex(previous.0 - 1)).max(self.matched).next();
        self.probing = true;
        self.sent = None;
    }
}

/// What a member says that it lacks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Missing {
    pub(super) previous: LogIndex,
    pub(super) last: LogIndex,
    pub(super) retry: LogIndex,
}

impl ClusterLog {
    /// Leads a log that nobody else holds.
    pub(super) fn begin_alone(&mut self, now: Instant) {
        self.ballot.term = self.ballot.term.next();
        (self.ballot_given_out, self.ballot_durable) = (self.ballot, self.ballot);
        self.lead(now);
        self.advance_committed(now);
    }

    pub(super) fn lead(&mut self, now: Instant) {
        let (me, last, voters) = (self.me, self.entries.last(), self.voters());
        let others = voters.iter().filter(|voter| *voter != me);
        let members = others.map(|voter| (voter, Member::new(now, last, false))).collect();
        self.vote_owed = None;
        self.role = Role::Leader(Leader { members });
        for command in self.first_commands(voters) {
            self.push(command).expect("a leader's first entries hold in any state");
        }
    }

    /// What a leader appends before anything else: an entry of its own term, by which those of
    /// earlier terms are committed.
    fn first_commands(&self, voters: Voters) -> Vec<Command> {
        let is_alone = self.is_alone();
        let mut commands = Vec::new();
        if self.entries.last() == LogIndex(0) {
            let (cluster, feature_level) = (self.settings.cluster, FEATURE_LEVEL_MAX);
            let voters = if is_alone { Voters::default() } else { voters };
            commands.push(Command::ClusterFormed { cluster, feature_level, voters });
        } else if !is_alone && self.proposed().voters().is_empty() {
            // A log that one node formed for itself: from now on others may learn it.
            commands.push(Command::VoterAdded(self.me));
        }
        if !is_alone {
            commands.push(Command::LeaderElected { node: self.me.node });
        }
        commands
    }

    /// What a leader does as time passes.
    pub(super) fn lead_on(&mut self, now: Instant) {
        if self.is_alone() {
            return;
        }
        let silence_max = self.settings.timing.silence_max;
        let voters = self.voters();
        let Role::Leader(leader) = &self.role else { return };
        let is_heard = |voter: &Voter| {
            leader.members.get(voter).is_some_and(|member| now.since(member.heard) < silence_max)
        };
        let has_quorum = voters.decide(|voter| voter == self.me || is_heard(&voter));
        if !has_quorum && !self.settings.planted.is(Mutant::NoCheckQuorum) {
            return self.follow(now, self.ballot.term, None);
        }
        self.settle_members(now);
    }

    pub(super) fn send_appends(&mut self, now: Instant) {
        let (sender, term) = (self.as_boot(), self.ballot.term);
        let (committed, settings) = (self.committed(), &self.settings);
        let Role::Leader(leader) = &mut self.role else { return };
        for (voter, member) in &mut leader.members {
            while let Some(body) = member.next_append(now, &self.entries, committed, settings) {
                let message = RaftMessage { sender, receiver: voter.journal, term, body };
                self.messages.push_back((voter.node, message));
            }
        }
    }

    /// Says that messages reach `node` again: it need not wait for the next heartbeat.
    pub fn link_up(&mut self, now: Instant, node: NodeId) {
        self.founding.due = now;
        if let Role::Leader(leader) = &mut self.role {
            let members = leader.members.iter_mut().filter(|(voter, _)| voter.node == node);
            members.for_each(|(_, member)| member.sent = None);
        }
    }

    pub(super) fn take_appended(
        &mut self,
        now: Instant,
        sender: Voter,
        term: Term,
        count: u64,
        matched: LogIndex,
    ) {
        let (boot, last) = (self.boot_of(sender), self.entries.last());
        let Some(member) = self.member_in_term(now, sender, term) else { return };
        if last < matched || matched < member.matched {
            return;
        }
        member.matched = matched;
        member.acked = member.acked.max((boot, count));
        member.next = member.next.max(matched.next());
        member.probing = false;
    }

    pub(super) fn take_missing(
        &mut self,
        now: Instant,
        sender: Voter,
        term: Term,
        count: u64,
        missing: Missing,
    ) {
        let boot = self.boot_of(sender);
        if let Some(member) = self.member_in_term(now, sender, term) {
            member.take_missing((boot, count), missing);
        }
    }

    /// The member that answered in this leader's term. An answer of a higher term deposes it.
    fn member_in_term(&mut self, now: Instant, sender: Voter, term: Term) -> Option<&mut Member> {
        if self.ballot.term < term {
            self.follow(now, term, None);
        }
        if term < self.ballot.term {
            return None;
        }
        let Role::Leader(leader) = &mut self.role else { return None };
        let member = leader.members.get_mut(&sender)?;
        member.heard = now;
        Some(member)
    }

    /// Commits what a majority holds for good, if its last entry is of the own term: an older one
    /// on a majority may still lose (Raft, figure 8).
    pub(super) fn advance_committed(&mut self, now: Instant) {
        let Role::Leader(leader) = &self.role else { return };
        let (me, planted) = (self.me, self.settings.planted);
        let own = match planted.is(Mutant::LogAckBeforeDurable) {
            true => self.entries.last(),
            false => self.durable,
        };
        let voters = self.voters();
        let held_by = |voter: Voter| match leader.members.get(&voter) {
            _ if voter == me => own,
            Some(member) if !member.forgot => member.matched,
            Some(_) | None => LogIndex(0),
        };
        let mut held: Vec<_> = voters.iter().map(held_by).collect();
        held.sort_unstable_by(|one, other| other.cmp(one));
        let Some(index) = held.get(voters.majority() - 1).copied() else { return };
        let is_of_term = self.entries.term(index) == Some(self.ballot.term);
        if is_of_term || self.is_alone() || planted.is(Mutant::CommitOlderTerm) {
            self.commit_to(index);
            self.leave_if_removed(now);
        }
    }

    /// A leader that is no voter any more leads until that is committed.
    fn leave_if_removed(&mut self, now: Instant) {
        let is_gone = |voters: &Voters| !voters.is_empty() && !voters.contains(self.me);
        if is_gone(self.committed.voters()) && is_gone(self.proposed().voters()) {
            self.follow(now, self.ballot.term, None);
        }
    }
}
