//! What happens to a partition as a whole: creation, deletion, epochs, its ends.

use base::{Committed, Durable, Epoch, LogEnd, LogStart, Now, Offset, PartitionId, Seq};

use crate::due::Due;
use crate::error::Refused;
use crate::extent::Extent;
use crate::halt::{Halt, HaltCause};
use crate::journal::{EntryKind, JournalFull, NewEntry};
use crate::partition::Partition;
use crate::partitions::Slot;
use crate::snapshot;
use crate::store::Store;
use crate::{Mutant, PartitionSettings};

impl Store {
    /// Creates a partition, or tells an existing one its settings.
    pub(crate) fn create_partition(
        &mut self,
        now: Now,
        id: PartitionId,
        settings: PartitionSettings,
    ) -> Result<Seq, Refused> {
        if let Some(slot) = self.partitions.slot(id) {
            let partition = self.partitions.get_mut(slot).expect("just found");
            if partition.settings.replicated != settings.replicated {
                return self.set_replicated(now, slot, settings);
            }
            partition.settings = settings;
            if !settings.replicated {
                // After a restart nobody knew that there are no replicas if the snapshot was lost.
                partition.advance_committed(Committed(partition.durable.0));
            }
            return Ok(partition.marks.snapshot);
        }
        let mut partition = Partition::new(id, settings);
        partition.last_append_ms = now.wall.0;
        partition.born = self.journal.durable_seq();
        self.doubt.suspect(&mut partition);
        let max = self.config.journal.max_payload_bytes();
        snapshot::encode(&partition, Slot::VACANT, &self.producers, max, &mut self.scratch);
        let entry = control(EntryKind::PartitionCreated, id, Offset::ZERO);
        let placed = self.journal.append(now, &mut self.arena, entry, &[&self.scratch])?;
        partition.marks.snapshot = placed.seq;
        self.frames.hold(placed.seq, placed.span);
        let in_doubt = partition.halt.is_some();
        if !in_doubt {
            partition.snapshot = placed.seq;
        }
        let slot = self.partitions.insert(partition);
        if in_doubt {
            self.dues.push(placed.seq, Due::Snapshot { slot });
        }
        self.carry.push_snapshot(placed.seq, slot);
        Ok(placed.seq)
    }

