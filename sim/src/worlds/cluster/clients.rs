//! Producers and consumers of a cluster: they ask whom they take for the leader, and judge the
//! answers by the ledger.

use std::collections::BTreeMap;
use std::time::Duration;

use base::{Instant, NodeId, Now, Offset, PartitionId, Piece};
use net::ErrorCode;
use shard::{Answer, Ask, Fetched, Produced, Ticket};

use crate::knobs::Knobs;
use crate::ledger::{Ledger, SentId};
use crate::producer::{self, Producer};
use crate::random::Random;
use crate::trace::Trace;
use crate::violation::{Checker, Violation};

/// A client that waits longer takes the question for lost.
const PATIENCE: Duration = Duration::from_secs(3);
/// The rest of a producer after an error.
const BACKOFF: Duration = Duration::from_millis(20);

/// See the module's description.
#[derive(Debug)]
pub(super) struct Clients {
    producers: Vec<Supplier>,
    readers: Vec<Reader>,
    pub(super) ledger: Ledger,
    waiting: BTreeMap<u32, Question>,
    tickets: u32,
    pub(super) acked: u64,
}

#[derive(Debug)]
struct Supplier {
    producer: Producer,
    rests_until: Instant,
    /// One of its batches was acked: leaders know its sequence. One that is unknown may begin with
    /// any, and what it sent first may arrive last.
    is_known: bool,
}

#[derive(Debug)]
struct Reader {
    partition: PartitionId,
    from: Offset,
    waits: bool,
}

#[derive(Debug)]
struct Question {
    since: Instant,
    what: What,
}

#[derive(Debug)]
enum What {
    Produce {
        supplier: usize,
        id: SentId,
        /// All before it was answered when it was sent.
        is_first: bool,
    },
    Fetch {
        reader: usize,
        partition: PartitionId,
        from: Offset,
    },
    /// For the last look.
    Verify {
        partition: PartitionId,
        from: Offset,
    },
}

/// A question on its way.
pub(super) struct Asking {
    pub(super) ticket: Ticket,
    pub(super) partition: PartitionId,
    pub(super) ask: Ask,
}

impl Clients {
    pub(super) fn new(knobs: &Knobs, random: &mut Random, partitions: &[PartitionId]) -> Self {
        let mut ledger = Ledger::default();
        for partition in partitions {
            ledger.open(*partition, crate::ledger::Keep::default());
        }
        let supplier = |producer| Supplier { producer, rests_until: Instant(0), is_known: false };
        let reader =
            |_| Reader { partition: random.pick(partitions), from: Offset::ZERO, waits: false };
        let readers = (0..knobs.consumers.max(1)).map(reader).collect();
        let crowd = producer::crowd(knobs, random, partitions);
        Self {
            producers: crowd.into_iter().map(supplier).collect(),
            readers,
            ledger,
            waiting: BTreeMap::new(),
            tickets: 0,
            acked: 0,
        }
    }

    fn ask(&mut self, now: Instant, partition: PartitionId, what: What, ask: Ask) -> Asking {
        self.tickets += 1;
        self.waiting.insert(self.tickets, Question { since: now, what });
        let ticket = Ticket { slot: self.tickets, generation: 0 };
        Asking { ticket, partition, ask }
    }

    /// A producer makes a batch if it may, or a consumer reads on.
    pub(super) fn step(
        &mut self,
        now: Now,
        knobs: &Knobs,
        random: &mut Random,
        bytes_max: u64,
        trace: &mut Trace,
    ) -> Vec<Asking> {
        if random.chance(600_000) {
            let index = random.below(self.producers.len() as u64) as usize;
            let Self { producers, ledger, .. } = self;
            let Supplier { producer, is_known, .. } = &mut producers[index];
            // Without sequences, what is in flight together may arrive in any order.
            let has_order = producer.is_idempotent() && *is_known;
            let most = if has_order { knobs.pipeline as usize } else { 1 };
            if producer.outstanding() < most && producer.next_to_send().is_none() {
                producer.make(ledger, random, knobs, now.wall, bytes_max);
            }
            return self.push(now.mono, index, trace);
        }
        let index = random.below(self.readers.len() as u64) as usize;
        self.read(now.mono, index, random).into_iter().collect()
    }

    /// Sends all that has no answer.
    pub(super) fn push_all(&mut self, now: Instant, trace: &mut Trace) -> Vec<Asking> {
        (0..self.producers.len()).flat_map(|index| self.push(now, index, trace)).collect()
    }

    fn push(&mut self, now: Instant, index: usize, trace: &mut Trace) -> Vec<Asking> {
        let mut asked = Vec::new();
        while self.producers[index].rests_until <= now {
            let producer = &mut self.producers[index].producer;
            let partition = producer.partition;
            let Some(next) = producer.next_to_send() else { break };
            let (id, batch) = (next.id, next.bytes.clone());
            trace.say(now, "asked", format_args!("{id:?} of {index} for {partition}"));
            producer.taken(id);
            let is_first = producer.is_first(id);
            let what = What::Produce { supplier: index, id, is_first };
            asked.push(self.ask(now, partition, what, Ask::Produce { batch, all: true }));
        }
        asked
    }

    fn read(&mut self, now: Instant, index: usize, random: &mut Random) -> Option<Asking> {
        let reader = &mut self.readers[index];
        if reader.waits {
            return None;
        }
        if random.chance(20_000) {
            let end = self.ledger.end(reader.partition);
            reader.from = Offset(random.within(0..=end.0));
        }
        reader.waits = true;
        let (partition, from) = (reader.partition, reader.from);
        let max_bytes = random.pick(&[1, 2_000, 50_000, 1_000_000]);
        let ask = Ask::Fetch { from, max_bytes, min_one: true, known_epoch: None };
        Some(self.ask(now, partition, What::Fetch { reader: index, partition, from }, ask))
    }

