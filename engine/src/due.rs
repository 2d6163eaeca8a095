//! What falls due once a frame is durable.
//!
//! Whatever gives memory, a frame or a bin back waits here until the entry that allows it is on
//! stable storage: a crash before that must find the old state whole.

use std::collections::VecDeque;

use base::{Offset, Seq};

use crate::partitions::Slot;

/// Consequences of entries in frames that are not durable yet, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Dues {
    queue: VecDeque<(Seq, Due)>,
}

/// See the module's description.
#[derive(Debug)]
pub(crate) enum Due {
    /// A partition's older snapshot is needed no more.
    Snapshot { slot: Slot },
    /// Batches and extents before `to` may go.
    LogStart { slot: Slot, to: Offset },
    /// Everything of the partition may go.
    Deleted { slot: Slot },
    /// These frames held what was truncated.
    Truncated { frames: Vec<Seq> },
}

impl Dues {
    /// Remembers what an entry in frame `seq` allows.
    pub(crate) fn push(&mut self, seq: Seq, due: Due) {
        assert!(self.queue.back().is_none_or(|(last, _)| *last <= seq), "frames come in order");
        self.queue.push_back((seq, due));
    }

    /// The next consequence, if its frame is durable.
    pub(crate) fn pop(&mut self, durable: Seq) -> Option<(Seq, Due)> {
        let (seq, _) = self.queue.front()?;
        if *seq <= durable { self.queue.pop_front() } else { None }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}
