//! A simulated producer: makes batches, remembers what it has no answer for, and, if idempotent,
//! sends that again in its order.

use std::collections::VecDeque;

use base::batch::BatchBuilder;
use base::{Batch, BrokerTime, PartitionId};

use crate::knobs::Knobs;
use crate::ledger::{Ledger, Sender, SentId};
use crate::random::{MILLION, Random};

/// See the module's description.
#[derive(Debug)]
pub struct Producer {
    /// Of its present stint at one partition.
    number: u32,
    pub partition: PartitionId,
    identity: Option<Identity>,
    next_order: u64,
    /// Connections lost so far.
    lost: u32,
    /// Made and not yet answered, in order.
    outstanding: VecDeque<Outstanding>,
}

/// What makes a producer idempotent.
#[derive(Clone, Copy, Debug)]
struct Identity {
    id: i64,
    epoch: i16,
    next_sequence: i32,
}

/// The distance between the numbers of one producer's stints.
const STINT: u32 = 1_000;

impl Identity {
    fn numbered(number: u32) -> Self {
        Self { id: i64::from(number) + 1, epoch: 0, next_sequence: 0 }
    }
}

/// A batch without an answer.
#[derive(Clone, Debug)]
pub struct Outstanding {
    pub id: SentId,
    pub bytes: Vec<u8>,
    /// The broker has it and may yet answer.
    pub waits: bool,
    /// It was sent before, in this life of the broker or an earlier one.
    pub retried: bool,
}

impl Producer {
    pub fn new(number: u32, partition: PartitionId, idempotent: bool) -> Self {
        let identity = idempotent.then_some(Identity::numbered(number));
        let outstanding = VecDeque::new();
        Self { number, partition, identity, next_order: 0, lost: 0, outstanding }
    }

    #[must_use]
    pub fn is_idempotent(&self) -> bool {
        self.identity.is_some()
    }

    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// The first batch that the broker does not have, by this producer's knowledge.
    pub fn next_to_send(&mut self) -> Option<&mut Outstanding> {
        self.outstanding.iter_mut().find(|batch| !batch.waits)
    }

    /// Turns to another partition, as another producer. What has no answer is left open.
    pub fn move_to(&mut self, partition: PartitionId) {
        *self = Self::new(self.number + STINT, partition, self.is_idempotent());
    }

    /// Becomes a younger instance of itself, with sequences from 0. Only without open batches.
    pub fn bump_epoch(&mut self) {
        assert!(self.outstanding.is_empty(), "an epoch is bumped when nothing is open");
        if let Some(identity) = &mut self.identity {
            identity.epoch += 1;
            identity.next_sequence = 0;
        }
    }

    /// Makes the next batch, with records no larger together than `bytes_max`.
    pub fn make(
        &mut self,
        ledger: &mut Ledger,
        random: &mut Random,
        knobs: &Knobs,
        wall: BrokerTime,
        bytes_max: u64,
    ) {
        let count = random.within(1..=knobs.batch_records);
        let timestamp = wall.0 - random.below(1_000) as i64;
        let mut builder = BatchBuilder::new(timestamp);
        let number = ledger.next_id().0.to_be_bytes();
        let mut left = bytes_max.saturating_sub(200 + 40 * count);
        for record in 0..count {
            let len = random.exponential(knobs.value_bytes).min(left);
            left -= len;
            let mut value = if record == 0 { number.to_vec() } else { Vec::new() };
            value.resize(value.len() + len as usize, random.below(256) as u8);
            builder.push(timestamp + record as i64, None, Some(&value), &[]);
        }
        let bytes = match &mut self.identity {
            None => builder.build(),
            Some(identity) => {
                let sequence = identity.next_sequence;
                identity.next_sequence += count as i32;
                builder.build_with(0, identity.id, identity.epoch, sequence)
            }
        };
        let sender = Sender {
            producer: self.number,
            order: self.next_order,
            connection: self.lost,
            idempotent: self.identity.is_some(),
        };
        self.next_order += 1;
        let batch = Batch::parse(&bytes).expect("a built batch is one");
        let id = ledger.send(self.partition, sender, &batch);
        self.outstanding.push_back(Outstanding { id, bytes, waits: false, retried: false });
    }

    /// The broker has taken batch `id` and may answer.
    pub fn taken(&mut self, id: SentId) {
        if let Some(batch) = self.outstanding.iter_mut().find(|batch| batch.id == id) {
            batch.waits = true;
        }
    }

    /// The broker did not take batch `id`. An idempotent producer keeps it and tries again.
    pub fn refused(&mut self, id: SentId, ledger: &mut Ledger) {
        match self.identity {
            Some(_) => {}
            None => {
                ledger.refused(id);
                self.forget(id);
            }
        }
    }

    /// Takes the id and epoch that a broker gave it.
    pub fn identify(&mut self, id: i64, epoch: i16) {
        self.identity = Some(Identity { id, epoch, next_sequence: 0 });
    }

    /// Whether no batch is open before `id`.
    #[must_use]
    pub fn is_first(&self, id: SentId) -> bool {
        self.outstanding.front().is_none_or(|first| first.id == id)
    }

    /// Batch `id` may or may not have been taken: an idempotent producer sends it again, another
    /// gives it up.
    pub fn not_taken(&mut self, id: SentId) {
        if self.identity.is_none() {
            return self.forget(id);
        }
        if let Some(batch) = self.outstanding.iter_mut().find(|batch| batch.id == id) {
            (batch.waits, batch.retried) = (false, true);
        }
    }

    /// Batch `id` was acked.
    pub fn acked(&mut self, id: SentId) {
        self.forget(id);
    }

    /// The broker is gone: an idempotent producer will send again what has no answer; another
    /// never learns.
    pub fn disconnected(&mut self) {
        self.lost += 1;
        if self.identity.is_none() {
            self.outstanding.clear();
        }
        for batch in &mut self.outstanding {
            batch.retried |= batch.waits;
            batch.waits = false;
        }
    }

    fn forget(&mut self, id: SentId) {
        self.outstanding.retain(|batch| batch.id != id);
    }
}

/// As many producers as the knobs say, spread over `partitions`.
#[must_use]
pub fn crowd(knobs: &Knobs, random: &mut Random, partitions: &[PartitionId]) -> Vec<Producer> {
    let number = |number| {
        let idempotent = random.below(MILLION) < knobs.idempotent;
        Producer::new(number as u32, random.pick(partitions), idempotent)
    };
    (0..knobs.producers).map(number).collect()
}
