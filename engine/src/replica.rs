//! One replica among several: what it takes over from a leader, and what it promises before a new one
//! is chosen.
//!
//! ```text
//!   leader's history  3:0 ──── 5:40 ───── 9:200 ───▶        replica ends at 40
//!                              │
//!     follow_epoch(9, 5:40) ───┘ only at its start: an epoch in the history has its prefix (I5)
//!     append_replica(9, …)       batches of epoch 5, in the name of the leader of epoch 9
//!     follow_epoch(9, 9:200)     once the log ends at 200
//! ```
//! Every verb but reading names the epoch of the leader on whose word it acts, and is refused below
//! what was promised (I4): the records themselves may be older, that is how a replica catches up.
//! Whatever is said here may be told to others once its frame is durable (I3).

use base::{Batch, Committed, Durable, Epoch, LogEnd, LogStart, Now, Offset, PartitionId};
use base::{Reign, Seq, Span};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::due::Due;
use crate::engine::Engine;
use crate::error::{AppendError, ReadError, Refused};
use crate::journal::{EntryKind, NewEntry};
use crate::lifecycle::control;
use crate::partition::{Partition, Proof};
use crate::partitions::Slot;
use crate::producers::{Appended, Claim};
use crate::read::Read;
use crate::snapshot;
use crate::store::Store;
use crate::tail::Run;
use crate::touches::Touch;
use crate::{Mutant, PartitionSettings};

impl Engine {
    /// Appends whole batches that `leader` has sequenced, all of the newest reign in the history.
    /// Their checksums were verified. Batches that the log holds already are passed over: one offset
    /// has one content per epoch (I2), so a caller that found no room half way just repeats.
    /// Returns the frame of the partition's newest append.
    pub fn append_replica(
        &mut self,
        now: Now,
        id: PartitionId,
        leader: Epoch,
        batches: &[u8],
    ) -> Result<Seq, AppendError> {
        let store = self.store_mut().ok_or(AppendError::Recovering)?;
        store.append_replica(now, id, leader, batches)
    }

    /// Takes over from `leader` that `reign` begins at the log end. Gives no right to append.
    pub fn follow_epoch(
        &mut self,
        now: Now,
        id: PartitionId,
        leader: Epoch,
        reign: Reign,
    ) -> Result<Seq, Refused> {
        self.store_mut().ok_or(Refused::Recovering)?.follow_epoch(now, id, leader, reign)
    }

    /// Promises not to listen to leaders of epochs below these, nor to append in such: one entry for
    /// all. A promise never falls; partitions that are not here are passed over. The frame returned
    /// holds all that was appended before, too.
    pub fn promise(&mut self, now: Now, promises: &[(PartitionId, Epoch)]) -> Result<Seq, Refused> {
        self.store_mut().ok_or(Refused::Recovering)?.promise(now, promises)
    }

    /// Gives up everything the partition holds: its log is empty and begins at `at`. What it promised
    /// and which epochs it opened stays known. Until [`Engine::vouch`] it is [`Proof::Rebuilding`],
    /// unless `keep_proof`: what it held lay below a replicated log start.
    pub fn start_over(
        &mut self,
        now: Now,
        id: PartitionId,
        at: Offset,
        keep_proof: bool,
    ) -> Result<Seq, Refused> {
        self.store_mut().ok_or(Refused::Recovering)?.start_over(now, id, at, keep_proof)
    }

    /// The log holds again all that it ever helped to commit.
    pub fn vouch(&mut self, now: Now, id: PartitionId) -> Result<Seq, Refused> {
        self.store_mut().ok_or(Refused::Recovering)?.vouch(now, id)
    }

    /// As [`Engine::read`], committed or not, up to `until` or the log end: for other replicas. What
    /// comes from a bin may reach further.
    pub fn read_for_replica(
        &mut self,
        id: PartitionId,
        (from, until): (Offset, Offset),
        max_bytes: u32,
        min_one: bool,
        out: &mut Vec<Span>,
    ) -> Result<Read, ReadError> {
        let store = self.store_mut().ok_or(ReadError::Recovering)?;
        store.read_for_replica(id, (from, until), max_bytes, min_one, out)
    }

