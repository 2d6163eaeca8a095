//! Which journal frames recovery still needs, and how many things need each.
//!
//! ```text
//!  seq      70  71  72  73  74  75  76
//!  needed    0   0   2   0   5   1   0          ⇒ start = 72
//!                    ▲                   ▲
//!            start: oldest needed     open: the frame under construction
//! ```
//! A run of batches in tail memory, a partition's snapshot, an extent's commit in an unsealed bin:
//! each holds the frame it stands in. The start moves on when the oldest frame is held no more.

use std::collections::VecDeque;

use base::{Seq, Span};

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Frames {
    first: Seq,
    frames: VecDeque<Frame>,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    needed: u32,
    /// The first payload that was placed in the frame, or in one before it.
    payload: Span,
}

impl Frames {
    /// No frame before `first` is needed.
    pub(crate) fn new(first: Seq) -> Self {
        Self { first, frames: VecDeque::with_capacity(1024) }
    }

    /// Records that something placed at `payload` in frame `seq` is needed.
    pub(crate) fn hold(&mut self, seq: Seq, payload: Span) {
        let index = self.index(seq).expect("only a frame behind the start can be held");
        if self.frames.len() <= index {
            let before = self.frames.back().map_or(payload, |frame| frame.payload);
            self.frames.resize(index, Frame { needed: 0, payload: before });
            self.frames.push_back(Frame { needed: 0, payload });
        }
        self.frames[index].needed += 1;
    }

    /// Takes one hold of `seq` back.
    pub(crate) fn release(&mut self, seq: Seq) {
        let index = self.index(seq).expect("a held frame stays");
        let frame = self.frames.get_mut(index).expect("a held frame stays");
        frame.needed = frame.needed.checked_sub(1).expect("a hold is given back once");
    }

    /// Forgets leading frames that nothing needs, up to `limit`, and returns the oldest that stays.
    pub(crate) fn advance(&mut self, limit: Seq) -> Seq {
        while self.first < limit {
            match self.frames.front() {
                Some(frame) if 0 < frame.needed => break,
                Some(_) => drop(self.frames.pop_front()),
                None => {
                    self.first = limit;
                    break;
                }
            }
            self.first = self.first.next();
        }
        self.first
    }

    pub(crate) fn start(&self) -> Seq {
        self.first
    }

    /// A payload in the start frame, or in one before it: no memory before it is needed.
    pub(crate) fn oldest_payload(&self) -> Option<Span> {
        self.frames.front().map(|frame| frame.payload)
    }

    /// The first frame whose payload lies `bytes` or more behind the start's in an arena of
    /// `lap_bytes`; the end of what is known if none does.
    pub(crate) fn horizon(&self, bytes: u64, lap_bytes: u64) -> Seq {
        let position = |span: Span| u64::from(span.lap) * lap_bytes + u64::from(span.at);
        let Some(front) = self.frames.front() else { return self.first };
        let goal = position(front.payload) + bytes;
        let index = self.frames.partition_point(|frame| position(frame.payload) < goal);
        Seq(self.first.0 + index as u64)
    }

    fn index(&self, seq: Seq) -> Option<usize> {
        seq.0.checked_sub(self.first.0).map(|index| index as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(page: u32) -> Span {
        Span { at: page * 4096, len: 10, lap: 0 }
    }

    #[test]
    fn the_start_stops_at_the_oldest_frame_that_is_needed() {
        let mut frames = Frames::new(Seq(5));
        frames.hold(Seq(6), at(1));
        frames.hold(Seq(9), at(4));
        frames.hold(Seq(9), at(5));
        assert_eq!(frames.advance(Seq(20)), Seq(6));
        frames.release(Seq(6));
        assert_eq!(frames.advance(Seq(8)), Seq(8), "never beyond the limit");
        assert_eq!(frames.advance(Seq(20)), Seq(9));
        frames.release(Seq(9));
        assert_eq!(frames.advance(Seq(20)), Seq(9), "held twice, released once");
        frames.release(Seq(9));
        assert_eq!(frames.advance(Seq(20)), Seq(20));
    }

    #[test]
    fn the_horizon_is_measured_in_bytes() {
        let mut frames = Frames::new(Seq(1));
        frames.hold(Seq(1), at(1));
        frames.hold(Seq(4), at(3));
        frames.hold(Seq(5), at(9));
        assert_eq!(frames.horizon(4096, 1 << 20), Seq(4));
        assert_eq!(frames.horizon(8 * 4096, 1 << 20), Seq(5));
        assert_eq!(frames.horizon(1 << 20, 1 << 20), Seq(6));
        assert_eq!(frames.oldest_payload(), Some(at(1)));
    }
}
