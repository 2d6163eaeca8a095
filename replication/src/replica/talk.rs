//! The words of a leader to one follower of one partition.
//!
//! ```text
//!   Apart ─EpochOpen, history─▶ Opening ─Ack──────────────────────────▶ Streaming
//!     ▲                            └────Nack: where its log ends ────────▲   │
//!     └───── busy, unknown, halted, deposed; stream gone; log deleted ───────┘
//!
//!   Streaming: older reigns and their records, the own reign, its records; vouch when it is whole
//! ```

use base::{Instant, LogStart, Now, Offset, PartitionId, Reign};

use super::divergence::{Junction, Lineage};
use super::leading::{Leading, Peer, PeerProof, Stage};
use super::log::{Log, LogView};
use super::message::{AppendHeader, EpochOpen, Message, Nack, Opening, StreamSeq};
use super::outbound::{Lane, MESSAGE_BYTES, Outbound, Sent, SentKind};
use super::outgoing::ReadOrder;
use crate::mutant::{Mutant, Planted};
use crate::{LogIndex, Placement};

/// One follower of one partition, with all that is needed to talk to it.
pub(super) struct Talk<'a> {
    pub id: PartitionId,
    pub slot: usize,
    pub to: Placement,
    pub config_version: u32,
    pub leading: &'a mut Leading,
    pub peer: usize,
    pub stream: &'a mut Outbound,
    pub planted: Planted,
}

/// What became of a turn of a follower.
pub(super) enum Fed {
    /// It has more to be told.
    More,
    Message(Message<'static>),
    Order(ReadOrder),
    Idle,
}

impl Talk<'_> {
    pub(super) fn peer(&mut self) -> &mut Peer {
        &mut self.leading.peers[self.peer]
    }

    pub(super) fn enqueue(&mut self) {
        let slot = self.slot;
        let peer = &mut self.leading.peers[self.peer];
        if !core::mem::replace(&mut peer.queued, true) {
            self.stream.enqueue(slot, peer.lane);
        }
    }

    /// The follower is to hear of the ends, with an append or the next heartbeat.
    pub(super) fn leave_untold(&mut self) {
        let slot = self.slot;
        let peer = self.peer();
        peer.told = false;
        if !core::mem::replace(&mut peer.listed, true) {
            self.stream.untold.push(slot);
        }
    }

    /// Lets the conversation begin again, not before `until`.
    pub(super) fn wait_until(&mut self, until: Instant) {
        let peer = &mut self.leading.peers[self.peer];
        peer.stage = Stage::Apart { until: Some(until) };
        (peer.reached, peer.reading, peer.generation) = (None, None, 0);
        peer.lane = Lane::Latency;
        self.stream.retries.insert((until, self.slot));
    }

    fn push(&mut self, now: Now, what: SentKind, bytes: u32) -> StreamSeq {
        let (slot, peer) = (self.slot, &self.leading.peers[self.peer]);
        let (generation, lane) = (peer.generation, peer.lane);
        let seq = StreamSeq(0);
        self.stream.push(now, Sent { seq, slot, generation, what, lane, bytes })
    }

