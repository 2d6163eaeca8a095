//! What was promised to clients and what they have seen: the checkers C1, C3, C4, C5 and C9.
//!
//! ```text
//!   sent ──▶ refused            may never be seen
//!     │
//!     ├────▶ acked at offset    must be seen there, until it may be removed
//!     └────▶ no answer          may be seen, at one offset, in its producer's order;
//!                               once seen it must stay, as if acked
//! ```
//! Every batch carries its number in the ledger, so that bytes which come back name what they are.

use std::collections::BTreeMap;

use base::batch::records;
use base::crc::crc32c;
use base::{Batch, BrokerTime, Epoch, Instant, Now, Offset, PartitionId};

use crate::violation::{Checker, Violation};

/// A batch's number in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SentId(pub u64);

/// Whose batch it is, and which one of theirs: a producer numbers its batches from 0, for each
/// partition anew.
///
/// Of two batches of a producer the one sent first stands first, with one exception that Kafka makes
/// too: what a broker still has of a lost connection may be appended after what came on the next. It
/// needs all of this: the producer is not idempotent, the broker lived on, and the first batch had no
/// answer when the second was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    pub producer: u32,
    pub order: u64,
    /// Which of the producer's connections the batch was first sent on.
    pub connection: u32,
    /// Retried until answered: must be in the log without gaps.
    pub idempotent: bool,
}

/// What the checker of retention needs to know of a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Broker milliseconds; `None` for ever.
    pub ms: Option<u64>,
    pub bytes: Option<u64>,
}

/// See the module's description.
#[derive(Debug, Default)]
pub struct Ledger {
    sent: Vec<Sent>,
    books: BTreeMap<PartitionId, Book>,
    /// The latest that the wall clock has ever shown.
    latest: BrokerTime,
    now: Instant,
    /// How often the broker was started.
    lives: u32,
}

#[derive(Debug)]
struct Sent {
    partition: PartitionId,
    sender: Sender,
    records: u32,
    bytes: u64,
    records_crc: u32,
    /// From when its age counts: by Kafka's rule its largest timestamp, but no later than the
    /// wall clock when it was sent.
    at: BrokerTime,
    /// When it was sent, by the clock that nobody steps.
    since: Instant,
    /// The life of the broker in which it was sent.
    life: u32,
    /// The end of what its producer had been told of when it was sent: it must stand behind that.
    behind: Offset,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unanswered,
    Refused,
    /// Acked or seen there.
    Placed(Offset),
}

/// A partition's log as far as anyone was told.
#[derive(Debug)]
struct Book {
    keep: Keep,
    log: BTreeMap<Offset, SentId>,
    /// Of each producer: its batches in the log, in its own order.
    producers: BTreeMap<u32, BTreeMap<u64, Offset>>,
    /// Of each producer: the end of what was acked.
    acked_ends: BTreeMap<u32, Offset>,
    epochs: BTreeMap<Offset, Epoch>,
    /// Where the log was last seen to start.
    start: Offset,
    /// A deletion up to here was acked: no restart may undo it.
    start_acked: Offset,
    /// The highest offset up to which someone asked to delete.
    delete_before: Offset,
    /// The broker has said that records are missing.
    lossy: bool,
    /// A tail was lost that nobody could miss but us.
    tail_lost: bool,
}

impl Sent {
    /// Whether this batch may stand behind `younger` of the same producer, which stands at `at`.
    fn may_be_late(&self, younger: &Self, at: Offset) -> bool {
        !self.sender.idempotent
            && self.sender.connection != younger.sender.connection
            && self.life == younger.life
            && younger.behind <= at
    }
}

impl Ledger {
    pub fn open(&mut self, partition: PartitionId, keep: Keep) {
        let book = Book {
            keep,
            log: BTreeMap::new(),
            producers: BTreeMap::new(),
            acked_ends: BTreeMap::new(),
            epochs: BTreeMap::new(),
            start: Offset::ZERO,
            start_acked: Offset::ZERO,
            delete_before: Offset::ZERO,
            lossy: false,
            tail_lost: false,
        };
        assert!(self.books.insert(partition, book).is_none(), "{partition} is opened once");
    }

    /// Forgets a partition whose deletion someone asked for.
    pub fn close(&mut self, partition: PartitionId) {
        self.books.remove(&partition);
    }

    /// The broker says, loudly, that the partition has lost records: from now on what comes back
    /// must still be genuine and in order, but not complete.
    pub fn declare_loss(&mut self, partition: PartitionId) {
        if let Some(book) = self.books.get_mut(&partition) {
            book.lossy = true;
        }
    }

    pub fn tell_time(&mut self, now: Now) {
        self.latest = self.latest.max(now.wall);
        self.now = now.mono;
    }

