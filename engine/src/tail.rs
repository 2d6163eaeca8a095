//! The part of a partition that is still in memory, and in the journal, and nowhere else.
//!
//! ```text
//!  run 0 (frame 7)     run 1 (frame 7)     run 2 (frame 9)
//!  ┌────┬───┬─────┐    ┌─────┐             ┌───┬────┬────┬───┐
//!  │ b0 │b1 │ b2  │    │ b3  │             │b4 │ b5 │ b6 │b7 │ ── log end
//!  └────┴───┴─────┘    └─────┘             └───┴────┴────┴───┘
//! ```
//! A run is a stretch of batches that lie side by side in one frame, 32 KiB at most: the index costs
//! one pointer per run, and a batch is found by walking the headers of its run. Offsets rise, densely
//! but for what was lost and written off. Their frames rise too, except where an old run was carried forward. Each run holds its
//! frame ([`Frames`]), so that recovery finds again what is nowhere else.

use std::collections::VecDeque;

use base::{Arena, Batch, Offset, Seq, Span};

use crate::frames::Frames;

/// A run grows no further than this; a larger batch is a run of its own.
const RUN_BYTES: u32 = 32 * 1024;

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    runs: VecDeque<Run>,
    bytes: u64,
}

/// Batches side by side in one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub base: Offset,
    pub end: Offset,
    /// The journal frame that holds it.
    pub seq: Seq,
    pub span: Span,
    /// Milliseconds, by the producers' word; an upper bound once the run was cut.
    pub max_timestamp: i64,
}

/// How much a read may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadLimit {
    /// Batches that end beyond this are not for the reader.
    pub until: Offset,
    pub max_bytes: u32,
    /// Return the first batch even if it is larger than `max_bytes`.
    pub min_one: bool,
}

impl Run {
    /// The run's batches with their place in it.
    pub(crate) fn batches<'a>(&self, arena: &'a Arena) -> impl Iterator<Item = (u32, Batch<'a>)> {
        let bytes = arena.get(self.span).expect("a run's memory is held until it is dropped");
        walk(bytes)
    }

    /// Takes the batch in if it stands right behind, in the same frame, and the run stays small.
    pub(crate) fn join(&mut self, batch: &Self) -> bool {
        let joins = self.seq == batch.seq
            && self.end == batch.base
            && self.span.lap == batch.span.lap
            && self.span.at + self.span.len == batch.span.at
            && self.span.len + batch.span.len <= RUN_BYTES;
        if joins {
            self.end = batch.end;
            self.span.len += batch.span.len;
            self.max_timestamp = self.max_timestamp.max(batch.max_timestamp);
        }
        joins
    }

    /// What lies before and behind `at`, the start of one of the run's batches.
    pub(crate) fn split(&self, at: Offset, arena: &Arena) -> (Option<Self>, Option<Self>) {
        if at <= self.base {
            return (None, Some(*self));
        }
        if self.end <= at {
            return (Some(*self), None);
        }
        let found = self.batches(arena).find(|(_, batch)| at <= batch.base_offset());
        let (cut, batch) = found.expect("a run is cut between batches");
        assert_eq!(batch.base_offset(), at, "a run is cut between batches");
        let front = Self { end: at, span: self.span.slice(0, cut), ..*self };
        let span = self.span.slice(cut, self.span.len - cut);
        (Some(front), Some(Self { base: at, span, ..*self }))
    }
}

/// Batches that follow each other in `bytes`, each with its place.
pub(crate) fn walk(bytes: &[u8]) -> impl Iterator<Item = (u32, Batch<'_>)> {
    let mut at = 0;
    core::iter::from_fn(move || {
        let (batch, _) = Batch::parse_prefix(&bytes[at..]).ok()?;
        let place = at as u32;
        at += batch.bytes().len();
        Some((place, batch))
    })
}

impl Tail {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn runs(&self) -> impl ExactSizeIterator<Item = &Run> + DoubleEndedIterator {
        self.runs.iter()
    }

    /// The runs that begin at or behind `offset`.
    pub(crate) fn runs_from(&self, offset: Offset) -> impl Iterator<Item = &Run> {
        self.runs.range(self.runs.partition_point(|run| run.base < offset)..)
    }

    pub(crate) fn end(&self) -> Option<Offset> {
        self.runs.back().map(|run| run.end)
    }