    /// Deletes a partition. It is gone at once; what it took comes back when the entry is durable.
    pub(crate) fn delete_partition(&mut self, now: Now, id: PartitionId) -> Result<Seq, Refused> {
        let slot = self.partitions.slot(id).ok_or(Refused::NoPartition)?;
        let entry = control(EntryKind::PartitionDeleted, id, Offset::ZERO);
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
        if epoch < partition.promised {
            return Err(Refused::Fenced { promised: partition.promised });
        }
        let entry = NewEntry { epoch, ..control(EntryKind::EpochOpen, id, partition.log_end.0) };
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
            return Ok(partition.log_start_seq);
        }
        let entry = control(EntryKind::LogStart, id, before);
        let placed = self.journal.append(now, &mut self.arena, entry, &[])?;
        (partition.log_start, partition.log_start_seq) = (LogStart(before), placed.seq);
        partition.history.trim(before);
        self.dues.push(placed.seq, Due::LogStart { slot, to: before });
        Ok(placed.seq)
    }

    /// Forgets what stands at `end`, a batch's start, and behind it: it lost an election. An own
    /// reign ends.
    pub(crate) fn truncate(
        &mut self,
        now: Now,
        id: PartitionId,
        end: Offset,
    ) -> Result<Seq, Refused> {
        let slot = self.partitions.slot(id).ok_or(Refused::NoPartition)?;
        let partition = self.partitions.get_mut(slot).ok_or(Refused::NoPartition)?;
        assert!(partition.committed.0 <= end, "{id}: truncation to {end} below what is committed");
        let entry = control(EntryKind::Truncate, id, end);
        let placed = self.journal.append(now, &mut self.arena, entry, &[])?;
        let mut frames = Vec::new();
        partition.tail.truncate(end, &self.arena, &mut frames);
        partition.tail.drop_runs_before(partition.marks.dropped, &mut self.frames);
        if !self.config.journal.planted.is(Mutant::KeepTruncatedReigns) {
            partition.history.truncate(end);
        }
        partition.reign = None;
        partition.log_end = partition.log_end.min(LogEnd(end));
        partition.durable = partition.durable.min(Durable(end));
        self.producers.truncate(slot, end);
        self.touches.truncate(slot, end);
        for copies in self.dues.copies_of(slot) {
            copies.retain_mut(|copy| match copy.split(end, &self.arena).0 {
                Some(kept) => {
                    *copy = kept;
                    true
                }
                None => {
                    frames.push(copy.seq);
                    false
                }
            });
        }
        self.dues.push(placed.seq, Due::Truncated { frames });
        Ok(placed.seq)
    }

    /// Writes off what a halted partition lost, on an operator's word. Its offsets stay unused.
    pub(crate) fn accept_loss(&mut self, now: Now, id: PartitionId) -> Result<Seq, Refused> {
        let slot = self.partitions.slot(id).ok_or(Refused::NoPartition)?;
        let partition = self.partitions.get_mut(slot).ok_or(Refused::NoPartition)?;
        if partition.halt.is_none() && partition.lost.is_empty() {
            return Err(Refused::NothingLost);
        }
        let before = partition.exchange(partition.losses());
        let placed = self.carry_snapshot(now, slot);
        let partition = self.partitions.get_mut(slot).expect("just found");
        match placed {
            Ok(placed) => {
                partition.durable = Durable(partition.log_end.0);
                if !partition.settings.replicated {
                    partition.committed = Committed(partition.log_end.0);
                }
                Ok(placed.seq)
            }
            Err(full) => {
                partition.exchange(before);
                Err(full.into())
            }
        }
    }

    /// The journal goes on although its newest part may be lost: so may be the end of every
    /// partition. Each stays halted until its own loss is accepted, after a restart too.
    pub(crate) fn suspect_all(&mut self, now: Now) {
        let slots: Vec<Slot> = self.partitions.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            let partition = self.partitions.get_mut(slot).expect("just found");
            partition.tail_suspect = true;
            let from = partition.log_end.0;
            if partition.halt.is_none() {
                let halt = Halt { cause: HaltCause::Hole, from, to: None };
                partition.halt = Some(halt);
                self.losses.push_back((partition.id, halt));
            }
            // All of it in the first frame, as long as that has room; else when the old one goes.
            let _ = self.carry_snapshot(now, slot);
        }
    }

    /// Says what consumers may see.
    pub(crate) fn commit(&mut self, id: PartitionId, committed: Committed) {
        if let Some(partition) = self.partitions.by_id_mut(id) {
            partition.advance_committed(committed);
        }
    }

    /// A younger snapshot is durable in frame `seq`.
    pub(crate) fn snapshot_durable(&mut self, slot: Slot, seq: Seq) {
        let Some(partition) = self.partitions.get_mut(slot) else { return };
        let older = core::mem::replace(&mut partition.snapshot, seq);
        // 0: it was damaged.
        if older != Seq(0) {
            self.frames.release(older);
        }
    }

    /// The log start `to` is durable: what lies before it may go.
    pub(crate) fn drop_before(&mut self, slot: Slot, to: Offset) {
        let Some(partition) = self.partitions.get_mut(slot) else { return };
        partition.marks.dropped = partition.marks.dropped.max(to);
        partition.tail.drop_runs_before(to, &mut self.frames);
        let mut released = Vec::new();
        while let Some(extent) = partition.stored.pop_front_before(to) {
            released.push(extent);
        }
        for extent in released {
            let vitality = self.bins.release(&extent);
            self.bin_is(extent.bin, vitality);
        }
    }

    /// An extent is committed: it takes the place of what the tail holds, or of an older extent.
    pub(crate) fn stored(&mut self, slot: Slot, extent: Extent, from: Option<(u32, u32)>) {
        let Some(partition) = self.partitions.get_mut(slot) else { return };
        match from {
            None if extent.end <= partition.marks.dropped => {}
            None => {
                partition.tail.drop_runs_before(extent.end, &mut self.frames);
                partition.tail.shrink();
                partition.stored.push(extent);
                self.bins.retain(&extent);
            }
            Some(from) => {
                let Some(old) = partition.stored.replace(from, extent) else { return };
                self.bins.retain(&extent);
                let vitality = self.bins.release(&old);
                self.bin_is(old.bin, vitality);
            }
        }
    }

    /// The deletion of a hidden partition is durable.
    pub(crate) fn drop_partition(&mut self, slot: Slot) {
        self.drop_before(slot, Offset(u64::MAX));
        let partition = self.partitions.remove(slot).expect("hidden until its deletion is due");
        if partition.snapshot != Seq(0) {
            self.frames.release(partition.snapshot);
        }
        self.producers.clear(slot);
    }
}

/// An entry that is not a batch.
pub(crate) fn control(kind: EntryKind, partition: PartitionId, base: Offset) -> NewEntry {
    NewEntry { kind, carried: false, partition, epoch: Epoch(0), base, count: 0 }
}

impl From<JournalFull> for Refused {
    fn from(full: JournalFull) -> Self {
        match full {
            JournalFull::Window | JournalFull::Memory | JournalFull::Space => Self::Busy,
            JournalFull::Poisoned => Self::Poisoned,
        }
    }
}
