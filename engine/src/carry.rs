//! Carrying forward: what the journal's start would pass and nothing else holds is appended again.
//!
//! ```text
//!   S                horizon                                  head
//!   │ state │ small tail │ …                          … │ state │ small tail │
//!   └───────────────┬────┘                              └─────────▲──────────┘
//!                   └──────── offset and epoch unchanged ─────────┘
//! ```
//! Carried: each partition's snapshot, tails too small for an extent of their own or not committed
//! yet, the commits of extents in bins without a footer, the table of bins. So the start always
//! moves on, and one idle or quorumless partition never pins the journal. The old copy is let go
//! when the new one is durable.
//!
//! Carrying lives on credit that comes with what is appended: when nobody appends, what fills the
//! journal is alive, and carrying it round and round would free nothing. Nor does it while the start
//! is frozen ([`crate::doubt`]): it would only take the room that the owner's answer needs.

use std::collections::VecDeque;

use base::{Batch, Now, Offset, PartitionId, Seq, Span};
use zerocopy::IntoBytes;

use crate::due::Due;
use crate::journal::{EntryKind, JournalFull, NewEntry, Placed};
use crate::lifecycle::control;
use crate::partitions::Slot;
use crate::pass::NotStaged;
use crate::snapshot;
use crate::store::{Pressure, Store};
use crate::tail::Run;

/// The journal is left alone below this.
const GOAL_PERCENT: u64 = 50;
/// A turn carries no more than this.
const TURN_BYTES: u32 = 256 * 1024;

/// For each byte that is appended, so many may be carried.
const CREDIT_PER_BYTE: u64 = 8;

/// Lists of runs kept for reuse.
const SPARE_LISTS: usize = 64;

/// What is to be carried next, and what is on its way.
#[derive(Debug, Default)]
pub(crate) struct Carry {
    /// Snapshots by frame, oldest first. One counts only if it is its partition's newest.
    snapshots: VecDeque<(Seq, Slot)>,
    table_pending: bool,
    /// Lists for reuse.
    spare: Vec<Vec<Run>>,
    pub(crate) bytes: u64,
    /// Bytes that may still be carried: at most all that the journal holds.
    credit_bytes: u64,
    credit_max_bytes: u64,
    /// Appended bytes that credit was given for.
    credited_bytes: u64,
}

impl Carry {
    /// With credit for the whole of a journal of `journal_bytes`.
    pub(crate) fn new(journal_bytes: u64) -> Self {
        let (credit_bytes, credit_max_bytes) = (journal_bytes, journal_bytes);
        Self { credit_bytes, credit_max_bytes, ..Self::default() }
    }

    /// So many bytes have been appended since the start.
    fn credit(&mut self, appended_bytes: u64) {
        let new = appended_bytes - self.credited_bytes;
        self.credited_bytes = appended_bytes;
        self.grant(new * CREDIT_PER_BYTE);
    }

    /// Somebody waits for room.
    pub(crate) fn is_asked(&mut self) {
        self.grant(self.credit_max_bytes / 16);
    }

    fn grant(&mut self, bytes: u64) {
        self.credit_bytes = self.credit_max_bytes.min(self.credit_bytes + bytes);
    }

    /// A partition's newest snapshot stands in frame `seq`.
    pub(crate) fn push_snapshot(&mut self, seq: Seq, slot: Slot) {
        self.snapshots.push_back((seq, slot));
    }

    /// An empty list of runs, for a while.
    pub(crate) fn take(&mut self) -> Vec<Run> {
        self.spare.pop().unwrap_or_default()
    }

    /// Gives a list back.
    pub(crate) fn give(&mut self, mut runs: Vec<Run>) {
        runs.clear();
        if self.spare.len() < SPARE_LISTS {
            self.spare.push(runs);
        }
    }
}

