//! What replication wants done.

use base::{Epoch, LogEnd, Offset, PartitionId, Reign, Seq};

use super::log::LogView;
use super::message::{AppendHeader, Message, StreamId};
use super::outbound::Lane;
use crate::node::Boot;
use crate::{Mutant, Placement, Planted};

/// See the module's description.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outgoing {
    /// Send it to `to`: what a leader says on the connection dialled to `to`, what a follower says
    /// on the one that `to` dialled; [`Message`] tells which. Lost with its connection.
    Message { to: Placement, message: Message<'static> },
    /// Take whole batches off the log, then say [`super::ReplicaSet::attach`].
    Read(ReadOrder),
    /// Send `header`, and behind it the batches that were read for `ticket`: it is their turn.
    Append { to: Placement, header: AppendHeader, ticket: u64 },
    /// Close that connection, which this shard `dialled` or accepted: what came over it, or did not,
    /// cannot be trusted.
    Break { peer: Placement, stream: StreamId, dialled: bool },
    /// Tell the control core.
    Event(Event),
}

/// Batches from `from` on, below `until`, not more than `bytes_max` but one batch at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadOrder {
    pub to: Placement,
    pub stream: StreamId,
    pub partition: PartitionId,
    pub from: Offset,
    pub until: Offset,
    pub bytes_max: u32,
    /// Latency before bulk, also where reads wait for each other.
    pub lane: Lane,
    /// Names the order: an answer that comes too late finds no one.
    pub ticket: u64,
}

/// What the control core should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A quorum has opened the epoch of which this shard is the leader.
    Opened { partition: PartitionId, epoch: Epoch },
    /// The learner on this boot of its shard holds all that it ever helped to commit.
    CaughtUp { partition: PartitionId, epoch: Epoch, replica: Placement, boot: Boot },
    /// The leader takes nothing any more and `to` holds durably what the log holds.
    HandOver { partition: PartitionId, epoch: Epoch, to: Placement, log_end: LogEnd },
    /// A fence is durable.
    Fenced(Fenced),
    /// Records were truncated since no quorum had them: `from..to`, the newest of `last_epoch`.
    Diverged { partition: PartitionId, from: Offset, to: Offset, last_epoch: Epoch },
    /// The log contradicts that of the leader below what is committed: this replica stands still.
    Contradiction { partition: PartitionId, committed: Offset, joins_at: Offset, leader: Placement },
}

/// The log as of a fence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fenced {
    /// What [`super::ReplicaSet::fence`] was given.
    pub token: u64,
    pub seq: Seq,
    pub boot: Boot,
    /// Partitions that the shard does not hold are left out.
    pub answers: Vec<FenceAnswer>,
}

/// One partition, as of the fence's entry. Leaders are chosen by the highest (`last_epoch`, log end)
/// among logs whose proof holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FenceAnswer {
    pub partition: PartitionId,
    /// The last reign in the log; `None` if it has none.
    pub last_epoch: Option<Epoch>,
    pub view: LogView,
}

impl FenceAnswer {
    #[must_use]
    pub fn new(planted: Planted, partition: PartitionId, view: LogView, reigns: &[Reign]) -> Self {
        let mut last = reigns.last();
        if planted.is(Mutant::ElectByLastRecord) {
            last = reigns.iter().rev().find(|reign| reign.start < view.log_end.0);
        }
        Self { partition, last_epoch: last.map(|reign| reign.epoch), view }
    }
}
