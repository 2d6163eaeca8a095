//! What happens to a partition as a whole: creation, deletion, epochs, its ends.

use base::{Committed, Durable, Epoch, LogEnd, LogStart, Now, Offset, PartitionId, Seq};

use crate::PartitionSettings;
use crate::due::Due;
use crate::error::Refused;
use crate::journal::{EntryKind, JournalFull, NewEntry};
use crate::partition::Partition;
use crate::partitions::Slot;
use crate::snapshot;
use crate::store::Store;

impl Store {
    /// Creates a partition, or tells an existing one its settings.
    pub(crate) fn create_partition(
        &mut self,
        now: Now,
        id: PartitionId,
        settings: PartitionSettings,
    ) -> Result<Seq, Refused> {
        if let Some(partition) = self.partitions.by_id_mut(id) {
            partition.settings = settings;
            return Ok(partition.snapshot);
        }
        let mut partition = Partition::new(id, settings);
        partition.last_append_ms = now.wall.0;
        partition.born = self.journal.durable_seq();
        snapshot::encode(&partition, Slot::default(), &self.producers, &mut self.scratch);
        let entry = control(EntryKind::PartitionCreated, id, Epoch(0), Offset::ZERO);
        let placed = self.journal.append(now, &mut self.arena, entry, &[&self.scratch])?;
        partition.snapshot = placed.seq;
        self.frames.hold(placed.seq, placed.span);
        self.partitions.insert(partition);
        Ok(placed.seq)
    }

    /// Deletes a partition. It is gone at once; what it took comes back when the entry is durable.
    pub(crate) fn delete_partition(&mut self, now: Now, id: PartitionId) -> Result<Seq, Refused> {
        let slot = self.partitions.slot(id).ok_or(Refused::NoPartition)?;
        let entry = control(EntryKind::PartitionDeleted, id, Epoch(0), Offset::ZERO);
        let placed = self.journal.append(now, &mut self.arena, entry, &[])?;
        self.partitions.hide(slot);
        self.dues.push(placed.seq, Due::Deleted { slot });
        Ok(placed.seq)
    }

    /// Opens an epoch at the log end: appends go to it from now on.
    pub(crate) fn open_epoch(
        &mut self,
        now: Now,
        id: PartitionId,
        epoch: Epoch,
    ) -> Result<Seq, Refused> {
        let partition = self.partitions.by_id_mut(id).ok_or(Refused::NoPartition)?;
        if partition.halt.is_some() {
            return Err(Refused::Halted);
        }
        if let Some(opened) = partition.history.opened().filter(|opened| epoch <= *opened) {
            return Err(Refused::StaleEpoch { opened });
        }
        let entry = control(EntryKind::EpochOpen, id, epoch, partition.log_end.0);
        let placed = self.journal.append(now, &mut self.arena, entry, &[])?;
        partition.history.open(epoch, partition.log_end.0);
        partition.reign = Some(epoch);
        Ok(placed.seq)
    }

    /// Moves the log start up to `before`; records below it are gone for readers at once.
    pub(crate) fn delete_records(
        &mut self,
        now: Now,
        id: PartitionId,
        before: Offset,
    ) -> Result<Seq, Refused> {
        let slot = self.partitions.slot(id).ok_or(Refused::NoPartition)?;
        let partition = self.partitions.get_mut(slot).ok_or(Refused::NoPartition)?;
        if partition.committed.0 < before {
            return Err(Refused::BeyondCommitted { committed: partition.committed.0 });
        }
        if before <= partition.log_start.0 {
            return Ok(self.journal.durable_seq());
        }
        let entry = control(EntryKind::LogStart, id, Epoch(0), before);
        let placed = self.journal.append(now, &mut self.arena, entry, &[])?;
        partition.log_start = LogStart(before);
        partition.history.trim(before);
        self.dues.push(placed.seq, Due::LogStart { slot, to: before });
        Ok(placed.seq)
    }

    /// Forgets what stands at `end`, a batch's start, and behind it: it lost an election.
    pub(crate) fn truncate(
        &mut self,
        now: Now,
        id: PartitionId,
        end: Offset,
    ) -> Result<Seq, Refused> {
        let slot = self.partitions.slot(id).ok_or(Refused::NoPartition)?;
        let partition = self.partitions.get_mut(slot).ok_or(Refused::NoPartition)?;
        assert!(partition.committed.0 <= end, "{id}: truncation to {end} below what is committed");
        let entry = control(EntryKind::Truncate, id, Epoch(0), end);
        let placed = self.journal.append(now, &mut self.arena, entry, &[])?;
        let mut frames = Vec::new();
        partition.tail.truncate(end, &self.arena, &mut frames);
        partition.history.truncate(end);
        partition.log_end = partition.log_end.min(LogEnd(end));
        partition.durable = partition.durable.min(Durable(end));
        self.producers.truncate(slot, end);
        self.touches.truncate(slot, end);
        self.dues.push(placed.seq, Due::Truncated { frames });
        Ok(placed.seq)
    }

    /// Says what consumers may see.
    pub(crate) fn commit(&mut self, id: PartitionId, committed: Committed) {
        if let Some(partition) = self.partitions.by_id_mut(id) {
            partition.advance_committed(committed);
        }
    }

    /// A younger snapshot is durable in frame `seq`.
    pub(crate) fn snapshot_durable(&mut self, slot: Slot, seq: Seq) {
        if let Some(partition) = self.partitions.get_mut(slot) {
            self.frames.release(partition.snapshot);
            partition.snapshot = seq;
        }
    }

    /// The log start `to` is durable: what lies before it may go.
    pub(crate) fn drop_before(&mut self, slot: Slot, to: Offset) {
        if let Some(partition) = self.partitions.get_mut(slot) {
            partition.tail.drop_runs_before(to, &mut self.frames);
        }
    }

    /// The deletion of a hidden partition is durable.
    pub(crate) fn drop_partition(&mut self, slot: Slot) {
        let mut partition = self.partitions.remove(slot).expect("hidden until its deletion is due");
        self.frames.release(partition.snapshot);
        partition.tail.drop_runs_before(partition.log_end.0, &mut self.frames);
        self.producers.clear(slot);
    }
}

/// An entry that is not a batch.
pub(crate) fn control(
    kind: EntryKind,
    partition: PartitionId,
    epoch: Epoch,
    base: Offset,
) -> NewEntry {
    NewEntry { kind, carried: false, partition, epoch, base, count: 0 }
}

impl From<JournalFull> for Refused {
    fn from(full: JournalFull) -> Self {
        match full {
            JournalFull::Window | JournalFull::Memory | JournalFull::Space => Self::Busy,
            JournalFull::Poisoned => Self::Poisoned,
        }
    }
}
