//! What makes a producer's retry harmless: the last batches of every (partition, producer).
//!
//! ```text
//!   committed: the last five          not committed: all of them
//!  ┌────┬────┬────┬────┬────┐        ┌────┬────┐
//!  │ b4 │ b5 │ b6 │ b7 │ b8 │────────│ b9 │ b10│   next: sequence of b10's last record + 1
//!  └────┴────┴────┴────┴────┘        └────┴────┘
//!                      committed ──▶ ◀── truncation drops only these
//! ```
//! Rules: Kafka's `ProducerAppendInfo` and `ProducerStateEntry`. A batch that repeats a kept one is a
//! duplicate and gets the original offset. A batch leaves the table only when five younger ones are
//! committed, so no truncation can bite into the committed half. One table serves the shard: memory
//! is bounded by a count, and the producer that has been silent for longest goes first.

use std::collections::{HashMap, VecDeque};

use base::{Batch, Offset, ProducerEpoch, ProducerId};
use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::partitions::Slot;
use crate::{Mutant, Planted};

/// Batches that a producer may repeat: five, the most that Kafka's clients keep in flight.
const KEPT_BATCHES: usize = 5;
const NONE: u32 = u32::MAX;
/// Sequences are 31 bits wide and wrap to 0.
const SEQUENCE_MASK: u32 = 0x7fff_ffff;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Producers {
    index: HashMap<(Slot, ProducerId), u32, ahash::RandomState>,
    entries: Vec<Entry>,
    /// Entries that hold nobody, ready to be filled again.
    free: Vec<u32>,
    /// By slot: the first of the partition's producers.
    chains: Vec<u32>,
    max: usize,
    /// The entry that has been silent for longest, and the one that spoke last.
    oldest: u32,
    newest: u32,
    planted: Planted,
}

#[derive(Debug)]
struct Entry {
    slot: Slot,
    id: ProducerId,
    last_append_ms: i64,
    batches: VecDeque<Kept>,
    /// Neighbours in the partition's chain.
    before: u32,
    after: u32,
    older: u32,
    younger: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kept {
    base: Offset,
    first: u32,
    last: u32,
    epoch: ProducerEpoch,
}

/// What a batch says about its producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    id: ProducerId,
    epoch: ProducerEpoch,
    first: u32,
    last: u32,
}

/// A batch to record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Appended {
    pub claim: Claim,
    pub base: Offset,
    /// The partition's committed end.
    pub committed: Offset,
    pub now_ms: i64,
}

/// A verdict on a batch that may be appended or answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    New,
    /// The batch stands in the log already, at this base offset.
    Duplicate(Offset),
}

/// Why a producer's batch is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProducerError {
    /// The sequence neither follows the last one nor repeats a kept batch.
    OutOfOrderSequence { expected: u32, got: u32 },
    /// A newer instance of the producer has written.
    InvalidEpoch { current: ProducerEpoch, got: ProducerEpoch },
    /// Id, epoch or sequence is negative where the others are not.
    Malformed,
}

impl core::fmt::Display for ProducerError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::OutOfOrderSequence { expected, got } => {
                write!(f, "the producer's sequence is {got}, expected {expected}")
            }
            Self::InvalidEpoch { current, got } => {
                write!(f, "the producer's epoch is {got}, a newer instance has {current}")
            }
            Self::Malformed => write!(f, "producer id, epoch and sequence disagree"),
        }
    }
}

impl std::error::Error for ProducerError {}

impl Claim {
    /// `None` if the batch has no idempotent producer.
    pub(crate) fn of(batch: &Batch<'_>) -> Result<Option<Self>, ProducerError> {
        if batch.producer_id() < 0 {
            return Ok(None);
        }
        let id = ProducerId(batch.producer_id() as u64);
        let epoch = u16::try_from(batch.producer_epoch()).map_err(|_| ProducerError::Malformed)?;
        let first = u32::try_from(batch.base_sequence()).map_err(|_| ProducerError::Malformed)?;
        let last = first.wrapping_add(batch.record_count() - 1) & SEQUENCE_MASK;
        Ok(Some(Self { id, epoch: ProducerEpoch(epoch), first, last }))
    }
}

