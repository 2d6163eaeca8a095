//! Reading: whole batches from the one that holds an offset, up to what is committed.

use std::collections::VecDeque;

use base::{Now, Offset, Page, PartitionId, Span};

use crate::disk_reads::{self, Ended, ExtentError, ReadToken, Wanted};
use crate::error::ReadError;
use crate::extent::Extent;
use crate::halt::{Halt, HaltCause};
use crate::partition::Partition;
use crate::partitions::Slot;
use crate::store::Store;
use crate::tail::{ReadLimit, walk};
use crate::time_index::{Question, TimeHit};

/// Where a read's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// In tail memory: the spans were added to the caller's list, `bytes` in all. Pin them before
    /// the turn ends.
    Tail { bytes: u32 },
    /// In a bin: [`crate::Engine::poll_read`] will name the token, unless it is cancelled.
    Disk(ReadToken),
    /// Nothing committed lies at or behind the offset, or the limit is smaller than a batch.
    Empty,
}

/// Whole batches that were read from a bin: `len` bytes from byte `from` of `pages`. Give the pages
/// back by [`crate::Engine::recycle`].
#[derive(Debug)]
pub struct DiskBytes {
    pub pages: Box<[Page]>,
    pub from: usize,
    pub len: usize,
}

/// What an extent is read for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    Fetch {
        from: Offset,
        max_bytes: u32,
        min_one: bool,
    },
    Lookup(Question),
    /// To stand in another bin.
    Move,
}

/// Reads that ended and were not asked for.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    pub(crate) fetched: VecDeque<(ReadToken, Result<DiskBytes, ReadError>)>,
    pub(crate) found: VecDeque<(ReadToken, Result<Option<TimeHit>, ReadError>)>,
}

impl Store {
    /// Finds up to `max_bytes` of whole batches from the one that holds `from`; with `min_one` the
    /// first even if it alone is larger.
    pub(crate) fn read(
        &mut self,
        id: PartitionId,
        from: Offset,
        max_bytes: u32,
        min_one: bool,
        out: &mut Vec<Span>,
    ) -> Result<Read, ReadError> {
        let partition = self.partitions.by_id(id).ok_or(ReadError::NoPartition)?;
        let limit = ReadLimit { until: partition.readable_end(), max_bytes, min_one };
        let lowest = partition.log_start.0;
        self.read_until(id, (lowest, from), limit, out)
    }

    /// As [`Store::read`], committed or not, up to `until` or the log end.
    pub(crate) fn read_for_replica(
        &mut self,
        id: PartitionId,
        (from, until): (Offset, Offset),
        max_bytes: u32,
        min_one: bool,
        out: &mut Vec<Span>,
    ) -> Result<Read, ReadError> {
        let partition = self.partitions.by_id(id).ok_or(ReadError::NoPartition)?;
        let limit = ReadLimit { until: until.min(partition.log_end.0), max_bytes, min_one };
        let lowest = partition.first_batch();
        self.read_until(id, (lowest, from), limit, out)
    }

    fn read_until(
        &mut self,
        id: PartitionId,
        (lowest, from): (Offset, Offset),
        limit: ReadLimit,
        out: &mut Vec<Span>,
    ) -> Result<Read, ReadError> {
        let slot = self.partitions.slot(id).ok_or(ReadError::NoPartition)?;
        let partition = self.partitions.get(slot).ok_or(ReadError::NoPartition)?;
        let from = readable(partition, lowest, from)?;
        if let Some(extent) = partition.stored.at_or_behind(from) {
            let (extent, from) = (*extent, from.max(extent.base));
            let ReadLimit { max_bytes, min_one, .. } = limit;
            let purpose = Purpose::Fetch { from, max_bytes, min_one };
            let wanted = Wanted { slot, extent, purpose };
            let token = self.reads.request(&mut self.bins, wanted).ok_or(ReadError::Busy)?;
            return Ok(Read::Disk(token));
        }
        let bytes = partition.tail.collect(&self.arena, from, limit, out);
        Ok(if bytes == 0 { Read::Empty } else { Read::Tail { bytes } })
    }

    pub(crate) fn read_done(&mut self, now: Now, done: base::Done) {
        let journal = self.config.journal.id;
        let Some(ended) = self.reads.done(now.mono, &mut self.bins, &mut self.pages, journal, done)
        else {
            return;
        };
        if ended.result == Err(ExtentError::Damaged) {
            self.lose(ended.wanted.slot, &ended.wanted.extent);
        }
        match ended.wanted.purpose {
            Purpose::Fetch { .. } => {
                self.reads.finish(ended.token);
                let token = ended.token;
                let answer = self.fetched(ended);
                self.answers.fetched.push_back((token, answer));
            }
            Purpose::Lookup(question) => self.looked_up(question, ended),
            Purpose::Move => {
                self.reads.finish(ended.token);
                self.extent_to_move(now, ended);
            }
        }
    }

