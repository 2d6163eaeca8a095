//! The shard's part in replication: what it holds for others and others for it.
//!
//! ```text
//!   cluster state ─▶ conform ─┐                      ┌─▶ PeerOutput: sends, broken lines, events
//!   peers' messages ─▶ hear ──┼─▶ ReplicaSet ─ poll ─┤
//!   fences ─▶ fence ──────────┤        │             └─▶ reads of the own log: tail or bin
//!   own durable end ──────────┘        ▼
//!                               EngineLog (the engine)
//! ```
//! A shard without replicated partitions has none of this. Batches of a leader leave as they lie in
//! the tail, pinned behind an encoded header.

use std::collections::VecDeque;

use base::{Batch, Epoch, Instant, Now, Offset, Page, PartitionId, Piece};
use engine::{DiskBytes, Engine, Phase, Read, ReadError, ReadToken};
use net::ErrorCode;
use replication::replica::message::{AppendHeader, StreamId};
use replication::replica::{
    Event, Log as _, Message, Outgoing, ReadOrder, ReplicaSet, Settings, Standing,
};
use replication::{Boot, ClusterState, Leader, Placement};

use crate::ask::Answer;
use crate::commit::AnswerableEnd;
use crate::committing::{Committing, DETECTION, Prospect, Waiting};
use crate::core::is_replicated;
use crate::engine_log::EngineLog;
use crate::metrics::LedMetrics;
use crate::shard::{Shard, Unplaced};
use crate::succession::Successions;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Replicas {
    pub(crate) set: ReplicaSet,
    committing: Committing,
    successions: Successions,
    /// Partitions whose committed end moved and whose watches were not woken.
    moved: Vec<PartitionId>,
    /// Reads from bins for followers.
    reading: Vec<(ReadToken, ReadOrder)>,
    /// Batches for followers whose turn in their stream has not come, by ticket.
    attached: VecDeque<(u64, Vec<Piece>)>,
}

/// Batches for a follower: where they end, their bytes, and where they are. `None`: no luck.
type Found = Option<(Offset, u32, Vec<Piece>)>;

/// What a shard wants of its lines to other shards.
#[derive(Debug)]
pub(crate) enum PeerOutput {
    /// On the line dialled to `to`, or on the one that `to` dialled.
    Send {
        to: Placement,
        dialled: bool,
        pieces: Vec<Piece>,
    },
    Break {
        peer: Placement,
        dialled: bool,
        stream: StreamId,
    },
    Event(Event),
}

/// Which way a line was dialled, and its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// This shard leads and dialled.
    Out,
    /// The other one did.
    In,
}

impl Replicas {
    fn new(own: Leader, settings: Settings) -> Self {
        Self {
            set: ReplicaSet::new(own.placement, own.boot, settings),
            committing: Committing::default(),
            successions: Successions::default(),
            moved: Vec::new(),
            reading: Vec::new(),
            attached: VecDeque::new(),
        }
    }

    /// The set, and the engine as its log.
    fn parts<'a>(&'a mut self, engine: &'a mut Engine) -> (&'a mut ReplicaSet, EngineLog<'a>) {
        (&mut self.set, EngineLog { engine, moved: &mut self.moved })
    }

    fn prospect(&mut self, engine: &mut Engine, now: Now, id: PartitionId) -> Prospect {
        let epoch = match self.set.standing(id) {
            Standing::Leads { epoch } | Standing::HandsOver { epoch, .. } => epoch,
            Standing::Superseded { .. } | Standing::Follows | Standing::Stranger => {
                return Prospect::Lost;
            }
        };
        let heard = self.set.quorum_heard_at(now, id).unwrap_or_default();
        let (set, log) = self.parts(engine);
        match set.answerable(&log, id) {
            Some(answerable) => Prospect::Answerable {
                end: AnswerableEnd::of_quorum(epoch, answerable.quorum),
                quorum_heard_at: heard,
            },
            None => Prospect::Lost,
        }
    }
}

