//! All replicated partitions of one shard. See [`super`] for how it fits between log and peers.

use std::collections::{BTreeMap, VecDeque};

use base::{Epoch, Instant, Now, PartitionId};

use super::assignment::Assignment;
use super::fences::Fences;
use super::following::{Following, Place};
use super::inbound::Inbound;
use super::leading::{HandOver, Leading, Peer};
use super::log::{Log, Proof, Refusal};
use super::message::{Message, StreamId};
use super::outbound::Outbound;
use super::outgoing::{FenceAnswer, Fenced, Outgoing};
use super::settings::Settings;
use super::table::{Replica, Role, Table};
use crate::mutant::Mutant;
use crate::node::Boot;
use crate::{LogIndex, Placement};

/// See the module's description. One per shard and process: nothing of it outlives a restart.
///
/// Verbs that a shard calls, in the order of a partition's life:
/// [`conform`](Self::conform) · [`dialling`](Self::dialling), [`stream_up`](Self::stream_up),
/// [`stream_down`](Self::stream_down), [`accepted`](Self::accepted), [`closed`](Self::closed) ·
/// [`handle`](Self::handle) · [`appended`](Self::appended) after its own appends,
/// [`advanced`](Self::advanced) when durable ends moved · [`turn`](Self::turn) at the end of a turn,
/// then [`poll`](Self::poll) until `None`; an [`Outgoing::Read`] is answered by
/// [`attach`](Self::attach), at once or when the disk has answered. What goes to one peer must leave
/// in the order in which it was polled.
#[derive(Debug)]
pub struct ReplicaSet {
    pub(super) me: Placement,
    pub(super) boot: Boot,
    pub(super) settings: Settings,
    /// How much of the cluster log the assignments come from.
    pub(super) cluster_index: LogIndex,
    pub(super) table: Table,
    pub(super) outbound: BTreeMap<Placement, Outbound>,
    pub(super) inbound: BTreeMap<Placement, Inbound>,
    /// When followers were last heard whose stream is gone.
    pub(super) lost: BTreeMap<Placement, Instant>,
    pub(super) fences: Fences,
    /// Assigned to lead, and the log had no room for the opening.
    unopened: Vec<usize>,
    /// Opened by an entry that is not durable yet.
    opening: Vec<usize>,
    pub(super) outgoing: VecDeque<Outgoing>,
    tickets: u64,
    streams: u32,
    announced_at: Instant,
}

impl ReplicaSet {
    #[must_use]
    pub fn new(me: Placement, boot: Boot, settings: Settings) -> Self {
        Self {
            me,
            boot,
            settings,
            cluster_index: LogIndex(0),
            table: Table::new(),
            outbound: BTreeMap::new(),
            inbound: BTreeMap::new(),
            lost: BTreeMap::new(),
            fences: Fences::default(),
            unopened: Vec::new(),
            opening: Vec::new(),
            outgoing: VecDeque::new(),
            tickets: 0,
            streams: 0,
            announced_at: Instant(0),
        }
    }

    /// Takes over what the cluster log says, as of `index`, of every partition that the shard holds
    /// a replica of: those left out are withdrawn. An older state than before is ignored. The state
    /// must include this boot of the shard.
    pub fn conform<L: Log>(
        &mut self,
        now: Now,
        log: &mut L,
        index: LogIndex,
        assignments: Vec<Assignment>,
    ) {
        if index < self.cluster_index {
            return;
        }
        self.cluster_index = index;
        let mut kept = vec![false; self.table.slots().end];
        for assignment in assignments {
            let slot = self.assign(now, log, assignment);
            if let Some(kept) = kept.get_mut(slot) {
                *kept = true;
            }
        }
        let gone: Vec<PartitionId> = kept
            .iter()
            .enumerate()
            .filter_map(|(slot, kept)| self.table.get(slot).filter(|_| !kept))
            .map(|replica| replica.id)
            .collect();
        gone.into_iter().for_each(|id| drop(self.table.remove(id)));
    }

