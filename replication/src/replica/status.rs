//! What the shard may answer, and how far replicas are.

use base::{Durable, Epoch, Instant, Now, Offset, PartitionId};

use super::leading::{PeerProof, Stage};
use super::log::Log;
use super::outbound::Lane;
use super::replica_set::ReplicaSet;
use super::table::Role;
use crate::Placement;
use crate::node::Boot;

/// The part of this shard in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It takes appends in `epoch`.
    Leads {
        epoch: Epoch,
    },
    /// It led in `epoch` and is not to take anything any more: arrivals wait for the successor.
    HandsOver {
        epoch: Epoch,
        to: Placement,
    },
    /// A follower listens to a newer leader: nothing in `epoch` need ever be committed.
    Superseded {
        epoch: Epoch,
    },
    Follows,
    /// It holds no replica.
    Stranger,
}

/// What may be answered of a partition that this shard leads: ends below which records are safe
/// enough, by the topic's durability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answerable {
    /// acks=all: durable on max(majority, min.insync.replicas), and committed.
    pub quorum: Offset,
    /// `durability = leader`, and acks=1: on the leader's own device.
    pub leader: Durable,
}

/// How far a replica is, as its leader knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub replica: Placement,
    /// What it holds durably.
    pub held: Offset,
    /// Whether its acks count for anything; a learner's do not.
    pub counts: bool,
    /// Whether it was level with the log end lately.
    pub is_insync: bool,
}

impl ReplicaSet {
    #[must_use]
    pub fn standing(&self, id: PartitionId) -> Standing {
        let Some(replica) = self.table.by_id(id) else { return Standing::Stranger };
        let Role::Leader(leading) = &replica.role else { return Standing::Follows };
        let epoch = leading.epoch;
        match leading.hand_over {
            Some(hand_over) => Standing::HandsOver { epoch, to: hand_over.to },
            None if leading.superseded => Standing::Superseded { epoch },
            None => Standing::Leads { epoch },
        }
    }

    /// `None` unless this shard leads.
    #[must_use]
    pub fn answerable<L: Log>(&self, log: &L, id: PartitionId) -> Option<Answerable> {
        let leading = self.table.by_id(id)?.leading()?;
        Some(Answerable { quorum: leading.answerable, leader: log.view(id)?.durable })
    }

    /// The replicas, the leader first. Empty unless this shard leads.
    #[must_use]
    pub fn progress<L: Log>(&self, now: Now, log: &L, id: PartitionId) -> Vec<Progress> {
        let replica = self.table.by_id(id);
        let (Some(replica), Some(view)) = (replica, log.view(id)) else { return Vec::new() };
        let Some(leading) = replica.leading() else { return Vec::new() };
        let held = view.durable.0;
        let own = Progress { replica: self.me, held, counts: true, is_insync: true };
        let learners = &replica.assignment.config.learners;
        let others = leading.peers.iter().map(|peer| {
            let counts = peer.proof == PeerProof::Proven && !learners.contains(&peer.replica);
            let lag = now.mono.since(peer.level.at);
            let is_level = peer.level.at != Instant(0) && lag <= self.settings.insync_lag_max;
            let is_insync = counts && (is_level || view.log_end.0 <= peer.held);
            Progress { replica: peer.replica, held: peer.held, counts, is_insync }
        });
        core::iter::once(own).chain(others).collect()
    }

    /// Whether min.insync.replicas of them are in sync: else acks=all is refused at once.
    #[must_use]
    pub fn has_insync_min<L: Log>(&self, now: Now, log: &L, id: PartitionId) -> bool {
        let Some(replica) = self.table.by_id(id) else { return false };
        let progress = self.progress(now, log, id);
        let insync = |placement| {
            progress.iter().find(|own| own.replica == placement && own.is_insync).map(|_| ())
        };
        replica.assignment.config.quorum_of(replica.assignment.insync_min, insync).is_some()
    }

    /// When a quorum last said that it lives, or the reign began. A leader for whom that is longer
    /// ago than one detection period has probably been deposed. `None` unless this shard leads.
    #[must_use]
    pub fn quorum_heard_at(&self, now: Now, id: PartitionId) -> Option<Instant> {
        let replica = self.table.by_id(id)?;
        let since = replica.leading()?.since;
        let heard = replica.assignment.config.quorum_of(1, |placement| {
            if placement == self.me {
                return Some(now.mono);
            }
            let stream = self.outbound.get(&placement).map(|stream| stream.heard_at);
            Some(stream.or_else(|| self.lost.get(&placement).copied()).unwrap_or_default())
        });
        Some(heard.unwrap_or_default().max(since))
    }

    /// Whether this shard leads the partition and no quorum has opened its epoch yet: what is known
    /// to be committed may be less than what the leader before had told.
    #[must_use]
    pub fn is_opening(&self, id: PartitionId) -> bool {
        let leading = self.table.by_id(id).and_then(|replica| replica.leading());
        leading.is_some_and(|leading| !leading.is_open)
    }

    /// When this shard last heard which boots of other shards: what PreFence asks.
    pub fn heard(&self) -> impl Iterator<Item = (Placement, Boot, Instant)> {
        let inbound = self.inbound.iter().map(|(from, own)| (*from, own.boot, own.heard_at));
        inbound.chain(self.outbound.iter().map(|(from, own)| (*from, own.boot, own.heard_at)))
    }

    /// Whether `to` holds nearly all of a partition that this shard leads, and the rest is on its
    /// way.
    #[must_use]
    pub fn keeps_up(&self, id: PartitionId, to: Placement) -> bool {
        let leading = self.table.by_id(id).and_then(|replica| replica.leading());
        let mut peers = leading.into_iter().flat_map(|leading| &leading.peers);
        peers.any(|peer| {
            peer.replica == to
                && peer.proof == PeerProof::Proven
                && (peer.stage, peer.lane) == (Stage::Streaming, Lane::Latency)
        })
    }
}
