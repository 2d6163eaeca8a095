//! The way of a batch into the log: checks, sequencing, the one copy into the journal's frame.

use base::batch::{sequenced_prefix, stamp_append_time};
use base::{Batch, Epoch, LogEnd, LogStart, Now, Offset, PartitionId, Seq};

use crate::PartitionSettings;
use crate::error::AppendError;
use crate::journal::{EntryKind, JournalFull, NewEntry};
use crate::partition::Partition;
use crate::partitions::Slot;
use crate::producers::{self, Admission, Claim};
use crate::store::Store;
use crate::tail::Run;
use crate::touches::Touch;

/// Where a batch stands in its partition, and what to wait for before it is acked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The offset of the first record.
    pub base: Offset,
    /// The frame that must be durable.
    pub seq: Seq,
    /// The records' timestamp in ms, if the broker set it.
    pub append_time_ms: Option<i64>,
    pub log_start: LogStart,
    /// The batch had been appended before; `base` is where.
    pub duplicate: bool,
    /// Behind the last record.
    pub end: Offset,
    /// The epoch of the reign that took the batch, or found it there.
    pub epoch: Epoch,
    /// Whether other shards hold replicas: durable here is not committed then.
    pub replicated: bool,
}

impl Store {
    /// Sequences `batch`, whose checksum was verified, and copies it into the open frame.
    pub(crate) fn append(
        &mut self,
        now: Now,
        id: PartitionId,
        batch: Batch<'_>,
    ) -> Result<Appended, AppendError> {
        let slot = self.partitions.slot(id).ok_or(AppendError::NoPartition)?;
        let partition = self.partitions.get(slot).ok_or(AppendError::NoPartition)?;
        let epoch = partition.appendable()?;
        self.check_size(&partition.settings, &batch)?;
        check_timestamps(now, &partition.settings, &batch)?;
        let claim = Claim::of(&batch)?;
        if let Some(claim) = &claim
            && let Admission::Duplicate(base) = self.producers.check(slot, claim)?
        {
            let end = base.plus(u64::from(batch.record_count()));
            return Ok(self.duplicate(partition, epoch, base, end));
        }
        let sequenced = self.admit().and_then(|()| self.sequence(now, slot, epoch, batch, claim));
        if sequenced == Err(AppendError::Busy) {
            self.carry.is_asked();
        }
        sequenced
    }

    fn sequence(
        &mut self,
        now: Now,
        slot: Slot,
        epoch: Epoch,
        batch: Batch<'_>,
        claim: Option<Claim>,
    ) -> Result<Appended, AppendError> {
        let partition = self.partitions.get_mut(slot).expect("checked before");
        let append_time_ms = partition.settings.append_time.then_some(now.wall.0);
        let (base, count) = (partition.log_end.0, batch.record_count());
        let prefix = sequenced_prefix(&batch, base, epoch);
        let rest = match append_time_ms {
            None => &batch.bytes()[prefix.len()..],
            Some(ms) => {
                self.scratch.clear();
                self.scratch.extend_from_slice(batch.bytes());
                stamp_append_time(&mut self.scratch, ms);
                &self.scratch[prefix.len()..]
            }
        };
        let (kind, id) = (EntryKind::Batch, partition.id);
        let entry = NewEntry { kind, carried: false, partition: id, epoch, base, count };
        let placed = self.journal.append(now, &mut self.arena, entry, &[&prefix, rest])?;
        let end = base.plus(u64::from(count));
        let max_timestamp = append_time_ms.unwrap_or_else(|| batch.max_timestamp());
        let run = Run { base, end, seq: placed.seq, span: placed.span, max_timestamp };
        partition.tail.push(run, &mut self.frames);
        partition.log_end = LogEnd(end);
        partition.last_append_ms = now.wall.0;
        self.touches.record(&mut partition.marks, Touch { seq: placed.seq, slot, end });
        let (committed, log_start) = (partition.committed.0, partition.log_start);
        let replicated = partition.settings.replicated;
        if let Some(claim) = claim {
            let now_ms = now.wall.0;
            self.producers.record(slot, &producers::Appended { claim, base, committed, now_ms });
        }
        self.appended(slot, placed);
        let duplicate = false;
        let seq = placed.seq;
        Ok(Appended { base, seq, append_time_ms, log_start, duplicate, end, epoch, replicated })
    }

    /// The answer to a batch that stands at `base` already: its ack waits for the original's frame.
    fn duplicate(
        &self,
        partition: &Partition,
        epoch: Epoch,
        base: Offset,
        end: Offset,
    ) -> Appended {
        let run = partition.tail.find(base).and_then(|index| partition.tail.run(index));
        Appended {
            base,
            seq: run.map_or_else(|| self.journal.durable_seq(), |run| run.seq),
            append_time_ms: run
                .filter(|_| partition.settings.append_time)
                .map(|run| run.max_timestamp),
            log_start: partition.log_start,
            duplicate: true,
            end,
            epoch,
            replicated: partition.settings.replicated,
        }
    }

    fn check_size(
        &self,
        settings: &PartitionSettings,
        batch: &Batch<'_>,
    ) -> Result<(), AppendError> {
        let max = settings.max_message_bytes.min(self.config.journal.max_payload_bytes());
        if batch.bytes().len() <= max as usize {
            Ok(())
        } else {
            Err(AppendError::TooLarge { max })
        }
    }
}

/// Kafka's bounds, held against the two timestamps of the header: the records are not decompressed.
fn check_timestamps(
    now: Now,
    settings: &PartitionSettings,
    batch: &Batch<'_>,
) -> Result<(), AppendError> {
    if batch.is_log_append_time() {
        return Err(AppendError::InvalidTimestamp);
    }
    if settings.append_time {
        return Ok(());
    }
    let oldest = now.wall.0.saturating_sub(settings.timestamp_before_max_ms);
    let newest = now.wall.0.saturating_add(settings.timestamp_after_max_ms);
    let (base, max) = (batch.base_timestamp(), batch.max_timestamp());
    // −1: the producer gave none.
    if (base != -1 && base < oldest) || newest < max {
        return Err(AppendError::InvalidTimestamp);
    }
    Ok(())
}

impl From<JournalFull> for AppendError {
    fn from(full: JournalFull) -> Self {
        match full {
            JournalFull::Window | JournalFull::Memory | JournalFull::Space => Self::Busy,
            JournalFull::Poisoned => Self::Poisoned,
        }
    }
}