    fn assign<L: Log>(&mut self, now: Now, log: &mut L, assignment: Assignment) -> usize {
        let id = assignment.partition;
        let (epoch, leader) = (assignment.epoch, assignment.leader);
        let slot = match self.table.slot(id) {
            Some(slot) => {
                let replica = self.table.get_mut(slot).expect("an indexed slot is taken");
                replica.assignment = assignment;
                slot
            }
            None => {
                let role = Role::Follower(Following::default());
                self.table.insert(Replica { id, assignment, role })
            }
        };
        let replica = self.table.get_mut(slot).expect("an indexed slot is taken");
        replica.yield_to(epoch);
        let is_mine = match leader {
            Some((placement, _)) if self.settings.planted.is(Mutant::ResumeEpoch) => {
                placement == self.me
            }
            _ => leader == Some((self.me, self.boot)),
        };
        if replica.leading().is_some() {
            self.meet_members(now, slot);
            self.advance(log, slot);
        } else if is_mine {
            self.lead(now, log, slot);
        }
        slot
    }

    /// Opens the epoch that the cluster log gave to this boot of the shard.
    fn lead<L: Log>(&mut self, now: Now, log: &mut L, slot: usize) {
        let Some(replica) = self.table.get_mut(slot) else { return };
        let (id, epoch) = (replica.id, replica.assignment.epoch);
        let Some(view) = log.view(id) else { return };
        let resumes = self.settings.planted.is(Mutant::ResumeEpoch);
        if !view.proof.holds() && !self.settings.planted.is(Mutant::CountUnproven) {
            return;
        }
        let open_seq = match log.open_epoch(now, id, epoch) {
            Ok(seq) => seq,
            Err(Refusal::Busy) => {
                self.unopened.push(slot);
                return;
            }
            Err(Refusal::Stale) if resumes && view.opened == Some(epoch) => log.durable_seq(),
            // It opened the epoch before, or has promised a later one.
            Err(_) => return,
        };
        replica.role = Role::Leader(Leading {
            epoch,
            since: now.mono,
            start: view.log_end.0,
            open_seq,
            is_open: false,
            peers: Vec::new(),
            answerable: base::Offset::ZERO,
            hand_over: None,
            superseded: false,
        });
        self.opening.push(slot);
        self.meet_members(now, slot);
    }

    /// Sees to it that every other member of the config is fed, and nobody else.
    fn meet_members(&mut self, now: Now, slot: usize) {
        let me = self.me;
        let Some(replica) = self.table.get_mut(slot) else { return };
        let members = replica.assignment.config.members();
        let Some(leading) = replica.leading_mut() else { return };
        leading.peers.retain(|peer| members.contains(&peer.replica));
        for member in members.into_iter().filter(|member| *member != me) {
            if leading.peer(member).is_none() {
                leading.peers.push(Peer::new(now.mono, member));
            }
        }
        let peers: Vec<Placement> = leading.peers.iter().map(|peer| peer.replica).collect();
        peers.into_iter().for_each(|peer| self.enqueue(slot, peer));
    }

    /// The shards that this one leads partitions for, and has to dial if it has not.
    pub fn followers(&self) -> impl Iterator<Item = Placement> + use<> {
        let peers = self.table.iter().filter_map(Replica::leading).flat_map(|own| &own.peers);
        let all: std::collections::BTreeSet<Placement> = peers.map(|peer| peer.replica).collect();
        all.into_iter()
    }

    /// The id for the next connection that is dialled.
    pub fn dialling(&mut self) -> StreamId {
        self.streams += 1;
        StreamId(u64::from(self.boot.boot.0) << 32 | u64::from(self.streams))
    }

    /// A dialled connection has exchanged its hellos: `boot` is that of the shard at its other end.
    pub fn stream_up(&mut self, now: Now, to: Placement, boot: Boot, stream: StreamId) {
        if let Some(older) = self.outbound.get(&to).map(|older| older.id) {
            self.stream_down(to, older);
        }
        self.outbound.insert(to, Outbound::new(now, stream, boot));
        self.table.slots().for_each(|slot| self.enqueue(slot, to));
    }

