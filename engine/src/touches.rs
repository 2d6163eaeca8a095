//! Which partitions a frame's durability concerns: one touch per partition and frame.

use std::collections::VecDeque;

use base::{Offset, Seq};

use crate::partition::Marks;
use crate::partitions::Slot;

/// Appends that are not durable yet, by frame.
#[derive(Debug, Default)]
pub(crate) struct Touches {
    queue: VecDeque<Touch>,
    /// The number of `queue[0]`.
    first: u64,
}

/// `slot` ends at `end` once frame `seq` is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Touch {
    pub seq: Seq,
    pub slot: Slot,
    pub end: Offset,
}

impl Touches {
    /// Records an append; `marks` are those of the partition in `slot`.
    pub(crate) fn record(&mut self, marks: &mut Marks, touch: Touch) {
        if marks.touched == touch.seq
            && let Some(index) = marks.touch.checked_sub(self.first)
        {
            self.queue[index as usize].end = touch.end;
            return;
        }
        marks.touched = touch.seq;
        marks.touch = self.first + self.queue.len() as u64;
        self.queue.push_back(touch);
    }

    /// The next touch, if its frame is durable.
    pub(crate) fn pop(&mut self, durable: Seq) -> Option<Touch> {
        if durable < self.queue.front()?.seq {
            return None;
        }
        self.first += 1;
        self.queue.pop_front()
    }

    /// What `slot` appended at `end` and behind it was truncated.
    pub(crate) fn truncate(&mut self, slot: Slot, end: Offset) {
        for touch in self.queue.iter_mut().filter(|touch| touch.slot == slot) {
            touch.end = touch.end.min(end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_concerns_a_partition_once() {
        let mut touches = Touches::default();
        let (mut a, mut b) = (Marks::default(), Marks::default());
        let touch =
            |seq, slot, end| Touch { seq: Seq(seq), slot: Slot::at(slot), end: Offset(end) };
        touches.record(&mut a, touch(1, 0, 5));
        touches.record(&mut b, touch(1, 1, 2));
        touches.record(&mut a, touch(1, 0, 9));
        touches.record(&mut a, touch(2, 0, 12));
        assert_eq!(touches.pop(Seq(0)), None);
        assert_eq!(touches.pop(Seq(1)), Some(touch(1, 0, 9)));
        touches.record(&mut a, touch(2, 0, 13));
        assert_eq!(touches.pop(Seq(1)), Some(touch(1, 1, 2)));
        assert_eq!(touches.pop(Seq(1)), None);
        touches.truncate(Slot::at(0), Offset(11));
        assert_eq!(touches.pop(Seq(2)), Some(touch(2, 0, 11)));
    }
}
