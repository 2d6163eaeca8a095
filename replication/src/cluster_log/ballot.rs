//! What a voter must never forget: its term, and whom it voted for in it.
//!
//! ```text
//!  0 version u8   1 term u32   5 voted u8   6 node u16   8 journal u64   (the last two if voted)
//! ```
//! One record each in a partition of its own; the last one counts.

use crate::fields::{Fields, put_flag, put_u8, put_u32};
use crate::{DecodeError, Term, Voter};

/// See the module's description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Ballot {
    pub term: Term,
    pub vote: Option<Voter>,
}

const VERSION: u8 = 1;

impl Ballot {
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16);
        put_u8(&mut out, VERSION);
        put_u32(&mut out, self.term.0);
        put_flag(&mut out, self.vote.is_some());
        if let Some(voter) = self.vote {
            voter.encode(&mut out);
        }
        out
    }

    /// Takes all of `bytes`, or says what is wrong with them.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(bytes);
        let version = fields.u8()?;
        if version != VERSION {
            return Err(DecodeError::UnknownVersion { kind: 0, version });
        }
        let term = Term(fields.u32()?);
        let vote = if fields.flag()? { Some(Voter::decode(&mut fields)?) } else { None };
        fields.end()?;
        Ok(Self { term, vote })
    }
}

#[cfg(test)]
mod tests {
    use base::NodeId;

    use super::*;

    #[test]
    fn ballots_have_these_bytes() {
        let none = Ballot { term: Term(2), vote: None };
        assert_eq!(none.encode(), [1, 2, 0, 0, 0, 0]);
        let vote = Some(Voter { node: NodeId(3), journal: 4 });
        let some = Ballot { term: Term(2), vote };
        assert_eq!(some.encode(), [1, 2, 0, 0, 0, 1, 3, 0, 4, 0, 0, 0, 0, 0, 0, 0]);
        for ballot in [none, some] {
            let bytes = ballot.encode();
            assert_eq!(Ballot::decode(&bytes), Ok(ballot));
            for len in 0..bytes.len() {
                assert!(Ballot::decode(&bytes[..len]).is_err());
            }
        }
    }
}