    /// The number that the next batch must carry.
    #[must_use]
    pub fn next_id(&self) -> SentId {
        SentId(self.sent.len() as u64)
    }

    /// Notes a batch about to be sent for the first time.
    pub fn send(&mut self, partition: PartitionId, sender: Sender, batch: &Batch<'_>) -> SentId {
        let id = self.next_id();
        let told =
            self.books.get(&partition).and_then(|book| book.acked_ends.get(&sender.producer));
        let behind = told.copied().unwrap_or(Offset::ZERO);
        self.sent.push(Sent {
            partition,
            sender,
            records: batch.record_count(),
            bytes: batch.bytes().len() as u64,
            records_crc: crc32c(batch.records()),
            at: self.latest.min(BrokerTime(batch.max_timestamp())),
            since: self.now,
            life: self.lives,
            behind,
            state: State::Unanswered,
        });
        id
    }

    /// The batch was refused and will not be sent again.
    pub fn refused(&mut self, id: SentId) {
        let sent = &mut self.sent[id.0 as usize];
        if sent.state == State::Unanswered {
            sent.state = State::Refused;
        }
    }

    /// The batch was acked at `base`.
    pub fn acked(&mut self, id: SentId, base: Offset) -> Result<(), Violation> {
        self.place(id, base)?;
        let Sent { partition, sender, records, .. } = self.sent[id.0 as usize];
        if let Some(book) = self.books.get_mut(&partition) {
            let told = book.acked_ends.entry(sender.producer).or_default();
            *told = (*told).max(base.plus(u64::from(records)));
        }
        Ok(())
    }

    /// Someone asked to delete what lies before `offset`.
    pub fn delete_requested(&mut self, partition: PartitionId, offset: Offset) {
        if let Some(book) = self.books.get_mut(&partition) {
            book.delete_before = book.delete_before.max(offset);
        }
    }

    /// The deletion of what lies before `offset` was acked.
    pub fn delete_acked(&mut self, partition: PartitionId, offset: Offset) {
        if let Some(book) = self.books.get_mut(&partition) {
            book.start_acked = book.start_acked.max(offset);
        }
    }

    /// The journal is damaged, and the broker says so: deletions of records may be forgotten although
    /// they were acked. What they removed may come back, nothing else.
    pub fn forgive_deletions(&mut self) {
        for book in self.books.values_mut() {
            (book.start, book.start_acked) = (Offset::ZERO, Offset::ZERO);
        }
    }

    /// The broker is gone: deletions that were not acked may have been forgotten.
    pub fn restarted(&mut self) {
        self.lives += 1;
        for book in self.books.values_mut() {
            book.start = book.start_acked;
        }
    }

