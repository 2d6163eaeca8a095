//! What a follower hears of a command that it sent to the control leader.

use crate::fields::{Fields, put_u8, put_u32, put_u64};
use crate::{DecodeError, LogIndex, Term};

/// See the module's description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is this entry, if that is committed in this term.
    Taken { index: LogIndex, term: Term },
    /// It does not hold in the state after this entry: draw it up anew by then.
    Refused { after: LogIndex },
    /// Ask another, or later.
    NotNow,
}

const TAKEN: u8 = 1;
const REFUSED: u8 = 2;
const NOT_NOW: u8 = 3;

impl Outcome {
    pub(super) fn encode(self, out: &mut Vec<u8>) {
        match self {
            Self::Taken { index, term } => {
                put_u8(out, TAKEN);
                put_u64(out, index.0);
                put_u32(out, term.0);
            }
            Self::Refused { after } => {
                put_u8(out, REFUSED);
                put_u64(out, after.0);
            }
            Self::NotNow => put_u8(out, NOT_NOW),
        }
    }

    pub(super) fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(match fields.u8()? {
            TAKEN => Self::Taken { index: LogIndex(fields.u64()?), term: Term(fields.u32()?) },
            REFUSED => Self::Refused { after: LogIndex(fields.u64()?) },
            NOT_NOW => Self::NotNow,
            kind => return Err(DecodeError::UnknownKind(kind)),
        })
    }
}
