//! From the journal to the bins: committed, durable batches leave memory in dense extents.
//!
//! ```text
//!   filling ─▶ draining ─▶ syncing ─▶ committing ─▶ done       bin has room
//!   (writes)   (last one)  (fdatasync) (ExtentCommit)  └─▶ footer ─▶ syncing ─▶ BinSealed   full
//! ```
//! One pass at a time writes to one bin. Partitions come by the oldest frame that their tail holds,
//! so that the journal's start moves; what one comes with is all that is ready, so that extents are
//! as large as the journal is deep. A pass is paced by what is appended: it takes from a credit
//! that grows with the journal's pressure.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use base::{Done, Instant, IoError, Now, Offset, Op, PAGE_BYTES, Page, PartitionId, Seq, Token};
use zerocopy::IntoBytes;

use crate::Mutant;
use crate::bin_writer::BinWriter;
use crate::bins::{BinState, Bins, Class};
use crate::due::Due;
use crate::extent::{EXTENT_BYTES, Extent, ExtentRecord, headers_crc, pages_for};
use crate::footer;
use crate::journal::{EntryKind, JournalFull};
use crate::lifecycle::control;
use crate::partition::Partition;
use crate::partitions::Slot;
use crate::store::{Pressure, Store};
use crate::tail::Run;

/// The eighth byte of every token of a pass.
pub(crate) const TOKEN_TAG: u64 = 0x44 << 56;
const WRITE: Token = Token(TOKEN_TAG);
const SYNC: Token = Token(TOKEN_TAG | 1);
/// Credit never exceeds this: a burst of destage is as bad for the journal as any other write.
const CREDIT_MAX_BYTES: u64 = 8 << 20;

/// Credit that comes by itself: what is left over when nobody appends goes out slowly.
const CREDIT_BYTES_PER_MS: u64 = 16 << 10;

/// Which partitions have something to destage, and the pass under way.
#[derive(Debug)]
pub(crate) struct Destage {
    /// By the oldest frame that the tail holds. An entry counts only if the partition's marks agree.
    queue: BinaryHeap<Reverse<(Seq, Slot)>>,
    pass: Option<Pass>,
    credit_bytes: u64,
    credited_at: Instant,
    pub(crate) extents: u64,
    pub(crate) bytes: u64,
    pub(crate) failures: u64,
}

#[derive(Debug)]
struct Pass {
    bin: u32,
    writer: BinWriter,
    stage: PassStage,
    staged: Vec<Staged>,
    /// Of the staged, how many have their `ExtentCommit`.
    committed: usize,
    unsynced_bytes: u32,
    /// No extent fits any more: the footer is next.
    full: bool,
    failed: Option<IoError>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PassStage {
    Filling,
    Draining,
    Syncing,
    Committing,
    FooterDraining,
    FooterSyncing,
    Sealing,
    Over,
}

/// An extent on its way.
#[derive(Clone, Copy, Debug)]
struct Staged {
    slot: Slot,
    extent: Extent,
    record: ExtentRecord,
    /// Where it stood before, if it moves from another bin.
    from: Option<(u32, u32)>,
}

/// Why an extent could not be staged now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotStaged {
    /// The pass is at its limits, or past filling.
    Later,
    /// No bin is free.
    NoBin,
}

impl Destage {
    pub(crate) fn new() -> Self {
        Self {
            queue: BinaryHeap::new(),
            pass: None,
            credit_bytes: CREDIT_MAX_BYTES,
            credited_at: Instant::default(),
            extents: 0,
            bytes: 0,
            failures: 0,
        }
    }

    /// A partition has a tail to leave, the oldest of it in frame `seq`.
    pub(crate) fn enqueue(&mut self, seq: Seq, slot: Slot) {
        self.queue.push(Reverse((seq, slot)));
    }

    /// The entry with the oldest frame, if that is older than `horizon`.
    pub(crate) fn next_before(&mut self, horizon: Seq) -> Option<(Seq, Slot)> {
        let Reverse((seq, _)) = self.queue.peek()?;
        if horizon <= *seq {
            return None;
        }
        self.queue.pop().map(|Reverse(entry)| entry)
    }

