//! How the first log comes to be, and how a member without one finds its teacher.
//!
//! ```text
//!  every seat's node is there and its log is empty: journals J
//!      └─▶ asked again: the same journals, still empty ─▶ J is the set of voters
//!              └─▶ an election among them, in a term above all that they know
//!                      └─▶ the winner's first entry says who votes: J
//! ```
//! No two clusters come of this, even if one node loses its disk meanwhile and different members
//! found with different sets. Say that set A was founded with a journal that is gone, and B with its
//! successor. Every member of B said, after the successor was born, that its log was empty and which
//! term it knew; so what A's leader wrote then was held by nobody in B, and B's terms lie above that
//! leader's. From then on A decides only with members that it shares with B, and those vote in one
//! term once, and for no log that lacks what they hold.
//!
//! A node with entries, or one that hears of any, never founds: it waits to be taught.

use std::collections::BTreeMap;

use base::{Instant, NodeId};

use super::ClusterLog;
use super::message::RaftBody;
use crate::{LogIndex, Mutant, Term, Voter, Voters};

#[derive(Debug, Default)]
pub(super) struct Founding {
    /// When it next says that it is there.
    pub(super) due: Instant,
    /// Questions asked so far.
    round: u64,
    /// Journals of those whose logs are empty, by the newest question.
    empty: BTreeMap<NodeId, u64>,
    /// The newest term that anyone knew.
    term: Term,
    /// What the question before this one came to.
    before: Option<Voters>,
    agreed: Option<Voters>,
}

impl Founding {
    /// The first voters, if this member may found the cluster with them.
    pub(super) fn agreed(&self) -> Option<&Voters> {
        self.agreed.as_ref()
    }
}

impl ClusterLog {
    pub(super) fn begin_founding(&mut self, now: Instant) {
        self.founding.due = now;
        if self.entries.last() == LogIndex(0) && self.settings.seats == [self.me.node] {
            self.founding.agreed = Voters::new([self.me]).ok();
        }
    }

    /// Says that this member is there, now and then while it hears no leader.
    pub(super) fn present_itself(&mut self, now: Instant) {
        if self.founding.due <= now {
            self.ask_who_is_there(now);
        }
    }

    fn ask_who_is_there(&mut self, now: Instant) {
        self.founding.due = now.plus(self.settings.timing.silence_min / 2);
        self.founding.round += 1;
        self.founding.empty.clear();
        let (round, last) = (self.founding.round, self.entries.last());
        for node in self.settings.peers.clone() {
            // Whatever journal it has.
            let anyone = Voter { node, journal: 0 };
            self.say(anyone, self.ballot.term, RaftBody::Present { round, last });
        }
    }

    pub(super) fn take_seen(
        &mut self,
        now: Instant,
        sender: Voter,
        round: u64,
        last: LogIndex,
        term: Term,
    ) {
        let me = self.me;
        let may_found =
            self.entries.last() == LogIndex(0) && self.settings.seats.contains(&me.node);
        if !may_found || round != self.founding.round {
            return;
        }
        if LogIndex(0) < last {
            // A log exists. No answer to this question counts any more.
            self.founding.round += 1;
            self.founding.before = None;
            if self.founding.agreed.take().is_some() {
                self.follow(now, self.ballot.term, None);
            }
            return;
        }
        if self.founding.agreed.is_some() {
            return;
        }
        self.founding.term = self.founding.term.max(term);
        if self.settings.seats.contains(&sender.node) {
            self.founding.empty.insert(sender.node, sender.journal);
            self.found_if_complete(now);
        }
    }

    fn found_if_complete(&mut self, now: Instant) {
        let me = self.me;
        let answered = self.founding.empty.len() + 1;
        let hasty = self.settings.planted.is(Mutant::FoundWithoutAll);
        let needed =
            if hasty { self.settings.seats.len() / 2 + 1 } else { self.settings.seats.len() };
        if answered < needed {
            return;
        }
        let others = self.founding.empty.iter();
        let others = others.map(|(node, journal)| Voter { node: *node, journal: *journal });
        let Ok(voters) = Voters::new(others.chain([me])) else { return };
        if self.founding.before.as_ref() == Some(&voters) || hasty {
            self.founding.agreed = Some(voters);
            self.follow(now, self.ballot.term.max(self.founding.term), None);
            self.silence_until = now;
        } else {
            self.founding.before = Some(voters);
            self.ask_who_is_there(now);
        }
    }
}
