//! From the journal's entries back to partitions.
//!
//! Entries come in journal order, which is the order of events, with one exception: a carried batch
//! stands later than batches that follow it in the log. So batches are put where their offsets
//! belong. A snapshot replaces all that was pieced together before it: some of what it sums up may
//! lie before the journal's start.

use core::cmp::Reverse;
use std::collections::BTreeSet;

use base::{
    Arena, Batch, Committed, Durable, LogEnd, LogStart, Now, Offset, PAGE_BYTES, PartitionId, Seq,
    Span,
};
use zerocopy::FromBytes;

use crate::bins::{BinState, Bins, Commit};
use crate::config::{EngineConfig, PartitionSettings};
use crate::doubt::Doubt;
use crate::extent::ExtentRecord;
use crate::frames::Frames;
use crate::halt::{Halt, HaltCause};
use crate::journal::{Damage, EntryKind, NewEntry, Recovered, RecoveredEntry, Touched, Verdict};
use crate::partition::Partition;
use crate::partitions::{Partitions, Slot};
use crate::producers::{Appended, Claim, Producers};
use crate::replica::PromiseBytes;
use crate::snapshot;
use crate::tail::Run;
use crate::{Mutant, Planted};

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
    /// By slot: the newest frame that continues the partition's log where it ended before.
    witnessed: Vec<Seq>,
    /// Every `ExtentCommit` found: record, frame, payload.
    commits: Vec<(ExtentRecord, Seq, Span)>,
    /// Extents that a footer or a commit speaks for.
    extents: Vec<ExtentRecord>,
    /// Bins whose extents are unknown.
    pub(crate) damaged_bins: Vec<u32>,
    table: Option<(Seq, Span)>,
    /// The newest frame with promises that are damaged.
    promises_lost: Seq,
    /// Frames that had been in flight are cut off.
    torn: bool,
    /// Partitions that the journal says were deleted, or begun anew in an entry that is damaged: what
    /// bins hold of them counts no more.
    given_up: BTreeSet<PartitionId>,
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
            witnessed: Vec::new(),
            commits: Vec::new(),
            extents: Vec::new(),
            damaged_bins: Vec::new(),
            table: None,
            promises_lost: Seq(0),
            torn: report.verdict == Verdict::Torn,
            given_up: BTreeSet::new(),
        };
        for entry in recovered.entries(arena) {
            replay.entry(arena, &entry);
        }
        replay
    }

    fn entry(&mut self, arena: &Arena, at: &RecoveredEntry) {
        let entry = &at.entry;
        if !at.intact {
            return self.damaged(at);
        }
        match entry.kind {
            EntryKind::ExtentCommit => return self.commit(at, arena),
            EntryKind::BinTable | EntryKind::BinOpened => return self.bin_states(at, arena),
            EntryKind::BinSealed | EntryKind::BinFree => return self.bin_states(at, arena),
            EntryKind::Promise => return self.promises(at, arena),
            EntryKind::StartOver => self.deletion(self.partitions.slot(entry.partition)),
            EntryKind::Producers | EntryKind::State(_) => return,
            _ => {}
        }
        let slot = self.slot(entry.partition);
        match entry.kind {
            EntryKind::Batch => self.batch(slot, at, arena),
            EntryKind::PartitionCreated | EntryKind::StartOver => self.snapshot(slot, at, arena),
            EntryKind::PartitionDeleted => self.deletion(Some(slot)),
            EntryKind::EpochOpen => self.epoch(slot, at.seq, entry),
            EntryKind::LogStart => self.log_start(slot, entry.base),
            EntryKind::Truncate => self.truncation(slot, entry.base, arena),
            _ => unreachable!("{:?} was taken above", entry.kind),
        }
    }

    fn commit(&mut self, at: &RecoveredEntry, arena: &Arena) {
        let bytes = arena.get(at.span).expect("recovery loaded it");
        let record = ExtentRecord::read(bytes, self.config.journal.id)
            .expect("a record whose checksum holds was written by this format");
        self.commits.push((*record, at.seq, at.span));
    }

    fn bin_states(&mut self, at: &RecoveredEntry, arena: &Arena) {
        let bytes = arena.get(at.span).expect("recovery loaded it");
        self.bins.replay(bytes).expect("states whose checksum holds were written by this format");
        if at.entry.kind == EntryKind::BinTable {
            self.table = Some((at.seq, at.span));
        }
    }

    /// Learns of a bin file. Not known to the journal: it was made and never written.
    pub(crate) fn found_bin(&mut self, number: u32, bytes: u64) {
        // What the journal said of it may stand in a damaged frame: then it is left alone.
        let in_doubt = self.doubt().is_about_existence();
        let bin = self.bins.known(number);
        let unwritten = bin.state == BinState::Absent;
        bin.pages = (bytes / PAGE_BYTES as u64) as u32;
        let free = unwritten && bytes == self.config.bin_bytes || bin.state == BinState::Free;
        if in_doubt && free {
            bin.state = BinState::Worn;
        } else if free {
            bin.state = BinState::Free;
        }
    }

    /// The journal has spoken for every bin: open ones take their commits.
    pub(crate) fn settle_bins(&mut self) {
        let mut commits = core::mem::take(&mut self.commits);
        // The youngest copy of each counts.
        commits.sort_by_key(|(record, seq, _)| (record.extent().bin, record.extent().page, *seq));
        for number in 0..self.bins.len() {
            let bin = self.bins.get(number);
            let generation = bin.generation;
            match bin.state {
                BinState::Free => drop(self.bins.set_free(number)),
                BinState::Open => {
                    let here = commits.iter().filter(|(record, ..)| {
                        record.extent().bin == number && record.generation() == generation
                    });
                    let here: Vec<_> = here.copied().collect();
                    self.reopen(number, &here);
                }
                _ => {}
            }
        }
    }

    fn reopen(&mut self, number: u32, found: &[(ExtentRecord, Seq, Span)]) {
        let mut commits: Vec<Commit> = Vec::new();
        let mut spans: Vec<Span> = Vec::new();
        for (record, seq, span) in found {
            let commit = Commit { record: *record, seq: *seq, carrying: false };
            let page = |commit: &Commit| commit.record.extent().page;
            if commits.last().is_some_and(|last| page(last) == page(&commit)) {
                commits.pop();
                spans.pop();
            }
            commits.push(commit);
            spans.push(*span);
        }
        for (commit, span) in commits.iter().zip(spans) {
            self.frames.hold(commit.seq, span);
            self.extents.push(commit.record);
        }
        self.bins.reopen(number, commits);
    }

    /// A sealed bin's footer was read.
    pub(crate) fn found_footer(&mut self, number: u32, records: &[ExtentRecord]) {
        let ends = records.iter().map(|record| record.extent().page + record.extent().pages());
        self.bins.get_mut(number).filled = ends.max().unwrap_or(0);
        self.extents.extend_from_slice(records);
    }

    /// The newest frame that an extent known so far depends on.
    pub(crate) fn newest_stamp(&self) -> Option<Seq> {
        self.extents.iter().map(|record| record.extent().stamp).max()
    }

    /// Ends the replay: what was found is what there is.
    pub(crate) fn finish(&mut self, arena: &Arena) {
        if let Some((seq, span)) = self.table {
            self.frames.hold(seq, span);
            self.bins.table = seq;
        }
        self.place_extents();
        let slots: Vec<Slot> = self.partitions.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.join(slot, arena);
        }
    }

    pub(crate) fn doubt(&self) -> Doubt {
        Doubt::about(&self.damage)
    }

    /// Gives every partition its extents: of copies the youngest, none from an earlier life. Extents
    /// of nobody are those of a deleted partition, or, in doubt, all that is left of one.
    fn place_extents(&mut self) {
        let in_doubt = self.doubt().is_about_existence();
        let mut records = core::mem::take(&mut self.extents);
        records.sort_unstable_by_key(|record| {
            let extent = record.extent();
            (record.partition(), extent.base, Reverse(extent.stamp))
        });
        for record in records {
            let extent = record.extent();
            let given_up = self.given_up.contains(&record.partition());
            if in_doubt && !given_up {
                self.slot(record.partition());
            }
            let Some(partition) = self.partitions.by_id_mut(record.partition()) else { continue };
            let earlier =
                partition.snapshot == Seq(0) && given_up || extent.stamp <= partition.born;
            let placed = partition.stored.end().is_some_and(|end| extent.base < end);
            if earlier || placed {
                continue;
            }
            if partition.log_start.0 < extent.end {
                // What was destaged was there, even if the journal's word for it is damaged.
                partition.log_end = partition.log_end.max(LogEnd(extent.end));
                partition.stored.push(extent);
                self.bins.retain(&extent);
            }
        }
    }

    /// Joins what stands in bins with what stands in the journal, or finds what is missing.
    fn join(&mut self, slot: Slot, arena: &Arena) {
        let suspect = self.suspect(slot);
        let first_damage = self.damage.first().map(|damage| HaltCause::Frame(damage.first));
        let partition = self.partitions.get_mut(slot).expect("it is occupied");
        partition.tail.drop_runs_before(partition.log_start.0, &mut self.frames);
        let stored_end = partition.stored.end().unwrap_or(Offset::ZERO);
        partition.tail.drop_before(stored_end, arena, &mut self.frames);
        partition.marks.staged = stored_end;
        partition.marks.dropped = partition.log_start.0;
        partition.tail_suspect |= suspect.is_some() || partition.snapshot == Seq(0);
        let hole = partition.holes().first().map(|gap| (gap.from, Some(gap.to)));
        let missing =
            hole.or_else(|| partition.tail_suspect.then_some((partition.log_end.0, None)));
        if let Some((from, to)) = missing {
            let cause = suspect.map(HaltCause::Frame).or(first_damage).unwrap_or(HaltCause::Hole);
            // A halt that was carried forward names an older loss; this one may begin before it.
            if partition.halt.is_none_or(|known| from < known.from) {
                partition.halt = Some(Halt { cause, from, to });
            }
        }
        partition.durable = Durable(partition.log_end.0);
        partition.committed = Committed(proven_committed(partition, self.config.journal.planted));
        partition.torn = self.torn;
        if self.config.journal.planted.is(Mutant::ResumeEpochAfterRestart) {
            partition.reign = partition.history.opened();
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
        partition.learn_epoch(entry.epoch, base);
        partition.last_append_ms = self.now.wall.0;
        let replicated = partition.settings.replicated;
        let committed = if replicated { partition.committed.0 } else { end };
        if let Ok(Some(claim)) = Claim::of(&batch) {
            let now_ms = self.now.wall.0;
            self.producers.record(slot, &Appended { claim, base, committed, now_ms });
        }
        self.witness(slot, at.seq);
    }

    fn snapshot(&mut self, slot: Slot, at: &RecoveredEntry, arena: &Arena) {
        if at.entry.carried && self.config.journal.planted.is(Mutant::ForgetCarriedState) {
            return;
        }
        let partition = self.partitions.get_mut(slot).expect("replay just found it");
        let bytes = arena.get(at.span).expect("recovery loaded it");
        let shard = self.config.journal.shard;
        snapshot::restore(partition, slot, &mut self.producers, shard, bytes)
            .expect("a snapshot whose checksum holds was written by this format");
        let older = core::mem::replace(&mut partition.snapshot, at.seq);
        self.frames.hold(at.seq, at.span);
        if older != Seq(0) {
            self.frames.release(older);
        }
        self.witness(slot, at.seq);
    }

    fn deletion(&mut self, slot: Option<Slot>) {
        let Some(slot) = slot else { return };
        let mut partition = self.partitions.remove(slot).expect("replay just found it");
        if partition.snapshot != Seq(0) {
            self.frames.release(partition.snapshot);
        }
        partition.tail.drop_runs_before(Offset(u64::MAX), &mut self.frames);
        self.producers.clear(slot);
        self.given_up.insert(partition.id);
    }

    fn promises(&mut self, at: &RecoveredEntry, arena: &Arena) {
        let bytes = arena.get(at.span).expect("recovery loaded it");
        let promises = <[PromiseBytes]>::ref_from_bytes(bytes)
            .expect("promises whose checksum holds were written by this format");
        for (id, epoch) in promises.iter().map(|promise| promise.decode()) {
            if let Some(partition) = self.partitions.by_id_mut(id) {
                partition.keep_promise(epoch);
            }
        }
    }

    fn epoch(&mut self, slot: Slot, seq: Seq, entry: &NewEntry) {
        self.witness(slot, seq);
        let partition = self.partition(slot);
        partition.log_end = partition.log_end.max(LogEnd(entry.base));
        partition.learn_epoch(entry.epoch, entry.base);
    }

    /// An entry in frame `seq` says where the partition's log ends: nothing before it is in doubt
    /// but what is plainly missing.
    fn witness(&mut self, slot: Slot, seq: Seq) {
        if self.witnessed.len() <= slot.index() {
            self.witnessed.resize(slot.index() + 1, Seq(0));
        }
        self.witnessed[slot.index()] = seq;
    }

    fn log_start(&mut self, slot: Slot, to: Offset) {
        let partition = self.partition(slot);
        partition.log_start = partition.log_start.max(LogStart(to));
        // It was committed: should the batches before it be lost, their offsets were given out.
        partition.log_end = partition.log_end.max(LogEnd(to));
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

    /// An entry's descriptor is sound, its payload is not.
    fn damaged(&mut self, at: &RecoveredEntry) {
        let entry = &at.entry;
        if entry.kind == EntryKind::Promise {
            self.promises_lost = at.seq;
        }
        if entry.kind == EntryKind::StartOver {
            self.deletion(self.partitions.slot(entry.partition));
            self.given_up.insert(entry.partition);
            self.slot(entry.partition);
        }
        if entry.kind == EntryKind::PartitionCreated {
            self.slot(entry.partition);
        }
        if entry.kind == EntryKind::Batch && !entry.carried {
            let slot = self.slot(entry.partition);
            self.witness(slot, at.seq);
            let end = entry.base.plus(u64::from(entry.count));
            let partition = self.partition(slot);
            partition.log_end = partition.log_end.max(LogEnd(end));
        }
    }

    /// The first damaged frame, if what it held of the partition in `slot` cannot be told. It may
    /// have held a promise of a replicated one: only a younger snapshot tells.
    fn suspect(&self, slot: Slot) -> Option<Seq> {
        let partition = self.partitions.get(slot).expect("it is occupied");
        let replicated = partition.settings.replicated;
        if replicated && partition.snapshot < self.promises_lost {
            return Some(self.promises_lost);
        }
        let heard_last = self.witnessed.get(slot.index()).copied().unwrap_or_default();
        let witnessed = if replicated { partition.snapshot } else { heard_last };
        let unknown = self.damage.iter().filter(|damage| damage.touched == Touched::All);
        unknown.filter(|damage| witnessed <= damage.last).map(|damage| damage.first).next()
    }
}

/// What is certain to be committed: without replicas all; else what was let go or has left the
/// journal, or what the newest snapshot knew.
fn proven_committed(partition: &Partition, planted: Planted) -> Offset {
    let log_end = partition.log_end.0;
    // Without a snapshot nobody knows whether there are replicas.
    let alone = !partition.settings.replicated && partition.snapshot != Seq(0);
    if alone || planted.is(Mutant::CommittedIsLogEnd) {
        return log_end;
    }
    let stored = partition.stored.end().unwrap_or_default();
    partition.committed.0.max(partition.log_start.0).max(stored).min(log_end)
}
