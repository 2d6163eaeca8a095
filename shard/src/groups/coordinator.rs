//! The groups of one partition of the offsets topic, while this shard leads it.
//!
//! ```text
//!   asks ──▶ groups ──▶ answers                    committed batches ──▶ what follows
//!               └─────▶ writes ──▶ batches ──▶ log ────────┘
//! ```
//! Its state is what the log says: it is loaded from the partition's start, changed only by what is
//! committed, and now and then written anew as a whole, so that what lies before can be forgotten.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::{Instant, Now, Offset};
use net::ErrorCode;

use super::ask::{GroupAnswer, GroupAsk, Joined, Listed, Synced};
use super::effects::{Context, Effects, Then, Write, clock};
use super::group::{Group, State};
use super::mutant::{Mutant, Planted};
use super::record::{GroupValue, Key, OffsetValue, STRING_BYTES_MAX};
use super::refusals::{given_up, of_members, of_no_group, refusal, with_failure};
use super::settings::GroupSettings;
use super::timers::Due;
use super::writer::{Flight, Writer};
use crate::mail::Asker;

/// How often old offsets are looked for.
const SWEEP_EVERY: core::time::Duration = core::time::Duration::from_secs(600);

/// See the module's description.
#[derive(Debug)]
pub struct Coordinator {
    groups: BTreeMap<Arc<str>, Group>,
    effects: Effects,
    writer: Writer,
    snapshot: Snapshot,
    planted: Planted,
    sweep_at: Option<Instant>,
}

/// How far the newest snapshot is.
#[derive(Debug, Default)]
struct Snapshot {
    /// Batches of it that are not committed yet.
    missing: usize,
    /// One of them was refused.
    failed: bool,
    /// Where it starts.
    base: Option<Offset>,
    /// The log before this is not needed any more.
    trim_to: Option<Offset>,
}

/// A batch to be appended; `flight` is to be given back with its fate.
#[derive(Debug)]
pub struct Batch {
    pub bytes: Vec<u8>,
    pub flight: InFlight,
}

/// What follows when a batch is committed.
#[derive(Debug)]
pub struct InFlight {
    follows: Vec<(Arc<str>, Then)>,
    is_snapshot: bool,
}

impl Coordinator {
    /// An empty one. `seed`: random bits, different for every coordinator that ever was.
    #[must_use]
    pub fn new(seed: u128, planted: Planted) -> Self {
        let mut effects = Effects::default();
        effects.ids.seed = seed;
        Self {
            groups: BTreeMap::new(),
            effects,
            writer: Writer::default(),
            snapshot: Snapshot::default(),
            planted,
            sweep_at: None,
        }
    }

    /// Takes one record of the log in, in order.
    pub fn load(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) {
        let Some(key) = key.and_then(Key::decode) else { return };
        match key {
            Key::Offset { group, topic, partition } => {
                let place = (Arc::from(topic), partition);
                match value.and_then(OffsetValue::decode) {
                    Some(value) => {
                        let group = self.loading(group);
                        group.offsets.insert(place, value);
                    }
                    None => {
                        if let Some(group) = self.groups.get_mut(group) {
                            group.offsets.remove(&place);
                        }
                    }
                }
            }
            Key::Group(group) => match value {
                Some(bytes) => {
                    if let Some(value) = GroupValue::decode(bytes) {
                        self.loading(group).loaded(value, bytes);
                    }
                }
                None => {
                    self.groups.remove(group);
                }
            },
        }
    }

    fn loading(&mut self, group: &str) -> &mut Group {
        let id: Arc<str> = group.into();
        self.groups.entry(Arc::clone(&id)).or_insert_with(|| Group::new(id, 0))
    }

    /// The log is read to its end, `bytes` of it: members have their sessions before them.
    pub fn loaded(&mut self, now: Now, settings: &GroupSettings, bytes: usize) {
        self.writer.bytes_since_snapshot = bytes;
        let mut groups = core::mem::take(&mut self.groups);
        for group in groups.values_mut() {
            let mut cx = self.context(now, settings);
            let ids: Vec<Arc<str>> = group.members.keys().cloned().collect();
            ids.iter().for_each(|id| group.touch(&mut cx, id));
        }
        self.groups = groups;
        self.sweep_at = Some(now.mono.plus(SWEEP_EVERY));
    }

    fn context<'a>(&'a mut self, now: Now, settings: &'a GroupSettings) -> Context<'a> {
        Context { now, settings, planted: self.planted, effects: &mut self.effects }
    }