    /// The dialled connection is gone, with all that was on its way.
    pub fn stream_down(&mut self, to: Placement, stream: StreamId) {
        if self.outbound.get(&to).is_none_or(|own| own.id != stream) {
            return;
        }
        if let Some(stream) = self.outbound.remove(&to) {
            self.lost.insert(to, stream.heard_at);
        }
        for slot in self.table.slots() {
            let leading = self.table.get_mut(slot).and_then(Replica::leading_mut);
            if let Some(peer) = leading.and_then(|leading| leading.peer(to)) {
                peer.part();
            }
        }
    }

    /// A leader's shard dialled this one, and hellos were exchanged.
    pub fn accepted(&mut self, now: Now, from: Placement, boot: Boot, stream: StreamId) {
        self.inbound.insert(from, Inbound::new(now.mono, boot, stream));
    }

    /// The connection that was accepted is gone.
    pub fn closed(&mut self, from: Placement, stream: StreamId) {
        if self.inbound.get(&from).is_some_and(|own| own.id == stream) {
            self.inbound.remove(&from);
        }
    }

    /// A message of `from` arrived. One of another connection than the last is ignored.
    pub fn handle<L: Log>(&mut self, now: Now, log: &mut L, from: Placement, message: Message<'_>) {
        match message {
            // The connection's own words: the shard exchanged them.
            Message::Hello(_) | Message::Proof { .. } => {}
            Message::EpochOpen(open) => self.epoch_open(now, log, from, &open),
            Message::Append { header, batches } => self.append(now, log, from, &header, batches),
            Message::Heartbeat { stream, last, watermarks } => {
                self.heartbeat(now, log, Place { from, stream, seq: last }, &watermarks);
            }
            Message::Vouch { stream, seq, partition, epoch } => {
                self.vouch(now, log, Place { from, stream, seq }, (partition, epoch));
            }
            Message::Ack { stream, boot, seq } => {
                if self.outbound.get(&from).is_some_and(|own| own.boot == boot) {
                    self.ack(now, log, from, (stream, seq));
                }
            }
            Message::Nack(nack) => self.nacked(now, log, from, &nack),
        }
    }

    /// The leader's shard appended to a partition itself.
    pub fn appended(&mut self, id: PartitionId) {
        let Some(slot) = self.table.slot(id) else { return };
        for index in 0.. {
            let leading = self.table.get(slot).and_then(Replica::leading);
            let Some(peer) = leading.and_then(|leading| leading.peers.get(index)) else { return };
            let replica = peer.replica;
            self.enqueue(slot, replica);
        }
    }

    /// The own journal holds more of a partition, or its log start moved.
    pub fn advanced<L: Log>(&mut self, log: &mut L, id: PartitionId) {
        if let Some(slot) = self.table.slot(id) {
            self.advance(log, slot);
        }
    }

    /// The log start of a partition moved: its followers are to hear of it.
    pub fn log_start_moved(&mut self, id: PartitionId) {
        if let Some(slot) = self.table.slot(id) {
            self.leave_untold(slot);
        }
    }

    /// Refuses leaders of lower epochs from now on. The answer comes as an event once the journal
    /// holds the promise, with the logs as of its entry.
    pub fn fence<L: Log>(
        &mut self,
        now: Now,
        log: &mut L,
        token: u64,
        promises: Vec<(PartitionId, Epoch)>,
    ) {
        self.fences.wait(token, promises);
        self.journal_fences(now, log);
    }

    fn journal_fences<L: Log>(&mut self, now: Now, log: &mut L) {
        while let Some((token, promises)) = self.fences.take_waiting() {
            let Ok(seq) = log.promise(now, &promises) else {
                self.fences.put_back(token, promises);
                return;
            };
            for (id, epoch) in &promises {
                if let Some(slot) = self.table.slot(*id)
                    && let Some(replica) = self.table.get_mut(slot)
                {
                    replica.yield_to(*epoch);
                }
            }
            let answers =
                promises.iter().filter_map(|(id, _)| self.fence_answer(log, *id)).collect();
            self.fences.journaled(Fenced { token, seq, boot: self.boot, answers });
        }
    }

