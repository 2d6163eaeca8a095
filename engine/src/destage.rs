//! From the journal to the bins: which batches leave memory next, and how fast.
//!
//! ```text
//!   queue, by the oldest frame held       the first one's tail             the pass
//!   ┌──────┬──────┬──────┬──────┐     ┌──────┬──────┬──────┬─────┐     ┌────────┬──────
//!   │ 70 c │ 71 a │ 75 f │  …   │ ──▶ │ run  │ run  │ run  │  …  │ ──▶ │ extent │
//!   └──────┴──────┴──────┴──────┘     └──────┴──────┴──────┴─────┘     └────────┴──────
//!                                         committed and durable
//! ```
//! Partitions come by the oldest frame that their tail holds, so that the journal's start moves; one
//! comes with all that is ready, so that extents are as large as the journal is deep. Destage takes
//! from a credit that grows with what is appended, the faster the fuller the journal is.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use base::{Instant, Now, Offset, Seq};

use crate::Mutant;
use crate::bins::Class;
use crate::extent::{EXTENT_BYTES, Extent, ExtentRecord, headers_crc, pages_for};
use crate::partition::Partition;
use crate::partitions::Slot;
use crate::pass::{NotStaged, Pass, Staged};
use crate::store::{Pressure, Store};
use crate::tail::Run;

/// Credit never exceeds this: a burst of destage is as bad for the journal as any other write.
const CREDIT_MAX_BYTES: u64 = 8 << 20;
/// Credit that comes by itself: what is left over when nobody appends goes out slowly.
const CREDIT_BYTES_PER_MS: u64 = 16 << 10;

/// Which partitions have something to destage, and the pass under way.
#[derive(Debug)]
pub(crate) struct Destage {
    /// By the oldest frame that the tail holds. An entry counts only if the partition's marks agree.
    queue: BinaryHeap<Reverse<(Seq, Slot)>>,
    pub(crate) pass: Option<Pass>,
    /// Memory of the last pass, for the next.
    pub(crate) spare_staged: Vec<(Staged, ExtentRecord)>,
    credit_bytes: u64,
    credited_at: Instant,
    pub(crate) extents: u64,
    pub(crate) bytes: u64,
    pub(crate) failures: u64,
}

impl Destage {
    pub(crate) fn new() -> Self {
        Self {
            queue: BinaryHeap::new(),
            pass: None,
            spare_staged: Vec::new(),
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
        let batches =
            runs.iter().map(|run| self.arena.get(run.span).expect("a tail's memory is held"));
        let staged = Staged { slot, extent, from: None };
        pass.put(&mut self.bins, partition.id, staged, batches, (&mut self.pages, &mut self.ops));
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
        // An extent staged now would seem to belong to whatever takes the place of a partition that
        // is given up.
        if !self.partitions.is_visible(slot) {
            return Ok(());
        }
        let Some(partition) = self.partitions.get(slot) else { return Ok(()) };
        let class = Class::of(partition.settings.retention_ms);
        let id = partition.id;
        self.prepare_pass(now, class, old.pages(), false)?;
        let stamp = self.journal.durable_seq();
        let pass = self.destage.pass.as_mut().expect("prepared");
        let from = Some((old.bin, old.page));
        let staged = Staged { slot, extent: Extent { stamp, ..old }, from };
        pass.put(&mut self.bins, id, staged, [batches], (&mut self.pages, &mut self.ops));
        self.destage.extents += 1;
        self.destage.bytes += u64::from(old.len);
        Ok(())
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

    /// Writes to a bin that may be in flight.
    pub(crate) fn writes_max(&self) -> u32 {
        match self.pressure {
            Pressure::Calm => 1,
            Pressure::Hurry => 2,
            Pressure::DelayProducers | Pressure::ControlOnly => 4,
        }
    }

    /// Whether destage has used up its credit.
    pub(crate) fn is_starved(&self) -> bool {
        self.pressure < Pressure::DelayProducers && self.destage.credit_bytes == 0
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