impl Kept {
    fn end(&self) -> Offset {
        let records = (self.last.wrapping_sub(self.first) & SEQUENCE_MASK) + 1;
        self.base.plus(u64::from(records))
    }
}

fn successor(sequence: u32) -> u32 {
    sequence.wrapping_add(1) & SEQUENCE_MASK
}

impl Producers {
    /// An empty table for at most `max` producers.
    pub(crate) fn new(max: usize, planted: Planted) -> Self {
        Self {
            index: HashMap::with_hasher(ahash::RandomState::with_seeds(1, 2, 3, 4)),
            entries: Vec::new(),
            free: Vec::new(),
            chains: Vec::new(),
            max: max.max(1),
            oldest: NONE,
            newest: NONE,
            planted,
        }
    }

    pub(crate) fn planted(&self) -> Planted {
        self.planted
    }

    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether the batch may be appended to the partition in `slot`.
    pub(crate) fn check(&self, slot: Slot, claim: &Claim) -> Result<Admission, ProducerError> {
        let Some(entry) = self.index.get(&(slot, claim.id)) else { return Ok(Admission::New) };
        let batches = &self.entries[*entry as usize].batches;
        let last = batches.back().expect("an entry keeps a batch");
        if claim.epoch < last.epoch {
            return Err(ProducerError::InvalidEpoch { current: last.epoch, got: claim.epoch });
        }
        let expected = if claim.epoch == last.epoch { successor(last.last) } else { 0 };
        if claim.first == expected {
            return Ok(Admission::New);
        }
        let repeats = |kept: &&Kept| {
            (kept.epoch, kept.first, kept.last) == (claim.epoch, claim.first, claim.last)
        };
        match batches.iter().rev().find(repeats) {
            Some(kept) => Ok(Admission::Duplicate(kept.base)),
            None => Err(ProducerError::OutOfOrderSequence { expected, got: claim.first }),
        }
    }

    /// Records an appended batch. A full table forgets whoever has been silent for longest.
    pub(crate) fn record(&mut self, slot: Slot, appended: &Appended) {
        let Appended { claim, base, committed, now_ms } = *appended;
        let at = self.entry(slot, claim.id);
        let entry = &mut self.entries[at as usize];
        entry.last_append_ms = now_ms;
        let (epoch, first, last) = (claim.epoch, claim.first, claim.last);
        entry.batches.push_back(Kept { base, first, last, epoch });
        let careless = self.planted.is(Mutant::EvictCommittedProducerState);
        // The sixth from the left is committed only if five younger than the first are.
        while KEPT_BATCHES < entry.batches.len()
            && (careless || entry.batches[KEPT_BATCHES].end() <= committed)
        {
            entry.batches.pop_front();
        }
    }

    /// Drops the partition's batches at `end` and behind it: they were truncated.
    pub(crate) fn truncate(&mut self, slot: Slot, end: Offset) {
        let mut at = self.first(slot);
        while at != NONE {
            let entry = &mut self.entries[at as usize];
            let after = entry.after;
            while entry.batches.back().is_some_and(|kept| end <= kept.base) {
                entry.batches.pop_back();
            }
            if entry.batches.is_empty() {
                self.remove(at);
            }
            at = after;
        }
    }

    /// Forgets all producers of a partition.
    pub(crate) fn clear(&mut self, slot: Slot) {
        loop {
            match self.first(slot) {
                NONE => return,
                first => self.remove(first),
            }
        }
    }

    /// Forgets at most `limit` producers that have been silent since before `silent_since_ms`.
    pub(crate) fn expire(&mut self, silent_since_ms: i64, limit: usize) {
        for _ in 0..limit {
            match self.entries.get(self.oldest as usize) {
                Some(entry) if entry.last_append_ms < silent_since_ms => self.remove(self.oldest),
                _ => return,
            }
        }
    }

