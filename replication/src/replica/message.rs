//! What data shards of different nodes say to each other.
//!
//! ```text
//!  0 bytes behind this field u32   4 kind u8   5 fields
//!
//!     leader's shard ──dials──▶ follower's shard
//!        Hello, Proof    ⇄    Hello, Proof         once per connection
//!        EpochOpen ────▶                           where a reign begins; with a history: go on from where?
//!        Append ───────▶      ◀───────── Ack       one number for all that became durable
//!        Heartbeat ────▶      ◀───────── Nack      what does not join, and what I have instead
//!        Vouch ────────▶
//! ```
//! Little-endian but for the length of a frame ([`base::Framer`]). `Hello` keeps its layout for ever; the others are those of the version that both
//! sides know ([`Versions::agree`]). A stream is one connection; its sequence numbers are dense from 1.

use base::{Committed, Epoch, LogEnd, LogStart, Offset, PartitionId, Reign};

use crate::node::Boot;
use crate::{LogIndex, Placement, Uuid};

/// The protocol versions that this build speaks.
pub const VERSIONS: Versions = Versions { min: 1, max: 1 };

/// The longest frame, in bytes: a receiver refuses more before it takes memory for it.
pub const FRAME_BYTES_MAX: usize = 64 << 20;

/// Bytes of the length field.
pub const LENGTH_BYTES: usize = 4;

/// The most watermarks in one heartbeat.
pub const WATERMARKS_MAX: usize = 512;

/// Inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    pub min: u16,
    pub max: u16,
}

/// Names one connection from a leader's shard to a follower's: grows with each that the leader's
/// shard dials, over its boots too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StreamId(pub u64);

/// Place of a message in its stream: dense, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StreamSeq(pub u64);

/// See the module's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    Hello(Hello),
    /// The answer to a challenge.
    Proof {
        response: [u8; 32],
    },
    EpochOpen(EpochOpen),
    /// Whole batches of one reign, as they stand in the leader's log.
    Append {
        header: AppendHeader,
        batches: &'a [u8],
    },
    /// `last`: the newest numbered message before it.
    Heartbeat {
        stream: StreamId,
        last: StreamSeq,
        watermarks: Vec<Watermark>,
    },
    /// The follower's log holds all that it ever helped to commit: it may count again.
    Vouch {
        stream: StreamId,
        seq: StreamSeq,
        partition: PartitionId,
        epoch: Epoch,
    },
    /// Everything up to `seq` was refused by a [`Nack`] sent before, or is durable. Also says that
    /// the follower lives, with the same number again.
    Ack {
        stream: StreamId,
        boot: Boot,
        seq: StreamSeq,
    },
    Nack(Nack),
}

/// The first message in each direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    pub versions: Versions,
    pub cluster: Uuid,
    pub from: Placement,
    pub to: Placement,
    /// Of the sender.
    pub boot: Boot,
    /// Chosen by who dials, repeated by who answers.
    pub stream: StreamId,
    /// How much of the cluster log the sender knows.
    pub cluster_index: LogIndex,
    /// The other side proves that it knows the cluster's secret by its answer to this.
    pub challenge: [u8; 16],
}

/// A reign begins at `reign.start`, in stream order.
///
/// With a history, it begins the conversation about the partition: the follower truncates to where
/// both histories part, opens the reign if its log then ends at `reign.start`, else says what it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochOpen {
    pub stream: StreamId,
    pub seq: StreamSeq,
    pub partition: PartitionId,
    /// The sender's own epoch.
    pub epoch: Epoch,
    /// Of the sender's epoch, or of one before: followers catch up on it.
    pub reign: Reign,
    pub config_version: u32,
    /// How much of the cluster log names the sender as the leader.
    pub cluster_index: LogIndex,
    /// With a history: what the follower can be sent begins there, perhaps before the log start.
    pub log_start: LogStart,
    pub committed: Committed,
    /// What the follower has acked to this leader before: a log that is shorter lost something.
    pub acked: Offset,
    pub opening: Option<Opening>,
}

/// The leader's log, for [`EpochOpen`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// All of its reigns.
    pub history: Vec<Reign>,
    pub log_end: LogEnd,
}

/// What stands before the batches of an [`Message::Append`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendHeader {
    pub stream: StreamId,
    pub seq: StreamSeq,
    pub partition: PartitionId,
    /// The sender's own epoch.
    pub epoch: Epoch,
    /// The last reign before the batches, which is theirs too, and where they begin.
    pub previous: (Epoch, Offset),
    pub committed: Committed,
    pub log_start: LogStart,
}

/// How far a partition is, for followers that learn it from no append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermark {
    pub partition: PartitionId,
    pub epoch: Epoch,
    pub committed: Committed,
    pub log_start: LogStart,
}

/// A message about a partition that was not taken, and what the follower has, durably.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nack {
    pub stream: StreamId,
    pub boot: Boot,
    /// The message that was not taken. Younger ones about the partition that were sent before this
    /// arrived are not taken either.
    pub seq: StreamSeq,
    pub partition: PartitionId,
    pub cause: NackCause,
    pub promised: Epoch,
    pub log_end: LogEnd,
    /// Whether the log holds all that it ever acked.
    pub proven: bool,
    pub history: Vec<Reign>,
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NackCause {
    /// It does not join: go on from the log end.
    Position,
    /// The journal has no room at this moment: go on from the log end, later.
    Busy,
    /// The sender's epoch is below what was promised.
    Deposed,
    /// The partition is halted here: no further word helps.
    Halted,
    /// The partition is not known here, or not yet.
    Unknown,
}

impl Versions {
    /// The newest version that both sides speak.
    #[must_use]
    pub fn agree(self, other: Self) -> Option<u16> {
        let newest = self.max.min(other.max);
        (self.min.max(other.min) <= newest).then_some(newest)
    }
}

impl StreamSeq {
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}
