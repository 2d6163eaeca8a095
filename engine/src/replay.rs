//! From the journal's entries back to partitions.
//!
//! Entries come in journal order, which is the order of events, with one exception: a carried batch
//! stands later than batches that follow it in the log. So batches are put where their offsets
//! belong. A snapshot replaces all that was pieced together before it: some of what it sums up may
//! lie before the journal's start.

use base::{
    Arena, Batch, Committed, Durable, Epoch, LogEnd, LogStart, Now, Offset, PartitionId, Seq,
};

use crate::Mutant;
use crate::bins::Bins;
use crate::config::{EngineConfig, PartitionSettings};
use crate::frames::Frames;
use crate::halt::{Halt, HaltCause};
use crate::journal::{Damage, EntryKind, NewEntry, Recovered, RecoveredEntry};
use crate::partition::Partition;
use crate::partitions::{Partitions, Slot};
use crate::producers::{Appended, Claim, Producers};
use crate::snapshot;
use crate::tail::Run;

/// Partitions in the making.
#[derive(Debug)]
pub(crate) struct Replay {
    pub(crate) frames: Frames,
    pub(crate) partitions: Partitions,
    pub(crate) producers: Producers,
    pub(crate) bins: Bins,
    config: EngineConfig,
    now: Now,
    damage: Vec<Damage>,
}

impl Replay {
    /// Takes in every entry of the journal.
    pub(crate) fn run(
        now: Now,
        config: &EngineConfig,
        recovered: &Recovered,
        arena: &Arena,
    ) -> Self {
        let journal = &config.journal;
        let report = recovered.report();
        let mut replay = Self {
            frames: Frames::new(Seq(report.start.0.max(1))),
            partitions: Partitions::new(),
            producers: Producers::new(config.producers_max, journal.planted),
            bins: Bins::new(journal.shard, journal.id, config.bin_bytes, config.bins_max),
            config: config.clone(),
            now,
            damage: report.damage.clone(),
        };
        for entry in recovered.entries(arena) {
            replay.entry(arena, &entry);
        }
        replay
    }

    fn entry(&mut self, arena: &Arena, at: &RecoveredEntry) {
        let entry = &at.entry;
        if !at.intact {
            return self.damaged(at.seq, entry);
        }
        let slot = self.slot(entry.partition);
        match entry.kind {
            EntryKind::Batch => self.batch(slot, at, arena),
            EntryKind::PartitionCreated => self.snapshot(slot, at, arena),
            EntryKind::PartitionDeleted => self.deletion(slot),
            EntryKind::EpochOpen => self.epoch(slot, at.seq, entry.epoch, entry.base),
            EntryKind::LogStart => self.log_start(slot, entry.base),
            EntryKind::Truncate => self.truncation(slot, entry.base, arena),
            _ => {}
        }
    }

    /// Ends the replay: what was found is what there is.
    pub(crate) fn finish(&mut self) {
        let slots: Vec<Slot> = self.partitions.occupied(0).map(|(slot, _)| slot).collect();
        for slot in slots {
            self.join(slot);
        }
    }

    /// Joins what stands in bins with what stands in the journal, or finds what is missing.
    fn join(&mut self, slot: Slot) {
        let partition = self.partitions.get_mut(slot).expect("it is occupied");
        let mut missing = None;
        if partition.snapshot == Seq(0) {
            missing = Some((partition.log_start.0, None));
        }
        partition.tail.drop_runs_before(partition.stored_end(), &mut self.frames);
        let joint = partition.behind_gaps(partition.stored_end());
        let tail_base = partition.tail.base().unwrap_or(partition.log_end.0);
        if joint < tail_base {
            missing = missing.or_else(|| Some((joint, partition.tail.base())));
        }
        if let Some((from, to)) = missing
            && partition.halt.is_none()
        {
            partition.halt = Some(Halt { cause: HaltCause::Hole, from, to });
        }
        partition.durable = Durable(partition.log_end.0);
        if self.config.alone {
            partition.committed = Committed(partition.log_end.0);
        }
    }