    /// New data came in: so much may go out.
    pub(crate) fn grant(&mut self, appended_bytes: u32, pressure: Pressure) {
        let appended = u64::from(appended_bytes);
        let credit = match pressure {
            Pressure::Calm => appended + appended / 4,
            _ => 2 * appended,
        };
        self.credit_bytes = (self.credit_bytes + credit).min(CREDIT_MAX_BYTES);
    }

    /// Time passed.
    pub(crate) fn grant_time(&mut self, now: Instant) {
        let passed_ms = now.since(self.credited_at).as_millis() as u64;
        if 0 < passed_ms {
            self.credited_at = now;
            let credit = passed_ms.saturating_mul(CREDIT_BYTES_PER_MS);
            self.credit_bytes = self.credit_bytes.saturating_add(credit).min(CREDIT_MAX_BYTES);
        }
    }
}

impl Store {
    /// Stages what is ready of a partition's tail, extent by extent, until all is or it must wait.
    pub(crate) fn stage_tail(&mut self, now: Now, slot: Slot) -> Result<(), NotStaged> {
        let mut runs = self.carry.take();
        let staged = loop {
            match self.stage_extent(now, slot, &mut runs) {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(not_staged) => break Err(not_staged),
            }
        };
        self.carry.give(runs);
        staged
    }

    /// Stages the next extent of a partition's tail; false if nothing is ready.
    fn stage_extent(
        &mut self,
        now: Now,
        slot: Slot,
        runs: &mut Vec<Run>,
    ) -> Result<bool, NotStaged> {
        let Some(partition) = self.partitions.get(slot) else { return Ok(false) };
        let max_bytes = u64::from(EXTENT_BYTES).min(self.config.bin_bytes / 4) as u32;
        next_extent(partition, self.destage_limit(partition), max_bytes, runs);
        let (Some(first), Some(last)) = (runs.first(), runs.last()) else { return Ok(false) };
        let (base, end) = (first.base, last.end);
        let class = Class::of(partition.settings.retention_ms);
        let len = runs.iter().map(|run| run.span.len).sum();
        self.prepare_pass(now, class, pages_for(len), true)?;
        let extent = self.describe(now, base, end, runs);
        let pass = self.destage.pass.as_mut().expect("prepared");
        let partition = self.partitions.get_mut(slot).expect("just found");
        let record = pass.begin(&mut self.bins, partition.id, extent, slot, None);
        let (pool, ops) = (&mut self.pages, &mut self.ops);
        pass.writer.put(record.as_bytes(), pool, ops);
        for run in runs {
            let batches = self.arena.get(run.span).expect("a tail's memory is held");
            pass.writer.put(batches, pool, ops);
        }
        pass.writer.pad(pool, ops);
        partition.marks.staged = end;
        self.destage.spend(extent.len);
        Ok(true)
    }

    /// Stages an extent that was read from a sparse bin, for a place in a denser one.
    pub(crate) fn stage_moved(
        &mut self,
        now: Now,
        slot: Slot,
        old: Extent,
        batches: &[u8],
    ) -> Result<(), NotStaged> {
        let Some(partition) = self.partitions.get(slot) else { return Ok(()) };
        let class = Class::of(partition.settings.retention_ms);
        let id = partition.id;
        self.prepare_pass(now, class, old.pages(), false)?;
        let stamp = self.journal.durable_seq();
        let pass = self.destage.pass.as_mut().expect("prepared");
        let from = Some((old.bin, old.page));
        let record = pass.begin(&mut self.bins, id, Extent { stamp, ..old }, slot, from);
        let (pool, ops) = (&mut self.pages, &mut self.ops);
        pass.writer.put(record.as_bytes(), pool, ops);
        pass.writer.put(batches, pool, ops);
        pass.writer.pad(pool, ops);
        self.destage.extents += 1;
        self.destage.bytes += u64::from(old.len);
        Ok(())
    }

    /// Moves the pass on as far as it goes without a completion.
    pub(crate) fn advance_pass(&mut self, now: Now, nothing_more: bool) {
        let Some(mut pass) = self.destage.pass.take() else { return };
        while self.step_pass(now, &mut pass, nothing_more) {}
        if pass.stage != PassStage::Over {
            self.destage.pass = Some(pass);
        }
    }

