//! The journal: the one durability point of a shard.
//!
//! ```text
//!  append ──▶ open frame ──seal──▶ in flight (≤ K) ──written──▶ durable prefix ──▶ acks
//!             (arena draft)        n ≤ durable + K              no holes
//!
//!  segments  ┌─────────────┬─────────────┬────────┬──────────────────┐
//!            │ … 38 39 40  │ 41 42 43 →  │  free  │ old lap, S > all │
//!            └─────────────┴─────────────┴────────┴──────────────────┘
//!                 full        current                  free again
//! ```
//! Entries of all partitions gather in one open frame: a group commit. A frame is sealed, and its
//! write asked for in the same moment, only if the window has room; until then it grows. Closing
//! rules are those of `design/storage.md` §1: at once when nothing with entries is in flight, else
//! at 4 KiB or when the oldest entry has waited half a write. After a rest an empty frame (the idle
//! seal) testifies that everything before it is durable, so that rot of acked data is never taken
//! for a torn tail.
//!
//! A write that fails or comes up short poisons the journal: nothing is tried again, nothing more
//! becomes durable, and [`Journal::poisoned`] says why.
//!
//! The arena's regions mirror the frames. The journal pins a frame while the device reads it; when
//! the memory is released is for the owner of the entries to say.

mod builder;
mod config;
mod confirm;
mod counters;
pub mod dump;
mod entry;
mod frame;
mod image;
mod loader;
mod poison;
mod reader;
mod recovered;
mod recovery;
mod reload;
mod scan;
mod segments;
mod succession;
pub mod table;
pub mod verdict;
mod window;

use core::time::Duration;
use std::collections::VecDeque;

use base::{
    Arena, Done, Incarnation, Instant, IoError, LatencyHistogram, Now, Op, Pin, Seq, Token,
};

use builder::FrameBuilder;
use segments::{Found, Segments};
use succession::Beginning;
use window::{InFlight, Window};

pub use config::{ConfigError, JournalConfig};
pub use counters::Counters;
pub use entry::{EntryKind, NewEntry, Placed};
pub use frame::{Body, Entry, Head, Place, Probe, Stamp};
pub use poison::PoisonCause;
pub use recovered::{Damage, Recovered, RecoveredEntry, RecoveryReport, Touched};
pub use recovery::{Recovery, RecoveryError};
pub use segments::{MissingSegment, Occupancy};
pub use verdict::{Evidence, Verdict};

use crate::Mutant;

/// The eighth byte of every token of a journal; other owners use another.
const TOKEN_TAG: u64 = 0x4a << 56;
/// How long a failed creation of a segment file rests before it is asked for again.
const CREATE_AGAIN: Duration = Duration::from_secs(1);
/// A frame with another in flight is closed at this size.
const WORTH_A_WRITE_BYTES: u32 = 4096;

/// See the module's description.
#[derive(Debug)]
pub struct Journal {
    config: JournalConfig,
    inc: Incarnation,
    inc_base: Seq,
    next_seq: Seq,
    prev_crc: u32,
    /// The last frame before this incarnation.
    before: Seq,
    start: Seq,
    frame: FrameBuilder,
    window: Window,
    segments: Segments,
    ops: VecDeque<Op>,
    poisoned: Option<PoisonCause>,
    /// The newest frame has entries, and no later one says that it is durable.
    unwitnessed: bool,
    closing: bool,
    /// See [`Journal::announce`].
    announced: bool,
    last_activity: Instant,
    create_again: Option<Instant>,
    counters: Counters,
    write_times: LatencyHistogram,
    frame_waits: LatencyHistogram,
}

/// Why an entry was not taken. All but `Poisoned` pass: try again after a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JournalFull {
    /// The open frame is full and as many are in flight as may be.
    Window,
    /// The arena is full: release what is no longer needed.
    Memory,
    /// No segment is free, or not yet created: destage, carry forward, move the start.
    Space,
    /// A write failed; this journal takes nothing any more.
    Poisoned,
}

impl Journal {
    /// A journal on segments that hold nothing of it; `present` have their files already.
    ///
    /// Panics on a configuration out of range ([`JournalConfig::check`]).
    #[must_use]
    pub fn create(config: JournalConfig, present: &[u16]) -> Self {
        let found = Found { full: Vec::new(), free: present.to_vec() };
        let beginning = Beginning {
            inc: Incarnation(1),
            base: Seq(1),
            before: Seq(0),
            prev_crc: 0,
            start: Seq(1),
            unwitnessed: false,
            found,
        };
        Self::begin(config, beginning)
    }