impl Shard {
    /// This boot of the shard. Only an open engine has one.
    pub(crate) fn boot(&self) -> Option<Boot> {
        let open = matches!(self.engine.phase(), Phase::Open);
        open.then(|| Boot { journal: self.engine.journal_id(), boot: self.engine.incarnation() })
    }

    /// Takes over what `state` says of the replicated partitions that this shard holds. A state that
    /// does not know this boot says nothing about it yet.
    pub(crate) fn conform_replicas(&mut self, now: Now, own: Leader, state: &ClusterState) {
        let (mut assignments, mut wanted) = (Vec::new(), Vec::new());
        for topic in state.topics().iter() {
            let insync_min = topic.settings.min_insync_replicas;
            for (index, partition) in topic.partitions.iter().enumerate() {
                if is_replicated(partition) && partition.has_member(own.placement) {
                    let id = PartitionId::new(topic.number, index as u32);
                    assignments.push(partition.assignment(id, insync_min));
                    let to = partition.successor.filter(|_| partition.leader == Some(own));
                    wanted.extend(to.map(|to| (id, to)));
                }
            }
        }
        if assignments.is_empty() && self.replicas.is_none() {
            return;
        }
        let replicas =
            self.replicas.get_or_insert_with(|| Box::new(Replicas::new(own, self.replication)));
        let (set, mut log) = replicas.parts(&mut self.engine);
        set.conform(now, &mut log, state.version(), assignments);
        replicas.successions.conform(wanted);
        self.wake_strangers();
    }

    /// Whoever watches a partition that this shard does not lead any more looks for the leader again.
    fn wake_strangers(&mut self) {
        let Some(replicas) = &self.replicas else { return };
        let lost = |id: &PartitionId| {
            matches!(replicas.set.standing(*id), Standing::Follows | Standing::Superseded { .. })
        };
        let lost: Vec<PartitionId> = self.watches.partitions().filter(lost).collect();
        lost.into_iter().for_each(|id| self.forget_partition(id));
    }

    /// Promises not to listen to leaders of lower epochs; [`Event::Fenced`] follows.
    pub(crate) fn fence(
        &mut self,
        now: Now,
        own: Leader,
        token: u64,
        promises: Vec<(PartitionId, Epoch)>,
    ) {
        let replicas =
            self.replicas.get_or_insert_with(|| Box::new(Replicas::new(own, self.replication)));
        let (set, mut log) = replicas.parts(&mut self.engine);
        set.fence(now, &mut log, token, promises);
        self.wake_strangers();
    }

    /// A line to another shard has opened. That may be known there before this shard hears what it
    /// is to hold.
    pub(crate) fn line_opened(
        &mut self,
        now: Now,
        own: Leader,
        (peer, boot): (Placement, Boot),
        direction: Direction,
        stream: StreamId,
    ) {
        let replicas =
            self.replicas.get_or_insert_with(|| Box::new(Replicas::new(own, self.replication)));
        match direction {
            Direction::Out => replicas.set.stream_up(now, peer, boot, stream),
            Direction::In => replicas.set.accepted(now, peer, boot, stream),
        }
    }

    pub(crate) fn line_closed(&mut self, peer: Placement, direction: Direction, stream: StreamId) {
        let Some(replicas) = &mut self.replicas else { return };
        match direction {
            Direction::Out => replicas.set.stream_down(peer, stream),
            Direction::In => replicas.set.closed(peer, stream),
        }
    }

    /// A message of another shard.
    pub(crate) fn hear(&mut self, now: Now, from: Placement, message: Message<'_>) {
        let Some(replicas) = &mut self.replicas else { return };
        let (set, mut log) = replicas.parts(&mut self.engine);
        set.handle(now, &mut log, from, message);
    }

