//! One partition's log: its watermarks, its epochs, and where its batches are.
//!
//! ```text
//!  log start         stored end              committed   durable      log end
//!     │ extent │ extent │ run │ run │ run │ run │ run │ run │ run │ run │
//!     └──── in bins ────┴──────────── in the journal and in memory ─────┘
//! ```
//! `log start ≤ committed ≤ log end` and `durable ≤ log end`. What is committed and durable moves
//! from the right part to the left one; the border never passes either.

use base::{
    Committed, Durable, Epoch, EpochHistory, LogEnd, LogStart, Offset, PartitionId, Reign, Seq,
};

use crate::config::PartitionSettings;
use crate::error::AppendError;
use crate::halt::Halt;
use crate::stored::Stored;
use crate::tail::Tail;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Partition {
    pub id: PartitionId,
    pub settings: PartitionSettings,
    pub history: EpochHistory,
    /// The epoch opened by this process: appends go to no other.
    pub reign: Option<Epoch>,
    /// Leaders of lower epochs are not listened to.
    pub promised: Epoch,
    /// The records before were given up, and what they helped to commit is not all here again.
    pub rebuilding: bool,
    /// The journal that it was found in was cut at a frame that had been in flight.
    pub torn: bool,
    pub log_start: LogStart,
    /// The frame that says so; 0 if that was before this process.
    pub log_start_seq: Seq,
    pub log_end: LogEnd,
    pub durable: Durable,
    pub committed: Committed,
    /// In bins, by offset.
    pub stored: Stored,
    pub tail: Tail,
    /// Ranges that were lost and written off.
    pub gaps: Vec<Gap>,
    /// Appends stop, and reads at the first offset that is or may be lost.
    pub halt: Option<Halt>,
    /// Records behind the log end may have been acked and lost.
    pub tail_suspect: bool,
    /// Extents that turned out to be damaged: nothing else of the partition is concerned.
    pub lost: Vec<Halt>,
    /// The broker's time of the newest append, ms.
    pub last_append_ms: i64,
    /// The frame of the newest snapshot that is durable, or of the first.
    pub snapshot: Seq,
    /// The frame that it was created in: extents stamped before belong to an earlier life.
    pub born: Seq,
    pub marks: Marks,
}

/// Ten thousand of them take 5 MB.
const _: () = assert!(size_of::<Partition>() <= 512);

/// Where the partition stands in the store's queues.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Marks {
    /// The frame of the newest append, and its number among the touches.
    pub touched: Seq,
    pub touch: u64,
    /// Durable advanced and nobody asked yet.
    pub advanced: bool,
    /// The frame under which it waits for destage: the oldest that its tail holds. `None`: it does
    /// not wait.
    pub queued: Option<Seq>,
    /// Everything before this is in a bin or on its way there.
    pub staged: Offset,
    /// The durable log start: everything before it was let go.
    pub dropped: Offset,
    /// The frame of the newest snapshot, durable or not.
    pub snapshot: Seq,
    /// A copy of the tail, or of a part, is being carried forward.
    pub carrying: bool,
}

/// Whether a log can prove that it holds all that it ever acked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It does.
    Clean,
    /// It does if the device told the truth: frames that were never acked are torn.
    Torn,
    /// It may have lost something.
    Suspect,
    /// It was begun anew and does not hold again all that it ever helped to commit.
    Rebuilding,
}

/// Offsets that hold no records and never will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    pub from: Offset,
    /// One past the last of them.
    pub to: Offset,
}

/// An offset that no lost record can have had: a lost frame holds batches of 2³¹ records at most, and
/// nobody fills two of those in one frame.
fn beyond_doubt(log_end: Offset) -> Offset {
    Offset(((log_end.0 >> 32) + 2) << 32)
}

/// What a partition is missing, or has written off.
#[derive(Debug)]
pub(crate) struct Losses {
    gaps: Vec<Gap>,
    log_end: LogEnd,
    lost: Vec<Halt>,
    halt: Option<Halt>,
    tail_suspect: bool,
}

impl Losses {
    /// Every range that holds nothing, and the log end.
    pub(crate) fn into_ranges(self) -> (Vec<Gap>, LogEnd) {
        (self.gaps, self.log_end)
    }
}