    /// All that other replicas may ask of the partition's log at this moment.
    #[must_use]
    pub fn replica(&self, id: PartitionId) -> Option<ReplicaView> {
        let partition = self.partition(id)?;
        Some(ReplicaView {
            log_start: partition.log_start,
            log_end: partition.log_end,
            durable: partition.durable,
            committed: partition.committed,
            promised: partition.heard_from(),
            opened: partition.history.opened(),
            proof: partition.proof(),
        })
    }

    /// The log start, or a batch's start before it from which on the log can still be copied.
    #[must_use]
    pub fn first_batch(&self, id: PartitionId) -> Option<Offset> {
        self.partition(id).map(Partition::first_batch)
    }

    /// The lowest epoch whose leader the partition listens to: promised or opened.
    #[must_use]
    pub fn promised(&self, id: PartitionId) -> Option<Epoch> {
        self.partition(id).map(Partition::heard_from)
    }

    /// The epoch that this process has opened and still appends in.
    #[must_use]
    pub fn reign(&self, id: PartitionId) -> Option<Epoch> {
        self.partition(id)?.reign
    }

    /// Whether other shards hold replicas of the partition.
    #[must_use]
    pub fn is_replicated(&self, id: PartitionId) -> bool {
        self.partition(id).is_some_and(|partition| partition.settings.replicated)
    }

    /// The epoch of the last record. `None` if there is none, or no such partition.
    #[must_use]
    pub fn log_end_epoch(&self, id: PartitionId) -> Option<Epoch> {
        let partition = self.partition(id)?;
        let last = partition.log_end.0.0.checked_sub(1).map(Offset)?;
        partition.history.at(last)
    }

    /// How far the partition's log can be believed.
    #[must_use]
    pub fn proof(&self, id: PartitionId) -> Option<Proof> {
        self.partition(id).map(Partition::proof)
    }

    /// The frame of the newest entry: if it is durable, everything is.
    #[must_use]
    pub fn newest_seq(&self) -> Seq {
        self.store().map_or(Seq(0), |store| store.journal.newest_seq())
    }
}

/// One partition's log at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaView {
    pub log_start: LogStart,
    pub log_end: LogEnd,
    pub durable: Durable,
    pub committed: Committed,
    /// The lowest epoch whose leader it listens to.
    pub promised: Epoch,
    /// The newest epoch ever opened.
    pub opened: Option<Epoch>,
    pub proof: Proof,
}

/// One promise in an entry's payload. Little-endian.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct PromiseBytes {
    partition: U64,
    epoch: U32,
}

impl PromiseBytes {
    pub(crate) fn decode(self) -> (PartitionId, Epoch) {
        (PartitionId::from_u64(self.partition.get()), Epoch(self.epoch.get()))
    }
}

impl Store {
    fn append_replica(
        &mut self,
        now: Now,
        id: PartitionId,
        leader: Epoch,
        batches: &[u8],
    ) -> Result<Seq, AppendError> {
        let slot = self.partitions.slot(id).ok_or(AppendError::NoPartition)?;
        let partition = self.partitions.get_mut(slot).ok_or(AppendError::NoPartition)?;
        if partition.halt.is_some() {
            return Err(AppendError::Halted);
        }
        let ignored = self.config.journal.planted.is(Mutant::PromiseIgnored);
        if let Some(promised) = partition.fenced_by(leader).filter(|_| !ignored) {
            return Err(AppendError::Fenced { promised });
        }
        partition.reign = None;
        self.admit()?;
        let mut rest = batches;
        while !rest.is_empty() {
            let (batch, behind) = Batch::parse_prefix(rest).map_err(AppendError::Batch)?;
            self.take_over(now, slot, &batch)?;
            rest = behind;
        }
        Ok(self.partitions.get(slot).expect("just found").marks.touched)
    }

