//! A partition that may have lost data: what is intact is served read-only, the rest is named.

use core::fmt;

use base::{FileId, Offset, Seq};

/// The offsets of a partition that are, or may be, lost, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Halt {
    pub cause: HaltCause,
    /// The first offset that is not there.
    pub from: Offset,
    /// The first intact offset behind the loss. `None`: nothing is known behind `from`, records that
    /// were acked may have stood there.
    pub to: Option<Offset>,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HaltCause {
    /// The journal frame that held, or may have held, records of the partition is damaged.
    Frame(Seq),
    /// An extent of the partition is damaged or unreadable.
    Extent { file: FileId, pos: u64 },
    /// The journal lacks what should join two parts of the log.
    Hole,
}

impl fmt::Display for HaltCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(seq) => write!(f, "journal frame {seq} is damaged"),
            Self::Extent { file, pos } => {
                write!(f, "the extent at byte {pos} of {:?} is damaged", file.kind)
            }
            Self::Hole => write!(f, "the journal lacks records"),
        }
    }
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cause, from, to } = self;
        match to {
            Some(to) => write!(f, "offsets {from} to {to} are lost: {cause}"),
            None => write!(f, "offsets from {from} on may be lost: {cause}"),
        }
    }
}
