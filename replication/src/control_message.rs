//! What control cores of different nodes say to each other.
//!
//! ```text
//!  0 version u8   1 kind u8   2 fields
//! ```
//! Little-endian. The link brings framing and checksum, and has proven who speaks.

use crate::DecodeError;
use crate::cluster_log::message::RaftMessage;
use crate::fields::{Fields, put_u8};

/// The longest message, in bytes: the link refuses longer ones before it takes memory for them.
pub const CONTROL_MESSAGE_BYTES_MAX: usize = 1 << 20;

/// The version of every layout so far.
const VERSION: u8 = 1;

const RAFT: u8 = 1;

/// See the module's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlMessage {
    /// Of the cluster log.
    Raft(RaftMessage),
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
            kind => return Err(DecodeError::UnknownKind(kind)),
        };
        fields.end()?;
        Ok(message)
    }
}
