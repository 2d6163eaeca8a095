//! What control cores of different nodes say to each other.
//!
//! ```text
//!  0 version u8   1 kind u8   2 fields
//! ```
//! Little-endian. The link brings framing and checksum, and has proven who speaks.

mod detection;
mod fence;
mod outcome;

use base::{Instant, ShardId};

pub use self::detection::{Beat, Heartbeat, PreFence, PreFenceAnswer, REPORTS_MAX, Reports, Slow};
use self::detection::{put_dead, take_dead};
pub use self::fence::{FENCE_PARTITIONS_MAX, Fence, FenceAnswers};
pub use self::outcome::Outcome;
use crate::cluster_log::message::RaftMessage;
use crate::fields::{Fields, put_list, put_u8, put_u64};
use crate::node::Boot;
use crate::{Command, DecodeError};

/// The longest message, in bytes: the link refuses longer ones before it takes memory for them.
pub const CONTROL_MESSAGE_BYTES_MAX: usize = 1 << 20;

/// The version of every layout so far.
const VERSION: u8 = 1;

const RAFT: u8 = 1;
const PROPOSE: u8 = 2;
const PROPOSED: u8 = 3;
const FENCE: u8 = 16;
const FENCE_ANSWERS: u8 = 17;
const PRE_FENCE: u8 = 18;
const PRE_FENCE_ANSWER: u8 = 19;
const HEARTBEAT: u8 = 20;
const DIED: u8 = 21;
const REPORTS: u8 = 22;
const ECHO: u8 = 23;
const ECHOED: u8 = 24;

/// See the module's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlMessage {
    /// Of the cluster log.
    Raft(RaftMessage),
    /// The control leader to every node that holds a partition without a leader.
    Fence(Fence),
    FenceAnswers(FenceAnswers),
    PreFence(PreFence),
    PreFenceAnswer(PreFenceAnswer),
    /// To the control leader.
    Heartbeat(Heartbeat),
    /// The node's supervisor saw these boots of its shards end.
    Died(Vec<(ShardId, Boot)>),
    /// To the control leader, until the cluster log has it.
    Reports(Reports),
    /// Say this back at once: how far are you? By the sender's clock.
    Echo {
        sent: Instant,
    },
    /// Answers [`ControlMessage::Echo`].
    Echoed {
        sent: Instant,
    },
    /// To the control leader: agree to this, drawn up by the sender in the state that it has.
    Propose {
        ticket: u64,
        command: Command,
    },
    /// Answers [`ControlMessage::Propose`].
    Proposed {
        ticket: u64,
        outcome: Outcome,
    },
}

impl ControlMessage {
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        put_u8(&mut out, VERSION);
        match self {
            Self::Raft(message) => {
                put_u8(&mut out, RAFT);
                message.encode(&mut out);
            }
            Self::Fence(fence) => {
                put_u8(&mut out, FENCE);
                fence.encode(&mut out);
            }
            Self::FenceAnswers(answers) => {
                put_u8(&mut out, FENCE_ANSWERS);
                answers.encode(&mut out);
            }
            Self::PreFence(question) => {
                put_u8(&mut out, PRE_FENCE);
                question.encode(&mut out);
            }
            Self::PreFenceAnswer(answer) => {
                put_u8(&mut out, PRE_FENCE_ANSWER);
                answer.encode(&mut out);
            }
            Self::Heartbeat(heartbeat) => {
                put_u8(&mut out, HEARTBEAT);
                heartbeat.encode(&mut out);
            }
            Self::Died(dead) => {
                put_u8(&mut out, DIED);
                put_list(&mut out, dead, put_dead);
            }
            Self::Reports(reports) => {
                put_u8(&mut out, REPORTS);
                reports.encode(&mut out);
            }
            Self::Echo { sent } => {
                put_u8(&mut out, ECHO);
                put_u64(&mut out, sent.0);
            }
            Self::Echoed { sent } => {
                put_u8(&mut out, ECHOED);
                put_u64(&mut out, sent.0);
            }
            Self::Propose { ticket, command } => {
                put_u8(&mut out, PROPOSE);
                put_u64(&mut out, *ticket);
                command.encode(&mut out);
            }
            Self::Proposed { ticket, outcome } => {
                put_u8(&mut out, PROPOSED);
                put_u64(&mut out, *ticket);
                outcome.encode(&mut out);
            }
        }
        debug_assert!(out.len() <= CONTROL_MESSAGE_BYTES_MAX, "{} bytes", out.len());
        out
    }

    /// Takes all of `bytes`, or says what is wrong with them.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if CONTROL_MESSAGE_BYTES_MAX < bytes.len() {
            return Err(DecodeError::TooLong { bytes: bytes.len() });
        }
        let mut fields = Fields::new(bytes);
        let version = fields.u8()?;
        let kind = fields.u8()?;
        if version != VERSION {
            return Err(DecodeError::UnknownVersion { kind, version });
        }
        let message = match kind {
            RAFT => Self::Raft(RaftMessage::decode(&mut fields)?),
            FENCE => Self::Fence(Fence::decode(&mut fields)?),
            FENCE_ANSWERS => Self::FenceAnswers(FenceAnswers::decode(&mut fields)?),
            PRE_FENCE => Self::PreFence(PreFence::decode(&mut fields)?),
            PRE_FENCE_ANSWER => Self::PreFenceAnswer(PreFenceAnswer::decode(&mut fields)?),
            HEARTBEAT => Self::Heartbeat(Heartbeat::decode(&mut fields)?),
            DIED => Self::Died(fields.list(14, take_dead)?),
            REPORTS => Self::Reports(Reports::decode(&mut fields)?),
            ECHO => Self::Echo { sent: Instant(fields.u64()?) },
            ECHOED => Self::Echoed { sent: Instant(fields.u64()?) },
            PROPOSE => {
                let ticket = fields.u64()?;
                Self::Propose { ticket, command: Command::decode(&mut fields)? }
            }
            PROPOSED => {
                let ticket = fields.u64()?;
                Self::Proposed { ticket, outcome: Outcome::decode(&mut fields)? }
            }
            kind => return Err(DecodeError::UnknownKind(kind)),
        };
        fields.end()?;
        Ok(message)
    }
}
