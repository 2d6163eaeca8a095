//! What cores say to each other.
//!
//! A core that accepted a request for a partition of another core relays an [`Ask`] and gets an
//! [`Answer`] back; changes of cluster state go to the control core and come back as snapshots.

use std::sync::Arc;

use base::{CoreId, Epoch, Incarnation, Instant, NodeId, PartitionId, Piece, ShardId, Token};
use replication::control_message::Slow;
use replication::replica::Event;
use replication::{Boot, ClusterState, ControlMessage, LogIndex, Placement, Proposal, Rejected};

use crate::ask::{Answer, Ask};
use crate::fault::FaultOrder;
use crate::metrics::CoreMetrics;
use crate::notices::Notices;

/// Names one part of a pending request to whoever answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// The core that holds the job.
    pub core: CoreId,
    pub ticket: Ticket,
    /// Which partition of the request, counted in request order.
    pub part: u32,
}

/// A pending job of one core. The generation makes a reused slot a different job, so that a late
/// answer reaches nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket {
    pub slot: u32,
    pub generation: u32,
}

/// A message between cores.
#[derive(Debug)]
pub enum Mail {
    /// Data core to data core: do this for me.
    Ask { to: Asker, shard: ShardId, partition: PartitionId, ask: Ask, spare: Spare },
    /// Data core to data core: it is done, and durable where that was asked for.
    Answer { to: Asker, answer: Answer, spare: Spare },
    /// Data core to control core: make these true, each by itself. With `validate_only` nothing
    /// changes. UUIDs are drawn by the sender.
    Propose { core: CoreId, ticket: Ticket, proposals: Vec<Proposal>, validate_only: bool },
    /// Control core to data core: one result per proposal. What was agreed is in force on every
    /// live core (or a second has passed), on this one by the snapshot sent just before.
    Proposed { ticket: Ticket, results: Vec<Result<(), Rejected>> },
    /// Data core to control core: this shard has recovered and asks to lead in a new epoch.
    Booted { shard: ShardId, journal: u64, boot: Incarnation },
    /// Control core to data core: the state of the cluster.
    Snapshot(Arc<ClusterState>),
    /// Control core to data core: every shard of the node leads in its new epoch, or has failed.
    /// Clients may be served from now on.
    Serve,
    /// Data core to control core: the snapshot of this version is in force here.
    Applied { core: CoreId, version: LogIndex },
    /// Data core to control core: this shard can serve no more.
    Failed { shard: ShardId, reason: String },
    /// Control core to data core: listen to no leader of an epoch below these, then say what the logs
    /// hold by [`Event::Fenced`] with this token.
    Fence { shard: ShardId, token: u64, promises: Vec<(PartitionId, Epoch)> },
    /// Data core to control core: something about replicas that the cluster should know.
    Replica { shard: ShardId, event: Event },
    /// Data core to control core, now and then: a shard does its work.
    Alive(Vitals),
    /// To the control core: the node is about to stop, and is to lead nothing by then.
    Leave,
    /// Control core to data core: tell your numbers.
    Measure,
    /// Data core to control core: the numbers.
    Measured(Box<CoreMetrics>),
    /// Control core to data core: what clients may ask for.
    Notices(Arc<Notices>),
    /// Control core to whoever runs a data core: do wrong in its name. No machine hears of it.
    Fault(FaultOrder),
    /// To the control core: the control core of `node` says this.
    FromPeer { node: NodeId, message: ControlMessage },
    /// Control core to [`CoreId::PEERS`]: tell the control core of `node`. Lost if there is no link.
    ToPeer { node: NodeId, message: ControlMessage },
    /// To the control core: messages reach `node` from now on.
    PeerUp { node: NodeId },
    /// To the control core: what was under way to `node` may be lost.
    PeerDown { node: NodeId },
}

/// Memory that goes along for what the receiver will want to write, so that buffers do not pile up on
/// one core while another one has to find new ones. Often none.
#[derive(Debug, Default)]
pub struct Spare {
    pub bytes: Vec<u8>,
    pub pieces: Vec<Piece>,
}

/// A shard's sign of life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vitals {
    pub shard: ShardId,
    pub boot: Boot,
    pub slow: Slow,
    /// When shards of other nodes were heard from last.
    pub heard: Vec<(Placement, Boot, Instant)>,
}

impl Asker {
    /// The part that a coordinator of groups asks for: its ticket is no job's.
    pub(crate) const GROUPS: u32 = u32::MAX;
}

impl Ticket {
    /// Finds no job: for questions whose answer nobody wants.
    pub(crate) const NOBODY: Self = Self { slot: u32::MAX, generation: u32::MAX };
}

impl From<Ticket> for Token {
    fn from(ticket: Ticket) -> Self {
        Self(u64::from(ticket.generation) << 32 | u64::from(ticket.slot))
    }
}

impl From<Token> for Ticket {
    fn from(token: Token) -> Self {
        Self { slot: token.0 as u32, generation: (token.0 >> 32) as u32 }
    }
}