impl Store {
    /// Moves on, by a bounded step, whatever keeps the journal from staying half empty.
    pub(crate) fn make_room(&mut self, now: Now) {
        self.carry.credit(self.journal.counters().appended_bytes);
        let before = self.carry.bytes;
        let horizon = if self.is_frozen() { self.frames.start() } else { self.horizon() };
        let mut budget = u64::from(TURN_BYTES).min(self.carry.credit_bytes) as u32;
        let carried = self
            .carry_table(now, horizon)
            .and_then(|()| self.carry_snapshots(now, horizon, &mut budget))
            .and_then(|()| self.carry_commits(now, horizon, &mut budget));
        let nothing_more = match carried {
            Ok(()) => self.empty_tails(now, horizon, &mut budget),
            Err(_) => false,
        };
        let spent = self.carry.bytes - before;
        self.carry.credit_bytes = self.carry.credit_bytes.saturating_sub(spent);
        self.advance_pass(now, nothing_more && !self.evacuation.is_reading());
    }

    /// Everything in frames before this should leave its place. The start itself: nothing.
    fn horizon(&self) -> Seq {
        let occupancy = self.journal.occupancy();
        let of_goal = |total: u64| total * GOAL_PERCENT / 100;
        let journal = occupancy.used_bytes.saturating_sub(of_goal(occupancy.total_bytes));
        let memory = self.arena.used_bytes().saturating_sub(of_goal(self.arena.capacity_bytes()));
        let excess = journal.max(memory);
        if excess == 0 || self.carry.credit_bytes == 0 {
            return self.frames.start();
        }
        // At the brink a segment at a time: what is carried must find room before it makes any.
        let segment = u64::from(self.config.journal.segment_bytes);
        let brink = self.pressure == Pressure::ControlOnly;
        let bytes = if brink { segment } else { excess.max(segment) };
        self.frames.horizon(bytes, self.arena.capacity_bytes())
    }

    /// Destages or carries tails that reach back before `horizon`. True if nothing is left to stage.
    fn empty_tails(&mut self, now: Now, horizon: Seq, budget: &mut u32) -> bool {
        while self.pass_may_take()
            && let Some((seq, slot)) = self.destage.next_before(horizon)
        {
            if !self.partitions.is_visible(slot) {
                continue;
            }
            let partition = self.partitions.get_mut(slot).expect("visible");
            if partition.marks.queued != Some(seq) {
                continue;
            }
            partition.marks.queued = None;
            if partition.marks.carrying {
                continue;
            }
            let partition = self.partitions.get(slot).expect("visible");
            let hurry = self.pressure != Pressure::Calm;
            let least = if hurry { 1 } else { self.smallest_extent() };
            if self.has_ready(partition, least) {
                match self.stage_tail(now, slot) {
                    Ok(()) => {}
                    Err(NotStaged::Later) => {
                        self.enqueue(slot);
                        return false;
                    }
                    Err(NotStaged::NoBin) => {
                        self.enqueue(slot);
                        return true;
                    }
                }
            }
            let room = self.carry_tail(now, slot, horizon, budget);
            self.enqueue(slot);
            if room.is_err() || *budget == 0 {
                return false;
            }
        }
        self.pass_may_take()
    }

    /// A tail with less than this is carried rather than destaged while there is no hurry: 16 KiB at
    /// 10,000 partitions, 64 KiB at 1,000, if the journal has 512 MiB.
    fn smallest_extent(&self) -> u64 {
        let total = self.journal.occupancy().total_bytes;
        (total / (4 * self.partitions.len().max(1) as u64)).clamp(4096, 65_536)
    }