impl Partition {
    pub(crate) fn new(id: PartitionId, settings: PartitionSettings) -> Self {
        Self {
            id,
            settings,
            history: EpochHistory::default(),
            reign: None,
            promised: Epoch(0),
            rebuilding: false,
            torn: false,
            log_start: LogStart::default(),
            log_start_seq: Seq(0),
            log_end: LogEnd::default(),
            durable: Durable::default(),
            committed: Committed::default(),
            stored: Stored::default(),
            tail: Tail::default(),
            gaps: Vec::new(),
            halt: None,
            tail_suspect: false,
            lost: Vec::new(),
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

    /// Replay meets an epoch: its opening, or, if that is damaged, a batch of it.
    pub(crate) fn learn_epoch(&mut self, epoch: Epoch, start: Offset) {
        if self.last_reign().is_none_or(|last| last.epoch < epoch) {
            self.history.follow(epoch, start);
        }
    }

    pub(crate) fn last_reign(&self) -> Option<Reign> {
        self.history.reigns().last().copied()
    }

    /// The lowest epoch whose leader is listened to.
    pub(crate) fn heard_from(&self) -> Epoch {
        self.promised.max(self.history.opened().unwrap_or_default())
    }

    /// How far the log can be believed.
    pub(crate) fn proof(&self) -> Proof {
        if self.halt.is_some() || self.tail_suspect || !self.lost.is_empty() {
            Proof::Suspect
        } else if self.rebuilding {
            Proof::Rebuilding
        } else if self.torn {
            Proof::Torn
        } else {
            Proof::Clean
        }
    }

    /// One past the last record that a consumer may have.
    pub(crate) fn readable_end(&self) -> Offset {
        self.halt.map_or(self.committed.0, |halt| halt.from.min(self.committed.0))
    }

    /// The log start, or a batch's start before it that is still held: deletion takes records, and may
    /// end within a batch. All from there on is of the reigns in the history.
    pub(crate) fn first_batch(&self) -> Offset {
        let start = self.log_start.0;
        let reign = self.history.reigns().first().map_or(start, |reign| reign.start);
        let in_tail = || self.tail.find(start).and_then(|index| self.tail.run(index));
        let held = match self.stored.at_or_behind(start) {
            Some(extent) => extent.base,
            None => in_tail().map_or(start, |run| run.base),
        };
        held.max(reign).min(start)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.stored.bytes() + self.tail.bytes()
    }

    /// The first offset at or behind `offset` that is not in a gap.
    pub(crate) fn behind_gaps(&self, offset: Offset) -> Offset {
        self.gaps
            .iter()
            .fold(offset, |at, gap| if gap.from <= at && at < gap.to { gap.to } else { at })
    }

    /// The stretches between log start and log end that nothing holds.
    pub(crate) fn holes(&self) -> Vec<Gap> {
        let mut holes = Vec::new();
        let mut next = self.behind_gaps(self.log_start.0);
        let extents = self.stored.extents().map(|extent| (extent.base, extent.end));
        let runs = self.tail.runs().map(|run| (run.base, run.end));
        let end = (self.log_end.0, self.log_end.0);
        for (base, end) in extents.chain(runs).chain([end]) {
            if next < base {
                holes.push(Gap { from: next, to: base });
            }
            next = self.behind_gaps(next.max(end));
        }
        holes
    }

    /// What the partition would be if its losses were written off: gaps and log end. Offsets that may
    /// have been given out are not given out again.
    pub(crate) fn losses(&self) -> Losses {
        let mut gaps = self.gaps.clone();
        gaps.extend(self.holes());
        let ranges = self.lost.iter().filter_map(|halt| Some((halt.from, halt.to?)));
        gaps.extend(ranges.map(|(from, to)| Gap { from, to }));
        let mut log_end = self.log_end;
        if self.tail_suspect {
            log_end = LogEnd(beyond_doubt(self.log_end.0));
            gaps.push(Gap { from: self.log_end.0, to: log_end.0 });
        }
        gaps.sort_unstable_by_key(|gap| gap.from);
        Losses { gaps, log_end, lost: Vec::new(), halt: None, tail_suspect: false }
    }

    /// Takes over what [`Partition::losses`] says. Returns what was before.
    pub(crate) fn exchange(&mut self, losses: Losses) -> Losses {
        self.reign = None;
        Losses {
            gaps: core::mem::replace(&mut self.gaps, losses.gaps),
            log_end: core::mem::replace(&mut self.log_end, losses.log_end),
            lost: core::mem::replace(&mut self.lost, losses.lost),
            halt: core::mem::replace(&mut self.halt, losses.halt),
            tail_suspect: core::mem::replace(&mut self.tail_suspect, losses.tail_suspect),
        }
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