    pub(crate) fn pass_done(&mut self, now: Now, done: Done) {
        let pass = self.destage.pass.as_mut().expect("a pass with operations in flight stays");
        let res = match done {
            Done::WrotePages { pages, res, .. } => {
                pass.writer.wrote(pages, &mut self.pages);
                res
            }
            Done::Synced { res, .. } => {
                pass.synced();
                res
            }
            other => unreachable!("a pass never asks for {other:?}"),
        };
        if let Err(error) = res {
            pass.failed = Some(error);
        }
        self.advance_pass(now, false);
    }

    /// What of a partition may be destaged: nothing that a crash or an election could take back.
    fn destage_limit(&self, partition: &Partition) -> Offset {
        if self.config.journal.planted.is(Mutant::DestageNotDurable) {
            return partition.log_end.0;
        }
        partition.settled()
    }

    /// Whether at least `least` bytes of a partition's tail are ready to leave.
    pub(crate) fn has_ready(&self, partition: &Partition, least: u64) -> bool {
        let limit = self.destage_limit(partition);
        let ready = partition.tail.runs_from(partition.marks.staged);
        let mut bytes = 0;
        ready.take_while(|run| run.end <= limit).any(|run| {
            bytes += u64::from(run.span.len);
            least <= bytes
        })
    }

    fn describe(&self, now: Now, base: Offset, end: Offset, runs: &[Run]) -> Extent {
        let batches = runs.iter().flat_map(|run| run.batches(&self.arena));
        Extent {
            base,
            end,
            stamp: runs.iter().map(|run| run.seq).fold(self.journal.durable_seq(), Seq::max),
            max_timestamp: runs.iter().map(|run| run.max_timestamp).max().unwrap_or(-1),
            written_ms: now.wall.0,
            len: runs.iter().map(|run| run.span.len).sum(),
            page: 0,
            bin: 0,
            headers_crc: batches.fold(0, |crc, (_, batch)| headers_crc(crc, &batch)),
        }
    }

    /// Makes sure that a pass of the class is filling and has room for an extent of `pages`.
    /// `paced`: it takes from the credit.
    fn prepare_pass(
        &mut self,
        now: Now,
        class: Class,
        pages: u32,
        paced: bool,
    ) -> Result<(), NotStaged> {
        if self.destage.pass.is_none() {
            self.begin_pass(now, class)?;
        }
        let starved = paced && self.is_starved();
        let writes_max = self.writes_max();
        let pass = self.destage.pass.as_mut().expect("begun");
        if self.bins.get(pass.bin).class != class && pass.stage == PassStage::Filling {
            pass.stage = PassStage::Draining;
        }
        if pass.stage != PassStage::Filling
            || self.config.unsynced_max_bytes <= pass.unsynced_bytes
            || writes_max <= pass.writer.in_flight
            || starved
        {
            return Err(NotStaged::Later);
        }
        if !self.bins.has_room(pass.bin, pass.staged.len(), pages) {
            assert!(0 < self.bins.get(pass.bin).filled, "{pages} pages fit no bin");
            pass.full = true;
            pass.stage = PassStage::Draining;
            return Err(NotStaged::Later);
        }
        Ok(())
    }

    /// Whether an extent has a chance to be staged now.
    pub(crate) fn pass_may_take(&self) -> bool {
        let accepts = |pass: &Pass| {
            pass.stage == PassStage::Filling
                && pass.unsynced_bytes < self.config.unsynced_max_bytes
                && pass.writer.in_flight < self.writes_max()
        };
        !self.is_starved() && self.destage.pass.as_ref().is_none_or(accepts)
    }

    /// Writes to a bin that may be in flight.
    fn writes_max(&self) -> u32 {
        match self.pressure {
            Pressure::Calm => 1,
            Pressure::Hurry => 2,
            Pressure::DelayProducers | Pressure::ControlOnly => 4,
        }
    }

