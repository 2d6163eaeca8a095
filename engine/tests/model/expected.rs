//! What the engine should hold: the operations asked of it, applied to plain lists.

use std::collections::BTreeMap;

use base::{Batch, PartitionId};

/// One partition as it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Model {
    /// Batches by base offset: end, sequenced bytes.
    pub(crate) batches: BTreeMap<u64, (u64, Vec<u8>)>,
    pub(crate) end: u64,
    pub(crate) start: u64,
    /// The newest epoch ever opened.
    pub(crate) epoch: u32,
    pub(crate) promised: u32,
    /// Epochs and where they begin, both rising.
    pub(crate) reigns: Vec<(u32, u64)>,
    pub(crate) rebuilding: bool,
    /// Next sequence of the partition's idempotent producer.
    pub(crate) sequence: i32,
}

/// What was asked of the engine, and took effect.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Created,
    Deleted,
    /// An epoch was opened here, or taken over from a leader.
    Opened(u32),
    Appended {
        base: u64,
        count: u64,
        bytes: Vec<u8>,
        idempotent: bool,
    },
    Truncated(u64),
    Started(u64),
    Promised(u32),
    StartedOver {
        at: u64,
        rebuilding: bool,
    },
    Vouched,
}

impl Model {
    /// The lowest epoch whose leader is listened to.
    pub(crate) fn heard_from(&self) -> u32 {
        self.promised.max(self.epoch)
    }

    pub(crate) fn last_reign(&self) -> u32 {
        self.reigns.last().map_or(0, |(epoch, _)| *epoch)
    }

    /// What the producer must send next: behind its last batch.
    pub(crate) fn next_sequence(&self) -> i32 {
        let batches = self.batches.values().rev();
        let mut ours = batches.map(|(_, bytes)| Batch::parse(bytes).unwrap());
        let last = ours.find(|batch| batch.producer_id() == 77);
        last.map_or(0, |batch| batch.base_sequence() + batch.record_count() as i32)
    }

    fn apply(&mut self, event: &Event) {
        match event {
            Event::Created | Event::Deleted => {}
            Event::Opened(epoch) => {
                self.epoch = self.epoch.max(*epoch);
                self.reigns.retain(|(_, start)| *start < self.end);
                self.reigns.push((*epoch, self.end));
            }
            Event::Appended { base, count, bytes, idempotent } => {
                self.batches.insert(*base, (base + count, bytes.clone()));
                self.end = base + count;
                self.sequence += if *idempotent { *count as i32 } else { 0 };
            }
            Event::Truncated(end) => {
                self.batches.retain(|base, _| base < end);
                self.reigns.retain(|(_, start)| start < end);
                self.end = *end;
                self.sequence = self.next_sequence();
            }
            Event::Started(start) => self.start = self.start.max(*start),
            Event::Promised(epoch) => self.promised = self.promised.max(*epoch),
            Event::StartedOver { at, rebuilding } => {
                *self = Self {
                    end: *at,
                    start: *at,
                    epoch: self.epoch,
                    promised: self.promised,
                    rebuilding: *rebuilding,
                    ..Self::default()
                };
            }
            Event::Vouched => self.rebuilding = false,
        }
    }
}

pub(crate) fn apply(model: &mut BTreeMap<PartitionId, Model>, id: PartitionId, event: &Event) {
    match event {
        Event::Created => drop(model.insert(id, Model::default())),
        Event::Deleted => drop(model.remove(&id)),
        _ => {}
    }
    if let Some(one) = model.get_mut(&id) {
        one.apply(event);
    }
}
