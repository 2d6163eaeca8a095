//! One partition's log: its watermarks, its epochs, and where its batches are.
//!
//! ```text
//!  log start         stored end              committed   durable      log end
//!     │ extent │ extent │ run │ run │ run │ run │ run │ run │ run │ run │
//!     └──── in bins ────┴──────────── in the journal and in memory ─────┘
//! ```
//! `log start ≤ committed ≤ log end` and `durable ≤ log end`. What is committed and durable moves
//! from the right part to the left one; the border never passes either.

use std::collections::VecDeque;

use base::{Committed, Durable, Epoch, LogEnd, LogStart, Offset, PartitionId, Seq};

use crate::config::PartitionSettings;
use crate::error::AppendError;
use crate::extent::Extent;
use crate::halt::Halt;
use crate::history::EpochHistory;
use crate::tail::Tail;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Partition {
    pub id: PartitionId,
    pub settings: PartitionSettings,
    pub history: EpochHistory,
    /// The epoch opened by this process: appends go to no other.
    pub reign: Option<Epoch>,
    pub log_start: LogStart,
    pub log_end: LogEnd,
    pub durable: Durable,
    pub committed: Committed,
    /// In bins, by offset.
    pub stored: VecDeque<Extent>,
    pub stored_bytes: u64,
    pub tail: Tail,
    /// Ranges that were lost and written off.
    pub gaps: Vec<Gap>,
    pub halt: Option<Halt>,
    /// The broker's time of the newest append, ms.
    pub last_append_ms: i64,
    /// The frame of the newest snapshot that is durable, or of the first.
    pub snapshot: Seq,
    /// The frame that it was created in: extents stamped before belong to an earlier life.
    pub born: Seq,
    pub marks: Marks,
}

/// Where the partition stands in the store's queues.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Marks {
    /// The frame of the newest append, and its number among the touches.
    pub touched: Seq,
    pub touch: u64,
    /// Durable advanced and nobody asked yet.
    pub advanced: bool,
    /// Waits for destage.
    pub queued: bool,
    /// Everything before this is in a bin or on its way there.
    pub staged: Offset,
    /// A copy of the tail, or of a part, is being carried forward.
    pub carrying: bool,
}

/// Offsets that hold no records and never will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    pub from: Offset,
    pub to: Offset,
}

impl Partition {
    pub(crate) fn new(id: PartitionId, settings: PartitionSettings) -> Self {
        Self {
            id,
            settings,
            history: EpochHistory::default(),
            reign: None,
            log_start: LogStart::default(),
            log_end: LogEnd::default(),
            durable: Durable::default(),
            committed: Committed::default(),
            stored: VecDeque::new(),
            stored_bytes: 0,
            tail: Tail::default(),
            gaps: Vec::new(),
            halt: None,
            last_append_ms: 0,
            snapshot: Seq(0),
            born: Seq(0),
            marks: Marks::default(),
        }
    }

    /// The epoch to append in.
    pub(crate) fn appendable(&self) -> Result<Epoch, AppendError> {
        if self.halt.is_some() {
            return Err(AppendError::Halted);
        }
        self.reign.ok_or(AppendError::EpochNotOpen)
    }

    /// What consumers may see and the device holds: only this is destaged.
    pub(crate) fn settled(&self) -> Offset {
        self.committed.0.min(self.durable.0)
    }

    /// One past the last record in a bin.
    pub(crate) fn stored_end(&self) -> Offset {
        self.stored.back().map_or(self.log_start.0, |extent| extent.end)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.stored_bytes + self.tail.bytes()
    }

    /// The first offset at or behind `offset` that is not in a gap.
    pub(crate) fn behind_gaps(&self, offset: Offset) -> Offset {
        self.gaps
            .iter()
            .fold(offset, |at, gap| if gap.from <= at && at < gap.to { gap.to } else { at })
    }

    /// The extent that holds `offset`, by its place.
    pub(crate) fn extent_of(&self, offset: Offset) -> Option<usize> {
        let index = self.stored.partition_point(|extent| extent.base <= offset).checked_sub(1)?;
        (offset < self.stored[index].end).then_some(index)
    }

    pub(crate) fn advance_committed(&mut self, committed: Committed) {
        assert!(
            committed.0 <= self.log_end.0,
            "{}: committed {} beyond the log end {}",
            self.id,
            committed.0,
            self.log_end.0
        );
        self.committed = self.committed.max(committed);
    }
}
