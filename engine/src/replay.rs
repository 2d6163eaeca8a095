//! From the journal's entries back to partitions.
//!
//! Entries come in journal order, which is the order of events, with one exception: a carried batch
//! stands later than batches that follow it in the log. So batches are put where their offsets
//! belong. A snapshot replaces all that was pieced together before it: some of what it sums up may
//! lie before the journal's start.

use base::{Batch, Committed, Durable, LogEnd, LogStart, Now, Offset, Seq, Span};

use crate::Mutant;
use crate::PartitionSettings;
use crate::halt::{Halt, HaltCause};
use crate::journal::{EntryKind, NewEntry};
use crate::partition::Partition;
use crate::partitions::Slot;
use crate::producers::{Appended, Claim};
use crate::snapshot;
use crate::store::Store;
use crate::tail::Run;

impl Store {
    /// Takes one entry of the journal back in.
    pub(crate) fn replay(&mut self, now: Now, seq: Seq, entry: &NewEntry, payload: Span) {
        match entry.kind {
            EntryKind::Batch => self.replay_batch(now, seq, entry, payload),
            EntryKind::PartitionCreated => self.replay_snapshot(seq, entry, payload),
            EntryKind::PartitionDeleted => self.replay_deletion(entry),
            EntryKind::EpochOpen => {
                let (partition, _) = self.replayed(entry);
                if partition.history.opened() < Some(entry.epoch) {
                    partition.history.open(entry.epoch, entry.base);
                }
            }
            EntryKind::LogStart => {
                let (partition, _) = self.replayed(entry);
                partition.log_start = partition.log_start.max(LogStart(entry.base));
                partition.history.trim(entry.base);
            }
            EntryKind::Truncate => self.replay_truncation(entry),
            EntryKind::Producers
            | EntryKind::ExtentCommit
            | EntryKind::BinFree
            | EntryKind::BinSealed
            | EntryKind::BinOpened
            | EntryKind::BinTable
            | EntryKind::Gap
            | EntryKind::State(_) => {}
        }
    }

    /// Ends the replay: what was found is what there is.
    pub(crate) fn replayed_all(&mut self) {
        let slots: Vec<Slot> = self.partitions.occupied(0).map(|(slot, _)| slot).collect();
        for slot in slots {
            let partition = self.partitions.get_mut(slot).expect("it is occupied");
            if partition.snapshot == Seq(0) {
                // Its snapshot was damaged, or it was deleted before the journal's start.
                partition.halt = Some(hole(Offset::ZERO));
                continue;
            }
            if let Some(base) = partition.tail.base()
                && partition.log_start.0 < base
            {
                partition.halt = Some(hole(partition.log_start.0));
            }
            partition.tail.drop_runs_before(partition.log_start.0, &mut self.frames);
            partition.durable = Durable(partition.log_end.0);
            if self.config.alone {
                partition.committed = Committed(partition.log_end.0);
            }
        }
    }

    /// The partition of an entry, made if this is the first that replay sees of it.
    fn replayed(&mut self, entry: &NewEntry) -> (&mut Partition, Slot) {
        let slot = self.partitions.slot(entry.partition).unwrap_or_else(|| {
            let partition = Partition::new(entry.partition, PartitionSettings::default());
            self.partitions.insert(partition)
        });
        (self.partitions.get_mut(slot).expect("just found"), slot)
    }

    fn replay_batch(&mut self, now: Now, seq: Seq, entry: &NewEntry, payload: Span) {
        let (_, slot) = self.replayed(entry);
        let partition = self.partitions.get_mut(slot).expect("just found");
        let bytes = self.arena.get(payload).expect("recovery loaded it");
        let batch = Batch::parse(bytes).expect("its checksum held");
        let (base, end) = (entry.base, entry.base.plus(u64::from(entry.count)));
        let run = Run { base, end, seq, span: payload, max_timestamp: batch.max_timestamp() };
        let carried =
            entry.carried && !self.config.journal.planted.is(Mutant::ReplayCarriedAsAppend);
        let follows = partition.tail.end().is_none_or(|tail_end| tail_end <= base);
        if !carried && follows {
            partition.tail.push(run, &mut self.frames);
        } else {
            partition.tail.replace(run, &self.arena, &mut self.frames);
        }
        if carried {
            return;
        }
        partition.log_end = LogEnd(end);
        partition.last_append_ms = now.wall.0;
        if let Ok(Some(claim)) = Claim::of(&batch) {
            let committed = if self.config.alone { end } else { partition.committed.0 };
            let now_ms = now.wall.0;
            self.producers.record(slot, &Appended { claim, base, committed, now_ms });
        }
    }

    fn replay_snapshot(&mut self, seq: Seq, entry: &NewEntry, payload: Span) {
        if entry.carried && self.config.journal.planted.is(Mutant::ForgetCarriedState) {
            return;
        }
        let (_, slot) = self.replayed(entry);
        let partition = self.partitions.get_mut(slot).expect("just found");
        let bytes = self.arena.get(payload).expect("recovery loaded it");
        snapshot::restore(partition, slot, &mut self.producers, bytes)
            .expect("a snapshot whose checksum holds was written by this format");
        if partition.snapshot != Seq(0) {
            self.frames.release(partition.snapshot);
        }
        partition.snapshot = seq;
        self.frames.hold(seq, payload);
    }

    fn replay_deletion(&mut self, entry: &NewEntry) {
        let Some(slot) = self.partitions.slot(entry.partition) else { return };
        let mut partition = self.partitions.remove(slot).expect("just found");
        if partition.snapshot != Seq(0) {
            self.frames.release(partition.snapshot);
        }
        partition.tail.drop_runs_before(Offset(u64::MAX), &mut self.frames);
        self.producers.clear(slot);
    }

    fn replay_truncation(&mut self, entry: &NewEntry) {
        let (_, slot) = self.replayed(entry);
        let partition = self.partitions.get_mut(slot).expect("just found");
        let mut frames = Vec::new();
        partition.tail.truncate(entry.base, &self.arena, &mut frames);
        partition.history.truncate(entry.base);
        partition.log_end = LogEnd(entry.base);
        frames.into_iter().for_each(|frame| self.frames.release(frame));
        self.producers.truncate(slot, entry.base);
    }
}

fn hole(from: Offset) -> Halt {
    Halt { cause: HaltCause::Hole, from, to: None }
}