    /// The entry of a producer, made if there is none, now the youngest.
    fn entry(&mut self, slot: Slot, id: ProducerId) -> u32 {
        if let Some(at) = self.index.get(&(slot, id)).copied() {
            if at != self.newest {
                self.unlink_age(at);
                self.link_newest(at);
            }
            return at;
        }
        if self.max <= self.index.len() {
            self.remove(self.oldest);
        }
        let at = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry::vacant());
            self.entries.len() as u32 - 1
        });
        let after = self.first(slot);
        let entry = &mut self.entries[at as usize];
        (entry.slot, entry.id, entry.before, entry.after) = (slot, id, NONE, after);
        if let Some(after) = self.entries.get_mut(after as usize) {
            after.before = at;
        }
        self.set_first(slot, at);
        self.link_newest(at);
        self.index.insert((slot, id), at);
        at
    }

    fn remove(&mut self, at: u32) {
        self.unlink_age(at);
        let entry = &mut self.entries[at as usize];
        entry.batches.clear();
        let (slot, id, before, after) = (entry.slot, entry.id, entry.before, entry.after);
        if let Some(after) = self.entries.get_mut(after as usize) {
            after.before = before;
        }
        match self.entries.get_mut(before as usize) {
            Some(before) => before.after = after,
            None => self.set_first(slot, after),
        }
        self.index.remove(&(slot, id));
        self.free.push(at);
    }

    fn unlink_age(&mut self, at: u32) {
        let Entry { older, younger, .. } = self.entries[at as usize];
        match self.entries.get_mut(older as usize) {
            Some(entry) => entry.younger = younger,
            None => self.oldest = younger,
        }
        match self.entries.get_mut(younger as usize) {
            Some(entry) => entry.older = older,
            None => self.newest = older,
        }
    }

    fn link_newest(&mut self, at: u32) {
        let older = core::mem::replace(&mut self.newest, at);
        let entry = &mut self.entries[at as usize];
        (entry.older, entry.younger) = (older, NONE);
        match self.entries.get_mut(older as usize) {
            Some(older) => older.younger = at,
            None => self.oldest = at,
        }
    }

    fn first(&self, slot: Slot) -> u32 {
        self.chains.get(slot.index()).copied().unwrap_or(NONE)
    }

    fn set_first(&mut self, slot: Slot, at: u32) {
        if self.chains.len() <= slot.index() {
            self.chains.resize(slot.index() + 1, NONE);
        }
        self.chains[slot.index()] = at;
    }
}

impl Entry {
    fn vacant() -> Self {
        Self {
            slot: Slot::default(),
            id: ProducerId(0),
            last_append_ms: 0,
            batches: VecDeque::with_capacity(KEPT_BATCHES + 1),
            before: NONE,
            after: NONE,
            older: NONE,
            younger: NONE,
        }
    }
}

/// A producer in a partition's snapshot, followed by `batches` times [`KeptBytes`]. Little-endian.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct ProducerBytes {
    id: U64,
    last_append_ms: I64,
    batches: U32,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct KeptBytes {
    base: U64,
    first: U32,
    last: U32,
    epoch: U16,
}

impl Producers {
    /// Writes down the producers of a partition, the one that came first last, as far as `out` stays
    /// within `max` bytes. Returns how many.
    pub(crate) fn encode(&self, slot: Slot, max: usize, out: &mut Vec<u8>) -> u32 {
        let mut at = self.first(slot);
        let mut count = 0;
        while let Some(entry) = self.entries.get(at as usize) {
            let bytes = size_of::<ProducerBytes>() + entry.batches.len() * size_of::<KeptBytes>();
            if max < out.len() + bytes {
                break;
            }
            let head = ProducerBytes {
                id: entry.id.0.into(),
                last_append_ms: entry.last_append_ms.into(),
                batches: (entry.batches.len() as u32).into(),
            };
            out.extend_from_slice(head.as_bytes());
            for kept in &entry.batches {
                out.extend_from_slice(kept.to_bytes().as_bytes());
            }
            at = entry.after;
            count += 1;
        }
        count
    }