    /// Appends one batch as it is, unless it stands here already.
    fn take_over(&mut self, now: Now, slot: Slot, batch: &Batch<'_>) -> Result<(), AppendError> {
        let partition = self.partitions.get_mut(slot).expect("checked before");
        let (base, end, epoch) = (batch.base_offset(), batch.end_offset(), batch.epoch());
        let log_end = partition.log_end;
        if end <= log_end.0 && partition.history.at(base) == Some(epoch) {
            return Ok(());
        }
        let joins = partition.last_reign().is_some_and(|last| last.epoch == epoch);
        if base != log_end.0 || !joins {
            return Err(AppendError::Gap { log_end });
        }
        let max = self.config.journal.max_payload_bytes();
        if (max as usize) < batch.bytes().len() {
            return Err(AppendError::TooLarge { max });
        }
        let claim = Claim::of(batch)?;
        let (kind, partition_id, count) = (EntryKind::Batch, partition.id, batch.record_count());
        let entry = NewEntry { kind, carried: false, partition: partition_id, epoch, base, count };
        let placed = self.journal.append(now, &mut self.arena, entry, &[batch.bytes()])?;
        let max_timestamp = batch.max_timestamp();
        let run = Run { base, end, seq: placed.seq, span: placed.span, max_timestamp };
        partition.tail.push(run, &mut self.frames);
        partition.log_end = LogEnd(end);
        partition.last_append_ms = now.wall.0;
        self.touches.record(&mut partition.marks, Touch { seq: placed.seq, slot, end });
        let committed = partition.committed.0;
        if let Some(claim) = claim {
            self.producers.record(slot, &Appended { claim, base, committed, now_ms: now.wall.0 });
        }
        self.appended(slot, placed);
        Ok(())
    }

    fn follow_epoch(
        &mut self,
        now: Now,
        id: PartitionId,
        leader: Epoch,
        reign: Reign,
    ) -> Result<Seq, Refused> {
        let careless = self.config.journal.planted.is(Mutant::EpochOpenAcrossGap);
        let partition = self.partitions.by_id_mut(id).ok_or(Refused::NoPartition)?;
        if partition.halt.is_some() {
            return Err(Refused::Halted);
        }
        if let Some(promised) = partition.fenced_by(leader) {
            return Err(Refused::Fenced { promised });
        }
        let log_end = partition.log_end;
        let newer = partition.last_reign().is_none_or(|last| last.epoch < reign.epoch);
        let joins = log_end.0 == reign.start || (careless && log_end.0 < reign.start);
        if !joins || !newer || leader < reign.epoch {
            return Err(Refused::Gap { log_end });
        }
        let Reign { epoch, start } = reign;
        let entry = NewEntry { epoch, ..control(EntryKind::EpochOpen, id, start) };
        let placed = self.journal.append(now, &mut self.arena, entry, &[])?;
        partition.history.follow(epoch, start);
        partition.reign = None;
        Ok(placed.seq)
    }

    fn promise(&mut self, now: Now, promises: &[(PartitionId, Epoch)]) -> Result<Seq, Refused> {
        let per_entry =
            self.config.journal.max_payload_bytes() as usize / size_of::<PromiseBytes>();
        for promises in promises.chunks(per_entry) {
            self.promise_in_one_entry(now, promises)?;
        }
        Ok(self.journal.newest_seq())
    }

    fn promise_in_one_entry(
        &mut self,
        now: Now,
        promises: &[(PartitionId, Epoch)],
    ) -> Result<(), Refused> {
        self.scratch.clear();
        for (id, epoch) in promises {
            let known = self.partitions.by_id(*id);
            if known.is_some_and(|partition| partition.promised < *epoch) {
                let bytes = PromiseBytes { partition: id.to_u64().into(), epoch: epoch.0.into() };
                self.scratch.extend_from_slice(bytes.as_bytes());
            }
        }
        if self.scratch.is_empty() {
            return Ok(());
        }
        if !self.config.journal.planted.is(Mutant::PromiseNotDurable) {
            let entry = control(EntryKind::Promise, PartitionId::default(), Offset::ZERO);
            self.journal.append(now, &mut self.arena, entry, &[&self.scratch])?;
        }
        for (id, epoch) in promises {
            if let Some(partition) = self.partitions.by_id_mut(*id) {
                partition.keep_promise(*epoch);
            }
        }
        Ok(())
    }