    /// Whether destage has used up its credit.
    fn is_starved(&self) -> bool {
        self.pressure < Pressure::DelayProducers && self.destage.credit_bytes == 0
    }

    fn begin_pass(&mut self, now: Now, class: Class) -> Result<(), NotStaged> {
        let bin = match self.bins.open_of(class) {
            Some(bin) => bin,
            None => self.open_bin(now, class)?,
        };
        let writer = BinWriter::new(self.bins.file(bin), WRITE, self.bins.get(bin).filled);
        self.destage.pass = Some(Pass {
            bin,
            writer,
            stage: PassStage::Filling,
            staged: Vec::new(),
            committed: 0,
            unsynced_bytes: 0,
            full: false,
            failed: None,
        });
        Ok(())
    }

    fn open_bin(&mut self, now: Now, class: Class) -> Result<u32, NotStaged> {
        if self.bins.table == Seq(0) {
            return Err(NotStaged::Later);
        }
        let bin = self.bins.open(class).ok_or(NotStaged::NoBin)?;
        if self.append_bin(now, EntryKind::BinOpened, bin, BinState::Open).is_err() {
            self.bins.set_free(bin);
            return Err(NotStaged::Later);
        }
        Ok(bin)
    }

    /// One step of the pass; false if it must wait, or is over.
    fn step_pass(&mut self, now: Now, pass: &mut Pass, nothing_more: bool) -> bool {
        if pass.failed.is_some() {
            return self.abort_pass(pass);
        }
        match pass.stage {
            PassStage::Filling => {
                let worth_a_sync = self.config.unsynced_max_bytes <= pass.unsynced_bytes;
                if !worth_a_sync && !nothing_more {
                    return false;
                }
                pass.stage = PassStage::Draining;
            }
            PassStage::Draining => {
                pass.writer.flush(&mut self.pages, &mut self.ops);
                if 0 < pass.writer.in_flight {
                    return false;
                }
                self.ops.push_back(Op::Sync { tok: SYNC, file: self.bins.file(pass.bin) });
                pass.stage = PassStage::Syncing;
            }
            PassStage::Committing => return self.commit_staged(now, pass),
            PassStage::FooterDraining => {
                if 0 < pass.writer.in_flight {
                    return false;
                }
                self.ops.push_back(Op::Sync { tok: SYNC, file: self.bins.file(pass.bin) });
                pass.stage = PassStage::FooterSyncing;
            }
            PassStage::Sealing => return self.seal_bin(now, pass),
            PassStage::Syncing | PassStage::FooterSyncing | PassStage::Over => return false,
        }
        true
    }

    fn commit_staged(&mut self, now: Now, pass: &mut Pass) -> bool {
        while let Some(staged) = pass.staged.get(pass.committed) {
            let entry =
                control(EntryKind::ExtentCommit, staged.record.partition(), staged.extent.base);
            let payload = [staged.record.as_bytes()];
            let Ok(placed) = self.journal.append(now, &mut self.arena, entry, &payload) else {
                return false;
            };
            self.frames.hold(placed.seq, placed.span);
            self.bins.get_mut(pass.bin).add_commit(staged.record, placed.seq);
            let (slot, extent, from) = (staged.slot, staged.extent, staged.from);
            self.dues.push(placed.seq, Due::Stored { slot, extent, from });
            pass.committed += 1;
        }
        if pass.full {
            self.write_footer(pass);
            return true;
        }
        pass.stage = PassStage::Over;
        false
    }

    fn write_footer(&mut self, pass: &mut Pass) {
        let bin = self.bins.get_mut(pass.bin);
        bin.state = BinState::Sealing;
        let records: Vec<_> = bin.commits.iter().map(|commit| commit.record).collect();
        let footer_pages = footer::footer_pages(records.len());
        let first = bin.pages - footer_pages;
        let mut pages = self.pages.take(footer_pages as usize);
        footer::write(&mut pages, pass.bin, self.bins.owner(pass.bin), &records);
        pass.writer = BinWriter::new(self.bins.file(pass.bin), WRITE, first);
        pass.writer.put(Page::bytes(&pages), &mut self.pages, &mut self.ops);
        pass.writer.flush(&mut self.pages, &mut self.ops);
        self.pages.give(pages);
        pass.stage = PassStage::FooterDraining;
    }

