//! Where partitions live: a slab, found by id, named by slots that outlive nobody.

use std::collections::HashMap;

use base::PartitionId;

use crate::partition::Partition;

/// A partition's place in this process. Once the partition is deleted its slot finds nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Slot {
    index: u32,
    generation: u32,
}

impl Slot {
    /// The slot of nobody.
    pub(crate) const VACANT: Self = Self { index: u32::MAX, generation: u32::MAX };

    #[cfg(test)]
    pub(crate) const fn at(index: u32) -> Self {
        Self { index, generation: 0 }
    }

    pub(crate) fn index(self) -> usize {
        self.index as usize
    }
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Partitions {
    slots: Vec<Cell>,
    free: Vec<u32>,
    by_id: HashMap<PartitionId, Slot, ahash::RandomState>,
}

#[derive(Debug)]
struct Cell {
    generation: u32,
    partition: Option<Box<Partition>>,
}

impl Partitions {
    pub(crate) fn new() -> Self {
        let by_id = HashMap::with_hasher(ahash::RandomState::with_seeds(5, 6, 7, 8));
        Self { slots: Vec::new(), free: Vec::new(), by_id }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn slot(&self, id: PartitionId) -> Option<Slot> {
        self.by_id.get(&id).copied()
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&Partition> {
        let cell = self.slots.get(slot.index())?;
        if cell.generation == slot.generation { cell.partition.as_deref() } else { None }
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Partition> {
        let cell = self.slots.get_mut(slot.index())?;
        if cell.generation == slot.generation { cell.partition.as_deref_mut() } else { None }
    }

    pub(crate) fn by_id(&self, id: PartitionId) -> Option<&Partition> {
        self.get(self.slot(id)?)
    }

    pub(crate) fn by_id_mut(&mut self, id: PartitionId) -> Option<&mut Partition> {
        self.get_mut(self.slot(id)?)
    }

    /// Adds a partition. Panics if its id is taken.
    pub(crate) fn insert(&mut self, partition: Partition) -> Slot {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Cell { generation: 0, partition: None });
            self.slots.len() as u32 - 1
        });
        let cell = &mut self.slots[index as usize];
        let slot = Slot { index, generation: cell.generation };
        assert!(self.by_id.insert(partition.id, slot).is_none(), "{} exists", partition.id);
        cell.partition = Some(Box::new(partition));
        slot
    }

    /// Makes a partition unfindable by its id; its slot still finds it.
    pub(crate) fn hide(&mut self, slot: Slot) {
        let id = self.get(slot).expect("a partition is hidden while it exists").id;
        self.by_id.remove(&id);
    }

    /// Whether the slot holds a partition that is not being deleted.
    pub(crate) fn is_visible(&self, slot: Slot) -> bool {
        self.get(slot).is_some_and(|partition| self.by_id.get(&partition.id) == Some(&slot))
    }

    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Box<Partition>> {
        self.get(slot)?;
        let cell = &mut self.slots[slot.index()];
        let partition = cell.partition.take()?;
        cell.generation += 1;
        self.free.push(slot.index);
        if self.by_id.get(&partition.id) == Some(&slot) {
            self.by_id.remove(&partition.id);
        }
        Some(partition)
    }

    /// Partitions that are not being deleted.
    pub(crate) fn visible(&self) -> impl Iterator<Item = &Partition> {
        self.iter().filter(|(slot, _)| self.is_visible(*slot)).map(|(_, partition)| partition)
    }

    /// All partitions, those being deleted too.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot, &Partition)> {
        (0..self.slots.len()).filter_map(|index| self.at(index))
    }

    /// The partition in the slot with this index.
    pub(crate) fn at(&self, index: usize) -> Option<(Slot, &Partition)> {
        let cell = self.slots.get(index)?;
        let slot = Slot { index: index as u32, generation: cell.generation };
        Some((slot, cell.partition.as_deref()?))
    }

    /// Slots ever used: an upper bound for [`Slot::index`].
    pub(crate) fn slot_count(&self) -> usize {
        self.slots.len()
    }
}