    /// Forgets a read, and its answer if it has ended.
    pub(crate) fn cancel_read(&mut self, token: ReadToken) {
        self.reads.cancel(&mut self.bins, token);
        self.answers.found.retain(|(of, _)| *of != token);
        if let Some(index) = self.answers.fetched.iter().position(|(of, _)| *of == token)
            && let Some((_, Ok(bytes))) = self.answers.fetched.remove(index)
        {
            self.pages.give(bytes.pages);
        }
    }

    /// Starts as many of the waiting reads as may be in flight.
    pub(crate) fn start_reads(&mut self, now: Now) {
        // Half as many while the journal's own writes take long.
        let average = self.journal.average_write_ns();
        if 0 < average {
            self.write_floor_ns = self.write_floor_ns.min(average);
        }
        let slow = self.write_floor_ns.saturating_mul(2) < average;
        let max = self.config.reads_max.max(1);
        let limit = if slow { max.div_ceil(2) } else { max };
        self.reads.start(now.mono, &self.bins, &mut self.pages, limit, &mut self.ops);
    }

    /// The part of an extent that a fetch asked for.
    fn fetched(&mut self, ended: Ended<Purpose>) -> Result<DiskBytes, ReadError> {
        let Ended { wanted, pages, .. } = ended;
        let answer = ended.result.map_err(|error| self.read_error(&wanted, error));
        let part = answer.and_then(|()| {
            let partition = self.partitions.get(wanted.slot).ok_or(ReadError::Gone)?;
            let Purpose::Fetch { from, max_bytes, min_one } = wanted.purpose else {
                unreachable!("only fetches are fetched");
            };
            if from < partition.first_batch() {
                return Err(ReadError::Gone);
            }
            let batches = disk_reads::batches(&wanted.extent, &pages);
            Ok(select(batches, from, max_bytes, min_one))
        });
        match part {
            Ok((from, len)) => Ok(DiskBytes { pages, from: from + disk_reads::BATCHES_AT, len }),
            Err(error) => {
                self.pages.give(pages);
                Err(error)
            }
        }
    }

    pub(crate) fn read_error(&self, wanted: &Wanted<Purpose>, error: ExtentError) -> ReadError {
        match error {
            ExtentError::Io(error) => ReadError::Io(error),
            ExtentError::Damaged => ReadError::Halted(self.loss(&wanted.extent)),
        }
    }

    /// An extent is damaged: its offsets are lost, the rest of the partition is not.
    pub(crate) fn lose(&mut self, slot: Slot, extent: &Extent) {
        let halt = self.loss(extent);
        let Some(partition) = self.partitions.get_mut(slot) else { return };
        let stands = partition.stored.at_or_behind(extent.base).is_some_and(|one| one == extent);
        if stands && !partition.lost.contains(&halt) {
            partition.lost.push(halt);
            self.losses.push_back((partition.id, halt));
        }
    }

    fn loss(&self, extent: &Extent) -> Halt {
        let pos = u64::from(extent.page) * base::PAGE_BYTES as u64;
        let cause = HaltCause::Extent { file: self.bins.file(extent.bin), pos };
        Halt { cause, from: extent.base, to: Some(extent.end) }
    }
}

/// Where in `batches` the ones lie that a fetch may have: first byte and length.
fn select(batches: &[u8], from: Offset, max_bytes: u32, min_one: bool) -> (usize, usize) {
    let mut start = None;
    let mut len = 0;
    for (at, batch) in walk(batches) {
        if batch.end_offset() <= from {
            continue;
        }
        let next = len + batch.bytes().len();
        if (max_bytes as usize) < next && !(min_one && start.is_none()) {
            break;
        }
        start.get_or_insert(at as usize);
        len = next;
    }
    (start.unwrap_or(0), len)
}

/// The first offset to look for if a reader asks for `from`.
fn readable(partition: &Partition, lowest: Offset, from: Offset) -> Result<Offset, ReadError> {
    let (log_start, log_end) = (partition.log_start, partition.log_end);
    if from < lowest || log_end.0 < from {
        return Err(ReadError::OutOfRange { log_start, log_end });
    }
    let from = partition.behind_gaps(from);
    if let Some(halt) = partition.halt.filter(|halt| halt.from <= from) {
        return Err(ReadError::Halted(halt));
    }
    let lost = |halt: &&Halt| halt.from <= from && halt.to.is_none_or(|to| from < to);
    match partition.lost.iter().find(lost) {
        Some(halt) => Err(ReadError::Halted(*halt)),
        None => Ok(from),
    }
}
