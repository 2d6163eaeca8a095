//! A log in memory on a journal with a volatile and a durable part. Its state is the fold of its
//! entries, so that a restart is a replay of what survived.

use std::collections::BTreeMap;

use base::batch::{BatchBuilder, sequenced_prefix};
use base::{
    Batch, Committed, Durable, Epoch, LogEnd, LogStart, Now, Offset, PartitionId, Reign, Seq,
};
use replication::replica::{Log, LogView, Proof, Refusal};

use crate::part::Part;

/// A record, where it stood.
pub type Record = (Offset, (Epoch, Content));

/// A record's content: each appended by a leader is unique.
pub type Content = u64;

#[derive(Clone, Debug)]
pub enum Entry {
    Created {
        id: PartitionId,
        is_suspect: bool,
    },
    Opened(PartitionId, Epoch),
    Followed(PartitionId, Reign),
    Batch {
        id: PartitionId,
        epoch: Epoch,
        base: Offset,
        contents: Vec<Content>,
    },
    Truncated(PartitionId, Offset),
    StartedOver {
        id: PartitionId,
        at: Offset,
        keep_proof: bool,
    },
    Vouched(PartitionId),
    Promised(Vec<(PartitionId, Epoch)>),
    LogStart(PartitionId, Offset),
    /// A hint of what is committed.
    Committed(PartitionId, Offset),
    /// Recovery found that something is missing.
    Damaged,
}

/// What the checkers hear of.
#[derive(Clone, Debug)]
pub enum Change {
    /// `leader`: the epoch in whose name a replica appended; `None`: the own append of a leader.
    Appended {
        id: PartitionId,
        offset: Offset,
        epoch: Epoch,
        content: Content,
        leader: Option<Epoch>,
    },
    Opened {
        id: PartitionId,
        epoch: Epoch,
        start: Offset,
    },
    Followed {
        id: PartitionId,
        reign: Reign,
        log_start: Offset,
    },
    Truncated {
        id: PartitionId,
        end: Offset,
        committed: Offset,
    },
    /// `dropped`: what lay at `at` or behind it.
    StartedOver {
        id: PartitionId,
        at: Offset,
        dropped: Vec<Record>,
        keep_proof: bool,
    },
    LogStart {
        id: PartitionId,
        to: Offset,
    },
    /// Records are durable.
    Durable {
        id: PartitionId,
        offset: Offset,
        content: Content,
    },
    /// A reign's opening is durable.
    DurableReign {
        id: PartitionId,
        epoch: Epoch,
    },
}

#[derive(Clone, Debug, Default)]
pub struct MemoryLog {
    entries: Vec<(Seq, Entry)>,
    parts: BTreeMap<PartitionId, Part>,
    /// The frame that entries go to.
    open: u64,
    durable: u64,
    is_torn: bool,
    /// Recovery found once that entries are missing.
    is_damaged: bool,
    /// The journal takes nothing at this moment.
    pub is_busy: bool,
    /// Known mistake: an epoch opened before a restart is gone on with.
    pub resumes: bool,
    pub changes: Vec<Change>,
}

impl MemoryLog {
    pub fn new() -> Self {
        Self { open: 1, ..Self::default() }
    }

    /// `is_known`: the cluster knew of the partition when this process started. A journal that lost
    /// entries may have lost that one.
    pub fn create(&mut self, id: PartitionId, is_known: bool) {
        if !self.parts.contains_key(&id) {
            let is_suspect = is_known && self.is_damaged;
            self.put(Entry::Created { id, is_suspect });
        }
    }

    /// Makes `frames` more frames durable.
    pub fn flush(&mut self, frames: u64) {
        let newest = self.entries.last().map_or(0, |(seq, _)| seq.0);
        let durable = (self.durable + frames).min(newest);
        let from = core::mem::replace(&mut self.durable, durable);
        let became = self.entries.iter().filter(|(seq, _)| from < seq.0 && seq.0 <= durable);
        for (_, entry) in became {
            match entry {
                Entry::Batch { id, base, contents, .. } => {
                    for (at, content) in contents.iter().enumerate() {
                        let (offset, content) = (base.plus(at as u64), *content);
                        self.changes.push(Change::Durable { id: *id, offset, content });
                    }
                }
                Entry::Opened(id, epoch) => {
                    self.changes.push(Change::DurableReign { id: *id, epoch: *epoch });
                }
                Entry::Followed(id, reign) => {
                    self.changes.push(Change::DurableReign { id: *id, epoch: reign.epoch });
                }
                _ => {}
            }
        }
        self.open = self.open.max(self.durable + 1);
    }

