//! The replicated partitions of a shard, by id and by slot.

use std::collections::HashMap;

use ahash::RandomState;
use base::{Epoch, PartitionId};

use super::assignment::Assignment;
use super::following::Following;
use super::leading::Leading;

/// One partition of which this shard holds a replica.
#[derive(Debug)]
pub(super) struct Replica {
    pub id: PartitionId,
    pub assignment: Assignment,
    pub role: Role,
}

#[derive(Debug)]
pub(super) enum Role {
    Leader(Leading),
    Follower(Following),
}

/// Slots are reused; whoever keeps one asks whether it is still what it was.
#[derive(Debug)]
pub(super) struct Table {
    slots: Vec<Option<Replica>>,
    free: Vec<usize>,
    /// Never walked: its order differs between machines.
    by_id: HashMap<PartitionId, usize, RandomState>,
}

impl Replica {
    pub(super) fn leading(&self) -> Option<&Leading> {
        match &self.role {
            Role::Leader(leading) => Some(leading),
            Role::Follower(_) => None,
        }
    }

    pub(super) fn leading_mut(&mut self) -> Option<&mut Leading> {
        match &mut self.role {
            Role::Leader(leading) => Some(leading),
            Role::Follower(_) => None,
        }
    }

    /// As a follower; a leader of a lower epoch steps down for it.
    pub(super) fn follow(&mut self) -> &mut Following {
        if let Role::Leader(_) = self.role {
            self.role = Role::Follower(Following::default());
        }
        match &mut self.role {
            Role::Follower(following) => following,
            Role::Leader(_) => unreachable!("just stepped down"),
        }
    }

    /// Steps down if it leads in an epoch below `epoch`.
    pub(super) fn yield_to(&mut self, epoch: Epoch) {
        if self.leading().is_some_and(|leading| leading.epoch < epoch) {
            self.role = Role::Follower(Following::default());
        }
    }
}

impl Table {
    pub(super) fn new() -> Self {
        let hasher = RandomState::with_seeds(0x6368_6970, 0x6c6f_6721, 3, 4);
        Self { slots: Vec::new(), free: Vec::new(), by_id: HashMap::with_hasher(hasher) }
    }

    pub(super) fn slot(&self, id: PartitionId) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    pub(super) fn get(&self, slot: usize) -> Option<&Replica> {
        self.slots.get(slot)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut Replica> {
        self.slots.get_mut(slot)?.as_mut()
    }

    pub(super) fn by_id(&self, id: PartitionId) -> Option<&Replica> {
        self.get(self.slot(id)?)
    }

    pub(super) fn insert(&mut self, replica: Replica) -> usize {
        let slot = self.free.pop().unwrap_or(self.slots.len());
        if slot == self.slots.len() {
            self.slots.push(None);
        }
        self.by_id.insert(replica.id, slot);
        self.slots[slot] = Some(replica);
        slot
    }

    pub(super) fn remove(&mut self, id: PartitionId) -> Option<Replica> {
        let slot = self.by_id.remove(&id)?;
        self.free.push(slot);
        self.slots[slot].take()
    }

    pub(super) fn slots(&self) -> core::ops::Range<usize> {
        0..self.slots.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Replica> {
        self.slots.iter().flatten()
    }
}
