//! A member that follows: it makes its log the leader's, and says how far it holds it for good.

use core::time::Duration;

use base::{Instant, NodeId};

use super::message::{Position, RaftBody};
use super::{ClusterLog, Role};
use crate::{Entry, LogIndex, Mutant, Term, Voter};

#[derive(Debug)]
pub(super) struct Follower {
    leader: Option<Voter>,
    heard: Instant,
    /// Up to here the log is the leader's.
    verified: LogIndex,
    owes_ack: bool,
    /// The leader is known to be dead.
    orphan: bool,
}

impl Follower {
    pub(super) fn new(now: Instant, leader: Option<Voter>) -> Self {
        let verified = LogIndex(0);
        Self { leader, heard: now, verified, owes_ack: false, orphan: false }
    }

    pub(super) fn leader_node(&self) -> Option<NodeId> {
        self.leader.map(|leader| leader.node)
    }

    pub(super) fn hears_leader(&self, now: Instant, silence_min: Duration) -> bool {
        self.leader.is_some() && now.since(self.heard) < silence_min
    }

    /// Forgets its leader if that is `node`; whether it was.
    pub(super) fn orphan(&mut self, node: NodeId) -> bool {
        let was_led = self.leader_node() == Some(node);
        if was_led {
            self.leader = None;
            self.orphan = true;
        }
        was_led
    }

    pub(super) fn is_orphan(&self) -> bool {
        self.orphan
    }
}

impl ClusterLog {
    /// Whether the sender leads in this term, so that its entries may be taken.
    pub(super) fn accept_leader(&mut self, now: Instant, sender: Voter, term: Term) -> bool {
        if term < self.ballot.term {
            // It learns that its term is over.
            let refused = RaftBody::Vote { trial: false, granted: false };
            self.say(sender, self.ballot.term, refused);
            return false;
        }
        let is_new = match &self.role {
            Role::Follower(follower) if term == self.ballot.term => match follower.leader {
                None => true,
                Some(leader) if leader == sender => false,
                Some(_) => return false,
            },
            Role::Leader(_) if term == self.ballot.term => return false,
            Role::Follower(_) | Role::Candidate(_) | Role::Leader(_) | Role::Replaying => true,
        };
        if is_new {
            self.follow(now, term, Some(sender));
        }
        if let Role::Follower(follower) = &mut self.role {
            follower.heard = now;
        }
        self.expect_leader(now);
        self.founding.due = self.silence_until;
        true
    }

    /// Takes entries of the accepted leader, if the log holds what they follow.
    pub(super) fn take_append(
        &mut self,
        previous: Position,
        committed: LogIndex,
        entries: &[Vec<u8>],
    ) {
        let last = self.entries.last();
        let joins = match self.entries.term(previous.index) {
            Some(term) => {
                term == previous.term || self.settings.planted.is(Mutant::AppendWithoutJoin)
            }
            None => false,
        };
        if !joins {
            return self.say_missing(previous.index);
        }
        if self.settings.planted.is(Mutant::CutWhatMatches)
            && self.committed() <= previous.index
            && previous.index < last
        {
            self.truncate(previous.index.next());
        }
        let verified = self.take_entries(previous.index, entries);
        let all_durable = verified <= self.durable;
        let Role::Follower(follower) = &mut self.role else { return };
        follower.verified = follower.verified.max(verified);
        // What is not durable yet is acknowledged when it is.
        follower.owes_ack |= all_durable || entries.is_empty();
        let committed = committed.min(follower.verified);
        self.commit_to(committed);
    }

    /// Takes what is not there yet, in place of what contradicts it; the last entry that is the
    /// leader's.
    fn take_entries(&mut self, previous: LogIndex, entries: &[Vec<u8>]) -> LogIndex {
        let mut at = previous;
        for bytes in entries {
            let entry = match Entry::decode(bytes) {
                Ok(entry) if entry.index == at.next() && entry.term <= self.ballot.term => entry,
                Ok(entry) => {
                    self.complaint = Some(format!("the leader sent {entry:?} behind {at:?}"));
                    break;
                }
                Err(error) => {
                    self.complaint = Some(format!("the leader's entry behind {at:?}: {error}"));
                    break;
                }
            };
            match self.entries.term(entry.index) {
                Some(term) if term == entry.term => {
                    at = entry.index;
                    continue;
                }
                Some(_) => self.truncate(entry.index),
                None => {}
            }
            if let Err(reason) = self.take_in(&entry, bytes) {
                self.complaint = Some(format!("the leader's entry behind {at:?}: {reason}"));
                break;
            }
            at = entry.index;
        }
        at
    }

    fn say_missing(&mut self, previous: LogIndex) {
        let last = self.entries.last();
        let retry = match last < previous {
            true => last,
            // All of a term that the leader has not at this place is skipped.
            false => LogIndex(self.entries.first_of_run(previous).0 - 1).max(self.committed()),
        };
        let Role::Follower(Follower { leader: Some(leader), .. }) = self.role else { return };
        let count = self.next_answer();
        let missing = RaftBody::Missing { count, previous, last, retry };
        self.say(leader, self.ballot.term, missing);
    }

    /// More became durable.
    pub(super) fn owe_ack(&mut self) {
        if let Role::Follower(follower) = &mut self.role {
            follower.owes_ack = true;
        }
    }

    /// Acknowledges what is durable, once the term is: a member that forgot its term could follow
    /// an older leader.
    pub(super) fn send_owed_ack(&mut self) {
        let is_term_durable = self.ballot_durable.term == self.ballot.term
            || self.settings.planted.is(Mutant::VoteBeforeDurable);
        let Role::Follower(follower) = &mut self.role else { return };
        let Some(leader) = follower.leader.filter(|_| follower.owes_ack && is_term_durable) else {
            return;
        };
        follower.owes_ack = false;
        let matched = match self.settings.planted.is(Mutant::LogAckBeforeDurable) {
            true => follower.verified,
            false => follower.verified.min(self.durable),
        };
        let count = self.next_answer();
        self.say(leader, self.ballot.term, RaftBody::Appended { count, matched });
    }
}
