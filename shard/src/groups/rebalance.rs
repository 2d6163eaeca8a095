//! From one generation to the next: members join, until all have, or their time is up.

use core::time::Duration;
use std::sync::Arc;

use net::ErrorCode;

use super::ask::{GroupAnswer, Joined, Synced};
use super::effects::{Context, Then, Write};
use super::group::{FirstWait, Group, Preparation, State};
use super::record::Key;
use super::timers::Due;

impl Group {
    /// Something changed that the members must agree on anew.
    pub(super) fn rebalance(&mut self, cx: &mut Context<'_>) {
        match self.state {
            State::Empty | State::Completing | State::Stable => self.prepare(cx),
            State::Preparing(_) => self.try_complete_join(cx),
            State::Dead => {}
        }
    }

    fn prepare(&mut self, cx: &mut Context<'_>) {
        if self.state == State::Completing {
            self.refuse_syncs(cx, ErrorCode::RebalanceInProgress);
        }
        self.unsynced.clear();
        self.sync_until = None;
        let (clock, timeout) = (cx.clock(), self.rebalance_timeout());
        let preparation = if self.state == State::Empty {
            let delay = cx.settings.initial_rebalance_delay.min(timeout);
            let first = FirstWait { remaining: timeout.saturating_sub(delay), newcomer: false };
            Preparation { until: clock.plus(delay), first: Some(first) }
        } else {
            Preparation { until: clock.plus(timeout), first: None }
        };
        self.wait_for_joins(cx, preparation);
        self.try_complete_join(cx);
    }

    fn wait_for_joins(&mut self, cx: &mut Context<'_>, preparation: Preparation) {
        cx.effects.timers.add(preparation.until, &self.id, Due::Join);
        self.state = State::Preparing(preparation);
    }

    /// Goes on if everyone known has joined, unless the group is to wait for more.
    pub(super) fn try_complete_join(&mut self, cx: &mut Context<'_>) {
        let State::Preparing(preparation) = &self.state else { return };
        let all_joined = self.joining == self.members.len() && self.unclaimed.is_empty();
        if preparation.first.is_some() {
            // Without a delay the first to come need not wait for a timer.
            if preparation.until <= cx.clock() && all_joined {
                self.complete_join(cx);
            }
        } else if all_joined {
            self.complete_join(cx);
        }
    }

    /// Someone new came while the first rebalance waits: it may wait longer.
    pub(super) fn note_newcomer(&mut self) {
        if let State::Preparing(Preparation { first: Some(first), .. }) = &mut self.state {
            first.newcomer = true;
        }
    }

    /// The time to join is up.
    pub(super) fn join_due(&mut self, cx: &mut Context<'_>) {
        let State::Preparing(preparation) = &self.state else { return };
        let clock = cx.clock();
        if clock < preparation.until {
            return;
        }
        if let Some(first) = preparation.first.clone()
            && first.newcomer
            && !first.remaining.is_zero()
        {
            let delay = cx.settings.initial_rebalance_delay.min(first.remaining);
            let remaining = first.remaining.saturating_sub(delay);
            let first = Some(FirstWait { remaining, newcomer: false });
            return self.wait_for_joins(cx, Preparation { until: clock.plus(delay), first });
        }
        self.complete_join(cx);
    }

    /// Makes the next generation of those who have joined; static members that have not stay in it.
    fn complete_join(&mut self, cx: &mut Context<'_>) {
        let late: Vec<Arc<str>> = self
            .members
            .values()
            .filter(|member| member.joining.is_none() && member.instance.is_none())
            .map(|member| Arc::clone(&member.id))
            .collect();
        for id in late {
            self.remove(cx, &id);
        }
        if !self.members.is_empty() && !self.elect_joined_leader() {
            // Only static members, of whom none is back yet: they have until their sessions end.
            let until = cx.clock().plus(self.rebalance_timeout().max(Duration::from_millis(100)));
            return self.wait_for_joins(cx, Preparation { until, first: None });
        }
        self.generation += 1;
        if self.members.is_empty() {
            return self.become_empty(cx);
        }
        self.protocol = Some(self.elect_protocol());
        self.state = State::Completing;
        self.answer_joins(cx);
    }

    /// A leader that has joined, if anyone has.
    fn elect_joined_leader(&mut self) -> bool {
        let has_joined =
            |id: &str| self.members.get(id).is_some_and(|member| member.joining.is_some());
        if !self.leader.as_deref().is_some_and(has_joined) {
            let mut members = self.members.values();
            let Some(joined) = members.find(|member| member.joining.is_some()) else {
                return false;
            };
            self.leader = Some(Arc::clone(&joined.id));
        }
        true
    }