    /// Appends a batch.
    pub(crate) fn push(&mut self, batch: Run, frames: &mut Frames) {
        self.bytes += u64::from(batch.span.len);
        if let Some(last) = self.runs.back_mut() {
            assert!(last.end <= batch.base, "a tail grows at its end");
            if last.join(&batch) {
                return;
            }
        }
        frames.hold(batch.seq, batch.span);
        self.runs.push_back(batch);
    }

    /// The run that holds `offset`, by its place among the runs.
    pub(crate) fn find(&self, offset: Offset) -> Option<usize> {
        let index = self.runs.partition_point(|run| run.base <= offset).checked_sub(1)?;
        (offset < self.runs[index].end).then_some(index)
    }

    pub(crate) fn run(&self, index: usize) -> Option<&Run> {
        self.runs.get(index)
    }

    /// Adds the memory of whole batches to `out`, from the one that holds `from` on, as far as
    /// `limit` allows. Returns the bytes added.
    pub(crate) fn collect(
        &self,
        arena: &Arena,
        from: Offset,
        limit: ReadLimit,
        out: &mut Vec<Span>,
    ) -> u32 {
        let Some(first) = self.find(from) else { return 0 };
        let mut taken = 0;
        for (index, run) in self.runs.range(first..).enumerate() {
            let room = limit.max_bytes - taken.min(limit.max_bytes);
            let whole = run.end <= limit.until && run.span.len <= room;
            let span = if whole && (0 < index || run.base == from) {
                run.span
            } else {
                let min_one = limit.min_one && taken == 0;
                part(run, arena, from, ReadLimit { max_bytes: room, min_one, ..limit })
            };
            if span.len == 0 {
                break;
            }
            taken += span.len;
            add(out, span);
            if span.at + span.len != run.span.at + run.span.len {
                break;
            }
        }
        taken
    }

    /// Drops what lies before `end`, a batch's start.
    pub(crate) fn drop_before(&mut self, end: Offset, arena: &Arena, frames: &mut Frames) {
        while let Some(run) = self.runs.front_mut().filter(|run| run.base < end) {
            let (front, back) = run.split(end, arena);
            self.bytes -= front.map_or(0, |front| u64::from(front.span.len));
            if let Some(rest) = back {
                *run = rest;
                return;
            }
            frames.release(run.seq);
            self.runs.pop_front();
        }
    }

    /// Drops whole runs that end at or before `end`.
    pub(crate) fn drop_runs_before(&mut self, end: Offset, frames: &mut Frames) {
        while let Some(run) = self.runs.front().filter(|run| run.end <= end) {
            self.bytes -= u64::from(run.span.len);
            frames.release(run.seq);
            self.runs.pop_front();
        }
    }

    /// Drops what lies at `end`, a batch's start, and behind it. The frames stay held, and go to
    /// `owed`: a crash may still undo the truncation.
    pub(crate) fn truncate(&mut self, end: Offset, arena: &Arena, owed: &mut Vec<Seq>) {
        while let Some(run) = self.runs.back_mut().filter(|run| end < run.end) {
            let (front, back) = run.split(end, arena);
            self.bytes -= back.map_or(0, |back| u64::from(back.span.len));
            if let Some(rest) = front {
                *run = rest;
                return;
            }
            owed.push(run.seq);
            self.runs.pop_back();
        }
    }

    /// Puts `run` where its offsets belong, in the place of older copies that stand in other frames.
    /// It may leave holes: what was damaged is missing.
    pub(crate) fn replace(&mut self, run: Run, arena: &Arena, frames: &mut Frames) {
        let first = self.runs.partition_point(|old| old.end <= run.base);
        let behind = self.runs.partition_point(|old| old.base < run.end);
        let (mut before, mut after) = (None, None);
        for old in self.runs.range(first..behind) {
            self.bytes -= u64::from(old.span.len);
            let (front, rest) = old.split(run.base, arena);
            before = before.or(front);
            after = rest.and_then(|rest| rest.split(run.end, arena).1);
        }
        for kept in before.iter().chain([&run]).chain(&after) {
            self.bytes += u64::from(kept.span.len);
            frames.hold(kept.seq, kept.span);
        }
        for old in self.runs.drain(first..behind) {
            frames.release(old.seq);
        }
        for kept in after.into_iter().chain([run]).chain(before) {
            self.runs.insert(first, kept);
        }
    }

    /// Gives memory of the index back that a burst had needed.
    pub(crate) fn shrink(&mut self) {
        if 256 <= self.runs.capacity() && self.runs.len() * 8 <= self.runs.capacity() {
            self.runs.shrink_to(self.runs.len() * 2);
        }
    }
}

