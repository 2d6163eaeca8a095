//! Reading: whole batches from the one that holds an offset, up to what is committed.

use base::{Offset, PartitionId, Span};

use crate::error::ReadError;
use crate::partition::Partition;
use crate::store::Store;
use crate::tail::ReadLimit;

/// Where a read's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// In tail memory: the spans were added to the caller's list, `bytes` in all. Pin them before
    /// the turn ends.
    Tail { bytes: u32 },
    /// Nothing committed lies at or behind the offset, or the limit is smaller than a batch.
    Empty,
}

impl Store {
    /// Finds up to `max_bytes` of whole batches from the one that holds `from`; with `min_one` the
    /// first even if it alone is larger.
    pub(crate) fn read(
        &self,
        id: PartitionId,
        from: Offset,
        max_bytes: u32,
        min_one: bool,
        out: &mut Vec<Span>,
    ) -> Result<Read, ReadError> {
        let partition = self.partitions.by_id(id).ok_or(ReadError::NoPartition)?;
        let from = readable(partition, from)?;
        let limit = ReadLimit { until: partition.committed.0, max_bytes, min_one };
        let bytes = partition.tail.collect(&self.arena, from, limit, out);
        Ok(if bytes == 0 { Read::Empty } else { Read::Tail { bytes } })
    }
}

/// The first offset to look for if a reader asks for `from`.
fn readable(partition: &Partition, from: Offset) -> Result<Offset, ReadError> {
    let (log_start, log_end) = (partition.log_start, partition.log_end);
    if from < log_start.0 || log_end.0 < from {
        return Err(ReadError::OutOfRange { log_start, log_end });
    }
    match partition.halt {
        Some(halt) if halt.from <= from => Err(ReadError::Halted(halt)),
        _ => Ok(partition.behind_gaps(from)),
    }
}
