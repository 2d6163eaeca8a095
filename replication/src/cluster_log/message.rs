//! What the control cores of a cluster tell each other about their log.
//!
//! ```text
//!  0 sender's journal u64   8 sender's boot u32   12 receiver's journal u64   20 term u32
//! 24 kind u8   25 fields
//! ```
//! A message names the journal that it is meant for: a node that lost its journal takes nothing
//! that was meant for the voter it used to be. 0 stands for "whatever yours is".

use base::Incarnation;

use crate::fields::{Fields, put_bytes, put_flag, put_list, put_u8, put_u32, put_u64};
use crate::node::Boot;
use crate::{DecodeError, LogIndex, Term};

/// The longest entry of the log: one frame of the control journal holds it.
pub const ENTRY_BYTES_MAX: usize = 192 << 10;
/// Bytes of entries in one [`RaftBody::Append`] by default.
pub const APPEND_BYTES_MAX: usize = 256 << 10;

/// See the module's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaftMessage {
    pub sender: Boot,
    /// The id of the journal that the receiver must have; 0: any.
    pub receiver: u64,
    /// The sender's term, or the one it stands for in a trial.
    pub term: Term,
    pub body: RaftBody,
}

/// A position in the log: an entry's index and term, or zeros before the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Position {
    pub index: LogIndex,
    pub term: Term,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RaftBody {
    /// "I am here with this log, and hear no leader": asks to be founded with, or to be taught.
    /// `round` counts the sender's questions.
    Present { round: u64, last: LogIndex },
    /// Answers [`RaftBody::Present`]: the answerer's own log ends with `last`.
    Seen { round: u64, last: LogIndex },
    /// Asks for a vote. A trial only asks whether it would be given. `urgent`: the leader is known
    /// to be dead, do not wait for its silence.
    AskVote { trial: bool, urgent: bool, last: Position },
    /// Answers [`RaftBody::AskVote`], and refuses a leader whose term is over.
    Vote { trial: bool, granted: bool },
    /// Entries behind `previous`, whole as they stand in the log; none is a heartbeat.
    Append { previous: Position, committed: LogIndex, entries: Vec<Vec<u8>> },
    /// The sender holds, for good, what the leader holds up to `matched`. `count` orders the answers
    /// of one start.
    Appended { count: u64, matched: LogIndex },
    /// The sender does not hold `previous`; its log ends with `last`, and may be the leader's up to
    /// `retry`.
    Missing { count: u64, previous: LogIndex, last: LogIndex, retry: LogIndex },
}

const PRESENT: u8 = 1;
const SEEN: u8 = 2;
const ASK_VOTE: u8 = 3;
const VOTE: u8 = 4;
const APPEND: u8 = 5;
const APPENDED: u8 = 6;
const MISSING: u8 = 7;

impl RaftMessage {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.sender.journal);
        put_u32(out, self.sender.boot.0);
        put_u64(out, self.receiver);
        put_u32(out, self.term.0);
        self.body.encode(out);
    }

    pub(crate) fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            sender: Boot { journal: fields.u64()?, boot: Incarnation(fields.u32()?) },
            receiver: fields.u64()?,
            term: Term(fields.u32()?),
            body: RaftBody::decode(fields)?,
        })
    }
}

impl RaftBody {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Present { round, last } => {
                put_u8(out, PRESENT);
                put_u64(out, *round);
                put_u64(out, last.0);
            }
            Self::Seen { round, last } => {
                put_u8(out, SEEN);
                put_u64(out, *round);
                put_u64(out, last.0);
            }
            Self::AskVote { trial, urgent, last } => {
                put_u8(out, ASK_VOTE);
                put_flag(out, *trial);
                put_flag(out, *urgent);
                last.encode(out);
            }
            Self::Vote { trial, granted } => {
                put_u8(out, VOTE);
                put_flag(out, *trial);
                put_flag(out, *granted);
            }
            Self::Append { previous, committed, entries } => {
                put_u8(out, APPEND);
                previous.encode(out);
                put_u64(out, committed.0);
                put_list(out, entries, |out, entry| put_bytes(out, entry));
            }
            Self::Appended { count, matched } => {
                put_u8(out, APPENDED);
                put_u64(out, *count);
                put_u64(out, matched.0);
            }
            Self::Missing { count, previous, last, retry } => {
                put_u8(out, MISSING);
                put_u64(out, *count);
                put_u64(out, previous.0);
                put_u64(out, last.0);
                put_u64(out, retry.0);
            }
        }
    }

    fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(match fields.u8()? {
            PRESENT => Self::Present { round: fields.u64()?, last: LogIndex(fields.u64()?) },
            SEEN => Self::Seen { round: fields.u64()?, last: LogIndex(fields.u64()?) },
            ASK_VOTE => Self::AskVote {
                trial: fields.flag()?,
                urgent: fields.flag()?,
                last: Position::decode(fields)?,
            },
            VOTE => Self::Vote { trial: fields.flag()?, granted: fields.flag()? },
            APPEND => Self::Append {
                previous: Position::decode(fields)?,
                committed: LogIndex(fields.u64()?),
                entries: fields.list(4, |fields| Ok(fields.bytes()?.to_vec()))?,
            },
            APPENDED => Self::Appended { count: fields.u64()?, matched: LogIndex(fields.u64()?) },
            MISSING => Self::Missing {
                count: fields.u64()?,
                previous: LogIndex(fields.u64()?),
                last: LogIndex(fields.u64()?),
                retry: LogIndex(fields.u64()?),
            },
            kind => return Err(DecodeError::UnknownKind(kind)),
        })
    }
}

impl Position {
    fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.index.0);
        put_u32(out, self.term.0);
    }

    fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self { index: LogIndex(fields.u64()?), term: Term(fields.u32()?) })
    }
}