    fn begin(config: JournalConfig, beginning: Beginning) -> Self {
        assert_eq!(config.check(), Ok(()));
        let Beginning { inc, base, before, prev_crc, start, unwitnessed, found } = beginning;
        let mut journal = Self {
            inc,
            inc_base: base,
            next_seq: base,
            prev_crc,
            before,
            start,
            frame: FrameBuilder::new(config.frame_max_bytes),
            window: Window::new(config.window, Seq(base.0 - 1)),
            segments: Segments::new(&config, found),
            ops: VecDeque::with_capacity(16),
            poisoned: None,
            unwitnessed,
            closing: false,
            announced: false,
            last_activity: Instant::default(),
            create_again: None,
            counters: Counters::default(),
            write_times: LatencyHistogram::default(),
            frame_waits: LatencyHistogram::default(),
            config,
        };
        journal.create_next_segment();
        journal
    }

    /// Copies an entry into the open frame: the one copy of its payload, gathered from slices.
    ///
    /// Panics if the payload exceeds [`JournalConfig::max_payload_bytes`], or if a batch's header
    /// contradicts the entry.
    pub fn append(
        &mut self,
        now: Now,
        arena: &mut Arena,
        entry: NewEntry,
        payload: &[&[u8]],
    ) -> Result<Placed, JournalFull> {
        let len = payload.iter().map(|part| part.len()).sum::<usize>();
        assert!(len <= self.config.max_payload_bytes() as usize, "an entry of {len} bytes");
        self.make_room(now, arena, len as u32, entry.may_use_reserve())?;
        let span = self.frame.push(arena, &entry, payload);
        self.last_activity = now.mono;
        self.counters.entries += 1;
        if !entry.carried {
            self.counters.appended_bytes += u64::from(frame::frame_bytes(len as u32, 1));
        }
        Ok(Placed { seq: self.next_seq, entry: self.frame.entries() - 1, span })
    }

    /// The sequence that the next entry's frame will have, unless that frame is full.
    #[must_use]
    pub fn open_seq(&self) -> Seq {
        self.next_seq
    }

    /// The frame of the newest entry.
    #[must_use]
    pub fn newest_seq(&self) -> Seq {
        let open = u64::from(0 < self.frame.entries());
        Seq(self.next_seq.0 - 1 + open)
    }

    /// The longest durable prefix: acks may go for every sequence up to here.
    #[must_use]
    pub fn durable_seq(&self) -> Seq {
        if self.config.planted.is(Mutant::AckBeforeDurable) {
            return Seq(self.next_seq.0 - 1);
        }
        if self.config.planted.is(Mutant::AckBeyondPrefix) {
            return self.window.newest_written();
        }
        self.window.durable()
    }

    /// Says that recovery needs nothing before `start` (S). Never moves back, nor past the last
    /// durable frame: the chain needs an anchor.
    ///
    /// Everything that `start` passes must be durable elsewhere: in a synced extent whose
    /// `ExtentCommit` is durable here, or carried forward into a durable frame.
    pub fn set_start(&mut self, start: Seq) {
        // Behind an accepted loss this incarnation's first frame is the first that is there.
        let newest = if self.has_begun() { self.window.durable() } else { self.before };
        self.start = self.start.max(start.min(newest));
    }