    /// The log as of now, by the cluster's word too: a learner's proves nothing (I8).
    fn fence_answer<L: Log>(&self, log: &L, partition: PartitionId) -> Option<FenceAnswer> {
        let planted = self.settings.planted;
        let mut view = log.view(partition)?;
        if planted.is(Mutant::CountUnproven) {
            view.proof = Proof::Clean;
        } else if view.proof.holds() && !self.is_proven(partition, &view) {
            view.proof = Proof::Rebuilding;
        }
        Some(FenceAnswer::new(planted, partition, view, log.reigns(partition)))
    }

    /// Stops taking appends for good, so that `to` can lead in the next epoch. The event comes when
    /// `to` holds all. Another `to` than before takes its place. False if this shard does not lead,
    /// or `to` is no follower.
    pub fn hand_over<L: Log>(&mut self, log: &L, id: PartitionId, to: Placement) -> bool {
        let Some(slot) = self.table.slot(id) else { return false };
        let leading = self.table.get_mut(slot).and_then(Replica::leading_mut);
        let Some(leading) = leading.filter(|leading| leading.peers.iter().any(|p| p.replica == to))
        else {
            return false;
        };
        if leading.hand_over.is_none_or(|known| known.to != to) {
            leading.hand_over = Some(HandOver { to, done: None });
        }
        if let Some(view) = log.view(id) {
            self.check_hand_over(slot, view.log_end);
        }
        true
    }

    /// Goes on to lead a partition that was to be handed over, if nobody was told yet that the
    /// successor holds all.
    pub fn lead_on(&mut self, id: PartitionId) -> bool {
        let slot = self.table.slot(id);
        let replica = slot.and_then(|slot| self.table.get_mut(slot));
        let Some(leading) = replica.and_then(Replica::leading_mut) else { return false };
        let is_open = leading.hand_over.take_if(|hand_over| hand_over.done.is_none());
        is_open.is_some()
    }

    /// Ends a turn: answers what became durable, says what there is to say.
    pub fn turn<L: Log>(&mut self, now: Now, log: &mut L) {
        for slot in core::mem::take(&mut self.unopened) {
            let waits = self.table.get(slot).is_some_and(|replica| {
                replica.leading().is_none()
                    && replica.assignment.leader == Some((self.me, self.boot))
            });
            if waits {
                self.lead(now, log, slot);
            }
        }
        self.journal_fences(now, log);
        let durable = log.durable_seq();
        let opening = core::mem::take(&mut self.opening);
        for slot in opening {
            let leading = self.table.get(slot).and_then(Replica::leading);
            let Some(open_seq) = leading.map(|leading| leading.open_seq) else { continue };
            if open_seq <= durable { self.advance(log, slot) } else { self.opening.push(slot) }
        }
        self.fences.answer(durable, &mut self.outgoing);
        self.answer_leaders(durable);
        if self.announced_at.plus(self.settings.announce) <= now.mono {
            self.announced_at = now.mono;
            self.announce_again();
        }
        let peers: Vec<Placement> = self.outbound.keys().copied().collect();
        for to in peers {
            self.retry(now, to);
            self.feed(now, log, to);
            self.beat(now, log, to);
        }
    }

    fn answer_leaders(&mut self, durable: base::Seq) {
        let boot = self.boot;
        for (from, inbound) in &mut self.inbound {
            while let Some(nack) = inbound.pop_due(durable) {
                let message = Message::Nack(nack);
                self.outgoing.push_back(Outgoing::Message { to: *from, message });
            }
            if let Some(seq) = inbound.take_ack() {
                let message = Message::Ack { stream: inbound.id, boot, seq };
                self.outgoing.push_back(Outgoing::Message { to: *from, message });
            }
        }
    }

    fn retry(&mut self, now: Now, to: Placement) {
        while let Some(stream) = self.outbound.get_mut(&to)
            && let Some((at, slot)) = stream.retries.first().copied()
            && at <= now.mono
        {
            stream.retries.pop_first();
            self.enqueue(slot, to);
        }
    }

    /// The next thing to do, until `None`.
    pub fn poll(&mut self) -> Option<Outgoing> {
        self.outgoing.pop_front()
    }

    /// When [`ReplicaSet::turn`] is wanted even if nothing happens.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        let streams = self.outbound.values().map(|stream| stream.next_timeout(&self.settings));
        streams.chain([self.announced_at.plus(self.settings.announce)]).min()
    }

    pub(super) fn next_ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }
}
