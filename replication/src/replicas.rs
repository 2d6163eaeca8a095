//! Where the replicas of one partition are: a short list that lives in its partition, so that a
//! state with thousands of partitions is copied without an allocation for each.

use core::fmt;
use core::ops::Deref;

use crate::Placement;

/// The most replicas that a partition has.
pub const REPLICAS_MAX: usize = 7;

/// See the module's description. Holds no placement twice.
#[derive(Clone, Copy, Default)]
pub struct Replicas {
    count: u8,
    at: [Placement; REPLICAS_MAX],
}

impl Replicas {
    /// None.
    pub const EMPTY: Self = Self { count: 0, at: [Placement::ORIGIN; REPLICAS_MAX] };

    /// `None` if there are more than [`REPLICAS_MAX`] or one stands twice.
    #[must_use]
    pub fn new(placements: &[Placement]) -> Option<Self> {
        let mut replicas = Self::EMPTY;
        placements.iter().all(|placement| replicas.add(*placement)).then_some(replicas)
    }

    /// A single one.
    #[must_use]
    pub fn one(placement: Placement) -> Self {
        let mut replicas = Self::EMPTY;
        replicas.add(placement);
        replicas
    }

    /// Whether it was added: it is new and there is room.
    pub(crate) fn add(&mut self, placement: Placement) -> bool {
        let count = usize::from(self.count);
        if count == REPLICAS_MAX || self.contains(&placement) {
            return false;
        }
        self.at[count] = placement;
        self.count += 1;
        true
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(Placement) -> bool) {
        let all = *self;
        *self = Self::EMPTY;
        for placement in all.iter().filter(|placement| keep(**placement)) {
            self.add(*placement);
        }
    }

    /// Whether the same placements stand in `other`, in any order.
    #[must_use]
    pub fn is_permutation_of(&self, other: &[Placement]) -> bool {
        self.len() == other.len() && self.iter().all(|placement| other.contains(placement))
    }
}

impl Deref for Replicas {
    type Target = [Placement];

    fn deref(&self) -> &[Placement] {
        &self.at[..usize::from(self.count)]
    }
}

impl PartialEq for Replicas {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Replicas {}

impl fmt::Debug for Replicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use base::{NodeId, ShardId};

    use super::*;

    fn at(node: u16) -> Placement {
        Placement { node: NodeId(node), shard: ShardId(0) }
    }

    #[test]
    fn a_list_refuses_repetition_and_more_than_it_holds() {
        assert_eq!(Replicas::new(&[at(1), at(2), at(1)]), None);
        let many: Vec<_> = (0..8).map(at).collect();
        assert_eq!(Replicas::new(&many), None);
        assert_eq!(&*Replicas::new(&many[1..]).unwrap(), &many[1..]);
    }

    #[test]
    fn lists_are_equal_by_what_they_hold() {
        let mut replicas = Replicas::new(&[at(3), at(1), at(2)]).unwrap();
        assert!(replicas.is_permutation_of(&[at(1), at(2), at(3)]));
        assert!(!replicas.is_permutation_of(&[at(1), at(2), at(4)]));
        replicas.retain(|placement| placement != at(3));
        assert_eq!(replicas, Replicas::new(&[at(1), at(2)]).unwrap());
    }
}