    /// Carries the batches of a tail that stand before `horizon` and are not on their way to a bin.
    fn carry_tail(
        &mut self,
        now: Now,
        slot: Slot,
        horizon: Seq,
        budget: &mut u32,
    ) -> Result<(), JournalFull> {
        let Some(partition) = self.partitions.get(slot) else { return Ok(()) };
        let (id, staged) = (partition.id, partition.marks.staged);
        let mut runs = self.carry.take();
        runs.extend(partition.tail.runs_from(staged).filter(|run| run.seq < horizon));
        let mut copies = self.carry.take();
        let mut result = Ok(());
        'runs: for run in &runs {
            let mut at = 0;
            while at < run.span.len && 0 < *budget {
                match self.carry_batch(now, id, run.span, at) {
                    Ok((len, copy)) => {
                        at += len;
                        *budget = budget.saturating_sub(len);
                        push(&mut copies, copy);
                    }
                    Err(full) => {
                        result = Err(full);
                        break 'runs;
                    }
                }
            }
        }
        self.carry.give(runs);
        match copies.last() {
            Some(last) => {
                for run in &copies {
                    self.frames.hold(run.seq, run.span);
                }
                self.dues.push(last.seq, Due::Carried { slot, runs: copies });
                self.partitions.get_mut(slot).expect("just found").marks.carrying = true;
            }
            None => self.carry.give(copies),
        }
        result
    }

    /// Appends the batch that stands `at` bytes into `span` once more.
    fn carry_batch(
        &mut self,
        now: Now,
        id: PartitionId,
        span: Span,
        at: u32,
    ) -> Result<(u32, Run), JournalFull> {
        let bytes = self.arena.get(span).expect("a tail's memory is held");
        let (batch, _) = Batch::parse_prefix(&bytes[at as usize..]).expect("a run is batches");
        self.scratch.clear();
        self.scratch.extend_from_slice(batch.bytes());
        let (base, end, max_timestamp) =
            (batch.base_offset(), batch.end_offset(), batch.max_timestamp());
        let entry = NewEntry {
            kind: EntryKind::Batch,
            carried: true,
            partition: id,
            epoch: batch.epoch(),
            base,
            count: batch.record_count(),
        };
        let placed = self.journal.append(now, &mut self.arena, entry, &[&self.scratch])?;
        self.carry.bytes += u64::from(placed.span.len);
        let run = Run { base, end, seq: placed.seq, span: placed.span, max_timestamp };
        Ok((placed.span.len, run))
    }

    /// Copies of a partition's batches are durable: they take the place of the old ones.
    pub(crate) fn carried(&mut self, slot: Slot, runs: Vec<Run>) {
        for run in &runs {
            self.frames.release(run.seq);
        }
        if let Some(partition) = self.partitions.get_mut(slot) {
            partition.marks.carrying = false;
            for run in &runs {
                if partition.marks.dropped < run.end {
                    partition.tail.replace(*run, &self.arena, &mut self.frames);
                }
            }
            // A run that the log start lies in may have been cut in two by its copies.
            partition.tail.drop_runs_before(partition.marks.dropped, &mut self.frames);
            self.enqueue(slot);
        }
        self.carry.give(runs);
    }

    fn carry_snapshots(
        &mut self,
        now: Now,
        horizon: Seq,
        budget: &mut u32,
    ) -> Result<(), JournalFull> {
        while let Some((seq, slot)) = self.carry.snapshots.front().copied() {
            if horizon <= seq || *budget == 0 {
                break;
            }
            let newest = self.partitions.get(slot).map(|partition| partition.marks.snapshot);
            if newest == Some(seq) && self.partitions.is_visible(slot) {
                let placed = self.carry_snapshot(now, slot)?;
                *budget = budget.saturating_sub(placed.span.len);
            }
            self.carry.snapshots.pop_front();
        }
        Ok(())
    }

    /// Writes a partition's state down once more.
    pub(crate) fn carry_snapshot(&mut self, now: Now, slot: Slot) -> Result<Placed, JournalFull> {
        let partition = self.partitions.get_mut(slot).expect("checked before");
        let max = self.config.journal.max_payload_bytes();
        snapshot::encode(partition, slot, &self.producers, max, &mut self.scratch);
        let kind = EntryKind::PartitionCreated;
        let entry = NewEntry { carried: true, ..control(kind, partition.id, Offset::ZERO) };
        let placed = self.journal.append(now, &mut self.arena, entry, &[&self.scratch])?;
        self.frames.hold(placed.seq, placed.span);
        self.dues.push(placed.seq, Due::Snapshot { slot });
        partition.marks.snapshot = placed.seq;
        self.carry.push_snapshot(placed.seq, slot);
        self.carry.bytes += u64::from(placed.span.len);
        Ok(placed)
    }

    fn carry_commits(
        &mut self,
        now: Now,
        horizon: Seq,
        budget: &mut u32,
    ) -> Result<(), JournalFull> {
        for index in 0..self.bins.open_bins().len() {
            let number = self.bins.open_bins()[index];
            if self.bins.get(number).oldest_commit < horizon {
                let carried = self.carry_commits_of(now, number, horizon, budget);
                self.bins.get_mut(number).rest();
                carried?;
            }
        }
        Ok(())
    }

    fn carry_commits_of(
        &mut self,
        now: Now,
        number: u32,
        horizon: Seq,
        budget: &mut u32,
    ) -> Result<(), JournalFull> {
        for index in 0..self.bins.get(number).commits.len() {
            let bin = self.bins.get_mut(number);
            let generation = bin.generation;
            let commit = &mut bin.commits[index];
            if horizon <= commit.seq || commit.carrying || *budget == 0 {
                continue;
            }
            let extent = commit.record.extent();
            let kind = EntryKind::ExtentCommit;
            let entry = control(kind, commit.record.partition(), extent.base);
            let entry = NewEntry { carried: true, ..entry };
            let payload = [commit.record.as_bytes()];
            let placed = self.journal.append(now, &mut self.arena, entry, &payload)?;
            commit.carrying = true;
            self.frames.hold(placed.seq, placed.span);
            let page = extent.page;
            self.dues.push(placed.seq, Due::CommitCarried { bin: number, generation, page });
            *budget = budget.saturating_sub(placed.span.len);
            self.carry.bytes += u64::from(placed.span.len);
        }
        Ok(())
    }

    /// An extent's commit is durable in frame `seq` too.
    pub(crate) fn commit_carried(&mut self, seq: Seq, number: u32, generation: u64, page: u32) {
        let bin = self.bins.get_mut(number);
        let found = bin.commits.iter_mut().find(|commit| commit.record.extent().page == page);
        match found {
            Some(commit) if bin.generation == generation => {
                self.frames.release(core::mem::replace(&mut commit.seq, seq));
                commit.carrying = false;
                bin.oldest_commit = bin.oldest_commit.min(seq);
            }
            // The footer has taken over since.
            _ => self.frames.release(seq),
        }
    }

    fn carry_table(&mut self, now: Now, horizon: Seq) -> Result<(), JournalFull> {
        let needed = self.bins.table == Seq(0) || self.bins.table < horizon;
        if !needed || self.carry.table_pending {
            return Ok(());
        }
        self.bins.encode(&mut self.scratch);
        let entry = control(EntryKind::BinTable, PartitionId::default(), Offset::ZERO);
        let entry = NewEntry { carried: true, ..entry };
        let placed = self.journal.append(now, &mut self.arena, entry, &[&self.scratch])?;
        self.frames.hold(placed.seq, placed.span);
        self.dues.push(placed.seq, Due::Table);
        self.carry.table_pending = true;
        Ok(())
    }

    /// The table of bins is durable in frame `seq`.
    pub(crate) fn table_durable(&mut self, seq: Seq) {
        let older = core::mem::replace(&mut self.bins.table, seq);
        if older != Seq(0) {
            self.frames.release(older);
        }
        self.carry.table_pending = false;
    }

    /// The footer of a bin is durable, and so is the word for it: it speaks for the extents.
    pub(crate) fn bin_sealed(&mut self, number: u32) {
        for commit in self.bins.seal(number) {
            self.frames.release(commit.seq);
        }
        self.bin_is(number, self.bins.get(number).vitality());
    }
}

/// Adds a batch to `copies`, joined into runs as in a tail.
fn push(copies: &mut Vec<Run>, batch: Run) {
    if !copies.last_mut().is_some_and(|last| last.join(&batch)) {
        copies.push(batch);
    }
}