    /// Puts `count` producers back that [`Producers::encode`] wrote, in the place of all that the
    /// partition had. `None` if the bytes end early or an entry is empty.
    pub(crate) fn restore(&mut self, slot: Slot, count: u32, mut bytes: &[u8]) -> Option<()> {
        self.clear(slot);
        for _ in 0..count {
            let (head, rest) = ProducerBytes::ref_from_prefix(bytes).ok()?;
            let batches = head.batches.get() as usize;
            let (kept, rest) = <[KeptBytes]>::ref_from_prefix_with_elems(rest, batches).ok()?;
            bytes = rest;
            if kept.is_empty() {
                return None;
            }
            let at = self.entry(slot, ProducerId(head.id.get()));
            let entry = &mut self.entries[at as usize];
            entry.last_append_ms = head.last_append_ms.get();
            entry.batches.extend(kept.iter().map(Kept::from_bytes));
        }
        Some(())
    }
}

impl Kept {
    fn to_bytes(self) -> KeptBytes {
        KeptBytes {
            base: self.base.0.into(),
            first: self.first.into(),
            last: self.last.into(),
            epoch: self.epoch.0.into(),
        }
    }

    fn from_bytes(bytes: &KeptBytes) -> Self {
        Self {
            base: Offset(bytes.base.get()),
            first: bytes.first.get(),
            last: bytes.last.get(),
            epoch: ProducerEpoch(bytes.epoch.get()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Slot = Slot::at(0);
    const B: Slot = Slot::at(3);

    struct Bench {
        table: Producers,
        end: u64,
        committed: u64,
    }

    fn claim(id: u64, epoch: u16, first: u32, count: u32) -> Claim {
        let last = (first + count - 1) & SEQUENCE_MASK;
        Claim { id: ProducerId(id), epoch: ProducerEpoch(epoch), first, last }
    }

    impl Bench {
        fn new(max: usize) -> Self {
            Self { table: Producers::new(max, Planted::default()), end: 0, committed: 0 }
        }

        /// Appends if the table says so.
        fn append(&mut self, slot: Slot, claim: Claim) -> Result<Admission, ProducerError> {
            let admission = self.table.check(slot, &claim)?;
            if admission == Admission::New {
                let (base, committed) = (Offset(self.end), Offset(self.committed));
                self.table.record(slot, &Appended { claim, base, committed, now_ms: 1_000 });
                self.end += u64::from((claim.last.wrapping_sub(claim.first) & SEQUENCE_MASK) + 1);
            }
            Ok(admission)
        }

        fn fill(&mut self, batches: core::ops::Range<u32>) {
            for sequence in batches {
                assert_eq!(self.append(A, claim(1, 0, sequence, 1)), Ok(Admission::New));
            }
        }
    }

    #[test]
    fn sequences_follow_each_other_and_repeats_are_recognised() {
        let mut bench = Bench::new(9);
        assert_eq!(bench.append(A, claim(1, 0, 7, 3)), Ok(Admission::New), "any start if unknown");
        assert_eq!(bench.append(A, claim(1, 0, 10, 1)), Ok(Admission::New));
        assert_eq!(bench.append(A, claim(1, 0, 7, 3)), Ok(Admission::Duplicate(Offset(0))));
        assert_eq!(bench.append(A, claim(1, 0, 10, 1)), Ok(Admission::Duplicate(Offset(3))));
        let error = ProducerError::OutOfOrderSequence { expected: 11, got: 12 };
        assert_eq!(bench.append(A, claim(1, 0, 12, 1)), Err(error));
        assert!(bench.append(A, claim(1, 0, 7, 2)).is_err(), "a repeat has the same ends");
        assert_eq!(bench.append(B, claim(1, 0, 0, 1)), Ok(Admission::New), "its own partition");
    }

    #[test]
    fn sequences_wrap_to_zero() {
        let mut bench = Bench::new(9);
        bench.append(A, claim(1, 0, SEQUENCE_MASK - 1, 4)).unwrap();
        assert_eq!(bench.append(A, claim(1, 0, 2, 1)), Ok(Admission::New));
        let repeat = claim(1, 0, SEQUENCE_MASK - 1, 4);
        assert_eq!(bench.append(A, repeat), Ok(Admission::Duplicate(Offset(0))));
        assert_eq!(bench.end, 5);
    }

    #[test]
    fn a_new_epoch_starts_at_zero_and_fences_the_old() {
        let mut bench = Bench::new(9);
        bench.append(A, claim(1, 3, 0, 2)).unwrap();
        assert!(bench.append(A, claim(1, 4, 2, 1)).is_err());
        assert_eq!(bench.append(A, claim(1, 4, 0, 2)), Ok(Admission::New));
        let (current, got) = (ProducerEpoch(4), ProducerEpoch(3));
        let error = ProducerError::InvalidEpoch { current, got };
        assert_eq!(bench.append(A, claim(1, 3, 2, 1)), Err(error));
        let repeat = bench.append(A, claim(1, 4, 0, 2));
        assert_eq!(repeat, Ok(Admission::Duplicate(Offset(2))), "never the old epoch's batch");
    }

    #[test]
    fn five_committed_batches_survive_whatever_follows_them() {
        let mut bench = Bench::new(9);
        bench.fill(0..8);
        bench.committed = bench.end;
        bench.fill(8..9);
        assert!(bench.table.check(A, &claim(1, 0, 2, 1)).is_err(), "the sixth from behind is gone");
        bench.fill(9..30);
        bench.table.truncate(A, Offset(bench.committed));
        for sequence in 4..8 {
            let found = bench.table.check(A, &claim(1, 0, sequence, 1));
            assert_eq!(found, Ok(Admission::Duplicate(Offset(u64::from(sequence)))));
        }
        assert_eq!(bench.table.check(A, &claim(1, 0, 8, 1)), Ok(Admission::New));
    }

    #[test]
    fn truncating_all_of_a_producer_forgets_it_and_its_epoch() {
        let mut bench = Bench::new(9);
        bench.append(A, claim(1, 0, 0, 1)).unwrap();
        bench.append(A, claim(1, 5, 0, 1)).unwrap();
        bench.append(A, claim(2, 9, 0, 1)).unwrap();
        bench.table.truncate(A, Offset(1));
        assert_eq!(bench.table.check(A, &claim(1, 0, 1, 1)), Ok(Admission::New));
        assert_eq!(bench.table.check(A, &claim(2, 0, 77, 1)), Ok(Admission::New));
        assert_eq!(bench.table.len(), 1);
    }

    #[test]
    fn the_longest_silent_goes_first() {
        let mut bench = Bench::new(3);
        for id in [1, 2, 3] {
            bench.append(A, claim(id, 0, 0, 1)).unwrap();
        }
        bench.append(A, claim(1, 0, 1, 1)).unwrap();
        bench.append(B, claim(4, 0, 0, 1)).unwrap();
        assert_eq!(bench.table.len(), 3);
        assert_eq!(bench.table.check(A, &claim(2, 0, 9, 1)), Ok(Admission::New), "2 was forgotten");
        assert!(bench.table.check(A, &claim(1, 0, 9, 1)).is_err());
        bench.table.expire(1_000, 9);
        assert_eq!(bench.table.len(), 3, "silent since exactly then");
        bench.table.expire(1_001, 2);
        assert_eq!(bench.table.len(), 1, "the limit holds");
        bench.table.clear(B);
        assert_eq!(bench.table.len(), 0);
        assert!(bench.table.oldest == NONE && bench.table.newest == NONE);
    }

    #[test]
    fn a_snapshot_restores_everything_and_replaces_what_was_there() {
        let mut bench = Bench::new(9);
        bench.fill(0..7);
        bench.append(A, claim(2, 1, 0, 5)).unwrap();
        let mut bytes = Vec::new();
        assert_eq!(bench.table.encode(A, 1 << 20, &mut bytes), 2);
        let mut other = Bench::new(9);
        other.append(A, claim(3, 0, 0, 1)).unwrap();
        other.table.restore(A, 2, &bytes).unwrap();
        assert_eq!(other.table.len(), 2);
        assert_eq!(other.table.check(A, &claim(1, 0, 7, 1)), Ok(Admission::New));
        let repeat = other.table.check(A, &claim(2, 1, 0, 5));
        assert_eq!(repeat, Ok(Admission::Duplicate(Offset(7))));
        assert!(other.table.restore(A, 3, &bytes).is_none());
        assert!(other.table.restore(A, 2, &bytes[..bytes.len() - 1]).is_none());
    }
}