    /// Batches came back for a read from `from`; returns where the next read would go on.
    pub fn saw(
        &mut self,
        partition: PartitionId,
        from: Offset,
        bytes: &[u8],
    ) -> Result<Offset, Violation> {
        let lossy = self.books.get(&partition).is_some_and(|book| book.lossy);
        let mut expected = None;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (batch, behind) = Batch::parse_prefix(rest).map_err(|error| {
                durable(partition, format!("a read from {from} returned no batch: {error}"))
            })?;
            rest = behind;
            let base = batch.base_offset();
            let joins = match expected {
                None => from < batch.end_offset() && (base <= from || lossy),
                Some(expected) => expected == base || (lossy && expected < base),
            };
            if !joins {
                let what = format!("{batch:?} does not join {}", expected.unwrap_or(from));
                return Err(offsets(partition, what));
            }
            self.saw_batch(partition, &batch)?;
            expected = Some(batch.end_offset());
        }
        Ok(expected.unwrap_or(from))
    }

    /// The log is readable up to `end` and no further: everything placed must lie before it.
    pub fn saw_end(&mut self, partition: PartitionId, end: Offset) -> Result<(), Violation> {
        let Some(book) = self.books.get(&partition) else { return Ok(()) };
        if book.lossy {
            return Ok(());
        }
        let Some((base, id)) = book.log.last_key_value() else { return Ok(()) };
        let known_end = base.plus(u64::from(self.sent[id.0 as usize].records));
        if end < known_end {
            let what = format!("{id:?} at {base} is gone: the log ends at {end}");
            return Err(durable(partition, what));
        }
        if book.start == Offset::ZERO && !book.tail_lost {
            self.check_gaps(partition, book)
        } else {
            Ok(())
        }
    }

    /// The log says that it starts at `start`.
    pub fn saw_start(&mut self, partition: PartitionId, start: Offset) -> Result<(), Violation> {
        let Some(book) = self.books.get(&partition).filter(|book| !book.lossy) else {
            return Ok(());
        };
        if start < book.start {
            let what = format!("the log's start fell from {} to {start}", book.start);
            return Err(retention(partition, what));
        }
        let first = book.log.range(..=book.start).next_back().map_or(book.start, |(base, _)| *base);
        for (base, id) in book.log.range(first..start.max(first)) {
            self.check_removal(partition, book, *base, *id, start)?;
        }
        self.books.get_mut(&partition).expect("found above").start = start;
        Ok(())
    }

    /// A client was told, some time ago, that the log starts at `start`.
    pub fn heard_start(&mut self, partition: PartitionId, start: Offset) -> Result<(), Violation> {
        let known = self.books.get(&partition).map_or(Offset::ZERO, |book| book.start);
        if start <= known { Ok(()) } else { self.saw_start(partition, start) }
    }

    /// The end of what was placed: everything before it must be readable.
    #[must_use]
    pub fn end(&self, partition: PartitionId) -> Offset {
        let last = self.books.get(&partition).and_then(|book| book.log.last_key_value());
        last.map_or(Offset::ZERO, |(base, id)| {
            base.plus(u64::from(self.sent[id.0 as usize].records))
        })
    }

    /// Forgets what lies at `end` and beyond: a drive that lied has lost it, and nobody can know.
    pub fn excuse_tail(&mut self, partition: PartitionId, end: Offset) {
        let Some(book) = self.books.get_mut(&partition) else { return };
        let lost = book.log.split_off(&end);
        book.tail_lost |= !lost.is_empty();
        (book.start, book.start_acked) = (Offset::ZERO, Offset::ZERO);
        for (_, id) in lost {
            let sent = &mut self.sent[id.0 as usize];
            sent.state = State::Unanswered;
            if let Some(orders) = book.producers.get_mut(&sent.sender.producer) {
                orders.remove(&sent.sender.order);
            }
        }
        book.acked_ends.values_mut().for_each(|told| *told = (*told).min(end));
        book.epochs.split_off(&end);
    }

    fn saw_batch(&mut self, partition: PartitionId, batch: &Batch<'_>) -> Result<(), Violation> {
        batch
            .verify_checksum()
            .map_err(|error| durable(partition, format!("{batch:?} came back: {error}")))?;
        let id = numbered(batch).filter(|id| id.0 < self.sent.len() as u64);
        let id = id.ok_or_else(|| durable(partition, format!("{batch:?} was never sent")))?;
        let sent = &self.sent[id.0 as usize];
        let same = sent.partition == partition
            && sent.records == batch.record_count()
            && sent.records_crc == crc32c(batch.records());
        if !same {
            let what = format!("{batch:?} says it is {id:?}, which was {sent:?}");
            return Err(durable(partition, what));
        }
        self.place(id, batch.base_offset())?;
        self.check_epoch(partition, batch)
    }

    fn place(&mut self, id: SentId, base: Offset) -> Result<(), Violation> {
        let sent = &self.sent[id.0 as usize];
        let (partition, sender, records) = (sent.partition, sent.sender, sent.records);
        match sent.state {
            State::Placed(known) if known == base => return Ok(()),
            State::Placed(known) => {
                let what = format!("{id:?} stands at {known} and at {base}");
                let checker = if sender.idempotent { Checker::Once } else { Checker::Offsets };
                return Err(Violation::new(checker, format!("{partition}: {what}")));
            }
            State::Refused => {
                return Err(offsets(partition, format!("{id:?} was refused and stands at {base}")));
            }
            State::Unanswered => {}
        }
        let Some(book) = self.books.get(&partition) else { return Ok(()) };
        let end = base.plus(u64::from(records));
        let before = book.log.range(..end).next_back();
        if let Some((other_base, other)) = before {
            let other_end = other_base.plus(u64::from(self.sent[other.0 as usize].records));
            if base < other_end {
                let what = format!("{id:?} at {base} lies over {other:?} at {other_base}");
                return Err(offsets(partition, what));
            }
        }
        self.check_order(id, base)?;
        let book = self.books.get_mut(&partition).expect("found above");
        book.producers.entry(sender.producer).or_default().insert(sender.order, base);
        book.log.insert(base, id);
        self.sent[id.0 as usize].state = State::Placed(base);
        Ok(())
    }

    /// Whether batch `id` may stand at `base`, for all that is known of its producer's others: see
    /// [`Sender`].
    fn check_order(&self, id: SentId, base: Offset) -> Result<(), Violation> {
        let sent = &self.sent[id.0 as usize];
        let (partition, sender) = (sent.partition, sent.sender);
        let book = &self.books[&partition];
        let Some(orders) = book.producers.get(&sender.producer) else { return Ok(()) };
        // Without exceptions the neighbours speak for all others.
        let all = if sender.idempotent { 1 } else { usize::MAX };
        let earlier = orders.range(..sender.order).rev().take(all);
        let overtaken = earlier.filter(|(_, at)| base < **at).find(|(_, at)| {
            let other = &self.sent[book.log[at].0 as usize];
            !other.may_be_late(sent, base)
        });
        let later = orders.range(sender.order + 1..).take(all);
        let overtaking = later.filter(|(_, at)| **at < base).find(|(_, at)| {
            let other = &self.sent[book.log[at].0 as usize];
            !sent.may_be_late(other, **at)
        });
        let Some((order, at)) = overtaken.or(overtaking) else { return Ok(()) };
        let what = format!("{sender:?} stands at {base}, its number {order} at {at}");
        Err(Violation::new(Checker::Order, format!("{partition}: {what}")))
    }

    fn check_epoch(&mut self, partition: PartitionId, batch: &Batch<'_>) -> Result<(), Violation> {
        let Some(book) = self.books.get_mut(&partition) else { return Ok(()) };
        let (base, epoch) = (batch.base_offset(), batch.epoch());
        let earlier = book.epochs.range(..=base).next_back().map(|(_, epoch)| *epoch);
        let later = book.epochs.range(base..).next().map(|(_, epoch)| *epoch);
        if earlier.is_some_and(|earlier| epoch < earlier)
            || later.is_some_and(|later| later < epoch)
        {
            let what = format!("{batch:?} stands between epochs {earlier:?} and {later:?}");
            return Err(offsets(partition, what));
        }
        book.epochs.insert(base, epoch);
        Ok(())
    }

    /// Whether a batch that begins before `start` may be gone, in whole or in part.
    fn check_removal(
        &self,
        partition: PartitionId,
        book: &Book,
        base: Offset,
        id: SentId,
        start: Offset,
    ) -> Result<(), Violation> {
        let sent = &self.sent[id.0 as usize];
        let end = base.plus(u64::from(sent.records)).min(start);
        if end <= book.start {
            return Ok(());
        }
        let asked = end <= book.delete_before;
        // The wall clock may have been stepped back: then the other one tells the age.
        let by_wall_ms = self.latest.0.saturating_sub(sent.at.0);
        let age_ms = by_wall_ms.max(self.now.since(sent.since).as_millis() as i64);
        let expired = book.keep.ms.is_some_and(|ms| ms as i64 <= age_ms);
        // What lay behind it may have gone since, for reasons of its own.
        let kept = self.kept_bytes(partition, end);
        let crowded = book.keep.bytes.is_some_and(|limit| limit <= kept);
        if asked || expired || crowded {
            return Ok(());
        }
        let keep = book.keep;
        let what = format!(
            "{id:?} at {base}, {age_ms} ms old, was removed under {keep:?}: {kept} bytes lay \
             behind it"
        );
        Err(retention(partition, what))
    }

    /// Bytes that may stand at `start` and behind it.
    fn kept_bytes(&self, partition: PartitionId, start: Offset) -> u64 {
        let own = self.sent.iter().filter(|sent| sent.partition == partition);
        let kept = own.filter(|sent| match sent.state {
            State::Placed(at) => start <= at,
            State::Unanswered => true,
            State::Refused => false,
        });
        kept.map(|sent| sent.bytes).sum()
    }

    /// An idempotent producer's batches stand without gaps in its order.
    fn check_gaps(&self, partition: PartitionId, book: &Book) -> Result<(), Violation> {
        for (producer, orders) in &book.producers {
            let idempotent = |base: &Offset| {
                book.log.get(base).is_some_and(|id| self.sent[id.0 as usize].sender.idempotent)
            };
            let last = orders.last_key_value().filter(|(_, base)| idempotent(base));
            let gapless = last.is_none_or(|(last, _)| last + 1 == orders.len() as u64);
            if !gapless {
                let what = format!("producer {producer} has gaps: {:?}", orders.keys());
                return Err(Violation::new(Checker::Order, format!("{partition}: {what}")));
            }
        }
        Ok(())
    }
}

/// The number that a batch carries: the first eight bytes of its first value.
fn numbered(batch: &Batch<'_>) -> Option<SentId> {
    let value = records(batch.records()).next()?.value?;
    Some(SentId(u64::from_be_bytes(*value.first_chunk()?)))
}

fn durable(partition: PartitionId, what: String) -> Violation {
    Violation::new(Checker::Durable, format!("{partition}: {what}"))
}

fn offsets(partition: PartitionId, what: String) -> Violation {
    Violation::new(Checker::Offsets, format!("{partition}: {what}"))
}

fn retention(partition: PartitionId, what: String) -> Violation {
    Violation::new(Checker::Retention, format!("{partition}: {what}"))
}

#[cfg(test)]
mod tests;
