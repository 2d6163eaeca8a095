//! JoinGroup: who becomes a member, and who starts a rebalance by it.

use std::sync::Arc;

use net::ErrorCode;

use super::ask::{GroupAnswer, Join, Joined, Synced};
use super::effects::{Context, Then};
use super::group::{Group, State};
use super::member::Member;
use super::mutant::Mutant;
use super::record::STRING_BYTES_MAX;
use super::timers::Due;
use crate::mail::Asker;

/// Ids that may wait to be used, as a multiple of the members that a group may have.
const UNCLAIMED_PER_MEMBER: usize = 1;
/// The most bytes of a client's name that go into the ids of its members.
const CLIENT_ID_BYTES_MAX: usize = 255;

impl Group {
    /// Takes a join. It is answered now, or when the rebalance is over.
    pub(super) fn join(&mut self, cx: &mut Context<'_>, to: Asker, join: &Join) {
        if let Err(error) = self.try_join(cx, to, join) {
            let member = join.member.as_str().into();
            cx.answer(to, GroupAnswer::Joined(Joined::refused(error, member)));
        }
    }

    fn try_join(&mut self, cx: &mut Context<'_>, to: Asker, join: &Join) -> Result<(), ErrorCode> {
        if self.state == State::Dead {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        check_sizes(join)?;
        if !self.has_room(cx, join) {
            if self.members.contains_key(join.member.as_str()) {
                self.expel(cx, &join.member);
            }
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        if !self.accepts_from(join) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        if join.member.is_empty() {
            return self.join_new(cx, to, join);
        }
        if self.unclaimed.contains_key(join.member.as_str()) {
            if join.instance.is_some() {
                return Err(ErrorCode::UnknownMemberId);
            }
            let id: Arc<str> = join.member.as_str().into();
            self.unclaimed_remove(cx, &id);
            self.add(cx, to, join, id);
            return Ok(());
        }
        self.check_identity(cx, &join.member, join.instance.as_deref())?;
        self.join_known(cx, to, join)
    }

    /// Whether the protocols go together with those of the other members.
    fn accepts_from(&self, join: &Join) -> bool {
        self.accepts(&join.protocol_type, &join.protocols)
    }

    fn has_room(&self, cx: &Context<'_>, join: &Join) -> bool {
        let is_member = self.members.contains_key(join.member.as_str());
        let bytes: usize =
            join.protocols.iter().map(|(name, metadata)| name.len() + metadata.len()).sum();
        let fits = self.bytes + bytes <= cx.settings.group_bytes_max;
        let most = cx.settings.members_max;
        fits && (is_member || self.members.len() < most)
    }

    fn join_new(&mut self, cx: &mut Context<'_>, to: Asker, join: &Join) -> Result<(), ErrorCode> {
        if let Some(instance) = join.instance.as_deref() {
            let id = cx.effects.ids.draw(instance);
            match self.statics.get(instance).cloned() {
                Some(old) => self.replace(cx, to, join, &old, id),
                None => self.add(cx, to, join, id),
            }
            return Ok(());
        }
        let name = &join.client_id[..floor(&join.client_id, CLIENT_ID_BYTES_MAX)];
        let id = cx.effects.ids.draw(name);
        if !join.id_required {
            self.add(cx, to, join, id);
            return Ok(());
        }
        if cx.settings.members_max * UNCLAIMED_PER_MEMBER <= self.unclaimed.len() {
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        let until = cx.clock().plus(join.session_timeout);
        self.unclaimed.insert(Arc::clone(&id), until);
        cx.effects.timers.add(until, &self.id, Due::Unclaimed(Arc::clone(&id)));
        let refused = Joined::refused(ErrorCode::MemberIdRequired, id);
        cx.answer(to, GroupAnswer::Joined(refused));
        Ok(())
    }

    pub(super) fn unclaimed_remove(&mut self, cx: &mut Context<'_>, id: &Arc<str>) -> bool {
        let Some(until) = self.unclaimed.remove(id) else { return false };
        cx.effects.timers.remove(until, &self.id, Due::Unclaimed(Arc::clone(id)));
        true
    }

    fn add(&mut self, cx: &mut Context<'_>, to: Asker, join: &Join, id: Arc<str>) {
        if self.members.is_empty() {
            self.protocol_type = join.protocol_type.as_str().into();
        }
        let mut member = Member::new(Arc::clone(&id), join);
        member.joining = Some(to);
        member.is_new = true;
        self.insert(member);
        self.touch_new(cx, &id);
        self.note_newcomer();
        self.rebalance(cx);
    }

    fn join_known(
        &mut self,
        cx: &mut Context<'_>,
        to: Asker,
        join: &Join,
    ) -> Result<(), ErrorCode> {
        let id: Arc<str> = join.member.as_str().into();
        let member = self.members.get(&id).ok_or(ErrorCode::UnknownMemberId)?;
        let is_same = member.matches(&join.protocols);
        match self.state {
            State::Preparing(_) => self.rejoin(cx, to, join, &id),
            // The answer was lost, most likely.
            State::Completing if is_same => self.tell_again(cx, to, &id),
            State::Stable if is_same && !self.is_leader(&id) => self.tell_again(cx, to, &id),
            // A leader joins again because it has seen that something changed.
            State::Completing | State::Stable => self.rejoin(cx, to, join, &id),
            State::Empty | State::Dead => return Err(ErrorCode::UnknownMemberId),
        }
        Ok(())
    }

    fn rejoin(&mut self, cx: &mut Context<'_>, to: Asker, join: &Join, id: &Arc<str>) {
        let mut superseded = None;
        self.change(id, |member| {
            member.update(join);
            superseded = member.joining.replace(to);
        });
        if let Some(earlier) = superseded {
            // The client asked again, over a connection that it takes to be the better one.
            let refused = Joined::refused(ErrorCode::RebalanceInProgress, Arc::clone(id));
            cx.answer(earlier, GroupAnswer::Joined(refused));
        }
        self.rebalance(cx);
    }

    fn tell_again(&mut self, cx: &mut Context<'_>, to: Asker, id: &Arc<str>) {
        self.touch(cx, id);
        let joined = self.joined(id);
        cx.answer(to, GroupAnswer::Joined(joined));
    }

    /// A static member came back without its id: it gets a new one, and the old one is fenced.
    fn replace(
        &mut self,
        cx: &mut Context<'_>,
        to: Asker,
        join: &Join,
        old: &Arc<str>,
        id: Arc<str>,
    ) {
        let led_before = self.leader.clone();
        let mut member = self.remove(cx, old).expect("an instance names a member");
        if let Some(waiting) = member.joining.take() {
            let fenced = Joined::refused(ErrorCode::FencedInstanceId, Arc::clone(old));
            cx.answer(waiting, GroupAnswer::Joined(fenced));
        }
        if let Some(waiting) = member.syncing.take() {
            cx.answer(waiting, GroupAnswer::Synced(Synced::refused(ErrorCode::FencedInstanceId)));
        }
        member.id = Arc::clone(&id);
        member.looked_at = None;
        member.update(join);
        self.insert(member);
        if led_before.as_ref() == Some(old) {
            self.leader = Some(Arc::clone(&id));
        }
        self.touch(cx, &id);
        match self.state {
            State::Stable if self.protocol.as_ref() == Some(&self.elect_protocol()) => {
                self.replace_quietly(cx, to, join, &id, led_before);
            }
            State::Empty | State::Dead => {
                let refused = Joined::refused(ErrorCode::UnknownMemberId, id);
                cx.answer(to, GroupAnswer::Joined(refused));
            }
            State::Stable | State::Completing | State::Preparing(_) => {
                self.change(&id, |member| member.joining = Some(to));
                self.rebalance(cx);
            }
        }
    }

    /// Nothing changes for the others: the generation goes on, once the new id is written down.
    fn replace_quietly(
        &mut self,
        cx: &mut Context<'_>,
        to: Asker,
        join: &Join,
        id: &Arc<str>,
        led_before: Option<Arc<str>>,
    ) {
        let assignments: Vec<_> = self
            .members
            .values()
            .map(|member| (member.id.to_string(), member.assignment.clone()))
            .collect();
        let value = self.value(self.since_ms, &assignments).encode();
        let mut joined = self.joined(id);
        if join.may_skip_assignment {
            joined.skip_assignment = self.is_leader(id);
        } else {
            // Told who led before, it does not take itself for the leader and assign anew.
            joined.leader = led_before.unwrap_or_default();
            joined.members.clear();
        }
        self.write(cx, value.clone(), Then::Replaced { to, joined, value });
        if cx.planted.is(Mutant::StaticNotFenced) {
            self.touch(cx, id);
        }
    }
}

/// Whatever a record is to hold must fit it.
fn check_sizes(join: &Join) -> Result<(), ErrorCode> {
    let names = join.protocols.iter().map(|(name, _)| name.as_str());
    let texts = [join.protocol_type.as_str(), &join.client_host];
    let mut texts = texts.into_iter().chain(names).chain([join.client_id.as_str()]);
    // An id is an instance's name with 37 characters more.
    let instance = join.instance.as_deref().map_or(0, str::len);
    if STRING_BYTES_MAX - 64 < instance || texts.any(|text| STRING_BYTES_MAX < text.len()) {
        return Err(ErrorCode::InvalidRequest);
    }
    Ok(())
}

/// The largest place up to `most` where the text can be cut.
fn floor(text: &str, most: usize) -> usize {
    (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}
