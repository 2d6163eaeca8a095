//! What must never be: an omniscient record of every log, held against the invariants I1–I13.

use std::collections::{BTreeMap, BTreeSet};

use base::{Epoch, Offset, PartitionId};
use replication::Placement;
use replication::node::Boot;
use replication::replica::{Config, Log};

use crate::memory_log::{Change, Content, MemoryLog};

type Holders = BTreeSet<Placement>;

#[derive(Debug, Default)]
pub struct Ledger {
    contents: BTreeMap<(PartitionId, Epoch, Offset), Content>,
    starts: BTreeMap<(PartitionId, Epoch), Offset>,
    openers: BTreeMap<(PartitionId, Epoch), (Placement, Boot)>,
    chosen: BTreeMap<(PartitionId, Epoch), (Placement, Boot)>,
    configs: BTreeMap<(PartitionId, Epoch), Vec<Config>>,
    durable: BTreeMap<(PartitionId, Offset, Content), Holders>,
    durable_reigns: BTreeMap<(PartitionId, Epoch), Holders>,
    /// By offset, from 0.
    committed: BTreeMap<PartitionId, Vec<(Epoch, Content)>>,
    log_starts: BTreeMap<PartitionId, Offset>,
    pub violation: Option<String>,
    /// How often what was worth seeing was seen.
    pub marks: BTreeMap<&'static str, u64>,
}

impl Ledger {
    pub fn fail(&mut self, invariant: &str, what: &str) {
        self.violation.get_or_insert_with(|| format!("{invariant}: {what}"));
    }

    pub fn mark(&mut self, what: &'static str) {
        *self.marks.entry(what).or_default() += 1;
    }

    /// The cluster log names a leader.
    pub fn chosen(&mut self, id: PartitionId, epoch: Epoch, leader: (Placement, Boot)) {
        if self.chosen.insert((id, epoch), leader).is_some_and(|other| other != leader) {
            self.fail("I1", &format!("{id} has two leaders chosen in epoch {epoch}"));
        }
    }

    /// The cluster log holds that config in that epoch.
    pub fn configured(&mut self, id: PartitionId, epoch: Epoch, config: &Config) {
        let configs = self.configs.entry((id, epoch)).or_default();
        if configs.last() != Some(config) {
            configs.push(config.clone());
        }
    }

    pub fn committed_end(&self, id: PartitionId) -> Offset {
        Offset(self.committed.get(&id).map_or(0, |own| own.len() as u64))
    }

    pub fn log_start(&self, id: PartitionId) -> Offset {
        self.log_starts.get(&id).copied().unwrap_or_default()
    }

    pub fn observe(&mut self, node: (Placement, Boot), log: &MemoryLog, change: &Change) {
        match change {
            Change::Appended { id, offset, epoch, content, leader } => {
                let place = (*id, *epoch, *offset);
                if self.contents.insert(place, *content).is_some_and(|other| other != *content) {
                    self.fail("I2", &format!("{place:?} has two contents, at {node:?} {leader:?}"));
                }
                if leader.is_none() && self.chosen.get(&(*id, *epoch)) != Some(&node) {
                    self.fail("I10", &format!("{node:?} appends to {id} in epoch {epoch}"));
                }
            }
            Change::Opened { id, epoch, start } => self.opened(node, log, *id, *epoch, *start),
            Change::Followed { id, reign, log_start } => {
                let start = self.starts.get(&(*id, reign.epoch)).copied();
                let is_clipped = *log_start == reign.start;
                if start.is_none_or(|s| s != reign.start && !(is_clipped && s < reign.start)) {
                    let what = format!("{node:?} follows {id} {reign:?}, which began at {start:?}");
                    self.fail("I5", &what);
                }
            }
            Change::Truncated { id, end, committed } => {
                self.mark("truncated");
                if end < committed {
                    let what = format!("{node:?} truncates {id} to {end} below {committed}");
                    self.fail("I9", &what);
                }
            }
            Change::StartedOver { id, at, dropped, keep_proof } => {
                self.mark("started over");
                if *keep_proof && at > &self.log_start(*id) {
                    self.fail("I13", &format!("{node:?} drops {id} below {at}"));
                }
                let committed = self.committed.get(id).map_or(&[][..], |own| own);
                let is_committed = |(at, record): &(Offset, (Epoch, Content))| {
                    committed.get(at.0 as usize) == Some(record)
                };
                if *keep_proof && let Some(lost) = dropped.iter().find(|own| is_committed(own)) {
                    self.fail("I13", &format!("{node:?} drops {id} {lost:?}, committed"));
                }
            }
            Change::LogStart { id, to } => {
                if *to > self.log_start(*id) {
                    self.fail("I13", &format!("{node:?} deletes {id} up to {to} by itself"));
                }
            }
            Change::Durable { id, offset, content, .. } => {
                self.durable.entry((*id, *offset, *content)).or_default().insert(node.0);
            }
            Change::DurableReign { id, epoch } => {
                self.durable_reigns.entry((*id, *epoch)).or_default().insert(node.0);
            }
        }
    }

