//! One shard: the owner's side of every question about its partitions.
//!
//! ```text
//!   ask ──▶ engine ──▶ answered at once
//!                 ├──▶ waits for its frame      (gated: Produce, DeleteRecords)
//!                 ├──▶ waits for a disk read    (reading: Fetch)
//!                 ├──▶ waits for records        (watches)
//!                 └──▶ waits for journal room or a leader (held)
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use base::{
    Batch, Committed, ConnId, Done, Epoch, Instant, Now, Offset, PartitionId, Piece, Seq, ShardId,
    Span, TopicNumber,
};
use engine::{AppendError, DiskBytes, Engine, Phase, Read, ReadToken, TimeHit, TimeLookup};
use net::ErrorCode;
use replication::Topic;
use replication::replica::Settings;

use crate::ack_times::AckTimes;
use crate::ask::{Answer, Ask, Fetched, Produced};
use crate::commit::{CommitProof, DurableSeq};
use crate::held::{Adjourned, Held};
use crate::mail::Asker;
use crate::metrics::ShardMetrics;
use crate::pool::Pool;
use crate::refusal;
use crate::replicas::Replicas;
use crate::slow_disk::SlowDisk;
use crate::watches::Watches;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) id: ShardId,
    pub(crate) engine: Engine,
    pub(crate) times: AckTimes,
    /// Answers that leave once their frame is durable, in frame order.
    gated: VecDeque<(Seq, Asker, Answer)>,
    /// Connections of this core with an answer that waits for a frame, in frame order.
    awaiting: VecDeque<(Seq, ConnId)>,
    pub(crate) watches: Watches,
    /// Appends that found no room in the journal, in arrival order.
    pub(crate) held: VecDeque<Held>,
    /// What waits for another leader, or for a reign to be opened.
    pub(crate) adjourned: Adjourned,
    /// Fetches that wait for the disk.
    reading: Vec<(ReadToken, Asker, PartitionId)>,
    pub(crate) answers: VecDeque<(Asker, Answer)>,
    pub(crate) spans: Vec<Span>,
    /// `None` while the shard holds no replicated partition.
    pub(crate) replicas: Option<Box<Replicas>>,
    pub(crate) replication: Settings,
    /// Topics as they were last put in force here.
    pub(crate) applied: BTreeMap<TopicNumber, Arc<Topic>>,
    /// The phase that the control core was last told.
    pub(crate) told: Option<Phase>,
    pub(crate) slow_disk: SlowDisk,
}

/// Where an append went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed {
    pub(crate) seq: Seq,
    pub(crate) produced: Produced,
    /// Its epoch and end, if other shards hold replicas.
    pub(crate) replicated: Option<(Epoch, Offset)>,
}

/// Why an append went nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unplaced {
    /// The journal has no room at this moment: it is to wait.
    NoRoom,
    /// The partition is being handed over: it is to wait for the successor.
    HandedOver,
    Refused(ErrorCode),
}

/// An answer now, none yet, or a refusal.
pub(crate) type Settled = Result<Option<Answer>, ErrorCode>;

/// Kafka's names for ends, in place of a time.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

/// "There is no such record."
const NO_OFFSET: Answer = Answer::Offset { offset: -1, timestamp_ms: -1, epoch: -1 };

impl Shard {
    pub(crate) fn new(id: ShardId, engine: Engine, replication: Settings) -> Self {
        Self {
            id,
            engine,
            times: AckTimes::default(),
            gated: VecDeque::new(),
            awaiting: VecDeque::new(),
            watches: Watches::default(),
            held: VecDeque::new(),
            adjourned: Adjourned::default(),
            reading: Vec::new(),
            answers: VecDeque::new(),
            spans: Vec::new(),
            replicas: None,
            replication,
            applied: BTreeMap::new(),
            told: None,
            slow_disk: SlowDisk::default(),
        }
    }

    /// Numbers for operators.
    pub(crate) fn metrics(&mut self, now: Now) -> ShardMetrics {
        ShardMetrics {
            shard: self.id,
            engine: self.engine.metrics(),
            ack_times: *self.times.histogram(),
            gated: self.gated.len() + self.awaiting.len() + self.waiting_for_quorum(),
            held: self.held.len() + self.adjourned.len(),
            reading: self.reading.len(),
            watches: self.watches.len(),
            led: self.led_metrics(now),
        }
    }

