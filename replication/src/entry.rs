//! One entry of the cluster log.
//!
//! ```text
//!  0 term u32   4 index u64   12 kind u8   13 version of the kind u8   14 fields
//! ```
//! Little-endian. The record that carries an entry brings the checksum.

use crate::fields::{Fields, put_u32, put_u64};
use crate::{Command, DecodeError};

/// An entry's place in the cluster log; the first is 1. As the version of a state: the last entry
/// applied, 0 for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LogIndex(pub u64);

/// The reign of one leader over the cluster log; the first is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Term(pub u32);

/// A command at its place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub term: Term,
    pub index: LogIndex,
    pub command: Command,
}

impl LogIndex {
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Term {
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("four billion elections"))
    }
}

impl Entry {
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        put_u32(&mut out, self.term.0);
        put_u64(&mut out, self.index.0);
        self.command.encode(&mut out);
        out
    }

    /// The term of an encoded entry. Panics if `bytes` are none.
    pub(crate) fn term_of(bytes: &[u8]) -> Term {
        Term(u32::from_le_bytes(*bytes.first_chunk().expect("an entry begins with its term")))
    }

    /// Takes all of `bytes`, or says what is wrong with them.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(bytes);
        let term = Term(fields.u32()?);
        let index = LogIndex(fields.u64()?);
        let command = Command::decode(&mut fields)?;
        fields.end()?;
        Ok(Self { term, index, command })
    }
}