    fn opened(
        &mut self,
        node: (Placement, Boot),
        log: &MemoryLog,
        id: PartitionId,
        epoch: Epoch,
        start: Offset,
    ) {
        self.mark("epochs");
        if self.chosen.get(&(id, epoch)) != Some(&node) {
            self.fail("I1", &format!("{node:?} leads {id} in epoch {epoch}, unchosen"));
        }
        if self.openers.insert((id, epoch), node).is_some() {
            self.fail("I10", &format!("{id} epoch {epoch} is opened again by {node:?}"));
        }
        self.starts.insert((id, epoch), start);
        if let Some(lost) = self.first_lost(log, id) {
            self.fail("I7", &format!("{node:?} leads {id} in {epoch} without committed {lost}"));
        }
    }

    /// The first committed record that `log` lacks, or holds differently.
    fn first_lost(&self, log: &MemoryLog, id: PartitionId) -> Option<Offset> {
        let from = log.view(id)?.log_start.0.max(self.log_start(id));
        let committed = self.committed.get(&id)?;
        let offsets = (from.0..committed.len() as u64).map(Offset);
        let mut offsets =
            offsets.filter(|at| log.record(id, *at) != Some(committed[at.0 as usize]));
        offsets.next()
    }

    /// The log start moved, by the leader's word.
    pub fn log_start_moved(&mut self, id: PartitionId, to: Offset) {
        let start = self.log_starts.entry(id).or_default();
        *start = (*start).max(to);
    }

    /// A leader in `epoch` calls everything before `end` committed.
    pub fn commit(&mut self, log: &MemoryLog, id: PartitionId, epoch: Epoch, end: Offset) {
        let known = self.committed_end(id);
        for offset in (known.0..end.0).map(Offset) {
            let Some(record) = log.record(id, offset) else {
                return self.fail("I11", &format!("{id} {offset} is committed and not there"));
            };
            let holders = self.durable.get(&(id, offset, record.1));
            if !self.is_quorum(id, epoch, holders) {
                let what = format!("{id} {offset} epoch {epoch}: {record:?} only at {holders:?}");
                return self.fail("I6", &what);
            }
            self.committed.entry(id).or_default().push(record);
        }
        let openers = self.durable_reigns.get(&(id, epoch));
        if known < end && !self.is_quorum(id, epoch, openers) {
            let what = format!("{id} commits {end} in epoch {epoch}, opened only at {openers:?}");
            self.fail("I6", &what);
        }
    }

    /// Whether `holders` are a quorum of a config that the cluster log had in that epoch.
    fn is_quorum(&self, id: PartitionId, epoch: Epoch, holders: Option<&Holders>) -> bool {
        let holds = |at| holders.is_some_and(|own| own.contains(&at)).then_some(());
        let configs = self.configs.get(&(id, epoch)).map_or(&[][..], |configs| configs);
        configs.iter().any(|config| {
            let everyone = Config { learners: Vec::new(), ..config.clone() };
            everyone.quorum_of(1, holds).is_some()
        })
    }

    /// What a replica exposes as committed (I11), held against what is committed (C2).
    pub fn expose(
        &mut self,
        node: Placement,
        log: &MemoryLog,
        id: PartitionId,
        seen: Offset,
    ) -> Offset {
        let Some(view) = log.view(id) else { return seen };
        let committed = view.committed.0;
        if committed < seen {
            self.fail("I11", &format!("{node:?} {id}: watermark falls from {seen} to {committed}"));
        }
        if self.committed_end(id) < committed {
            self.fail("I11", &format!("{node:?} {id}: {committed} is not committed anywhere"));
        }
        for offset in (seen.max(view.log_start.0).0..committed.0).map(Offset) {
            let known = self.committed.get(&id).and_then(|own| own.get(offset.0 as usize));
            if known.copied() != log.record(id, offset) {
                let own = log.record(id, offset);
                self.fail("I7", &format!("{node:?} {id} {offset}: {own:?} is not {known:?}"));
            }
        }
        committed
    }
}
