//! What a leader says to its followers, and what it makes of their answers.

use base::{Now, Offset};

use super::leading::{PeerProof, Stage};
use super::log::Log;
use super::message::{
    AppendHeader, Message, Nack, NackCause, StreamId, StreamSeq, WATERMARKS_MAX, Watermark,
};
use super::outbound::{Sent, SentKind};
use super::outgoing::{Event, Outgoing, ReadOrder};
use super::replica_set::ReplicaSet;
use super::talk::{Fed, Talk};
use crate::Placement;

impl ReplicaSet {
    /// Says what there is to say to `to`, as far as the window goes.
    pub(super) fn feed<L: Log>(&mut self, now: Now, log: &L, to: Placement) {
        loop {
            let settings = self.settings;
            let Some(stream) = self.outbound.get_mut(&to) else { return };
            let Some((slot, lane)) = stream.dequeue(now, &settings) else { return };
            let ticket = self.next_ticket();
            let cluster_index = self.cluster_index;
            let Some(mut talk) = self.talk(slot, to) else { continue };
            talk.peer().queued = false;
            let Some(view) = log.view(talk.id) else { continue };
            let fed = match talk.peer().stage {
                Stage::Apart { until } if until.is_some_and(|until| now.mono < until) => Fed::Idle,
                Stage::Apart { .. } => {
                    Fed::Message(talk.open(now, log, &view, (ticket, cluster_index)))
                }
                Stage::Opening => Fed::Idle,
                Stage::Streaming => {
                    talk.continue_at(now, log, &view, (ticket, lane, settings.append_bytes_max))
                }
            };
            if let Fed::More | Fed::Message(_) = fed {
                talk.enqueue();
            }
            match fed {
                Fed::Message(message) => {
                    self.outgoing.push_back(Outgoing::Message { to, message });
                }
                Fed::Order(order) => self.outgoing.push_back(Outgoing::Read(order)),
                Fed::More | Fed::Idle => {}
            }
        }
    }

