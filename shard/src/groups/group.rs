//! One group: members, generation, offsets.
//!
//! ```text
//!            a member joins             all have joined            the leader's assignment
//!  Empty ───────────────▶ Preparing ──────────────▶ Completing ──────────────▶ Stable
//!    ▲                        ▲    ◀──────────────────┘   │                      │
//!    │   nobody is left       └── joins, leaves, silence ─┴──────────────────────┘
//!    └────────────────────────┘                                   deleted: Dead, from Empty
//! ```
//! Source of the behaviour: Kafka's classic group coordinator.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base::Instant;
use net::ErrorCode;

use super::ask::Identity;
use super::effects::Context;
use super::member::Member;
use super::mutant::Mutant;
use super::record::{GroupValue, OffsetValue};
use super::subscription::{self, CONSUMER};
use super::timers::Due;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Group {
    pub id: Arc<str>,
    pub state: State,
    pub generation: i32,
    /// Empty while nobody has joined.
    pub protocol_type: Arc<str>,
    /// What was selected for this generation.
    pub protocol: Option<Arc<str>>,
    pub leader: Option<Arc<str>>,
    pub members: BTreeMap<Arc<str>, Member>,
    /// Member ids by instance id.
    pub statics: BTreeMap<Arc<str>, Arc<str>>,
    /// Ids that were given out and not used yet, and until when they may be.
    pub unclaimed: BTreeMap<Arc<str>, Instant>,
    /// Members of this generation that have not asked for their assignment.
    pub unsynced: BTreeSet<Arc<str>>,
    /// When those are given up.
    pub sync_until: Option<Instant>,
    /// How many members support each protocol.
    support: BTreeMap<Arc<str>, usize>,
    /// Members that wait for the others to join.
    pub joining: usize,
    /// What its members hold, bytes.
    pub bytes: usize,
    pub offsets: BTreeMap<(Arc<str>, i32), OffsetValue>,
    /// Its record as it stands in the log.
    pub written: Option<Vec<u8>>,
    /// When it was last seen to have members, ms since 1970.
    pub since_ms: i64,
    /// Writes that are not committed yet.
    pub writing: usize,
}

/// How a group is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Empty,
    Preparing(Preparation),
    Completing,
    Stable,
    Dead,
}

/// A rebalance that waits for members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Preparation {
    pub until: Instant,
    /// Of a group that was empty: it waits for `until` even if everyone known has joined.
    pub first: Option<FirstWait>,
}

/// How the first rebalance goes on waiting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FirstWait {
    /// What is left of the members' rebalance timeout behind `until`.
    pub remaining: Duration,
    /// Someone came since the wait began.
    pub newcomer: bool,
}

impl Group {
    pub(super) fn new(id: Arc<str>, now_ms: i64) -> Self {
        Self {
            id,
            state: State::Empty,
            generation: 0,
            protocol_type: "".into(),
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            statics: BTreeMap::new(),
            unclaimed: BTreeMap::new(),
            unsynced: BTreeSet::new(),
            sync_until: None,
            support: BTreeMap::new(),
            joining: 0,
            bytes: 0,
            offsets: BTreeMap::new(),
            written: None,
            since_ms: now_ms,
            writing: 0,
        }
    }

    /// A group as its record has it. Its members have their sessions before them.
    pub(super) fn loaded(&mut self, value: GroupValue, bytes: &[u8]) {
        self.generation = value.generation;
        self.protocol_type = value.protocol_type.into();
        self.protocol = value.protocol.map(Arc::from);
        self.leader = value.leader.map(Arc::from);
        self.since_ms = value.since_ms;
        self.written = Some(bytes.to_vec());
        self.members.clear();
        self.statics.clear();
        self.support.clear();
        self.bytes = 0;
        for member in value.members {
            self.insert(Member::loaded(member, self.protocol.clone().as_deref()));
        }
        self.state = if self.members.is_empty() { State::Empty } else { State::Stable };
    }