    /// What waits here, by name: see [`crate::Core::in_hand`].
    pub(crate) fn in_hand(&self) -> [(&'static str, usize); 7] {
        [
            ("answers behind a frame", self.gated.len() + self.waiting_for_quorum()),
            ("connections behind a frame", self.awaiting.len()),
            ("appends without room", self.held.len() + self.adjourned.len()),
            ("reads", self.reading.len()),
            ("watches", self.watches.len()),
            ("answers", self.answers.len()),
            ("pins of tail memory", self.engine.pins_held()),
        ]
    }

    /// Proves that frames up to `seq` are committed, if they are.
    pub(crate) fn prove(&self, seq: Seq) -> Option<CommitProof> {
        self.durable().prove(seq)
    }

    /// Remembers to look at the connection when the frame is durable.
    pub(crate) fn await_frame(&mut self, seq: Seq, conn: ConnId) {
        // A duplicate waits for its original's frame, which lies behind: sorted insertion keeps the
        // order, and is at the end in all other cases.
        let at = self.awaiting.partition_point(|(waiting, _)| *waiting <= seq);
        self.awaiting.insert(at, (seq, conn));
    }

    /// The next connection whose frame has become durable.
    pub(crate) fn pop_acknowledged(&mut self) -> Option<ConnId> {
        let (seq, _) = self.awaiting.front()?;
        drop(self.prove(*seq)?);
        self.awaiting.pop_front().map(|(_, conn)| conn)
    }

    pub(crate) fn current_epoch(&self, id: PartitionId) -> Option<Epoch> {
        self.engine.epochs(id)?.opened()
    }

    fn durable(&self) -> DurableSeq {
        DurableSeq::of_single_replica(self.engine.durable_seq())
    }

    /// Appends stand behind others that wait for room.
    pub(crate) fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// Takes a question; its answer comes out of [`Shard::pop_answer`], now or later.
    pub(crate) fn ask(&mut self, now: Now, to: Asker, id: PartitionId, ask: Ask, pool: &mut Pool) {
        let settled = match ask {
            Ask::Produce { batch, all } => {
                self.hold_or_append(now, Held { to, partition: id, batch, all }, pool)
            }
            Ask::Watch { from, until } => Ok(self.watch(to, id, from, until)),
            Ask::Fetch { .. } | Ask::ListOffset { .. } if self.is_opening(id) => {
                self.adjourn_read(now, to, id, ask);
                Ok(None)
            }
            _ if self.check_leads(id).is_err() => Err(ErrorCode::NotLeaderOrFollower),
            Ask::Fetch { from, max_bytes, min_one, known_epoch } => self
                .check_epoch(id, known_epoch)
                .and_then(|()| self.fetch(to, (id, from), max_bytes, min_one, pool)),
            Ask::ListOffset { timestamp, known_epoch } => {
                self.check_epoch(id, known_epoch).and_then(|()| self.list_offset(to, id, timestamp))
            }
            Ask::DeleteRecords { before } => self.delete_records(now, to, id, before),
            Ask::Group(_) | Ask::ListGroups => panic!("the core's groups take this"),
            Ask::EpochEnd { epoch, known_epoch } => self
                .check_epoch(id, known_epoch)
                .map(|()| Some(Answer::EpochEnd(self.engine.end_of_epoch(id, epoch)))),
        };
        match settled {
            Ok(None) => {}
            Ok(Some(answer)) => self.answers.push_back((to, answer)),
            Err(code) => self.answers.push_back((to, Answer::Failed(code))),
        }
    }

    /// The next answer that is due.
    pub(crate) fn pop_answer(&mut self) -> Option<(Asker, Answer)> {
        self.answers.pop_front()
    }

    /// Appends one batch of a client of this very core; the caller gates the answer. `all`: the
    /// producer wants a quorum.
    pub(crate) fn append(
        &mut self,
        now: Now,
        id: PartitionId,
        batch: Batch<'_>,
        all: bool,
    ) -> Result<Placed, Unplaced> {
        if self.is_holding() {
            return Err(Unplaced::NoRoom);
        }
        self.append_now(now, id, batch, all)
    }

    pub(crate) fn append_now(
        &mut self,
        now: Now,
        id: PartitionId,
        batch: Batch<'_>,
        all: bool,
    ) -> Result<Placed, Unplaced> {
        self.check_quorum(now, id, all)?;
        let appended = self.engine.append(now, id, batch).map_err(|error| match error {
            AppendError::Busy => Unplaced::NoRoom,
            error => Unplaced::Refused(refusal::append(&error)),
        })?;
        self.times.appended(now.mono, appended.seq);
        if appended.replicated {
            self.appended_replicated(id);
        }
        Ok(Placed {
            seq: appended.seq,
            produced: Produced {
                base: appended.base,
                append_time_ms: appended.append_time_ms,
                log_start: appended.log_start.0,
            },
            replicated: appended.replicated.then_some((appended.epoch, appended.end)),
        })
    }

    pub(crate) fn done(&mut self, now: Now, done: Done) {
        self.engine.done(now, done);
    }

    /// Ends a turn: lets the engine seal, then answers whatever became due.
    pub(crate) fn turn(&mut self, now: Now, pool: &mut Pool) {
        if self.replicas.is_some() {
            self.advance_committed();
            self.turn_replicas(now);
        }
        self.engine.turn(now);
        self.times.durable(now.mono, self.engine.durable_seq());
        self.advance_committed();
        self.settle_replicas(now);
        self.take_up_reads(now, pool);
        self.open_gates();
        self.answer_reads(now, pool);
        self.watches.expire(now.mono);
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let own = [self.engine.next_timeout(), self.watches.next_end()];
        let others = [self.replicas_timeout(), self.adjourned.next_end()];
        own.into_iter().chain(others).flatten().min()
    }

    /// A halted partition takes no epoch of its new start: readers come with one that it never opened.
    fn check_epoch(&self, id: PartitionId, known: Option<Epoch>) -> Result<(), ErrorCode> {
        let Some(own) = self.current_epoch(id) else {
            // One that may have lost everything knows no epoch; the engine says what is wrong.
            let halted = self.engine.halt(id).is_some();
            return if halted { Ok(()) } else { Err(ErrorCode::UnknownTopicOrPartition) };
        };
        match known {
            Some(known) if known < own => Err(ErrorCode::FencedLeaderEpoch),
            Some(known) if own < known && self.engine.halt(id).is_none() => {
                Err(ErrorCode::UnknownLeaderEpoch)
            }
            Some(_) | None => Ok(()),
        }
    }

    fn fetch(
        &mut self,
        to: Asker,
        (id, from): (PartitionId, Offset),
        max_bytes: u32,
        min_one: bool,
        pool: &mut Pool,
    ) -> Settled {
        let mut spans = core::mem::take(&mut self.spans);
        let read = self.engine.read(id, from, max_bytes, min_one, &mut spans);
        let mut pieces = if spans.is_empty() { Vec::new() } else { pool.pieces() };
        pieces.extend(spans.drain(..).map(|span| self.pinned(span)));
        self.spans = spans;
        match read {
            Ok(Read::Tail { bytes }) => self.fetched(id, pieces, bytes).map(Some),
            Ok(Read::Empty) => self.fetched(id, Vec::new(), 0).map(Some),
            Ok(Read::Disk(token)) => {
                self.reading.push((token, to, id));
                Ok(None)
            }
            Err(error) => Err(refusal::read(&error)),
        }
    }

    /// Answers fetches whose bytes came from the disk.
    fn answer_reads(&mut self, now: Now, pool: &mut Pool) {
        while let Some((token, found)) = self.engine.poll_lookup() {
            let (to, _) = self.take_reading(token);
            let answer = found.map_or_else(
                |error| Answer::Failed(refusal::read(&error)),
                |hit| hit.map_or(NO_OFFSET, found_at),
            );
            self.answers.push_back((to, answer));
        }
        while let Some((token, read)) = self.engine.poll_read() {
            let Err(read) = self.replica_read(now, token, read) else { continue };
            let (to, id) = self.take_reading(token);
            let answer = read.map_err(|error| refusal::read(&error)).and_then(|bytes| {
                let DiskBytes { pages, from, len } = bytes;
                let mut pieces = pool.pieces();
                pieces.push(Piece::Pages { pages, from, len });
                self.fetched(id, pieces, len as u32)
            });
            self.answers.push_back((to, answer.unwrap_or_else(Answer::Failed)));
        }
    }

    fn take_reading(&mut self, token: ReadToken) -> (Asker, PartitionId) {
        let index = self.reading.iter().position(|(of, ..)| *of == token);
        let (_, to, id) = self.reading.swap_remove(index.expect("it was asked for"));
        (to, id)
    }

    pub(crate) fn pinned(&mut self, span: Span) -> Piece {
        let pin = self.engine.pin(span);
        Piece::Tail { shard: self.id, span, pin }
    }

    fn fetched(
        &self,
        id: PartitionId,
        records: Vec<Piece>,
        bytes: u32,
    ) -> Result<Answer, ErrorCode> {
        let ends = self.engine.committed(id).zip(self.engine.log_start(id));
        let (committed, log_start) = ends.ok_or(ErrorCode::UnknownTopicOrPartition)?;
        Ok(Answer::Fetched(Fetched {
            records,
            bytes,
            committed: committed.0,
            log_start: log_start.0,
        }))
    }

    fn watch(
        &mut self,
        to: Asker,
        id: PartitionId,
        from: Offset,
        until: Instant,
    ) -> Option<Answer> {
        // Of a partition that is gone by now, or led elsewhere, the next read will say so.
        let committed = self.engine.committed(id).filter(|_| self.check_leads(id).is_ok());
        if committed.is_none_or(|committed| from < committed.0) {
            return Some(Answer::Woken);
        }
        self.watches.add(id, from, until, to);
        None
    }

    /// Answers for the ends at once; a time may need the disk.
    fn list_offset(&mut self, to: Asker, id: PartitionId, timestamp: i64) -> Settled {
        let unknown = ErrorCode::UnknownTopicOrPartition;
        let looked_up = match timestamp {
            LATEST => return Ok(Some(self.end(id, self.engine.committed(id).ok_or(unknown)?.0))),
            EARLIEST | EARLIEST_LOCAL => {
                return Ok(Some(self.end(id, self.engine.log_start(id).ok_or(unknown)?.0)));
            }
            MAX_TIMESTAMP => self.engine.max_timestamp(id),
            // Nothing is tiered: there is no such offset.
            LATEST_TIERED => return Ok(Some(NO_OFFSET)),
            since_ms => self.engine.lookup_time(id, since_ms),
        };
        match looked_up.map_err(|error| refusal::read(&error))? {
            TimeLookup::Hit(hit) => Ok(Some(found_at(hit))),
            TimeLookup::None => Ok(Some(NO_OFFSET)),
            TimeLookup::Disk(token) => {
                self.reading.push((token, to, id));
                Ok(None)
            }
        }
    }

    fn end(&self, id: PartitionId, offset: Offset) -> Answer {
        let epoch = self.current_epoch(id).map_or(-1, |epoch| epoch.0 as i32);
        Answer::Offset { offset: offset.0 as i64, timestamp_ms: -1, epoch }
    }

    fn delete_records(
        &mut self,
        now: Now,
        to: Asker,
        id: PartitionId,
        before: Option<Offset>,
    ) -> Settled {
        let committed = self.engine.committed(id).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let before = before.unwrap_or(committed.0);
        let seq = self.engine.delete_records(now, id, before);
        let seq = seq.map_err(|refused| refusal::refused(&refused))?;
        let log_start = self.engine.log_start(id).ok_or(ErrorCode::UnknownTopicOrPartition)?.0;
        self.log_start_moved(id);
        self.gate(seq, to, Answer::Deleted { log_start });
        Ok(None)
    }

    pub(crate) fn gate(&mut self, seq: Seq, to: Asker, answer: Answer) {
        let at = self.gated.partition_point(|(waiting, ..)| *waiting <= seq);
        self.gated.insert(at, (seq, to, answer));
    }

    /// With one replica, what is durable here is committed; with more it is one voice among them.
    fn advance_committed(&mut self) {
        while let Some((id, durable)) = self.engine.poll_durable() {
            if self.replicas.is_some() && self.advance_replicated(id) {
                continue;
            }
            let committed = Committed(durable.0);
            self.engine.commit(id, committed);
            let answers = &mut self.answers;
            self.watches.wake(id, committed, |to| answers.push_back((to, Answer::Woken)));
        }
    }

    fn open_gates(&mut self) {
        while let Some((seq, ..)) = self.gated.front() {
            let Some(proof) = self.prove(*seq) else { return };
            drop(proof);
            if let Some((_, to, answer)) = self.gated.pop_front() {
                self.answers.push_back((to, answer));
            }
        }
    }

    /// The partition is deleted: nobody waits for it any more.
    pub(crate) fn forget_partition(&mut self, id: PartitionId) {
        let answers = &mut self.answers;
        self.watches.wake_all(id, |to| answers.push_back((to, Answer::Woken)));
    }
}

fn found_at(hit: TimeHit) -> Answer {
    Answer::Offset {
        offset: hit.offset.0 as i64,
        timestamp_ms: hit.timestamp_ms,
        epoch: hit.epoch.0 as i32,
    }
}