    pub(super) fn talk(&mut self, slot: usize, to: Placement) -> Option<Talk<'_>> {
        let planted = self.settings.planted;
        let stream = self.outbound.get_mut(&to)?;
        let replica = self.table.get_mut(slot)?;
        let (id, config_version) = (replica.id, replica.assignment.config.version);
        let leading = replica.leading_mut()?;
        let peer = leading.peers.iter().position(|peer| peer.replica == to)?;
        Some(Talk { id, slot, to, config_version, leading, peer, stream, planted })
    }

    /// Batches of `order` were read: `bytes` bytes up to `end`; none if the read failed. True if they
    /// are wanted: [`Outgoing::Append`] then says when it is their turn. Else drop them.
    pub fn attach<L: Log>(
        &mut self,
        now: Now,
        log: &L,
        order: &ReadOrder,
        end: Offset,
        bytes: u32,
    ) -> bool {
        let header = self.attach_one(now, log, order, end, bytes);
        if let Some(header) = header {
            let (to, ticket) = (order.to, order.ticket);
            self.outgoing.push_back(Outgoing::Append { to, header, ticket });
        }
        self.feed(now, log, order.to);
        header.is_some()
    }

    fn attach_one<L: Log>(
        &mut self,
        now: Now,
        log: &L,
        order: &ReadOrder,
        end: Offset,
        bytes: u32,
    ) -> Option<AppendHeader> {
        let slot = self.table.slot(order.partition)?;
        let retry_at = now.mono.plus(self.settings.retry);
        let lane = order.lane;
        let stream = self.outbound.get_mut(&order.to).filter(|own| own.id == order.stream)?;
        stream.release(lane, order.bytes_max);
        let mut talk = self.talk(slot, order.to)?;
        if talk.peer().reading != Some(order.ticket) {
            return None;
        }
        talk.peer().reading = None;
        let view = log.view(order.partition)?;
        if bytes == 0 {
            talk.wait_until(retry_at);
            return None;
        }
        assert!(order.from < end && end <= order.until, "{order:?} was answered up to {end}");
        let header = talk.send_batches(now, &view, order.from, end, bytes);
        talk.enqueue();
        Some(header)
    }

    pub(super) fn ack<L: Log>(
        &mut self,
        now: Now,
        log: &mut L,
        from: Placement,
        (stream, seq): (StreamId, StreamSeq),
    ) {
        let Some(own) = self.outbound.get_mut(&from).filter(|own| own.id == stream) else { return };
        own.heard_at = now.mono;
        if own.next_seq() <= seq {
            self.outgoing.push_back(Outgoing::Break { peer: from, stream, dialled: true });
            return;
        }
        while let Some(sent) = self.outbound.get_mut(&from).and_then(|own| own.pop_acked(seq)) {
            self.acked(now, log, from, sent);
        }
        self.feed(now, log, from);
    }

    fn acked<L: Log>(&mut self, now: Now, log: &mut L, from: Placement, sent: Sent) {
        let Some(talk) = self.talk(sent.slot, from) else { return };
        let Some(view) = log.view(talk.id) else { return };
        let (id, epoch, boot) = (talk.id, talk.leading.epoch, talk.stream.boot);
        let peer = &mut talk.leading.peers[talk.peer];
        if peer.generation != sent.generation {
            return;
        }
        match sent.what {
            SentKind::OwnEpoch(end) => {
                peer.reach(now.mono, end, view.log_end);
                if peer.stage == Stage::Opening {
                    // Taken as it was: the log ends at the epoch's start, and is proven.
                    peer.proof = PeerProof::Proven;
                    (peer.stage, peer.next, peer.last_epoch) = (Stage::Streaming, end, Some(epoch));
                }
            }
            SentKind::Reaches(end) if peer.reached.is_some() => {
                peer.reach(now.mono, end, view.log_end);
            }
            SentKind::Reaches(end) => peer.hold(now.mono, end, view.log_end),
            SentKind::Vouch => {
                peer.proof = PeerProof::Proven;
                let caught_up = Event::CaughtUp { partition: id, epoch, replica: from, boot };
                self.outgoing.push_back(Outgoing::Event(caught_up));
            }
        }
        self.enqueue(sent.slot, from);
        self.advance(log, sent.slot);
    }

    pub(super) fn nacked<L: Log>(&mut self, now: Now, log: &mut L, from: Placement, nack: &Nack) {
        let own = self.outbound.get_mut(&from);
        let Some(own) = own.filter(|own| own.id == nack.stream && own.boot == nack.boot) else {
            return;
        };
        own.heard_at = now.mono;
        let (retry, hopeless) = (self.settings.retry, self.settings.retry_hopeless);
        let generation = self.next_ticket();
        let Some(slot) = self.table.slot(nack.partition) else { return };
        let Some(mut talk) = self.talk(slot, from) else { return };
        let is_current = talk.peer().first_seq <= nack.seq
            && matches!(talk.peer().stage, Stage::Opening | Stage::Streaming);
        if !is_current {
            return;
        }
        let Some(view) = log.view(nack.partition) else { return };
        match nack.cause {
            // In mid-stream, the follower has forgotten the conversation: it begins again.
            NackCause::Position => {
                let is_answer = talk.peer().stage == Stage::Opening;
                if !is_answer || !talk.resume(now, log, (&view, nack), generation) {
                    talk.wait_until(now.mono.plus(retry));
                }
            }
            NackCause::Busy | NackCause::Unknown => talk.wait_until(now.mono.plus(retry)),
            NackCause::Halted => talk.wait_until(now.mono.plus(hopeless)),
            NackCause::Deposed => {
                talk.leading.superseded |= talk.leading.epoch < nack.promised;
                talk.wait_until(now.mono.plus(hopeless));
            }
        }
        talk.enqueue();
        self.advance(log, slot);
        self.feed(now, log, from);
    }

    /// Puts a follower in line to be told what is new.
    pub(super) fn enqueue(&mut self, slot: usize, to: Placement) {
        if let Some(mut talk) = self.talk(slot, to) {
            talk.enqueue();
        }
    }

    /// Says that this shard lives, and how far partitions are of which no append tells.
    pub(super) fn beat<L: Log>(&mut self, now: Now, log: &L, to: Placement) {
        let heartbeat = self.settings.heartbeat;
        let Some(stream) = self.outbound.get_mut(&to) else { return };
        let tells = !stream.untold.is_empty() && stream.told_at.plus(heartbeat) <= now.mono;
        if !tells && now.mono < stream.sent_at.plus(heartbeat) {
            return;
        }
        (stream.sent_at, stream.told_at) = (now.mono, now.mono);
        let (id, last) = (stream.id, stream.last_seq());
        let untold = core::mem::take(&mut stream.untold);
        let watermarks: Vec<Watermark> =
            untold.into_iter().filter_map(|slot| self.tell(log, slot, to)).collect();
        let mut chunks = watermarks.chunks(WATERMARKS_MAX);
        let mut next = Some(chunks.next().unwrap_or_default());
        while let Some(watermarks) = next {
            let message = Message::Heartbeat { stream: id, last, watermarks: watermarks.to_vec() };
            self.outgoing.push_back(Outgoing::Message { to, message });
            next = chunks.next();
        }
    }

    fn tell<L: Log>(&mut self, log: &L, slot: usize, to: Placement) -> Option<Watermark> {
        let mut talk = self.talk(slot, to)?;
        talk.peer().listed = false;
        if core::mem::replace(&mut talk.peer().told, true) {
            return None;
        }
        let view = log.view(talk.id)?;
        let (committed, log_start) = (view.committed, view.log_start);
        Some(Watermark { partition: talk.id, epoch: talk.leading.epoch, committed, log_start })
    }
}