    /// Whether clients may read a partition here: it is not replicated, or this shard leads it.
    pub(crate) fn check_leads(&self, id: PartitionId) -> Result<(), ErrorCode> {
        let Some(replicas) = &self.replicas else { return Ok(()) };
        match replicas.set.standing(id) {
            Standing::Leads { .. } | Standing::HandsOver { .. } | Standing::Stranger => Ok(()),
            Standing::Follows | Standing::Superseded { .. } => Err(ErrorCode::NotLeaderOrFollower),
        }
    }

    /// What is led here and held by others too.
    pub(crate) fn led_metrics(&mut self, now: Now) -> Vec<LedMetrics> {
        let Some(replicas) = &mut self.replicas else { return Vec::new() };
        let ids: Vec<PartitionId> = self.engine.partitions().collect();
        let (set, log) = replicas.parts(&mut self.engine);
        let led = ids.into_iter().filter_map(|id| {
            let (Standing::Leads { epoch } | Standing::HandsOver { epoch, .. }) = set.standing(id)
            else {
                return None;
            };
            let view = log.view(id)?;
            let end = view.log_end.0;
            let followers = set.progress(now, &log, id).into_iter().skip(1).map(|follower| {
                let lag = end.0.saturating_sub(follower.held.0);
                (follower.replica, lag, follower.counts)
            });
            let followers = followers.collect();
            Some(LedMetrics { partition: id, epoch, committed: view.committed.0, followers })
        });
        led.collect()
    }

    /// Whether an append has a chance to be committed. `all`: the producer wants a quorum.
    pub(crate) fn check_quorum(
        &mut self,
        now: Now,
        id: PartitionId,
        all: bool,
    ) -> Result<(), Unplaced> {
        let Some(replicas) = &mut self.replicas else { return Ok(()) };
        match replicas.set.standing(id) {
            Standing::Stranger => return Ok(()),
            Standing::Leads { .. } => {}
            Standing::HandsOver { .. } => return Err(Unplaced::HandedOver),
            Standing::Superseded { .. } | Standing::Follows => {
                return Err(Unplaced::Refused(ErrorCode::NotLeaderOrFollower));
            }
        }
        let heard = replicas.set.quorum_heard_at(now, id).unwrap_or_default();
        if heard.plus(DETECTION) <= now.mono {
            // Only this makes clients look for the leader again: there may be another.
            return Err(Unplaced::Refused(ErrorCode::NotLeaderOrFollower));
        }
        let (set, log) = replicas.parts(&mut self.engine);
        // The followers of a new leader have had no time to join it.
        let enough = !all || set.is_opening(id) || set.has_insync_min(now, &log, id);
        if enough { Ok(()) } else { Err(Unplaced::Refused(ErrorCode::NotEnoughReplicas)) }
    }

    /// Whether this shard leads the partition and cannot tell yet what is committed.
    pub(crate) fn is_opening(&self, id: PartitionId) -> bool {
        self.replicas.as_ref().is_some_and(|replicas| replicas.set.is_opening(id))
    }

    /// Whether the partition takes nothing here any more, and its successor does not lead yet.
    pub(crate) fn is_handing_over(&self, id: PartitionId) -> bool {
        let hands_over =
            |replicas: &Replicas| matches!(replicas.set.standing(id), Standing::HandsOver { .. });
        self.replicas.as_deref().is_some_and(hands_over)
    }

    pub(crate) fn waiting_for_quorum(&self) -> usize {
        self.replicas.as_ref().map_or(0, |replicas| replicas.committing.len())
    }

    /// A batch was appended to a replicated partition.
    pub(crate) fn appended_replicated(&mut self, id: PartitionId) {
        if let Some(replicas) = &mut self.replicas {
            replicas.set.appended(id);
        }
    }

    /// Answers once a quorum holds the batch, or cannot any more.
    pub(crate) fn await_quorum(&mut self, id: PartitionId, waiting: Waiting) {
        let replicas = self.replicas.as_mut().expect("only what is replicated waits for others");
        replicas.committing.add(id, waiting);
    }

