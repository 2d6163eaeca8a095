//! Who is a member, and who votes: the leader admits learners that have caught up to the seats that
//! are theirs, and takes voters away that came back without their journal.
//!
//! One change at a time, and none before an entry of the leader's own term is committed: then any
//! two majorities that may decide at one time share a voter. A voter is never replaced in one step.

use base::Instant;

use super::leader::{Leader, Member};
use super::message::RaftBody;
use super::{ClusterLog, Role};
use crate::{Command, Voter};

/// The most members that a leader sends its log to.
const MEMBERS_MAX: usize = 1024;
/// A learner that was silent for so many times `silence_max` is forgotten until it comes back.
const LEARNER_SILENCES: u32 = 16;

impl ClusterLog {
    pub(super) fn is_alone(&self) -> bool {
        self.settings.is_alone() && self.proposed().voters().is_empty()
    }

    /// A member says that it is there: it learns where this log ends, and from the leader all of
    /// it.
    pub(super) fn take_present(&mut self, now: Instant, sender: Voter, round: u64) {
        let last = self.entries.last();
        self.say(sender, self.ballot.term, RaftBody::Seen { round, last });
        if self.is_alone() || self.voters().contains(sender) {
            return;
        }
        let Role::Leader(leader) = &mut self.role else { return };
        if leader.members.len() < MEMBERS_MAX {
            let member = leader.members.entry(sender);
            member.or_insert_with(|| Member::new(now, last, true)).heard = now;
        }
    }

    pub(super) fn may_change_voters(&self) -> bool {
        let committed = self.committed();
        self.entries.term(committed) == Some(self.ballot.term)
            && self.committed.voters() == self.proposed().voters()
    }

    /// Forgets learners that left, and changes the voters by one if there is reason to.
    pub(super) fn settle_members(&mut self, now: Instant) {
        let (voters, last) = (self.voters(), self.entries.last());
        let patience = self.settings.timing.silence_max * LEARNER_SILENCES;
        let Role::Leader(leader) = &mut self.role else { return };
        leader
            .members
            .retain(|voter, member| voters.contains(*voter) || now.since(member.heard) < patience);
        let Role::Leader(leader) = &self.role else { return };
        if !self.may_change_voters() {
            return;
        }
        let Some(command) = self.wanted_change(now, leader) else { return };
        if let Command::VoterRemoved(voter) = command
            && let Role::Leader(leader) = &mut self.role
            && let Some(member) = leader.members.get_mut(&voter)
        {
            // It begins anew, as a learner.
            *member = Member::new(member.heard, last, true);
        }
        // A change that the state does not admit, as a sixth voter, is not made.
        let _ = self.push(command);
    }

    fn wanted_change(&self, now: Instant, leader: &Leader) -> Option<Command> {
        let voters = self.voters();
        let timing = self.settings.timing;
        let forgot = |(voter, member): (&Voter, &Member)| member.forgot && voters.contains(*voter);
        if let Some((voter, _)) = leader.members.iter().find(|pair| forgot(*pair)) {
            return (1 < voters.len()).then_some(Command::VoterRemoved(*voter));
        }
        let has_caught_up = |member: &Member| {
            self.committed() <= member.matched && now.since(member.heard) < timing.silence_min
        };
        let learners = leader.members.iter().filter(|(learner, member)| {
            !voters.contains(**learner)
                && self.settings.seats.contains(&learner.node)
                && has_caught_up(member)
        });
        learners.map(|(learner, _)| *learner).find_map(|learner| {
            match voters.of_node(learner.node) {
                None => Some(Command::VoterAdded(learner)),
                Some(old) => {
                    let heard = leader.members.get(&old).map(|member| member.heard);
                    let is_gone = heard.is_none_or(|heard| timing.silence_max <= now.since(heard));
                    is_gone.then_some(Command::VoterRemoved(old))
                }
            }
        })
    }
}