    fn answer_joins(&mut self, cx: &mut Context<'_>) {
        let timeout = self.rebalance_timeout();
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        self.unsynced.clear();
        for id in ids {
            let mut waiting = None;
            self.change(&id, |member| {
                waiting = member.joining.take();
                member.is_new = false;
            });
            let Some(to) = waiting else { continue };
            self.unsynced.insert(Arc::clone(&id));
            self.touch(cx, &id);
            let joined = self.joined(&id);
            cx.answer(to, GroupAnswer::Joined(joined));
        }
        let until = cx.clock().plus(timeout);
        self.sync_until = Some(until);
        cx.effects.timers.add(until, &self.id, Due::Sync);
    }

    /// What a member is told of the present generation.
    pub(super) fn joined(&self, id: &Arc<str>) -> Joined {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let members = if self.is_leader(id) {
            self.members.values().map(|member| member.as_joined(protocol)).collect()
        } else {
            Vec::new()
        };
        Joined {
            error: ErrorCode::None,
            generation: self.generation,
            protocol_type: Some(Arc::clone(&self.protocol_type)),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            member: Arc::clone(id),
            skip_assignment: false,
            members,
        }
    }

    /// Nobody is left: that is written down, so that the group's age is known.
    fn become_empty(&mut self, cx: &mut Context<'_>) {
        self.state = State::Empty;
        self.protocol = None;
        self.leader = None;
        self.sync_until = None;
        self.since_ms = cx.now.wall.0;
        let value = self.value(self.since_ms, &[]).encode();
        self.write(cx, value.clone(), Then::Emptied { value });
    }

    /// Writes the group's record.
    pub(super) fn write(&mut self, cx: &mut Context<'_>, value: Vec<u8>, then: Then) {
        self.writing += 1;
        let records = vec![(Key::Group(&self.id).encode(), Some(value))];
        cx.write(Write { group: Arc::clone(&self.id), records, then });
    }

    /// The time to ask for an assignment is up: whoever has not is taken for gone.
    pub(super) fn sync_due(&mut self, cx: &mut Context<'_>) {
        let is_due = self.sync_until.is_some_and(|until| until <= cx.clock());
        if !is_due || !matches!(self.state, State::Completing | State::Stable) {
            return;
        }
        self.sync_until = None;
        let silent = core::mem::take(&mut self.unsynced);
        if silent.is_empty() {
            return;
        }
        for id in silent {
            self.remove(cx, &id);
        }
        self.rebalance(cx);
    }

    /// A member was silent for as long as it may be.
    pub(super) fn session_due(&mut self, cx: &mut Context<'_>, id: &str) {
        let clock = cx.clock();
        let Some(member) = self.members.get_mut(id) else { return };
        member.looked_at = None;
        let excused = !member.is_new && member.is_waiting();
        if excused {
            return self.touch(cx, id);
        }
        if clock < member.expires_at {
            let due = Due::Session(Arc::clone(&member.id));
            member.looked_at = Some(member.expires_at);
            return cx.effects.timers.add(member.expires_at, &self.id, due);
        }
        self.expel(cx, id);
    }

    /// An id that was given out was not used in time.
    pub(super) fn unclaimed_due(&mut self, cx: &mut Context<'_>, id: &str) {
        let is_due = self.unclaimed.get(id).is_some_and(|until| *until <= cx.clock());
        if is_due {
            self.unclaimed.remove(id);
            self.try_complete_join(cx);
        }
    }

    /// Takes a member out, tells it so if it waits, and lets the others know.
    pub(super) fn expel(&mut self, cx: &mut Context<'_>, id: &str) {
        let Some(member) = self.remove(cx, id) else { return };
        if let Some(to) = member.joining {
            let refused = Joined::refused(ErrorCode::UnknownMemberId, Arc::clone(&member.id));
            cx.answer(to, GroupAnswer::Joined(refused));
        }
        if let Some(to) = member.syncing {
            cx.answer(to, GroupAnswer::Synced(Synced::refused(ErrorCode::UnknownMemberId)));
        }
        self.rebalance(cx);
    }

    /// Whoever waits for an assignment of this generation gets none.
    pub(super) fn refuse_syncs(&mut self, cx: &mut Context<'_>, error: ErrorCode) {
        for member in self.members.values_mut() {
            member.assignment.clear();
            if let Some(to) = member.syncing.take() {
                cx.effects.answers.push_back((to, GroupAnswer::Synced(Synced::refused(error))));
            }
        }
        self.bytes = self.members.values().map(super::member::Member::bytes).sum();
    }
}