    pub(crate) fn log_start_moved(&mut self, id: PartitionId) {
        if let Some(replicas) = &mut self.replicas {
            replicas.set.log_start_moved(id);
        }
    }

    /// The own journal holds more of a replicated partition. False: it is not replicated.
    pub(crate) fn advance_replicated(&mut self, id: PartitionId) -> bool {
        if !self.engine.is_replicated(id) {
            return false;
        }
        if let Some(replicas) = &mut self.replicas {
            let (set, mut log) = replicas.parts(&mut self.engine);
            set.advanced(&mut log, id);
        }
        true
    }

    /// Journals what must be, before the engine seals, and says what there is to say.
    pub(crate) fn turn_replicas(&mut self, now: Now) {
        let Some(replicas) = &mut self.replicas else { return };
        let (set, mut log) = replicas.parts(&mut self.engine);
        set.turn(now, &mut log);
        let (successions, engine, moved) =
            (&mut replicas.successions, &mut self.engine, &mut replicas.moved);
        successions.turn(now.mono, &mut replicas.set, &EngineLog { engine, moved });
    }

    /// When it heard from which boots of shards of other nodes.
    pub(crate) fn heard(&self) -> Vec<(Placement, Boot, Instant)> {
        self.replicas.iter().flat_map(|replicas| replicas.set.heard()).collect()
    }

    /// Answers producers and wakes consumers, as far as quorums are.
    pub(crate) fn settle_replicas(&mut self, now: Now) {
        let Some(replicas) = &mut self.replicas else { return };
        let answers = &mut self.answers;
        let waiting: Vec<PartitionId> = replicas.committing.partitions().collect();
        for id in waiting {
            let prospect = replicas.prospect(&mut self.engine, now, id);
            let answer = |to, answer| answers.push_back((to, answer));
            replicas.committing.settle(now, id, prospect, answer);
        }
        for id in replicas.moved.drain(..) {
            let committed = self.engine.committed(id).unwrap_or_default();
            self.watches.wake(id, committed, |to| answers.push_back((to, Answer::Woken)));
        }
    }

