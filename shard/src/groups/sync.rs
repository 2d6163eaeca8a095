//! SyncGroup and Heartbeat: the leader's assignment reaches the members, who say that they live.

use std::sync::Arc;

use net::ErrorCode;

use super::ask::{GroupAnswer, Identity, Sync, Synced};
use super::effects::{Context, Then};
use super::group::{Group, State};
use crate::mail::Asker;

impl Group {
    pub(super) fn sync(&mut self, cx: &mut Context<'_>, to: Asker, sync: Sync) {
        match self.try_sync(cx, to, sync) {
            Ok(None) => {}
            Ok(Some(synced)) => cx.answer(to, GroupAnswer::Synced(synced)),
            Err(error) => cx.answer(to, GroupAnswer::Synced(Synced::refused(error))),
        }
    }

    fn try_sync(
        &mut self,
        cx: &mut Context<'_>,
        to: Asker,
        sync: Sync,
    ) -> Result<Option<Synced>, ErrorCode> {
        if self.state == State::Dead {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        self.check_member(cx, &sync.who)?;
        let differs = |given: &Option<String>, own: Option<&str>| {
            given.as_deref().is_some_and(|given| Some(given) != own)
        };
        if differs(&sync.protocol_type, Some(&self.protocol_type))
            || differs(&sync.protocol, self.protocol.as_deref())
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        let member = sync.who.member.as_str();
        match self.state {
            State::Empty | State::Dead => Err(ErrorCode::UnknownMemberId),
            State::Preparing(_) => Err(ErrorCode::RebalanceInProgress),
            State::Stable => {
                self.unsynced.remove(member);
                self.touch(cx, member);
                Ok(Some(self.synced(member)))
            }
            State::Completing => {
                self.unsynced.remove(member);
                if self.members.contains_key(member) {
                    self.change(member, |member| member.syncing = Some(to));
                }
                if self.is_leader(member) {
                    self.assign(cx, sync.assignments)?;
                }
                Ok(None)
            }
        }
    }

    /// Writes the assignment down; the members hear of it when it is committed.
    fn assign(
        &mut self,
        cx: &mut Context<'_>,
        assignments: Vec<(String, Vec<u8>)>,
    ) -> Result<(), ErrorCode> {
        let bytes: usize = assignments.iter().map(|(_, assignment)| assignment.len()).sum();
        if cx.settings.group_bytes_max < self.bytes + bytes {
            return Err(ErrorCode::UnknownServerError);
        }
        let value = self.value(cx.now.wall.0, &assignments).encode();
        let generation = self.generation;
        let then = Then::Assigned { generation, assignments, value: value.clone() };
        self.write(cx, value, then);
        Ok(())
    }

    /// The assignment is committed, or could not be.
    pub(super) fn assigned(
        &mut self,
        cx: &mut Context<'_>,
        generation: i32,
        assignments: Vec<(String, Vec<u8>)>,
        outcome: Result<(), ErrorCode>,
    ) {
        if self.state != State::Completing || self.generation != generation {
            // A rebalance came in between.
            return;
        }
        if let Err(error) = outcome {
            self.refuse_syncs(cx, error);
            return self.rebalance(cx);
        }
        self.state = State::Stable;
        self.since_ms = cx.now.wall.0;
        for (id, assignment) in assignments {
            if self.members.contains_key(id.as_str()) {
                self.change(&id, |member| member.assignment = assignment);
            }
        }
        let waiting: Vec<(Arc<str>, Asker)> = self
            .members
            .values_mut()
            .filter_map(|member| Some((Arc::clone(&member.id), member.syncing.take()?)))
            .collect();
        for (id, to) in waiting {
            self.touch(cx, &id);
            let synced = self.synced(&id);
            cx.answer(to, GroupAnswer::Synced(synced));
        }
    }

    fn synced(&self, member: &str) -> Synced {
        Synced {
            error: ErrorCode::None,
            protocol_type: Some(Arc::clone(&self.protocol_type)),
            protocol: self.protocol.clone(),
            assignment: self
                .members
                .get(member)
                .map_or_else(Vec::new, |own| own.assignment.clone()),
        }
    }

    /// A member lives; the answer tells it of a rebalance.
    pub(super) fn heartbeat(
        &mut self,
        cx: &mut Context<'_>,
        who: &Identity,
    ) -> Result<(), ErrorCode> {
        if self.state == State::Dead {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        self.check_member(cx, who)?;
        match self.state {
            State::Empty | State::Dead => Err(ErrorCode::UnknownMemberId),
            State::Preparing(_) => {
                self.touch(cx, &who.member);
                Err(ErrorCode::RebalanceInProgress)
            }
            State::Completing | State::Stable => {
                self.touch(cx, &who.member);
                Ok(())
            }
        }
    }
}