    /// Takes a question; its answer comes out of [`Coordinator::pop_answer`], now or later.
    pub fn ask(&mut self, now: Now, settings: &GroupSettings, to: Asker, ask: GroupAsk) {
        let Self { groups, effects, planted, .. } = self;
        let mut cx = Context { now, settings, planted: *planted, effects };
        if let Err(error) = admit(groups, &mut cx, &ask) {
            let answer = refusal(&ask, error);
            return cx.answer(to, answer);
        }
        let Some(group) = groups.get_mut(ask.group()) else {
            let answer = of_no_group(ask);
            return cx.answer(to, answer);
        };
        match ask {
            GroupAsk::Join(join) => group.join(&mut cx, to, &join),
            GroupAsk::Sync(sync) => group.sync(&mut cx, to, sync),
            GroupAsk::Heartbeat(who) => {
                let code = group.heartbeat(&mut cx, &who).err().unwrap_or(ErrorCode::None);
                cx.answer(to, GroupAnswer::Done(code));
            }
            GroupAsk::Leave { members, .. } => {
                let codes = group.leave(&mut cx, &members);
                let codes = codes.unwrap_or_else(|code| vec![code; members.len()]);
                cx.answer(to, GroupAnswer::Left(codes));
            }
            GroupAsk::Commit(commit) => group.commit(&mut cx, to, commit),
            GroupAsk::FetchOffsets { topics, .. } => {
                let found = group.find(topics);
                cx.answer(to, GroupAnswer::Offsets(found));
            }
            GroupAsk::DeleteOffsets { partitions, .. } => {
                if let Err(code) = group.delete_offsets(&mut cx, to, &partitions) {
                    cx.answer(to, GroupAnswer::OffsetsDeleted(Err(code)));
                }
            }
            GroupAsk::Describe { .. } => {
                let described = group.describe();
                cx.answer(to, GroupAnswer::Described(described));
            }
            GroupAsk::Delete { .. } => {
                if let Err(code) = group.delete(&mut cx, Some(to)) {
                    cx.answer(to, GroupAnswer::Done(code));
                }
            }
        }
    }

    /// The next answer.
    pub fn pop_answer(&mut self) -> Option<(Asker, GroupAnswer)> {
        self.effects.answers.pop_front()
    }

    /// Every group.
    pub fn list(&self) -> impl Iterator<Item = Listed> {
        self.groups.values().filter(|group| group.state != State::Dead).map(Group::listed)
    }

    /// Does what is due by now.
    pub fn expire(&mut self, now: Now, settings: &GroupSettings) {
        let clock = clock(now, self.planted);
        while let Some((id, due)) = self.effects.timers.pop(clock) {
            let Self { groups, effects, planted, .. } = self;
            let mut cx = Context { now, settings, planted: *planted, effects };
            let Some(group) = groups.get_mut(&id) else { continue };
            match due {
                Due::Session(member) => group.session_due(&mut cx, &member),
                Due::Unclaimed(member) => group.unclaimed_due(&mut cx, &member),
                Due::Join => group.join_due(&mut cx),
                Due::Sync => group.sync_due(&mut cx),
            }
        }
        if self.sweep_at.is_some_and(|at| at <= now.mono) {
            self.sweep_at = Some(now.mono.plus(SWEEP_EVERY));
            self.sweep(now, settings);
        }
    }

    /// Forgets offsets whose time is over, and groups that have neither members nor offsets.
    fn sweep(&mut self, now: Now, settings: &GroupSettings) {
        let retention_ms =
            i64::try_from(settings.offset_retention.as_millis()).unwrap_or(i64::MAX / 2);
        let Self { groups, effects, planted, .. } = self;
        let mut cx = Context { now, settings, planted: *planted, effects };
        for group in groups.values_mut().filter(|group| group.writing == 0) {
            let expired = group.expired(now.wall.0, retention_ms);
            let is_left = expired.len() == group.offsets.len()
                && group.state == State::Empty
                && group.unclaimed.is_empty();
            if is_left {
                // It is empty, and so this cannot be refused.
                let _ = group.delete(&mut cx, None);
            } else if !expired.is_empty() {
                group.forget(&mut cx, expired, None);
            }
        }
    }

    /// Topics were deleted: nobody asks for their offsets any more.
    pub fn forget_topics(
        &mut self,
        now: Now,
        settings: &GroupSettings,
        is_gone: impl Fn(&str) -> bool,
    ) {
        let Self { groups, effects, planted, .. } = self;
        let mut cx = Context { now, settings, planted: *planted, effects };
        for group in groups.values_mut() {
            let gone = group.offsets.keys().filter(|(topic, _)| is_gone(topic)).cloned();
            let gone: Vec<_> = gone.collect();
            if !gone.is_empty() {
                group.forget(&mut cx, gone, None);
            }
        }
    }