    /// Closes the frame that entries go to.
    pub fn seal(&mut self) {
        if self.entries.last().is_some_and(|(seq, _)| seq.0 == self.open) {
            self.open += 1;
        }
    }

    /// A crash: of the frames that are not durable, the first `kept` survive. What survives is
    /// durable before anybody is told of it.
    pub fn crash(&mut self, kept: u64) {
        self.seal();
        let newest = self.open - 1;
        self.flush(kept);
        self.is_torn = self.durable < newest;
        let durable = self.durable;
        self.entries.retain(|(seq, _)| seq.0 <= durable);
        self.replay();
    }

    /// The device loses the newest `entries` entries, durable or not, and recovery sees it.
    pub fn damage(&mut self, entries: usize) {
        self.crash(0);
        let kept = self.entries.len().saturating_sub(entries);
        self.entries.truncate(kept);
        self.replay();
        self.put(Entry::Damaged);
        let newest = self.open;
        self.flush(newest);
    }

    /// The device is what it was `entries` entries ago, and nothing shows it.
    pub fn roll_back(&mut self, entries: usize) {
        self.crash(0);
        self.is_torn = false;
        let kept = self.entries.len().saturating_sub(entries);
        self.entries.truncate(kept);
        self.replay();
    }

    fn replay(&mut self) {
        self.parts.clear();
        self.is_damaged = false;
        let entries = core::mem::take(&mut self.entries);
        for (seq, entry) in &entries {
            self.apply(*seq, entry);
        }
        self.durable = entries.last().map_or(0, |(seq, _)| seq.0);
        self.open = self.durable + 1;
        self.entries = entries;
        for part in self.parts.values_mut() {
            part.reign = None;
        }
    }

    fn put(&mut self, entry: Entry) -> Seq {
        let seq = Seq(self.open);
        self.apply(seq, &entry);
        self.entries.push((seq, entry));
        seq
    }

    fn apply(&mut self, seq: Seq, entry: &Entry) {
        match entry {
            Entry::Created { id, is_suspect } => {
                self.parts.entry(*id).or_default().is_suspect = *is_suspect;
            }
            Entry::Damaged => {
                self.is_damaged = true;
                self.parts.values_mut().for_each(|part| part.is_suspect = true);
            }
            Entry::Promised(promises) => {
                for (id, epoch) in promises {
                    if let Some(part) = self.parts.get_mut(id) {
                        part.promised = part.promised.max(*epoch);
                    }
                }
            }
            Entry::Opened(id, epoch) => {
                let part = self.parts.get_mut(id).unwrap();
                part.promised = part.promised.max(*epoch);
                part.history.open(*epoch, part.end());
                part.reign = Some(*epoch);
            }
            Entry::Followed(id, reign) => {
                self.parts.get_mut(id).unwrap().history.follow(reign.epoch, reign.start);
            }
            Entry::Batch { id, epoch, contents, .. } => {
                let part = self.parts.get_mut(id).unwrap();
                part.records.extend(contents.iter().map(|content| (*epoch, *content, seq)));
            }
            Entry::Truncated(id, end) => self.parts.get_mut(id).unwrap().truncate(*end),
            Entry::StartedOver { id, at, keep_proof } => {
                self.parts.get_mut(id).unwrap().start_over(*at, *keep_proof);
            }
            Entry::Vouched(id) => self.parts.get_mut(id).unwrap().is_rebuilding = false,
            Entry::LogStart(id, to) => self.parts.get_mut(id).unwrap().move_start(*to),
            Entry::Committed(id, to) => {
                let part = self.parts.get_mut(id).unwrap();
                part.committed = part.committed.max((*to).min(part.end()));
            }
        }
    }

    /// The journal remembers what is committed.
    pub fn hint(&mut self, id: PartitionId) {
        if let Some(committed) = self.parts.get(&id).map(|part| part.committed) {
            self.put(Entry::Committed(id, committed));
        }
    }