    /// The oldest sequence that recovery still needs, as the next frame will say.
    #[must_use]
    pub fn start(&self) -> Seq {
        self.start
    }

    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.inc
    }

    /// Says that others will hear of this incarnation: a frame goes out at once, if none did.
    pub fn announce(&mut self) {
        self.announced = true;
    }

    /// Whether a frame of this incarnation is durable. Before that nobody may hear of it: a process
    /// that dies leaves no trace, and its successor takes the same number.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.inc_base <= self.window.durable()
    }

    #[must_use]
    pub fn occupancy(&self) -> Occupancy {
        let mut occupancy = self.segments.occupancy();
        occupancy.used_bytes += u64::from(self.frame.used_bytes());
        occupancy
    }

    /// Whether a segment is there to write to.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.segments.has_place(frame::frame_bytes(0, 0), true)
    }

    /// What keeps the journal from being ready, if the file for it could not be made. It is asked for
    /// again from time to time.
    #[must_use]
    pub fn missing_segment(&self) -> Option<MissingSegment> {
        if self.is_ready() { None } else { self.segments.missing() }
    }

    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters { in_flight: self.window.len() as u32, ..self.counters }
    }

    /// A moving average of write times in nanoseconds; 0 before the first.
    #[must_use]
    pub fn average_write_ns(&self) -> u64 {
        self.window.average_write_ns()
    }

    /// How long frames took from their submission to stable storage.
    #[must_use]
    pub fn write_times(&self) -> LatencyHistogram {
        self.write_times
    }

    /// How long the oldest entries of frames waited for their frame to be sealed.
    #[must_use]
    pub fn frame_waits(&self) -> LatencyHistogram {
        self.frame_waits
    }

    #[must_use]
    pub fn poisoned(&self) -> Option<PoisonCause> {
        self.poisoned
    }

    /// Prepares a clean stop: what is open and the idle seal behind it go out without delay. Done
    /// when [`Journal::is_sealed`].
    pub fn close(&mut self) {
        self.closing = true;
    }

    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.closing
    }

    /// Whether everything appended is durable and an empty frame says so, or nothing ever was
    /// appended.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.frame.oldest_at().is_none() && self.window.is_empty() && !self.unwitnessed
    }

    /// Ends a turn: closes the open frame, or an idle journal, if it is time to.
    pub fn turn(&mut self, now: Now, arena: &mut Arena) {
        if self.poisoned.is_some() {
            return;
        }
        if self.create_again.is_some_and(|at| at <= now.mono) {
            self.create_again = None;
            self.create_next_segment();
        }
        if self.frame.oldest_at().is_some() {
            if self.admits_next() && self.is_time_to_close(now.mono) {
                self.seal(now.mono, arena);
            }
        } else if self.idle_deadline().is_some_and(|deadline| deadline <= now.mono) {
            self.seal_idle(now.mono, arena);
        }
    }

    /// Takes a completion; gives it back if the operation was not the journal's.
    pub fn done(&mut self, now: Now, arena: &mut Arena, done: Done) -> Result<(), Done> {
        match done {
            Done::Wrote { tok, pin, res } if Self::owns(tok) => {
                self.wrote(now.mono, arena, Seq(tok.0 ^ TOKEN_TAG), pin, res);
            }
            Done::Created { tok, res } if Self::owns(tok) => self.created(now.mono, res),
            other => return Err(other),
        }
        Ok(())
    }

    /// The next operation to perform.
    pub fn poll_op(&mut self) -> Option<Op> {
        self.ops.pop_front()
    }

    /// When [`Journal::turn`] wants to be called even if nothing happens.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        if self.poisoned.is_some() {
            return None;
        }
        let deadline = match self.frame.oldest_at() {
            Some(oldest) if self.admits_next() => Some(self.patience_ends(oldest)),
            Some(_) => None,
            None => self.idle_deadline(),
        };
        [deadline, self.create_again].into_iter().flatten().min()
    }

    fn owns(tok: Token) -> bool {
        tok.0 >> 56 == TOKEN_TAG >> 56
    }

    fn admits_next(&self) -> bool {
        self.config.planted.is(Mutant::WindowIgnored) || self.window.admits(self.next_seq)
    }

    /// Makes sure that an entry of `len` bytes fits the open frame, sealing a full one before it.
    fn make_room(
        &mut self,
        now: Now,
        arena: &mut Arena,
        len: u32,
        reserve: bool,
    ) -> Result<(), JournalFull> {
        if self.poisoned.is_some() {
            return Err(JournalFull::Poisoned);
        }
        let refused = match self.room_in_frame(now.mono, arena, len, reserve) {
            Ok(()) => return Ok(()),
            Err(refused) => refused,
        };
        if self.frame.oldest_at().is_none() {
            return Err(refused);
        }
        if !self.admits_next() {
            return Err(JournalFull::Window);
        }
        if self.frame.entries() == 0 {
            self.frame.discard_empty(arena);
        } else {
            self.seal(now.mono, arena);
        }
        self.room_in_frame(now.mono, arena, len, reserve)
    }

    fn room_in_frame(
        &mut self,
        now: Instant,
        arena: &mut Arena,
        len: u32,
        reserve: bool,
    ) -> Result<(), JournalFull> {
        let bytes = self.frame.bytes_with(len).ok_or(JournalFull::Window)?;
        if !self.segments.has_place(bytes, reserve) {
            return Err(JournalFull::Space);
        }
        if !self.frame.make_room(arena, now, bytes) {
            return Err(JournalFull::Memory);
        }
        Ok(())
    }

    fn is_time_to_close(&self, now: Instant) -> bool {
        !self.window.carries_entries()
            || self.closing
            || WORTH_A_WRITE_BYTES <= self.frame.used_bytes()
            || self.frame.oldest_at().is_some_and(|oldest| self.patience_ends(oldest) <= now)
    }

    /// When an entry that came at `oldest` has waited half an average write.
    fn patience_ends(&self, oldest: Instant) -> Instant {
        oldest.plus(Duration::from_nanos(self.window.average_write_ns() / 2))
    }

    /// When an empty frame is due: to testify for the newest entries, to make a new start stand in
    /// the two frames that recycling needs, or to begin an incarnation that was announced.
    fn idle_deadline(&self) -> Option<Instant> {
        let begins = self.announced && self.next_seq == self.inc_base;
        let due = begins || self.unwitnessed || self.segments.has_dead(self.start);
        let can = self.window.is_empty() && self.segments.has_place(frame::frame_bytes(0, 0), true);
        let at_once = begins || self.closing;
        let rest = if at_once { Duration::ZERO } else { self.config.idle_seal };
        (due && can).then(|| self.last_activity.plus(rest))
    }

    fn seal_idle(&mut self, now: Instant, arena: &mut Arena) {
        if self.frame.make_room(arena, now, frame::frame_bytes(0, 0)) {
            self.counters.idle_seals += 1;
            self.seal(now, arena);
        } else {
            // Pinned memory is in the way: look again after another rest, not at once.
            self.last_activity = now;
        }
    }

    fn seal(&mut self, now: Instant, arena: &mut Arena) {
        let seq = self.next_seq;
        let bytes = self.frame.bytes();
        let stamp = Stamp {
            place: self.segments.place(bytes, seq),
            seq,
            durable: self.window.durable(),
            start: self.start,
            inc: self.inc,
            inc_base: self.inc_base,
            prev_crc: self.prev_crc,
        };
        let oldest = self.frame.oldest_at().unwrap_or(now);
        let sealed = self.frame.seal(arena, self.config.id, &stamp);
        let has_entries = 0 < sealed.entries;
        if has_entries {
            self.frame_waits.record(now.since(oldest), 1);
        }
        self.window.submit(InFlight {
            seq,
            start: self.start,
            place: stamp.place,
            span: sealed.span,
            has_entries,
            since: now,
            written: false,
        });
        self.push_write(arena, seq);
        self.prev_crc = sealed.crc;
        self.next_seq = seq.next();
        self.unwitnessed = has_entries;
        self.counters.frames += 1;
        self.counters.bytes += u64::from(bytes);
    }

    fn push_write(&mut self, arena: &mut Arena, seq: Seq) {
        let frame = *self.window.frame(seq);
        self.ops.push_back(Op::Write {
            tok: Token(TOKEN_TAG | seq.0),
            file: self.config.file(frame.place.segment),
            pos: frame.place.position,
            span: frame.span,
            pin: arena.pin(frame.span),
            sync: true,
        });
    }

    fn wrote(
        &mut self,
        now: Instant,
        arena: &mut Arena,
        seq: Seq,
        pin: Pin,
        res: Result<(), IoError>,
    ) {
        arena.unpin(pin);
        if self.poisoned.is_some() {
            return;
        }
        if let Err(error) = res {
            return self.write_failed(arena, seq, error);
        }
        self.counters.writes_done += 1;
        self.counters.write_ns_last = self.window.complete(now, seq);
        self.counters.write_ns_total += self.counters.write_ns_last;
        self.write_times.record(Duration::from_nanos(self.counters.write_ns_last), 1);
        self.last_activity = now;
        let one_frame = self.config.planted.is(Mutant::RecycleWithOneFrame);
        let witnesses = if one_frame { 1 } else { 2 };
        self.segments.recycle(self.window.witnessed_start(witnesses));
    }

    fn write_failed(&mut self, arena: &mut Arena, seq: Seq, error: IoError) {
        if self.config.planted.is(Mutant::RetryAfterFailedWrite) {
            return self.push_write(arena, seq);
        }
        let place = self.window.frame(seq).place;
        self.poisoned = Some(PoisonCause { seq, place, error });
        self.frame.abandon(arena);
        for op in self.ops.drain(..) {
            if let Op::Write { pin, .. } = op {
                arena.unpin(pin);
            }
        }
    }

    fn create_next_segment(&mut self) {
        let Some(segment) = self.segments.start_creating() else { return };
        self.ops.push_back(Op::Create {
            tok: Token(TOKEN_TAG | u64::from(segment)),
            file: self.config.file(segment),
            bytes: u64::from(self.config.segment_bytes),
        });
    }

    fn created(&mut self, now: Instant, res: Result<(), IoError>) {
        self.segments.created(res);
        if self.poisoned.is_some() {
            return;
        }
        if res.is_ok() {
            self.create_next_segment();
        } else {
            self.counters.failed_creations += 1;
            self.create_again = Some(now.plus(CREATE_AGAIN));
        }
    }
}

#[cfg(test)]
mod tests;