    /// The next batch to append.
    pub fn next_batch(&mut self, now: Now, settings: &GroupSettings) -> Option<Batch> {
        while let Some(write) = self.effects.writes.pop_front() {
            self.writer.push(write);
        }
        if self.is_snapshot_due(settings) {
            if 0 < self.writer.in_flight {
                // It must stand behind all that it holds.
                return None;
            }
            self.begin_snapshot();
        }
        let flight = self.writer.next_flight(now.wall.0)?;
        let Flight { batch, follows } = flight;
        let is_snapshot = follows.iter().any(|(_, then)| matches!(then, Then::Snapshot));
        self.snapshot.missing += usize::from(is_snapshot);
        Some(Batch { bytes: batch, flight: InFlight { follows, is_snapshot } })
    }

    fn is_snapshot_due(&self, settings: &GroupSettings) -> bool {
        self.snapshot.missing == 0
            && self.snapshot.trim_to.is_none()
            && settings.snapshot_bytes <= self.writer.bytes_since_snapshot
    }

    /// Puts all that is committed before whatever is queued.
    fn begin_snapshot(&mut self) {
        let queued = self.writer.begin_snapshot();
        for group in self.groups.values() {
            if self.planted.is(Mutant::SnapshotForgetsEmpty) && group.members.is_empty() {
                continue;
            }
            let mut records = Vec::new();
            if let Some(value) = &group.written {
                records.push((Key::Group(&group.id).encode(), Some(value.clone())));
            }
            for ((topic, partition), value) in &group.offsets {
                let key = Key::Offset { group: &group.id, topic, partition: *partition };
                records.push((key.encode(), Some(value.encode())));
            }
            for part in split(records) {
                let group = Arc::clone(&group.id);
                self.writer.push(Write { group, records: part, then: Then::Snapshot });
            }
        }
        queued.into_iter().for_each(|write| self.writer.push(write));
    }

    /// A batch is committed at `base`, or was refused: nothing of it is in the log.
    pub fn settle(
        &mut self,
        now: Now,
        settings: &GroupSettings,
        flight: InFlight,
        outcome: Result<Offset, ErrorCode>,
    ) {
        self.writer.in_flight = self.writer.in_flight.saturating_sub(1);
        if flight.is_snapshot {
            self.settle_snapshot(outcome);
        }
        for (id, then) in flight.follows {
            self.follow(now, settings, &id, then, outcome.map(drop));
        }
    }

    fn settle_snapshot(&mut self, outcome: Result<Offset, ErrorCode>) {
        let snapshot = &mut self.snapshot;
        snapshot.missing -= 1;
        match outcome {
            Ok(base) => {
                let first = snapshot.base.map_or(base, |first| first.min(base));
                snapshot.base = Some(first);
            }
            Err(_) => snapshot.failed = true,
        }
        if snapshot.missing == 0 {
            // Of a snapshot that is not whole nothing follows; the next one tries again.
            let base = snapshot.base.take();
            let whole = !core::mem::take(&mut snapshot.failed);
            snapshot.trim_to = base.filter(|_| whole);
        }
    }

    /// The log before this may be forgotten; told once.
    pub fn take_trim(&mut self) -> Option<Offset> {
        self.snapshot.trim_to.take()
    }

    fn follow(
        &mut self,
        now: Now,
        settings: &GroupSettings,
        id: &Arc<str>,
        then: Then,
        outcome: Result<(), ErrorCode>,
    ) {
        let Self { groups, effects, planted, .. } = self;
        let mut cx = Context { now, settings, planted: *planted, effects };
        if let Then::Snapshot = then {
            return;
        }
        let group = groups.entry(Arc::clone(id));
        let group = group.or_insert_with(|| Group::new(Arc::clone(id), now.wall.0));
        group.writing = group.writing.saturating_sub(1);
        match then {
            Then::Committed { offsets, to } => {
                if outcome.is_ok() {
                    group.remember(&offsets);
                }
                if let Some((to, codes)) = to {
                    cx.answer(to, GroupAnswer::Committed(with_failure(codes, outcome)));
                }
            }
            Then::Assigned { generation, assignments, value } => {
                if outcome.is_ok() {
                    group.written = Some(value);
                }
                group.assigned(&mut cx, generation, assignments, outcome.map_err(of_members));
            }
            Then::Replaced { to, mut joined, value } => {
                if outcome.is_ok() {
                    group.written = Some(value);
                }
                if let Err(error) = outcome {
                    joined = Joined::refused(of_members(error), joined.member);
                }
                cx.answer(to, GroupAnswer::Joined(joined));
            }
            Then::Emptied { value } => {
                if outcome.is_ok() {
                    group.written = Some(value);
                }
            }
            Then::Forgotten { offsets, to } => {
                if outcome.is_ok() {
                    offsets.iter().for_each(|offset| drop(group.offsets.remove(offset)));
                }
                if let Some((to, codes)) = to {
                    cx.answer(to, GroupAnswer::OffsetsDeleted(Ok(with_failure(codes, outcome))));
                }
            }
            Then::Deleted { to } => {
                match outcome {
                    Ok(()) => drop(groups.remove(id)),
                    Err(_) => group.state = State::Empty,
                }
                if let Some(to) = to {
                    let code = outcome.map_err(of_members).err().unwrap_or(ErrorCode::None);
                    cx.answer(to, GroupAnswer::Done(code));
                }
            }
            Then::Snapshot => {}
        }
    }

