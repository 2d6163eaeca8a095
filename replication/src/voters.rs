//! Who votes in the cluster log.
//!
//! A voter is a node *with the control journal that it had when it was admitted*: a node that comes
//! back with another journal has forgotten what it promised, and is a stranger under an old name.

use base::NodeId;

use crate::fields::{Fields, put_list, put_u16, put_u64};
use crate::{DecodeError, Rejected};

/// The most voters that a cluster log has.
pub const VOTERS_MAX: usize = 5;

/// A node and the random id of its control journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Voter {
    pub node: NodeId,
    pub journal: u64,
}

/// A set of voters, one per node. Empty before the cluster is formed, and in a cluster that was
/// formed by a node for itself: that node is then the only voter.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Voters(Vec<Voter>);

impl Voters {
    /// The set of `voters`, in whatever order; at most [`VOTERS_MAX`], no node twice.
    pub fn new(voters: impl IntoIterator<Item = Voter>) -> Result<Self, Rejected> {
        let mut set = Self::default();
        voters.into_iter().try_for_each(|voter| set.add(voter))?;
        Ok(set)
    }

    pub fn iter(&self) -> impl Iterator<Item = Voter> {
        self.0.iter().copied()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn contains(&self, voter: Voter) -> bool {
        self.0.contains(&voter)
    }

    /// The voter that `node` is, if it is one.
    #[must_use]
    pub fn of_node(&self, node: NodeId) -> Option<Voter> {
        self.iter().find(|voter| voter.node == node)
    }

    /// How many of them decide.
    #[must_use]
    pub fn majority(&self) -> usize {
        self.0.len() / 2 + 1
    }

    /// Whether those for whom `agrees` holds decide.
    pub fn decide(&self, agrees: impl Fn(Voter) -> bool) -> bool {
        !self.is_empty() && self.majority() <= self.iter().filter(|voter| agrees(*voter)).count()
    }

    pub(crate) fn add(&mut self, voter: Voter) -> Result<(), Rejected> {
        match self.0.binary_search_by_key(&voter.node, |known| known.node) {
            Ok(_) => Err(Rejected::Voter { node: voter.node }),
            Err(_) if self.0.len() == VOTERS_MAX => Err(Rejected::TooManyVoters),
            Err(place) => {
                self.0.insert(place, voter);
                Ok(())
            }
        }
    }

    /// Takes `voter` out; the last one stays.
    pub(crate) fn remove(&mut self, voter: Voter) -> Result<(), Rejected> {
        let place = self.0.iter().position(|known| *known == voter);
        match place.filter(|_| 1 < self.0.len()) {
            None => Err(Rejected::Voter { node: voter.node }),
            Some(place) => {
                self.0.remove(place);
                Ok(())
            }
        }
    }
}

impl Voter {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_u16(out, self.node.0);
        put_u64(out, self.journal);
    }

    pub(crate) fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self { node: NodeId(fields.u16()?), journal: fields.u64()? })
    }
}

impl Voters {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_list(out, &self.0, |out, voter| voter.encode(out));
    }

    /// Takes a set only in its one order, ascending nodes, and never an empty one.
    pub(crate) fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        let voters = fields.list(10, Voter::decode)?;
        let ascends = voters.windows(2).all(|pair| pair[0].node < pair[1].node);
        if !ascends || voters.is_empty() || VOTERS_MAX < voters.len() {
            return Err(DecodeError::Voters);
        }
        Ok(Self(voters))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voter(node: u16) -> Voter {
        Voter { node: NodeId(node), journal: 100 + u64::from(node) }
    }

    #[test]
    fn more_than_half_decide() {
        for (voters, majority) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)] {
            let set = Voters::new((0..voters).map(voter)).unwrap();
            assert_eq!(set.majority(), majority);
            for agree in 0..=voters {
                let decided = set.decide(|voter| voter.node.0 < agree);
                assert_eq!(decided, majority <= usize::from(agree));
            }
        }
        assert!(!Voters::default().decide(|_| true));
    }

    #[test]
    fn a_node_votes_once_and_the_last_voter_stays() {
        let mut set = Voters::new([voter(1)]).unwrap();
        let again = Voter { journal: 5, ..voter(1) };
        assert_eq!(set.add(again), Err(Rejected::Voter { node: NodeId(1) }));
        assert_eq!(set.remove(voter(1)), Err(Rejected::Voter { node: NodeId(1) }));
        set.add(voter(0)).unwrap();
        assert_eq!(set.remove(again), Err(Rejected::Voter { node: NodeId(1) }));
        set.remove(voter(1)).unwrap();
        assert_eq!(set, Voters::new([voter(0)]).unwrap());
        assert_eq!(Voters::new((0..6).map(voter)), Err(Rejected::TooManyVoters));
    }
}