/// The batches of `run` from the one that holds `from`, as far as `limit` allows.
fn part(run: &Run, arena: &Arena, from: Offset, limit: ReadLimit) -> Span {
    let mut start = None;
    let mut len = 0;
    for (at, batch) in run.batches(arena) {
        if batch.end_offset() <= from {
            continue;
        }
        let next = len + batch.bytes().len() as u32;
        let forced = limit.min_one && start.is_none();
        if limit.until < batch.end_offset() || (limit.max_bytes < next && !forced) {
            break;
        }
        start.get_or_insert(at);
        len = next;
    }
    run.span.slice(start.unwrap_or(0), len)
}

/// Adds `span` to `out`, joined with the last one if they are neighbours in memory.
fn add(out: &mut Vec<Span>, span: Span) {
    match out.last_mut() {
        Some(last) if last.lap == span.lap && last.at + last.len == span.at => last.len += span.len,
        _ => out.push(span),
    }
}

#[cfg(test)]
mod tests {
    use base::batch::{BatchBuilder, sequenced_prefix};
    use base::{Epoch, Page, PageMemory};

    use super::*;

    /// An arena whose frames hold only payloads.
    struct Bench {
        arena: Arena,
        frames: Frames,
        tail: Tail,
        seq: Seq,
    }

    impl Bench {
        fn new() -> Self {
            let arena = Arena::new(PageMemory::Heap(Page::boxed(256)));
            Self { arena, frames: Frames::new(Seq(1)), tail: Tail::default(), seq: Seq(1) }
        }

        /// One frame with batches of 2 records; returns their runs.
        fn frame(&mut self, bases: &[u64], value: usize) -> Vec<Run> {
            let mut draft = self.arena.draft(128 * 1024).unwrap();
            let mut runs = Vec::new();
            for base in bases {
                let mut builder = BatchBuilder::new(*base as i64);
                builder.push(*base as i64, None, Some(&vec![7; value]), &[]);
                builder.push(*base as i64 + 1, None, None, &[]);
                let mut bytes = builder.build();
                let batch = Batch::parse(&bytes).unwrap();
                let prefix = sequenced_prefix(&batch, Offset(*base), Epoch(1));
                bytes[..16].copy_from_slice(&prefix);
                let span = self.arena.put(&mut draft, &bytes).unwrap();
                let (base, end) = (Offset(*base), Offset(base + 2));
                let (seq, max_timestamp) = (self.seq, base.0 as i64 + 1);
                runs.push(Run { base, end, seq, span, max_timestamp });
            }
            self.arena.seal(draft);
            self.seq = self.seq.next();
            runs
        }

        fn push(&mut self, bases: &[u64], value: usize) {
            for run in self.frame(bases, value) {
                self.tail.push(run, &mut self.frames);
            }
        }

        fn read(&self, from: u64, until: u64, max_bytes: u32, min_one: bool) -> Vec<u64> {
            let mut spans = Vec::new();
            let limit = ReadLimit { until: Offset(until), max_bytes, min_one };
            let taken = self.tail.collect(&self.arena, Offset(from), limit, &mut spans);
            assert_eq!(taken, spans.iter().map(|span| span.len).sum::<u32>());
            let bytes = spans.iter().map(|span| self.arena.get(*span).unwrap());
            bytes.flat_map(|bytes| walk(bytes).map(|(_, batch)| batch.base_offset().0)).collect()
        }

        fn bases(&self) -> Vec<u64> {
            let batches = self.tail.runs().flat_map(|run| run.batches(&self.arena));
            batches.map(|(_, batch)| batch.base_offset().0).collect()
        }

        /// Frames that are held, in order.
        fn held(&mut self) -> Vec<u64> {
            let mut held = Vec::new();
            let bytes: u32 = self.tail.runs().map(|run| run.span.len).sum();
            assert_eq!(self.tail.bytes(), u64::from(bytes));
            let mut frames = Frames::new(Seq(1));
            core::mem::swap(&mut frames, &mut self.frames);
            for run in self.tail.runs() {
                self.frames.hold(run.seq, run.span);
                held.push(run.seq.0);
                frames.release(run.seq);
            }
            assert_eq!(frames.advance(Seq(99)), Seq(99), "a frame is held by nothing");
            held
        }
    }