    /// Kafka's name of its state.
    pub(super) fn state_name(&self) -> &'static str {
        match self.state {
            State::Empty => "Empty",
            State::Preparing(_) => "PreparingRebalance",
            State::Completing => "CompletingRebalance",
            State::Stable => "Stable",
            State::Dead => "Dead",
        }
    }

    pub(super) fn is_leader(&self, member: &str) -> bool {
        self.leader.as_deref() == Some(member)
    }

    /// Takes a member in. The first one leads.
    pub(super) fn insert(&mut self, member: Member) {
        if self.members.is_empty() && self.leader.is_none() {
            self.leader = Some(Arc::clone(&member.id));
        }
        if let Some(instance) = &member.instance {
            self.statics.insert(Arc::clone(instance), Arc::clone(&member.id));
        }
        self.count(&member, 1);
        self.members.insert(Arc::clone(&member.id), member);
    }

    /// Takes a member out, and watches it no more. The caller answers what it waited for.
    pub(super) fn remove(&mut self, cx: &mut Context<'_>, id: &str) -> Option<Member> {
        let member = self.members.remove(id)?;
        self.count(&member, -1);
        if let Some(instance) = &member.instance {
            self.statics.remove(instance);
        }
        self.unsynced.remove(id);
        if let Some(at) = member.looked_at {
            cx.effects.timers.remove(at, &self.id, Due::Session(Arc::clone(&member.id)));
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
        Some(member)
    }

    fn count(&mut self, member: &Member, sign: isize) {
        self.bytes = self.bytes.saturating_add_signed(sign * member.bytes() as isize);
        self.joining =
            self.joining.saturating_add_signed(sign * isize::from(member.joining.is_some()));
        for (name, _) in &member.protocols {
            let count = self.support.entry(Arc::clone(name)).or_default();
            *count = count.saturating_add_signed(sign);
            if *count == 0 {
                self.support.remove(name);
            }
        }
    }

    /// Changes a member and keeps the counts right. Panics if it is none: the caller has looked.
    pub(super) fn change(&mut self, id: &str, change: impl FnOnce(&mut Member)) {
        let (id, mut member) = self.members.remove_entry(id).expect("it is a member");
        self.count(&member, -1);
        change(&mut member);
        self.count(&member, 1);
        self.members.insert(id, member);
    }

    /// Whether someone with these protocols can work together with the members there are.
    pub(super) fn accepts(&self, protocol_type: &str, protocols: &[(String, Vec<u8>)]) -> bool {
        if self.members.is_empty() {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let everyone = self.members.len();
        *self.protocol_type == *protocol_type
            && protocols.iter().any(|(name, _)| self.support.get(name.as_str()) == Some(&everyone))
    }

    /// The protocol that most members prefer of those that all support. Panics without members.
    pub(super) fn elect_protocol(&self) -> Arc<str> {
        let everyone = self.members.len();
        let is_candidate = |name: &Arc<str>| self.support.get(name) == Some(&everyone);
        let mut votes: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        for member in self.members.values() {
            let mut names = member.protocols.iter().map(|(name, _)| name);
            if let Some(first) = names.find(|name| is_candidate(name)) {
                *votes.entry(first).or_default() += 1;
            }
        }
        let elected = votes.into_iter().max_by_key(|(_, votes)| *votes);
        Arc::clone(elected.expect("whoever was taken in shares a protocol with all").0)
    }

    /// How long a rebalance waits: as long as the most patient member.
    pub(super) fn rebalance_timeout(&self) -> Duration {
        self.members.values().map(|member| member.rebalance_timeout).max().unwrap_or_default()
    }

    /// Whether `who` is a member of the group's present generation.
    pub(super) fn check_member(&self, cx: &Context<'_>, who: &Identity) -> Result<(), ErrorCode> {
        self.check_identity(cx, &who.member, who.instance.as_deref())?;
        let any_generation = cx.planted.is(Mutant::CommitAnyGeneration);
        if who.generation != self.generation && !any_generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        Ok(())
    }

    /// Whether there is such a member, and no other has taken its place.
    pub(super) fn check_identity(
        &self,
        cx: &Context<'_>,
        member: &str,
        instance: Option<&str>,
    ) -> Result<(), ErrorCode> {
        if let Some(instance) = instance {
            let holder = self.statics.get(instance).ok_or(ErrorCode::UnknownMemberId)?;
            if **holder != *member && !cx.planted.is(Mutant::StaticNotFenced) {
                return Err(ErrorCode::FencedInstanceId);
            }
            if cx.planted.is(Mutant::StaticNotFenced) {
                return Ok(());
            }
        }
        if self.members.contains_key(member) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    /// A member has spoken: its session begins anew.
    pub(super) fn touch(&mut self, cx: &mut Context<'_>, id: &str) {
        let clock = cx.clock();
        let Some(member) = self.members.get_mut(id) else { return };
        let expires_at = clock.plus(member.session_timeout);
        watch(cx, &self.id, member, expires_at);
    }

    /// A member that waits for its first generation has this long, whatever its session timeout.
    pub(super) fn touch_new(&mut self, cx: &mut Context<'_>, id: &str) {
        const NEW_MEMBER_WAIT: Duration = Duration::from_secs(5 * 60);
        let expires_at = cx.clock().plus(NEW_MEMBER_WAIT);
        if let Some(member) = self.members.get_mut(id) {
            watch(cx, &self.id, member, expires_at);
        }
    }

    /// What is written down of the group: its members with these assignments.
    pub(super) fn value(&self, since_ms: i64, assignments: &[(String, Vec<u8>)]) -> GroupValue {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let given: BTreeMap<&str, &Vec<u8>> =
            assignments.iter().map(|(id, assignment)| (id.as_str(), assignment)).collect();
        let member = |member: &Member| {
            let assignment = given.get(&*member.id).map_or_else(Vec::new, |given| given.to_vec());
            member.value(protocol, assignment)
        };
        GroupValue {
            protocol_type: self.protocol_type.to_string(),
            generation: self.generation,
            protocol: self.protocol.as_deref().map(str::to_owned),
            leader: self.leader.as_deref().map(str::to_owned),
            since_ms,
            members: self.members.values().map(member).collect(),
        }
    }

    /// Whether a member of this group of consumers has subscribed to the topic, or may have.
    pub(super) fn is_subscribed(&self, topic: &str) -> bool {
        if *self.protocol_type != *CONSUMER {
            return !self.members.is_empty();
        }
        let subscribed = |metadata: &[u8]| {
            subscription::topics(metadata).is_none_or(|topics| topics.contains(&topic))
        };
        self.members.values().any(|member| match self.protocol.as_deref() {
            Some(protocol) => subscribed(member.metadata(protocol)),
            None => member.protocols.iter().any(|(_, metadata)| subscribed(metadata)),
        })
    }
}

/// Ends the member's session at `expires_at`; a later end than before costs nothing now.
fn watch(cx: &mut Context<'_>, group: &Arc<str>, member: &mut Member, expires_at: Instant) {
    member.expires_at = expires_at;
    if member.looked_at.is_some_and(|looked_at| looked_at <= expires_at) {
        return;
    }
    let due = || Due::Session(Arc::clone(&member.id));
    if let Some(later) = member.looked_at {
        cx.effects.timers.remove(later, group, due());
    }
    cx.effects.timers.add(expires_at, group, due());
    member.looked_at = Some(expires_at);
}
