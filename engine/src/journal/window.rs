//! Frames in flight, and how far the log is durable without a hole.
//!
//! ```text
//!  … 40 │ 41   42   43 │ 44          K = 3: frame 44 waits, though 42 and 43 are written,
//!   durable  ↑ written   open         because 41 is not: nothing runs away from a straggler
//! ```

use std::collections::VecDeque;

use base::{Instant, Seq, Span};

use super::frame::Place;

/// A frame whose write was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct InFlight {
    pub(super) seq: Seq,
    pub(super) start: Seq,
    pub(super) place: Place,
    pub(super) span: Span,
    pub(super) has_entries: bool,
    pub(super) since: Instant,
    pub(super) written: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Window {
    /// From `durable + 1` on, dense.
    frames: VecDeque<InFlight>,
    limit: u64,
    durable: Seq,
    /// S of the newest two durable frames of this incarnation, the newest last.
    starts: [Seq; 2],
    average_write_ns: u64,
}

impl Window {
    pub(super) fn new(limit: u8, durable: Seq) -> Self {
        Self {
            frames: VecDeque::with_capacity(64),
            limit: u64::from(limit),
            durable,
            starts: [Seq(0); 2],
            average_write_ns: 0,
        }
    }

    /// The last frame before the first that is not on stable storage.
    pub(super) fn durable(&self) -> Seq {
        self.durable
    }

    /// The newest frame whose write has ended, whatever became of those before it.
    pub(super) fn newest_written(&self) -> Seq {
        let written = self.frames.iter().rev().find(|frame| frame.written);
        written.map_or(self.durable, |frame| frame.seq)
    }

    /// Whether `seq` may be submitted.
    pub(super) fn admits(&self, seq: Seq) -> bool {
        seq.0 <= self.durable.0 + self.limit
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether a frame with entries is in flight: an idle seal holds nobody up.
    pub(super) fn carries_entries(&self) -> bool {
        self.frames.iter().any(|frame| frame.has_entries)
    }

    /// A moving average over the last dozen or so.
    pub(super) fn average_write_ns(&self) -> u64 {
        self.average_write_ns
    }

    pub(super) fn submit(&mut self, frame: InFlight) {
        assert_eq!(frame.seq.0, self.durable.0 + self.frames.len() as u64 + 1, "frames are dense");
        self.frames.push_back(frame);
    }

    pub(super) fn frame(&self, seq: Seq) -> &InFlight {
        &self.frames[self.index_of(seq)]
    }

    /// Frame `seq` is on stable storage. Returns its write time in nanoseconds.
    pub(super) fn complete(&mut self, now: Instant, seq: Seq) -> u64 {
        let index = self.index_of(seq);
        let frame = &mut self.frames[index];
        assert!(!frame.written, "frame {seq} was written twice");
        frame.written = true;
        let ns = u64::try_from(now.since(frame.since).as_nanos()).unwrap_or(u64::MAX);
        self.average_write_ns = match self.average_write_ns {
            0 => ns,
            average => (average.saturating_mul(7).saturating_add(ns)) / 8,
        };
        self.advance();
        ns
    }

    /// The newest S that stands in at least `frames` (1 or 2) durable frames of this incarnation.
    pub(super) fn witnessed_start(&self, frames: usize) -> Seq {
        self.starts[2 - frames]
    }

    fn advance(&mut self) {
        while let Some(frame) = self.frames.front().filter(|frame| frame.written) {
            self.durable = frame.seq;
            self.starts = [self.starts[1], frame.start];
            self.frames.pop_front();
        }
    }

    fn index_of(&self, seq: Seq) -> usize {
        let index =
            seq.0.checked_sub(self.durable.0 + 1).expect("a frame in flight is not durable");
        assert!((index as usize) < self.frames.len(), "frame {seq} was never submitted");
        index as usize
    }
}