    /// The slot of a partition, made if this is the first that replay sees of it.
    fn slot(&mut self, id: PartitionId) -> Slot {
        self.partitions.slot(id).unwrap_or_else(|| {
            self.partitions.insert(Partition::new(id, PartitionSettings::default()))
        })
    }

    fn partition(&mut self, slot: Slot) -> &mut Partition {
        self.partitions.get_mut(slot).expect("replay just found it")
    }

    fn batch(&mut self, slot: Slot, at: &RecoveredEntry, arena: &Arena) {
        let entry = &at.entry;
        let batch = Batch::parse(arena.get(at.span).expect("recovery loaded it"))
            .expect("its checksum held");
        let (base, end) = (entry.base, entry.base.plus(u64::from(entry.count)));
        let max_timestamp = batch.max_timestamp();
        let run = Run { base, end, seq: at.seq, span: at.span, max_timestamp };
        let carried =
            entry.carried && !self.config.journal.planted.is(Mutant::ReplayCarriedAsAppend);
        let partition = self.partitions.get_mut(slot).expect("replay just found it");
        if partition.tail.end().is_none_or(|tail_end| tail_end <= base) {
            partition.tail.push(run, &mut self.frames);
        } else {
            partition.tail.replace(run, arena, &mut self.frames);
        }
        if carried {
            return;
        }
        partition.log_end = LogEnd(end);
        partition.last_append_ms = self.now.wall.0;
        let committed = if self.config.alone { end } else { partition.committed.0 };
        if let Ok(Some(claim)) = Claim::of(&batch) {
            let now_ms = self.now.wall.0;
            self.producers.record(slot, &Appended { claim, base, committed, now_ms });
        }
    }

    fn snapshot(&mut self, slot: Slot, at: &RecoveredEntry, arena: &Arena) {
        if at.entry.carried && self.config.journal.planted.is(Mutant::ForgetCarriedState) {
            return;
        }
        let partition = self.partitions.get_mut(slot).expect("replay just found it");
        let bytes = arena.get(at.span).expect("recovery loaded it");
        snapshot::restore(partition, slot, &mut self.producers, bytes)
            .expect("a snapshot whose checksum holds was written by this format");
        let older = core::mem::replace(&mut partition.snapshot, at.seq);
        self.frames.hold(at.seq, at.span);
        if older != Seq(0) {
            self.frames.release(older);
        }
    }

    fn deletion(&mut self, slot: Slot) {
        let mut partition = self.partitions.remove(slot).expect("replay just found it");
        if partition.snapshot != Seq(0) {
            self.frames.release(partition.snapshot);
        }
        partition.tail.drop_runs_before(Offset(u64::MAX), &mut self.frames);
        self.producers.clear(slot);
    }

    fn epoch(&mut self, slot: Slot, _seq: Seq, epoch: Epoch, start: Offset) {
        let partition = self.partition(slot);
        if partition.history.opened() < Some(epoch) {
            partition.history.open(epoch, start);
        }
    }

    fn log_start(&mut self, slot: Slot, to: Offset) {
        let partition = self.partition(slot);
        partition.log_start = partition.log_start.max(LogStart(to));
        partition.history.trim(to);
    }

    fn truncation(&mut self, slot: Slot, end: Offset, arena: &Arena) {
        let partition = self.partitions.get_mut(slot).expect("replay just found it");
        let mut frames = Vec::new();
        partition.tail.truncate(end, arena, &mut frames);
        partition.history.truncate(end);
        partition.log_end = LogEnd(end);
        frames.into_iter().for_each(|frame| self.frames.release(frame));
        self.producers.truncate(slot, end);
    }

    fn damaged(&mut self, _seq: Seq, _entry: &NewEntry) {}
}
