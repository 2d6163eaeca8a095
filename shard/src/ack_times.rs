//! How long batches wait from their place in a frame to stable storage.
//!
//! One mark per frame and turn, not per batch: whatever is appended to a frame in one turn waits
//! equally long.

use std::collections::VecDeque;

use base::{Instant, LatencyHistogram, Seq};

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct AckTimes {
    /// In frame order; a batch that is a duplicate of an older one waits for nothing new.
    marks: VecDeque<Mark>,
    histogram: LatencyHistogram,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    seq: Seq,
    at: Instant,
    batches: u64,
}

impl AckTimes {
    /// A batch was put into frame `seq`.
    pub(crate) fn appended(&mut self, at: Instant, seq: Seq) {
        match self.marks.back_mut() {
            Some(last) if seq < last.seq => {}
            Some(last) if last.seq == seq && last.at == at => last.batches += 1,
            Some(_) | None => self.marks.push_back(Mark { seq, at, batches: 1 }),
        }
    }

    /// Frames up to `seq` are on stable storage.
    pub(crate) fn durable(&mut self, now: Instant, seq: Seq) {
        while let Some(mark) = self.marks.front().filter(|mark| mark.seq <= seq) {
            self.histogram.record(now.since(mark.at), mark.batches);
            self.marks.pop_front();
        }
    }

    pub(crate) fn histogram(&self) -> &LatencyHistogram {
        &self.histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_counted_when_their_frame_is_durable() {
        let mut times = AckTimes::default();
        times.appended(Instant(0), Seq(5));
        times.appended(Instant(0), Seq(5));
        times.appended(Instant(2_000), Seq(5));
        times.appended(Instant(2_000), Seq(6));
        times.appended(Instant(2_000), Seq(4));
        times.durable(Instant(10_000), Seq(4));
        assert_eq!(times.histogram().count(), 0);
        times.durable(Instant(10_000), Seq(5));
        assert_eq!((times.histogram().count(), times.histogram().sum_ns()), (3, 28_000));
        times.durable(Instant(12_000), Seq(9));
        assert_eq!(times.histogram().count(), 4);
    }
}
