//! What a leader may call committed.

use base::{Committed, LogEnd, Offset};

use super::leading::{HandOver, Peer, PeerProof};
use super::log::Log;
use super::outgoing::{Event, Outgoing};
use super::replica_set::ReplicaSet;
use super::table::Role;
use crate::Placement;
use crate::mutant::Mutant;

impl ReplicaSet {
    /// Counts what is committed, after own or foreign progress (I6).
    pub(super) fn advance<L: Log>(&mut self, log: &mut L, slot: usize) {
        let (me, planted) = (self.me, self.settings.planted);
        let durable_seq = log.durable_seq();
        let Some(replica) = self.table.get_mut(slot) else { return };
        let (id, insync_min) = (replica.id, replica.assignment.insync_min);
        let config = &replica.assignment.config;
        let Role::Leader(leading) = &mut replica.role else { return };
        let Some(view) = log.view(id) else { return };
        let own = (leading.open_seq <= durable_seq).then_some(view.durable.0);
        let reached = |replica: Placement| {
            if replica == me {
                return own;
            }
            let peer = leading.peers.iter().find(|peer| peer.replica == replica)?;
            if planted.is(Mutant::CountForeignAcks) && peer.proof == PeerProof::Proven {
                return Some(peer.held);
            }
            peer.counted()
        };
        let quorum = if planted.is(Mutant::CommitByOne) {
            config.members().into_iter().filter_map(reached).max()
        } else if planted.is(Mutant::SkipJoint) && config.incoming.is_some() {
            config.incoming_alone().quorum_of(1, reached)
        } else {
            config.quorum_of(1, reached)
        };
        let insync = config.quorum_of(insync_min, reached);
        let start = if planted.is(Mutant::CountForeignAcks) { Offset::ZERO } else { leading.start };
        let Some(quorum) = quorum.filter(|quorum| start <= *quorum) else { return };
        let committed = quorum.min(view.log_end.0);
        if !leading.is_open && leading.start <= committed {
            leading.is_open = true;
            let opened = Event::Opened { partition: id, epoch: leading.epoch };
            self.outgoing.push_back(Outgoing::Event(opened));
        }
        leading.answerable =
            leading.answerable.max(insync.map_or(Offset::ZERO, |end| end.min(committed)));
        if view.committed.0 < committed {
            log.commit(id, Committed(committed));
            self.leave_untold(slot);
        }
        self.check_hand_over(slot, view.log_end);
    }

    /// The followers are to hear of a partition's ends.
    pub(super) fn leave_untold(&mut self, slot: usize) {
        let Some(replica) = self.table.get(slot) else { return };
        for placement in replica.assignment.config.members() {
            if let Some(mut talk) = self.talk(slot, placement) {
                talk.leave_untold();
            }
        }
    }

    pub(super) fn check_hand_over(&mut self, slot: usize, log_end: LogEnd) {
        let Some(replica) = self.table.get_mut(slot) else { return };
        let id = replica.id;
        let Some(leading) = replica.leading_mut() else { return };
        let Some(hand_over) = leading.hand_over.filter(|hand_over| hand_over.done.is_none()) else {
            return;
        };
        let reached = leading.peer(hand_over.to).and_then(|peer| peer.counted());
        if leading.is_open && reached == Some(log_end.0) {
            leading.hand_over = Some(HandOver { done: Some(log_end), ..hand_over });
            let (epoch, to) = (leading.epoch, hand_over.to);
            let event = Event::HandOver { partition: id, epoch, to, log_end };
            self.outgoing.push_back(Outgoing::Event(event));
        }
    }

    /// Tells the control core again what the cluster log should say by now: the first word may have
    /// been lost with whoever was to propose it.
    pub(super) fn announce_again(&mut self) {
        for replica in self.table.iter() {
            let Some(leading) = replica.leading() else { continue };
            let (partition, epoch) = (replica.id, leading.epoch);
            let assignment = &replica.assignment;
            if leading.is_open && assignment.opened < Some(epoch) {
                let opened = Event::Opened { partition, epoch };
                self.outgoing.push_back(Outgoing::Event(opened));
            }
            if let Some(HandOver { to, done: Some(log_end) }) = leading.hand_over {
                let hand_over = Event::HandOver { partition, epoch, to, log_end };
                self.outgoing.push_back(Outgoing::Event(hand_over));
            }
            let learners = &assignment.config.learners;
            let learns =
                |peer: &&Peer| peer.proof == PeerProof::Proven && learners.contains(&peer.replica);
            for peer in leading.peers.iter().filter(learns) {
                let Some(stream) = self.outbound.get(&peer.replica) else { continue };
                let (replica, boot) = (peer.replica, stream.boot);
                let caught_up = Event::CaughtUp { partition, epoch, replica, boot };
                self.outgoing.push_back(Outgoing::Event(caught_up));
            }
        }
    }
}