    /// This shard leads the partition no more: whoever waits is told to look for who does.
    pub fn resign(mut self, flights: impl Iterator<Item = InFlight>) -> Vec<(Asker, GroupAnswer)> {
        const MOVED: ErrorCode = ErrorCode::NotCoordinator;
        let mut answers: Vec<_> = self.effects.answers.drain(..).collect();
        for member in self.groups.values_mut().flat_map(|group| group.members.values_mut()) {
            if let Some(to) = member.joining.take() {
                let refused = Joined::refused(MOVED, Arc::clone(&member.id));
                answers.push((to, GroupAnswer::Joined(refused)));
            }
            if let Some(to) = member.syncing.take() {
                answers.push((to, GroupAnswer::Synced(Synced::refused(MOVED))));
            }
        }
        let written = self.effects.writes.drain(..).map(|write| write.then);
        let queued = self.writer.drain().map(|(_, then)| then);
        let flying = flights.flat_map(|flight| flight.follows).map(|(_, then)| then);
        for then in written.chain(queued).chain(flying) {
            answers.extend(given_up(then, MOVED));
        }
        answers
    }

    /// When [`Coordinator::expire`] is to be called next.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        self.effects.timers.first().into_iter().chain(self.sweep_at).min()
    }
}

/// Whether the question can be looked at at all; makes the group if it is to be made.
fn admit(
    groups: &mut BTreeMap<Arc<str>, Group>,
    cx: &mut Context<'_>,
    ask: &GroupAsk,
) -> Result<(), ErrorCode> {
    let id = ask.group();
    let may_be_nameless = match ask {
        GroupAsk::Join(_) | GroupAsk::Sync(_) | GroupAsk::Heartbeat(_) | GroupAsk::Leave { .. } => {
            false
        }
        GroupAsk::Commit(_)
        | GroupAsk::FetchOffsets { .. }
        | GroupAsk::DeleteOffsets { .. }
        | GroupAsk::Describe { .. }
        | GroupAsk::Delete { .. } => true,
    };
    if STRING_BYTES_MAX < id.len() || id.is_empty() && !may_be_nameless {
        return Err(ErrorCode::InvalidGroupId);
    }
    if let GroupAsk::Join(join) = ask {
        let allowed = cx.settings.session_timeout_min..=cx.settings.session_timeout_max;
        if !allowed.contains(&join.session_timeout) {
            return Err(ErrorCode::InvalidSessionTimeout);
        }
    }
    if groups.contains_key(id) {
        return Ok(());
    }
    match ask {
        GroupAsk::Join(join) if join.member.is_empty() => {}
        GroupAsk::Join(_) => return Err(ErrorCode::UnknownMemberId),
        GroupAsk::Commit(commit) if commit.who.generation < 0 => {}
        GroupAsk::Commit(_) => return Err(ErrorCode::IllegalGeneration),
        _ => return Ok(()),
    }
    if cx.settings.groups_max <= groups.len() {
        return Err(ErrorCode::PolicyViolation);
    }
    let id: Arc<str> = id.into();
    groups.insert(Arc::clone(&id), Group::new(id, cx.now.wall.0));
    Ok(())
}

/// Records in writes of a size that batches take.
fn split(
    records: Vec<(Vec<u8>, Option<Vec<u8>>)>,
) -> impl Iterator<Item = Vec<(Vec<u8>, Option<Vec<u8>>)>> {
    const RECORDS_PER_WRITE: usize = 32;
    let mut rest = records.into_iter().peekable();
    core::iter::from_fn(move || {
        rest.peek()?;
        Some(rest.by_ref().take(RECORDS_PER_WRITE).collect())
    })
}