    /// Begins the conversation: who reigned here, and what have you?
    pub(super) fn open<L: Log>(
        &mut self,
        now: Now,
        log: &L,
        view: &LogView,
        (generation, cluster_index): (u64, LogIndex),
    ) -> Message<'static> {
        let (epoch, start) = (self.leading.epoch, self.leading.start);
        let first_seq = self.stream.next_seq();
        let peer = self.peer();
        (peer.stage, peer.generation, peer.first_seq) = (Stage::Opening, generation, first_seq);
        (peer.reached, peer.reading) = (None, None);
        let acked = peer.acked;
        // A follower may have to begin there, and hears where the log starts next.
        let log_start = LogStart(log.first_batch(self.id, view));
        if log_start < view.log_start {
            self.leave_untold();
        }
        let seq = self.push(now, SentKind::OwnEpoch(start), MESSAGE_BYTES);
        Message::EpochOpen(EpochOpen {
            stream: self.stream.id,
            seq,
            partition: self.id,
            epoch,
            reign: Reign { epoch, start },
            config_version: self.config_version,
            cluster_index,
            log_start,
            committed: view.committed,
            acked,
            opening: Some(Opening { history: log.reigns(self.id).to_vec(), log_end: view.log_end }),
        })
    }

    /// Goes on from where the follower's log ends, if that is a beginning of the own log.
    pub(super) fn resume<L: Log>(
        &mut self,
        now: Now,
        log: &L,
        (view, nack): (&LogView, &Nack),
        generation: u64,
    ) -> bool {
        let own = Lineage::of(log.reigns(self.id), view);
        let (reigns, end) = (&nack.history[..], nack.log_end.0);
        // It has cut its log already: without a reign there is no record left.
        let start = if reigns.is_empty() { end } else { Offset::ZERO };
        let theirs = Lineage { reigns, start, end };
        if Junction::of(own, theirs).cuts(theirs) || nack.log_end.0 < log.first_batch(self.id, view)
        {
            return false;
        }
        let (epoch, start) = (self.leading.epoch, self.leading.start);
        let first_seq = self.stream.next_seq();
        let peer = self.peer();
        peer.stage = Stage::Streaming;
        (peer.generation, peer.first_seq) = (generation, first_seq);
        peer.reading = None;
        (peer.next, peer.last_epoch) = (nack.log_end.0, theirs.last_epoch());
        peer.lane = Lane::Bulk;
        peer.reached = None;
        if peer.last_epoch == Some(epoch) {
            peer.reach(now.mono, nack.log_end.0, view.log_end);
        } else {
            peer.hold(now.mono, nack.log_end.0, view.log_end);
        }
        peer.proof = match peer.proof {
            _ if nack.proven => PeerProof::Proven,
            PeerProof::From(end) if end != Offset(u64::MAX) => PeerProof::From(end),
            _ => PeerProof::From(start.max(view.log_end.0)),
        };
        self.leave_untold();
        true
    }

    pub(super) fn continue_at<L: Log>(
        &mut self,
        now: Now,
        log: &L,
        view: &LogView,
        (ticket, lane, bytes_max): (u64, Lane, u32),
    ) -> Fed {
        let own = Lineage::of(log.reigns(self.id), view);
        let peer = &mut self.leading.peers[self.peer];
        if peer.reading.is_some() {
            return Fed::Idle;
        }
        if peer.next < log.first_batch(self.id, view) {
            // What it needs was deleted: it is to begin anew at the log start.
            (peer.stage, peer.lane) = (Stage::Apart { until: None }, Lane::Latency);
            return Fed::More;
        }
        if let Some(reign) = own.at(peer.next)
            && peer.last_epoch < Some(reign.epoch)
        {
            return Fed::Message(self.pass_reign(now, view, reign));
        }
        let vouches_at_once =
            self.planted.is(Mutant::VouchAtOnce) && matches!(peer.proof, PeerProof::From(_));
        if peer.is_whole() || vouches_at_once {
            return Fed::Message(self.vouch(now));
        }
        let (from, until) = (peer.next, own.end_at(peer.next));
        if until <= from {
            peer.lane = Lane::Latency;
            return Fed::Idle;
        }
        peer.reading = Some(ticket);
        self.stream.reserve(lane, bytes_max);
        Fed::Order(ReadOrder {
            to: self.to,
            stream: self.stream.id,
            partition: self.id,
            from,
            until,
            bytes_max,
            lane,
            ticket,
        })
    }

    /// A reign begins where the follower's log will end.
    fn pass_reign(&mut self, now: Now, view: &LogView, reign: Reign) -> Message<'static> {
        let epoch = self.leading.epoch;
        let peer = self.peer();
        peer.last_epoch = Some(reign.epoch);
        let (start, acked) = (peer.next, peer.acked);
        let kind =
            if reign.epoch == epoch { SentKind::OwnEpoch(start) } else { SentKind::Reaches(start) };
        let seq = self.push(now, kind, MESSAGE_BYTES);
        Message::EpochOpen(EpochOpen {
            stream: self.stream.id,
            seq,
            partition: self.id,
            epoch,
            reign: Reign { epoch: reign.epoch, start },
            config_version: self.config_version,
            cluster_index: LogIndex(0),
            log_start: view.log_start,
            committed: view.committed,
            acked,
            opening: None,
        })
    }

    fn vouch(&mut self, now: Now) -> Message<'static> {
        self.peer().proof = PeerProof::Vouched;
        let seq = self.push(now, SentKind::Vouch, MESSAGE_BYTES);
        let (partition, epoch) = (self.id, self.leading.epoch);
        Message::Vouch { stream: self.stream.id, seq, partition, epoch }
    }

    pub(super) fn send_batches(
        &mut self,
        now: Now,
        view: &LogView,
        from: Offset,
        end: Offset,
        bytes: u32,
    ) -> AppendHeader {
        let peer = self.peer();
        peer.next = end;
        peer.told = true;
        let last_epoch = peer.last_epoch.expect("batches follow the opening of their reign");
        let lane = peer.lane;
        let seq = self.push(now, SentKind::Reaches(end), bytes);
        if lane == Lane::Bulk {
            self.stream.spend(bytes);
        }
        AppendHeader {
            stream: self.stream.id,
            seq,
            partition: self.id,
            epoch: self.leading.epoch,
            previous: (last_epoch, from),
            committed: view.committed,
            log_start: view.log_start,
        }
    }
}