    #[test]
    fn neighbours_in_one_frame_are_one_run_up_to_32_kib() {
        let mut bench = Bench::new();
        bench.push(&[0, 2, 4], 10);
        bench.push(&[6, 8], 20_000);
        assert_eq!(bench.held(), [1, 2, 2]);
        assert_eq!(bench.read(0, 99, 1 << 20, false), [0, 2, 4, 6, 8]);
    }

    #[test]
    fn a_read_starts_with_the_batch_that_holds_the_offset() {
        let mut bench = Bench::new();
        bench.push(&[0, 2, 4], 10);
        bench.push(&[6, 8], 10);
        assert_eq!(bench.read(3, 99, 1 << 20, false), [2, 4, 6, 8]);
        assert_eq!(bench.read(6, 99, 1 << 20, false), [6, 8]);
        assert_eq!(bench.read(10, 99, 1 << 20, true), Vec::<u64>::new());
    }

    #[test]
    fn a_read_ends_with_whole_batches_below_the_limits() {
        let mut bench = Bench::new();
        bench.push(&[0, 2, 4], 10);
        bench.push(&[6], 10);
        let one = bench.tail.run(1).unwrap().span.len;
        assert_eq!(bench.read(0, 99, 2 * one, false), [0, 2]);
        assert_eq!(bench.read(0, 99, 2 * one - 1, false), [0]);
        assert_eq!(bench.read(0, 99, 1, false), Vec::<u64>::new());
        assert_eq!(bench.read(2, 99, 1, true), [2]);
        assert_eq!(bench.read(0, 4, 1 << 20, true), [0, 2], "nothing that is not committed");
        assert_eq!(bench.read(0, 5, 1 << 20, true), [0, 2], "nor half a batch of it");
        assert_eq!(bench.read(0, 1, 1 << 20, true), Vec::<u64>::new());
    }

    #[test]
    fn dropping_and_truncating_cut_between_batches_and_give_frames_back() {
        let mut bench = Bench::new();
        bench.push(&[0, 2, 4], 10);
        bench.push(&[6, 8, 10], 10);
        bench.push(&[12], 10);
        let Bench { arena, frames, tail, .. } = &mut bench;
        tail.drop_before(Offset(2), arena, frames);
        let mut owed = Vec::new();
        tail.truncate(Offset(10), arena, &mut owed);
        assert_eq!(owed, [Seq(3)]);
        frames.release(Seq(3));
        assert_eq!((bench.bases(), bench.held()), (vec![2, 4, 6, 8], vec![1, 2]));
        let Bench { arena, frames, tail, .. } = &mut bench;
        tail.drop_runs_before(Offset(5), frames);
        assert_eq!(tail.runs[0].base, Offset(2), "only whole runs");
        tail.drop_runs_before(Offset(6), frames);
        tail.truncate(Offset(0), arena, &mut owed);
        assert_eq!(owed, [Seq(3), Seq(2)]);
        frames.release(Seq(2));
        assert_eq!((bench.bases(), bench.held()), (vec![], vec![]));
    }

    #[test]
    fn a_carried_copy_takes_the_place_of_what_it_copies() {
        let mut bench = Bench::new();
        bench.push(&[0, 2, 4, 6], 10);
        bench.push(&[8, 10], 10);
        for (copies, held) in [
            (&[2, 4][..], vec![1, 3, 1, 2]),
            (&[0], vec![4, 3, 1, 2]),
            (&[6, 8], vec![4, 3, 5, 2]),
            (&[0, 2, 4, 6, 8, 10], vec![6]),
        ] {
            let mut copy = Tail::default();
            let mut unused = Frames::new(Seq(1));
            for run in bench.frame(copies, 10) {
                copy.push(run, &mut unused);
            }
            for run in copy.runs() {
                bench.tail.replace(*run, &bench.arena, &mut bench.frames);
            }
            assert_eq!(bench.bases(), [0, 2, 4, 6, 8, 10]);
            assert_eq!(bench.held(), held);
        }
    }

    #[test]
    fn offsets_are_found_by_run() {
        let mut bench = Bench::new();
        bench.push(&[4, 6], 10);
        bench.push(&[8], 10);
        assert_eq!(
            [3, 4, 7, 8, 9, 10].map(|at| bench.tail.find(Offset(at))),
            [None, Some(0), Some(0), Some(1), Some(1), None]
        );
        assert_eq!(bench.tail.end(), Some(Offset(10)));
    }
}