    /// A leader's own append of one batch.
    pub fn append(&mut self, id: PartitionId, contents: Vec<Content>) -> bool {
        let Some(part) = self.parts.get(&id) else { return false };
        let Some(epoch) = part.reign.filter(|epoch| part.promised <= *epoch && !self.is_busy)
        else {
            return false;
        };
        self.put_batch(id, epoch, contents, None);
        true
    }

    fn put_batch(
        &mut self,
        id: PartitionId,
        epoch: Epoch,
        contents: Vec<Content>,
        leader: Option<Epoch>,
    ) -> Seq {
        let base = self.parts[&id].end();
        for (at, content) in contents.iter().enumerate() {
            let (offset, content) = (base.plus(at as u64), *content);
            self.changes.push(Change::Appended { id, offset, epoch, content, leader });
        }
        self.put(Entry::Batch { id, epoch, base, contents })
    }

    /// Batches of the records `from..until`, not more than `records_max` records. Empty if they are
    /// gone.
    pub fn read(
        &self,
        id: PartitionId,
        from: Offset,
        until: Offset,
        records_max: u64,
    ) -> (Vec<u8>, Offset) {
        let mut bytes = Vec::new();
        let mut at = from;
        let Some(part) = self.parts.get(&id).filter(|part| part.log_start <= from) else {
            return (bytes, at);
        };
        let until = until.min(from.plus(records_max)).min(part.end());
        while at < until {
            let (epoch, content, _) = part.records[at.since(part.log_start) as usize];
            let mut builder = BatchBuilder::new(0);
            builder.push(0, None, Some(&content.to_le_bytes()), &[]);
            let mut batch = builder.build();
            let prefix = sequenced_prefix(&Batch::parse(&batch).unwrap(), at, epoch);
            batch[..16].copy_from_slice(&prefix);
            bytes.extend_from_slice(&batch);
            at = at.plus(1);
        }
        (bytes, at)
    }

    /// Epoch and content at `offset`.
    pub fn record(&self, id: PartitionId, offset: Offset) -> Option<(Epoch, Content)> {
        let part = self.parts.get(&id)?;
        let at = offset.0.checked_sub(part.log_start.0)?;
        part.records.get(at as usize).map(|(epoch, content, _)| (*epoch, *content))
    }

    /// What the durable part of the journal says was promised.
    pub fn durable_promise(&self, id: PartitionId) -> Epoch {
        let durable = self.entries.iter().take_while(|(seq, _)| seq.0 <= self.durable);
        let promises = durable.filter_map(|(_, entry)| match entry {
            Entry::Promised(promises) => {
                promises.iter().find(|(own, _)| *own == id).map(|(_, epoch)| *epoch)
            }
            Entry::Opened(own, epoch) if *own == id => Some(*epoch),
            _ => None,
        });
        promises.max().unwrap_or_default()
    }

    fn part(&self, id: PartitionId) -> Result<&Part, Refusal> {
        if self.is_busy {
            return Err(Refusal::Busy);
        }
        self.parts.get(&id).ok_or(Refusal::NoPartition)
    }
}

impl Log for MemoryLog {
    fn view(&self, id: PartitionId) -> Option<LogView> {
        let part = self.parts.get(&id)?;
        let held = part.records.iter().take_while(|(_, _, seq)| seq.0 <= self.durable).count();
        let proof = match part {
            Part { is_suspect: true, .. } => Proof::Suspect,
            Part { is_rebuilding: true, .. } => Proof::Rebuilding,
            _ if self.is_torn => Proof::Torn,
            _ => Proof::Clean,
        };
        Some(LogView {
            log_start: LogStart(part.log_start),
            log_end: LogEnd(part.end()),
            durable: Durable(part.log_start.plus(held as u64)),
            committed: Committed(part.committed),
            promised: part.promised,
            opened: part.history.opened(),
            proof,
        })
    }

    fn reigns(&self, id: PartitionId) -> &[Reign] {
        self.parts.get(&id).map_or(&[], |part| part.history.reigns())
    }

    fn newest_seq(&self) -> Seq {
        self.entries.last().map_or(Seq(self.durable), |(seq, _)| *seq)
    }