    fn start_over(
        &mut self,
        now: Now,
        id: PartitionId,
        at: Offset,
        keep_proof: bool,
    ) -> Result<Seq, Refused> {
        let slot = self.partitions.slot(id).ok_or(Refused::NoPartition)?;
        let before = self.partitions.get(slot).ok_or(Refused::NoPartition)?;
        let mut partition = before.emptied(at);
        let proven = matches!(before.proof(), Proof::Clean | Proof::Torn);
        (partition.rebuilding, partition.torn) = (!(keep_proof && proven), before.torn);
        partition.last_append_ms = now.wall.0;
        partition.born = self.journal.durable_seq();
        let max = self.config.journal.max_payload_bytes();
        snapshot::encode(&partition, Slot::VACANT, &self.producers, max, &mut self.scratch);
        let entry = control(EntryKind::StartOver, id, at);
        let placed = self.journal.append(now, &mut self.arena, entry, &[&self.scratch])?;
        (partition.snapshot, partition.marks.snapshot) = (placed.seq, placed.seq);
        self.frames.hold(placed.seq, placed.span);
        self.partitions.hide(slot);
        self.dues.push(placed.seq, Due::Deleted { slot });
        let slot = self.partitions.insert(partition);
        self.carry.push_snapshot(placed.seq, slot);
        Ok(placed.seq)
    }

    fn vouch(&mut self, now: Now, id: PartitionId) -> Result<Seq, Refused> {
        let slot = self.partitions.slot(id).ok_or(Refused::NoPartition)?;
        let partition = self.partitions.get_mut(slot).ok_or(Refused::NoPartition)?;
        if partition.proof() == Proof::Suspect {
            return Err(Refused::Halted);
        }
        partition.torn = false;
        if !core::mem::take(&mut partition.rebuilding) {
            return Ok(partition.marks.snapshot);
        }
        match self.carry_snapshot(now, slot) {
            Ok(placed) => Ok(placed.seq),
            Err(full) => {
                self.partitions.get_mut(slot).expect("just found").rebuilding = true;
                Err(full.into())
            }
        }
    }

    /// Has the partition's replication, or its end, written down.
    pub(crate) fn set_replicated(
        &mut self,
        now: Now,
        slot: Slot,
        settings: PartitionSettings,
    ) -> Result<Seq, Refused> {
        let partition = self.partitions.get_mut(slot).expect("just found");
        let before = core::mem::replace(&mut partition.settings, settings);
        match self.carry_snapshot(now, slot) {
            Ok(placed) => {
                let end = self.partitions.get(slot).expect("just found").durable;
                // Who commits what is durable hears of it once more.
                self.advance_durable(slot, end.0);
                Ok(placed.seq)
            }
            Err(full) => {
                self.partitions.get_mut(slot).expect("just found").settings = before;
                Err(full.into())
            }
        }
    }
}

impl Partition {
    /// What was promised, if that or an own reign forbids listening to `leader`.
    fn fenced_by(&self, leader: Epoch) -> Option<Epoch> {
        let heard = self.heard_from();
        let own = self.reign.is_some_and(|own| leader <= own);
        (leader < heard || own).then_some(heard)
    }

    /// Raises the promise; an own reign below it ends.
    pub(crate) fn keep_promise(&mut self, epoch: Epoch) {
        self.promised = self.promised.max(epoch);
        self.reign = self.reign.filter(|own| self.promised <= *own);
    }

    /// The partition without its records, beginning at `at`.
    fn emptied(&self, at: Offset) -> Self {
        let mut partition = Self::new(self.id, self.settings);
        partition.promised = self.promised;
        partition.history = self.history.emptied();
        partition.log_start = LogStart(at);
        partition.log_end = LogEnd(at);
        partition.durable = Durable(at);
        partition.committed = Committed(at);
        (partition.marks.staged, partition.marks.dropped) = (at, at);
        partition
    }
}
