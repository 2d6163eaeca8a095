//! What falls due once a frame is durable.
//!
//! Whatever gives memory, a frame or a bin back waits here until the entry that allows it is on
//! stable storage: a crash before that must find the old state whole.

use std::collections::VecDeque;

use base::{Offset, Seq};

use crate::extent::Extent;
use crate::partitions::Slot;
use crate::tail::Run;

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
    /// An extent is where the partition's batches are. `from`: bin and page that it moved from.
    Stored { slot: Slot, extent: Extent, from: Option<(u32, u32)> },
    /// Copies of batches stand in younger frames.
    Carried { slot: Slot, runs: Vec<Run> },
    /// The `ExtentCommit` of the extent at `page` of an open bin stands in a younger frame.
    CommitCarried { bin: u32, generation: u64, page: u32 },
    /// The footer speaks for the bin's extents.
    BinSealed { bin: u32 },
    /// The bin may be written again.
    BinFreed { bin: u32 },
    /// The table of bins stands in a younger frame.
    Table,
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

    /// Copies of a partition's batches that are not durable yet.
    pub(crate) fn copies_of(&mut self, of: Slot) -> impl Iterator<Item = &mut Vec<Run>> {
        self.queue.iter_mut().filter_map(move |(_, due)| match due {
            Due::Carried { slot, runs } if *slot == of => Some(runs),
            _ => None,
        })
    }
}