    fn durable_seq(&self) -> Seq {
        Seq(self.durable)
    }

    fn open_epoch(&mut self, _: Now, id: PartitionId, epoch: Epoch) -> Result<Seq, Refusal> {
        let part = self.part(id)?;
        if self.resumes && part.history.opened() == Some(epoch) && part.promised <= epoch {
            let durable = Seq(self.durable);
            self.parts.get_mut(&id).unwrap().reign = Some(epoch);
            return Ok(durable);
        }
        if Some(epoch) <= part.history.opened() || epoch < part.promised {
            return Err(Refusal::Stale);
        }
        let start = part.end();
        self.changes.push(Change::Opened { id, epoch, start });
        Ok(self.put(Entry::Opened(id, epoch)))
    }

    fn follow_epoch(
        &mut self,
        _: Now,
        id: PartitionId,
        leader: Epoch,
        reign: Reign,
    ) -> Result<Seq, Refusal> {
        let part = self.part(id)?;
        if leader < part.promised {
            return Err(Refusal::Stale);
        }
        let last = part.history.reigns().last().map(|last| last.epoch);
        if part.end() != reign.start || Some(reign.epoch) <= last {
            return Err(Refusal::Gap);
        }
        let log_start = part.log_start;
        self.changes.push(Change::Followed { id, reign, log_start });
        Ok(self.put(Entry::Followed(id, reign)))
    }

    fn append_replica(
        &mut self,
        _: Now,
        id: PartitionId,
        leader: Epoch,
        batches: &[u8],
    ) -> Result<Seq, Refusal> {
        let part = self.part(id)?;
        if leader < part.promised {
            return Err(Refusal::Stale);
        }
        let last = part.history.reigns().last().map(|last| last.epoch);
        let (mut contents, mut rest) = (Vec::new(), batches);
        while !rest.is_empty() {
            let (batch, behind) = Batch::parse_prefix(rest).unwrap();
            if batch.base_offset() != part.end().plus(contents.len() as u64)
                || Some(batch.epoch()) != last
            {
                return Err(Refusal::Gap);
            }
            let value = base::batch::records(batch.records()).next().unwrap().value.unwrap();
            contents.push(Content::from_le_bytes(value.try_into().unwrap()));
            rest = behind;
        }
        Ok(self.put_batch(id, last.unwrap(), contents, Some(leader)))
    }

    fn truncate(&mut self, _: Now, id: PartitionId, end: Offset) -> Result<Seq, Refusal> {
        let committed = self.part(id)?.committed;
        self.changes.push(Change::Truncated { id, end, committed });
        Ok(self.put(Entry::Truncated(id, end)))
    }

    fn start_over(
        &mut self,
        _: Now,
        id: PartitionId,
        at: Offset,
        keep_proof: bool,
    ) -> Result<Seq, Refusal> {
        let part = self.part(id)?;
        let offsets = (part.log_start.0.max(at.0)..part.end().0).map(Offset);
        let dropped = offsets.filter_map(|at| Some((at, self.record(id, at)?))).collect();
        self.changes.push(Change::StartedOver { id, at, dropped, keep_proof });
        Ok(self.put(Entry::StartedOver { id, at, keep_proof }))
    }

    fn vouch(&mut self, _: Now, id: PartitionId) -> Result<Seq, Refusal> {
        self.part(id)?;
        Ok(self.put(Entry::Vouched(id)))
    }

    fn promise(&mut self, _: Now, promises: &[(PartitionId, Epoch)]) -> Result<Seq, Refusal> {
        if self.is_busy {
            return Err(Refusal::Busy);
        }
        Ok(self.put(Entry::Promised(promises.to_vec())))
    }

    fn move_log_start(&mut self, _: Now, id: PartitionId, to: LogStart) -> Result<Seq, Refusal> {
        self.part(id)?;
        self.changes.push(Change::LogStart { id, to: to.0 });
        Ok(self.put(Entry::LogStart(id, to.0)))
    }

    fn commit(&mut self, id: PartitionId, committed: Committed) {
        let part = self.parts.get_mut(&id).unwrap();
        assert!(committed.0 <= part.end(), "{id}: {committed:?} beyond {:?}", part.end());
        part.committed = part.committed.max(committed.0);
    }
}