    fn seal_bin(&mut self, now: Now, pass: &mut Pass) -> bool {
        let bin = pass.bin;
        let Ok(seq) = self.append_bin(now, EntryKind::BinSealed, bin, BinState::Sealed) else {
            return false;
        };
        self.dues.push(seq, Due::BinSealed { bin });
        pass.stage = PassStage::Over;
        false
    }

    /// The device refused: the bin is written no more, what was staged stays in the journal.
    fn abort_pass(&mut self, pass: &mut Pass) -> bool {
        let syncing = matches!(pass.stage, PassStage::Syncing | PassStage::FooterSyncing);
        if 0 < pass.writer.in_flight || syncing {
            return false;
        }
        self.destage.failures += 1;
        self.bins.get_mut(pass.bin).state = BinState::Worn;
        for staged in pass.staged.drain(pass.committed..) {
            let Some(partition) = self.partitions.get_mut(staged.slot) else { continue };
            if staged.from.is_none() {
                partition.marks.staged = partition.marks.staged.min(staged.extent.base);
            }
            self.enqueue(staged.slot);
        }
        pass.stage = PassStage::Over;
        false
    }

    /// Says something about one bin in the journal.
    pub(crate) fn append_bin(
        &mut self,
        now: Now,
        kind: EntryKind,
        bin: u32,
        state: BinState,
    ) -> Result<Seq, JournalFull> {
        let payload = self.bins.to_bytes(bin, state);
        let entry = control(kind, PartitionId::default(), Offset::ZERO);
        let placed = self.journal.append(now, &mut self.arena, entry, &[payload.as_bytes()])?;
        self.bins.said(bin, state);
        Ok(placed.seq)
    }

    /// Puts a partition back in the queue if its tail holds what is not staged.
    pub(crate) fn enqueue(&mut self, slot: Slot) {
        let Some(partition) = self.partitions.get_mut(slot) else { return };
        let waiting = partition.tail.runs_from(partition.marks.staged);
        let Some(oldest) = waiting.map(|run| run.seq).min() else { return };
        if partition.marks.queued.is_none_or(|queued| oldest < queued) {
            partition.marks.queued = Some(oldest);
            self.destage.enqueue(oldest, slot);
        }
    }
}

impl Destage {
    fn spend(&mut self, bytes: u32) {
        self.credit_bytes = self.credit_bytes.saturating_sub(u64::from(bytes));
        self.extents += 1;
        self.bytes += u64::from(bytes);
    }
}

impl Pass {
    /// Gives `extent` its place in the bin.
    fn begin(
        &mut self,
        bins: &mut Bins,
        partition: PartitionId,
        mut extent: Extent,
        slot: Slot,
        from: Option<(u32, u32)>,
    ) -> ExtentRecord {
        extent.bin = self.bin;
        extent.page = bins.get(self.bin).filled;
        bins.get_mut(self.bin).filled += extent.pages();
        let record = extent.to_record(partition, bins.owner(self.bin));
        self.staged.push(Staged { slot, extent, record, from });
        self.unsynced_bytes += extent.pages() * PAGE_BYTES as u32;
        record
    }

    fn synced(&mut self) {
        self.stage = match self.stage {
            PassStage::Syncing => PassStage::Committing,
            PassStage::FooterSyncing => PassStage::Sealing,
            other => unreachable!("synced while {other:?}"),
        };
    }
}

/// Puts the runs of the next extent into `runs`: unstaged, whole, dense, before `limit`, and at most
/// `max_bytes` or one run.
fn next_extent(partition: &Partition, limit: Offset, max_bytes: u32, runs: &mut Vec<Run>) {
    runs.clear();
    let mut len = 0;
    for run in partition.tail.runs_from(partition.marks.staged) {
        let joins = runs.last().is_none_or(|last| last.end == run.base);
        let fits = runs.is_empty() || len + run.span.len <= max_bytes;
        if limit < run.end || !joins || !fits {
            break;
        }
        len += run.span.len;
        runs.push(*run);
    }
}