    /// Reads a partition from `from` on, for the last look.
    pub(super) fn verify(&mut self, now: Instant, partition: PartitionId, from: Offset) -> Asking {
        let ask = Ask::Fetch { from, max_bytes: 1_000_000, min_one: true, known_epoch: None };
        self.ask(now, partition, What::Verify { partition, from }, ask)
    }

    /// Whether every batch of an idempotent producer is answered.
    pub(super) fn is_idle(&self) -> bool {
        self.producers.iter().all(|supplier| supplier.producer.outstanding() == 0)
    }

    pub(super) fn waits_for(&self, ticket: Ticket) -> bool {
        self.waiting.contains_key(&ticket.slot)
    }

    /// Gives up on questions that were not answered in time.
    pub(super) fn give_up(&mut self, now: Instant) {
        let late = |question: &Question| PATIENCE <= now.since(question.since);
        let overdue: Vec<u32> =
            self.waiting.iter().filter(|(_, question)| late(question)).map(|(t, _)| *t).collect();
        for ticket in overdue {
            match self.waiting.remove(&ticket).map(|question| question.what) {
                Some(What::Produce { supplier, id, .. }) => self.lose(supplier, id),
                Some(What::Fetch { reader, .. }) => self.readers[reader].waits = false,
                Some(What::Verify { .. }) | None => {}
            }
        }
    }

    /// Nobody knows what became of a batch. A producer without sequences begins anew, as another.
    fn lose(&mut self, supplier: usize, id: SentId) {
        let producer = &mut self.producers[supplier].producer;
        if producer.is_idempotent() {
            producer.not_taken(id);
        } else {
            producer.move_to(producer.partition);
        }
    }

    /// Takes an answer. For the last look: how far the partition was read, and whether that is all.
    pub(super) fn take(
        &mut self,
        now: Instant,
        ticket: Ticket,
        answer: Answer,
        trace: &mut Trace,
    ) -> Result<Option<(PartitionId, Offset, bool)>, Violation> {
        let Some(question) = self.waiting.remove(&ticket.slot) else { return Ok(None) };
        match question.what {
            What::Produce { supplier, id, is_first } => {
                self.judge(now, supplier, (id, is_first), answer, trace)?;
                Ok(None)
            }
            What::Fetch { reader, partition, from } => {
                self.readers[reader].waits = false;
                if let Answer::Fetched(fetched) = answer {
                    self.readers[reader].from = self.saw(partition, from, &fetched)?.0;
                }
                Ok(None)
            }
            What::Verify { partition, from } => match answer {
                Answer::Fetched(fetched) => {
                    let (next, is_all) = self.saw(partition, from, &fetched)?;
                    if is_all {
                        self.ledger.saw_end(partition, next)?;
                    }
                    Ok(Some((partition, next, is_all)))
                }
                _ => Ok(Some((partition, from, false))),
            },
        }
    }

    fn saw(
        &mut self,
        partition: PartitionId,
        from: Offset,
        fetched: &Fetched,
    ) -> Result<(Offset, bool), Violation> {
        let mut bytes = Vec::new();
        for piece in &fetched.records {
            match piece {
                Piece::Bytes { bytes: own, from } => bytes.extend_from_slice(&own[*from..]),
                other => panic!("what comes by mail is copied: {other:?}"),
            }
        }
        let next = self.ledger.saw(partition, from, &bytes)?;
        // A new leader may not know yet how far all is committed that the one before had shown.
        if !bytes.is_empty() && fetched.committed < next {
            let what = format!("{partition}: read to {next}, committed is {}", fetched.committed);
            return Err(Violation::new(Checker::Durable, what));
        }
        Ok((next, next == fetched.committed))
    }

    fn judge(
        &mut self,
        now: Instant,
        supplier: usize,
        (id, is_first): (SentId, bool),
        answer: Answer,
        trace: &mut Trace,
    ) -> Result<(), Violation> {
        let rests_until = now.plus(BACKOFF);
        match answer {
            Answer::Produced(Produced { base, .. }) => {
                trace.say(now, "acked", format_args!("{id:?} at {base}"));
                self.ledger.acked(id, base)?;
                self.producers[supplier].producer.acked(id);
                self.producers[supplier].is_known = true;
                self.acked += 1;
            }
            Answer::Failed(code) => {
                trace.say(now, "refused", format_args!("{id:?}: {code:?}"));
                self.producers[supplier].rests_until = rests_until;
                let is_early = code == ErrorCode::OutOfOrderSequenceNumber && !is_first;
                if !is_passing(code) && !is_early {
                    let what = format!("{id:?} of {supplier} was refused: {code}");
                    return Err(Violation::new(Checker::Once, what));
                }
                self.lose(supplier, id);
            }
            other => panic!("a produce was answered by {other:?}"),
        }
        Ok(())
    }
}

/// Errors after which a client tries again.
fn is_passing(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NotLeaderOrFollower
            | ErrorCode::UnknownTopicOrPartition
            | ErrorCode::LeaderNotAvailable
            | ErrorCode::RequestTimedOut
            | ErrorCode::KafkaStorageError
            | ErrorCode::NotEnoughReplicas
            | ErrorCode::NotEnoughReplicasAfterAppend
            | ErrorCode::FencedLeaderEpoch
            | ErrorCode::UnknownLeaderEpoch
            | ErrorCode::InvalidTimestamp
    )
}

/// The node that a client takes for the leader.
pub(super) fn anyone(random: &mut Random, nodes: u16) -> NodeId {
    NodeId(random.below(u64::from(nodes)) as u16)
}
