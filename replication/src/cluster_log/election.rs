//! How a member becomes leader.
//!
//! A member that misses its leader first asks whether it would be elected (a trial, which changes
//! nobody's term); only then it takes a new term, votes for itself, and asks again once that is
//! durable. Nobody is helped to power while the leader is heard, unless it is known to be dead.

use std::collections::BTreeSet;

use base::{Instant, NodeId};

use super::message::{Position, RaftBody};
use super::{Ballot, ClusterLog, Role};
use crate::{Mutant, Term, Voter};

#[derive(Debug)]
pub(super) struct Candidate {
    /// Asks whether it would be elected.
    trial: bool,
    /// The leader is known to be dead.
    urgent: bool,
    asked: bool,
    votes: BTreeSet<Voter>,
}

impl ClusterLog {
    /// Says that the process of `node` is gone for sure: if it led, a successor need not wait for
    /// its silence.
    pub fn node_died(&mut self, now: Instant, node: NodeId) {
        let heartbeat = self.settings.timing.heartbeat;
        let wait = self.jitter.between(heartbeat / 16, heartbeat / 2);
        if let Role::Follower(follower) = &mut self.role
            && follower.orphan(node)
        {
            self.silence_until = now.plus(wait);
        }
    }

    /// What a member without power does as time passes.
    pub(super) fn wait_on(&mut self, now: Instant) {
        // A voter by its own log may be none by the leader's.
        self.present_itself(now);
        if self.is_voter() && self.silence_until <= now {
            let urgent = match &self.role {
                Role::Follower(follower) => follower.is_orphan(),
                Role::Candidate(candidate) => candidate.urgent,
                Role::Leader(_) | Role::Replaying => false,
            };
            self.stand(now, urgent);
        }
    }

    fn stand(&mut self, now: Instant, urgent: bool) {
        self.expect_leader(now);
        if self.settings.planted.is(Mutant::NoTrialVote) {
            return self.stand_for_good(urgent);
        }
        let votes = BTreeSet::from([self.me]);
        self.role = Role::Candidate(Candidate { trial: true, urgent, asked: true, votes });
        self.ask(self.ballot.term.next(), true, urgent);
        self.count_votes(now);
    }

    fn stand_for_good(&mut self, urgent: bool) {
        self.ballot = Ballot { term: self.ballot.term.next(), vote: Some(self.me) };
        // A vote of the term before must not go out in this one.
        self.vote_owed = None;
        let votes = BTreeSet::new();
        self.role = Role::Candidate(Candidate { trial: false, urgent, asked: false, votes });
    }

    /// Asks the voters, once the own vote is durable.
    pub(super) fn ask_for_votes(&mut self, now: Instant) {
        let is_durable = self.is_ballot_durable();
        let Role::Candidate(candidate) = &mut self.role else { return };
        if candidate.asked || !is_durable {
            return;
        }
        candidate.asked = true;
        candidate.votes.insert(self.me);
        let urgent = candidate.urgent;
        self.ask(self.ballot.term, false, urgent);
        self.count_votes(now);
    }

    fn ask(&mut self, term: Term, trial: bool, urgent: bool) {
        let (me, last) = (self.me, self.entries.last_position());
        for voter in self.voters().iter().filter(|voter| *voter != me) {
            self.say(voter, term, RaftBody::AskVote { trial, urgent, last });
        }
    }

    fn count_votes(&mut self, now: Instant) {
        let Role::Candidate(candidate) = &self.role else { return };
        if !self.voters().decide(|voter| candidate.votes.contains(&voter)) {
            return;
        }
        if candidate.trial {
            let urgent = candidate.urgent;
            self.stand_for_good(urgent);
        } else {
            self.lead(now);
        }
    }

    pub(super) fn take_ask(
        &mut self,
        now: Instant,
        sender: Voter,
        term: Term,
        (trial, urgent): (bool, bool),
        last: Position,
    ) {
        let own = self.entries.last_position();
        let is_whole = (own.term, own.index) <= (last.term, last.index)
            || self.settings.planted.is(Mutant::VoteForShorterLog);
        let is_led = !urgent && self.hears_leader(now);
        let refused = RaftBody::Vote { trial, granted: false };
        if trial {
            if is_whole && !is_led && self.ballot.term < term {
                self.say(sender, term, RaftBody::Vote { trial, granted: true });
            } else {
                self.say(sender, self.ballot.term, refused);
            }
            return;
        }
        if term < self.ballot.term || is_led {
            return self.say(sender, self.ballot.term, refused);
        }
        if self.ballot.term < term {
            self.follow(now, term, None);
        }
        let is_free = self.ballot.vote.is_none_or(|voted| voted == sender);
        if is_free && is_whole && self.leader().is_none() {
            self.ballot.vote = Some(sender);
            self.vote_owed = Some(sender);
            self.expect_leader(now);
        } else {
            self.say(sender, self.ballot.term, refused);
        }
    }

    pub(super) fn take_vote(
        &mut self,
        now: Instant,
        sender: Voter,
        term: Term,
        trial: bool,
        granted: bool,
    ) {
        if self.ballot.term < term && !(trial && granted) {
            return self.follow(now, term, None);
        }
        let is_known = self.voters().contains(sender);
        let Role::Candidate(candidate) = &mut self.role else { return };
        let asked_in = if trial { self.ballot.term.next() } else { self.ballot.term };
        if granted && is_known && candidate.trial == trial && term == asked_in {
            candidate.votes.insert(sender);
            self.count_votes(now);
        }
    }

    /// Sends the vote that was given, once it is durable.
    pub(super) fn send_owed_vote(&mut self) {
        if self.is_ballot_durable()
            && let Some(candidate) = self.vote_owed.take()
        {
            assert_eq!(self.ballot.vote, Some(candidate), "one vote in a term");
            let vote = RaftBody::Vote { trial: false, granted: true };
            self.say(candidate, self.ballot.term, vote);
        }
    }

    pub(super) fn is_ballot_durable(&self) -> bool {
        self.ballot_durable == self.ballot || self.settings.planted.is(Mutant::VoteBeforeDurable)
    }

    /// Whether this member leads, or heard its leader lately.
    pub(super) fn hears_leader(&self, now: Instant) -> bool {
        if self.settings.planted.is(Mutant::NoTrialVote) {
            return false;
        }
        match &self.role {
            Role::Leader(_) => true,
            Role::Follower(follower) => {
                follower.hears_leader(now, self.settings.timing.silence_min)
            }
            Role::Candidate(_) | Role::Replaying => false,
        }
    }
}
