//! From a time to an offset: Kafka's ListOffsets by timestamp.
//!
//! Extents and runs know the largest timestamp of their batches, batches know that of their records.
//! So the search goes down in steps, reads at most the extents whose word it must check, and
//! decompresses one batch.

use base::batch::records;
use base::{Arena, Batch, Epoch, Offset, PartitionId};

use crate::disk_reads::{self, Ended, ReadToken, Wanted};
use crate::error::ReadError;
use crate::partition::Partition;
use crate::partitions::Slot;
use crate::read::Purpose;
use crate::store::Store;
use crate::tail::walk;

/// A batch that decompresses to more is not searched: that would hold up the whole shard for longer
/// than a device write.
const DECOMPRESSED_BYTES_MAX: usize = 16 << 20;

/// A record found by its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeHit {
    pub offset: Offset,
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
    pub epoch: Epoch,
    /// False: the record is at `offset` or behind it in the same batch, which does not decompress, or
    /// to too much; the timestamp is the batch's largest.
    pub exact: bool,
}

/// Where the answer to a question of time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeLookup {
    Hit(TimeHit),
    /// In a bin: [`crate::Engine::poll_lookup`] will name the token.
    Disk(ReadToken),
    /// No committed record is as late.
    None,
}

/// The first record at or behind `from` with a timestamp of at least `since_ms`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    from: Offset,
    since_ms: i64,
}

impl Store {
    /// Finds the first committed record with a timestamp of `since_ms` or later.
    pub(crate) fn lookup_time(
        &mut self,
        id: PartitionId,
        since_ms: i64,
    ) -> Result<TimeLookup, ReadError> {
        let slot = self.partitions.slot(id).ok_or(ReadError::NoPartition)?;
        let partition = self.partitions.get(slot).ok_or(ReadError::NoPartition)?;
        let question = Question { from: partition.log_start.0, since_ms };
        match self.search(slot, question) {
            Search::Extent(wanted) => {
                let token = self.reads.request(&mut self.bins, wanted).ok_or(ReadError::Busy)?;
                Ok(TimeLookup::Disk(token))
            }
            Search::Over(Some(hit)) => Ok(TimeLookup::Hit(hit)),
            Search::Over(None) => Ok(TimeLookup::None),
        }
    }

    /// Finds the committed record with the largest timestamp, the first of them if there are many.
    pub(crate) fn max_timestamp(&mut self, id: PartitionId) -> Result<TimeLookup, ReadError> {
        let partition = self.partitions.by_id(id).ok_or(ReadError::NoPartition)?;
        let extents = partition.stored.extents().map(|extent| extent.max_timestamp).max();
        let committed = partition.committed.0;
        let runs = partition.tail.runs().filter(|run| run.base < committed);
        let batches = runs.flat_map(|run| run.batches(&self.arena));
        let visible = batches.filter(|(_, batch)| batch.end_offset() <= committed);
        let tail = visible.map(|(_, batch)| batch.max_timestamp()).max();
        match extents.max(tail) {
            Some(max) if 0 <= max => self.lookup_time(id, max),
            _ => Ok(TimeLookup::None),
        }
    }

    /// An extent was read for a question.
    pub(crate) fn looked_up(&mut self, question: Question, ended: Ended<Purpose>) {
        let Ended { token, wanted, pages, result } = ended;
        let hit = result.map(|()| first_in(disk_reads::batches(&wanted.extent, &pages), question));
        self.pages.give(pages);
        let answer = match hit {
            Err(error) => Err(self.read_error(&wanted, error)),
            Ok(Some(hit)) => Ok(Some(hit)),
            Ok(None) => {
                let question = Question { from: wanted.extent.end, ..question };
                match self.search(wanted.slot, question) {
                    Search::Extent(next) => return self.reads.again(&mut self.bins, token, next),
                    Search::Over(hit) => Ok(hit),
                }
            }
        };
        self.reads.finish(token);
        self.answers.found.push_back((token, answer));
    }

    fn search(&self, slot: Slot, question: Question) -> Search {
        let Some(partition) = self.partitions.get(slot) else { return Search::Over(None) };
        let from = question.from.max(partition.log_start.0);
        let question = Question { from, ..question };
        let late = partition
            .stored
            .extents()
            .find(|extent| from < extent.end && question.since_ms <= extent.max_timestamp);
        match late {
            Some(extent) => {
                let purpose = Purpose::Lookup(question);
                Search::Extent(Wanted { slot, extent: *extent, purpose })
            }
            None => Search::Over(first_in_tail(partition, &self.arena, question)),
        }
    }
}

/// How far a search gets without the disk.
enum Search {
    Extent(Wanted<Purpose>),
    Over(Option<TimeHit>),
}

fn first_in_tail(partition: &Partition, arena: &Arena, question: Question) -> Option<TimeHit> {
    let until = partition.readable_end();
    let late = |run: &&crate::tail::Run| {
        question.from < run.end && run.base < until && question.since_ms <= run.max_timestamp
    };
    let batches = partition.tail.runs().filter(late).flat_map(|run| run.batches(arena));
    let visible = batches.filter(|(_, batch)| batch.end_offset() <= until);
    visible.map(|(_, batch)| batch).find_map(|batch| first_of(&batch, question))
}

fn first_in(batches: &[u8], question: Question) -> Option<TimeHit> {
    walk(batches).find_map(|(_, batch)| first_of(&batch, question))
}

/// The first record of a batch that answers the question.
fn first_of(batch: &Batch<'_>, question: Question) -> Option<TimeHit> {
    let Question { from, since_ms } = question;
    if batch.end_offset() <= from || batch.max_timestamp() < since_ms {
        return None;
    }
    let (base, epoch) = (batch.base_offset(), batch.epoch());
    if batch.is_log_append_time() {
        let timestamp_ms = batch.max_timestamp();
        return Some(TimeHit { offset: base.max(from), timestamp_ms, epoch, exact: true });
    }
    let somewhere = TimeHit {
        offset: base.max(from),
        timestamp_ms: batch.max_timestamp(),
        epoch,
        exact: false,
    };
    let Ok(plain) = base::decompress(batch.codec(), batch.records(), DECOMPRESSED_BYTES_MAX) else {
        return Some(somewhere);
    };
    let hits = records(&plain).map(|record| TimeHit {
        offset: base.plus(u64::from(record.offset_delta)),
        timestamp_ms: batch.base_timestamp().wrapping_add(record.timestamp_delta),
        epoch,
        exact: true,
    });
    let hit = hits.into_iter().find(|hit| from <= hit.offset && since_ms <= hit.timestamp_ms);
    // A compressed batch whose header promises what its records do not hold ends the search: else a
    // client could have one question decompress all that it ever wrote.
    let lied = batch.codec() != 0 && from <= base;
    hit.or_else(|| lied.then_some(somewhere))
}