    pub(crate) fn replicas_timeout(&self) -> Option<Instant> {
        let replicas = self.replicas.as_ref()?;
        [replicas.set.next_timeout(), replicas.committing.next_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    /// A read from a bin ended. `Err`: it was not for a follower.
    pub(crate) fn replica_read(
        &mut self,
        now: Now,
        token: ReadToken,
        read: Result<DiskBytes, ReadError>,
    ) -> Result<(), Result<DiskBytes, ReadError>> {
        let Some(replicas) = &mut self.replicas else { return Err(read) };
        let found = replicas.reading.iter().position(|(of, _)| *of == token);
        let Some(index) = found else { return Err(read) };
        let (_, order) = replicas.reading.swap_remove(index);
        let found = read.ok().map(|DiskBytes { pages, from, len }| {
            let (end, len) = below(&order, &Page::bytes(&pages)[from..from + len]);
            (end, len as u32, vec![Piece::Pages { pages, from, len }])
        });
        self.attach(now, &order, found);
        Ok(())
    }

    /// The next thing to do for replication, until `None`.
    pub(crate) fn pop_peer_output(&mut self, now: Now) -> Option<PeerOutput> {
        loop {
            match self.replicas.as_mut()?.set.poll()? {
                Outgoing::Message { to, message } => return Some(spoken(to, &message)),
                Outgoing::Append { to, header, ticket } => {
                    let pieces = self.take_attached(&header, ticket);
                    return Some(PeerOutput::Send { to, dialled: true, pieces });
                }
                Outgoing::Break { peer, stream, dialled } => {
                    return Some(PeerOutput::Break { peer, dialled, stream });
                }
                Outgoing::Event(event) => return Some(PeerOutput::Event(event)),
                Outgoing::Read(order) => self.read_for_follower(now, &order),
            }
        }
    }

    /// The batches of `ticket` behind their header: what lies in the tail is never copied.
    fn take_attached(&mut self, header: &AppendHeader, ticket: u64) -> Vec<Piece> {
        let replicas = self.replicas.as_mut().expect("it gave the order");
        let found = replicas.attached.iter().position(|(of, _)| *of == ticket);
        let index = found.expect("batches wait for their turn");
        let (_, records) = replicas.attached.remove(index).expect("just found");
        let bytes: usize = records.iter().map(piece_bytes).sum();
        let mut head = Vec::new();
        header.encode(bytes as u32, &mut head);
        let mut pieces = vec![Piece::Bytes { bytes: head, from: 0 }];
        pieces.extend(records);
        pieces
    }

    fn read_for_follower(&mut self, now: Now, order: &ReadOrder) {
        let mut spans = core::mem::take(&mut self.spans);
        let (id, range) = (order.partition, (order.from, order.until));
        let read = self.engine.read_for_replica(id, range, order.bytes_max, true, &mut spans);
        match read {
            Ok(Read::Disk(token)) => {
                let replicas = self.replicas.as_mut().expect("it gave the order");
                replicas.reading.push((token, *order));
            }
            Ok(Read::Tail { bytes }) => {
                let mut end = order.from;
                for span in &spans {
                    let held = self.engine.arena().get(*span).expect("read in this turn");
                    end = below(&ReadOrder { from: end, ..*order }, held).0;
                }
                let pieces = spans.iter().map(|span| self.pinned(*span)).collect();
                self.attach(now, order, Some((end, bytes, pieces)));
            }
            Ok(Read::Empty) | Err(_) => self.attach(now, order, None),
        }
        spans.clear();
        self.spans = spans;
    }

    /// Keeps what was read for a follower until its turn, if it is still wanted.
    fn attach(&mut self, now: Now, order: &ReadOrder, found: Found) {
        let (end, bytes, records) = found.unwrap_or((order.from, 0, Vec::new()));
        // Without one whole batch it is no luck either.
        let bytes = if order.from < end { bytes } else { 0 };
        let replicas = self.replicas.as_mut().expect("it gave the order");
        let (set, log) = replicas.parts(&mut self.engine);
        if set.attach(now, &log, order, end, bytes) {
            replicas.attached.push_back((order.ticket, records));
        } else {
            records.into_iter().for_each(|piece| self.give_back(piece));
        }
    }

    fn give_back(&mut self, piece: Piece) {
        match piece {
            Piece::Tail { pin, .. } => self.engine.unpin(pin),
            Piece::Pages { pages, .. } => self.engine.recycle(pages),
            Piece::Bytes { .. } => {}
        }
    }
}

fn piece_bytes(piece: &Piece) -> usize {
    match piece {
        Piece::Bytes { bytes, from } => bytes.len() - from,
        Piece::Tail { span, .. } => span.len as usize,
        Piece::Pages { len, .. } => *len,
    }
}

fn spoken(to: Placement, message: &Message<'_>) -> PeerOutput {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    let dialled = !matches!(message, Message::Ack { .. } | Message::Nack(_));
    PeerOutput::Send { to, dialled, pieces: vec![Piece::Bytes { bytes, from: 0 }] }
}

/// How far whole batches from `order.from` on reach in `bytes` without passing `order.until`: the
/// offset behind them, and their bytes.
fn below(order: &ReadOrder, bytes: &[u8]) -> (Offset, usize) {
    let (mut end, mut len) = (order.from, 0);
    while let Ok((batch, _)) = Batch::parse_prefix(&bytes[len..]) {
        if order.until < batch.end_offset() {
            break;
        }
        end = batch.end_offset();
        len += batch.bytes().len();
    }
    (end, len)
}
