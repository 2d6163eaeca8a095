//! Why the entries in the journal are not a cluster log of ours. Each reason stops the node: an
//! operator must look.

use core::fmt;

use crate::{DecodeError, LogIndex, Rejected, Term};

/// See the module's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplayError {
    /// The bytes are not an entry.
    Decode { after: LogIndex, error: DecodeError },
    /// An entry is missing or stands twice.
    Order { expected: LogIndex, found: LogIndex },
    /// A term below its predecessor's, or 0.
    Term { index: LogIndex, known: Term, found: Term },
    /// The entry contradicts those before it.
    Rejected { index: LogIndex, reason: Rejected },
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decode { after, error } => {
                write!(f, "the cluster log is unreadable after entry {}: {error}", after.0)
            }
            Self::Order { expected, found } => {
                write!(f, "the cluster log has entry {} where {} belongs", found.0, expected.0)
            }
            Self::Term { index, known, found } => write!(
                f,
                "entry {} of the cluster log is of term {}, after term {}",
                index.0, found.0, known.0
            ),
            Self::Rejected { index, reason } => {
                write!(f, "entry {} of the cluster log cannot be: {reason}", index.0)
            }
        }
    }
}

impl core::error::Error for ReplayError {}
