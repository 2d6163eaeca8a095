//! Slots with generations: a ticket of a finished entry finds nothing.

use crate::mail::Ticket;

/// Entries named by [`Ticket`]s; freed slots are used again under a new generation.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    entry: Option<T>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    pub(crate) fn insert(&mut self, entry: T) -> Ticket {
        if let Some(slot) = self.free.pop() {
            let place = &mut self.slots[slot as usize];
            place.entry = Some(entry);
            return Ticket { slot, generation: place.generation };
        }
        self.slots.push(Slot { generation: 0, entry: Some(entry) });
        Ticket { slot: self.slots.len() as u32 - 1, generation: 0 }
    }

    /// Entries held.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn get_mut(&mut self, ticket: Ticket) -> Option<&mut T> {
        let slot = self.slots.get_mut(ticket.slot as usize)?;
        if slot.generation == ticket.generation { slot.entry.as_mut() } else { None }
    }

    /// Removes every entry for which `is_wanted` holds.
    pub(crate) fn remove_where(&mut self, is_wanted: impl Fn(&T) -> bool) -> Vec<T> {
        let generations = self.slots.iter().enumerate();
        let wanted = generations.filter(|(_, slot)| slot.entry.as_ref().is_some_and(&is_wanted));
        let wanted: Vec<Ticket> = wanted
            .map(|(index, slot)| Ticket { slot: index as u32, generation: slot.generation })
            .collect();
        wanted.into_iter().filter_map(|ticket| self.remove(ticket)).collect()
    }

    pub(crate) fn remove(&mut self, ticket: Ticket) -> Option<T> {
        let slot = self.slots.get_mut(ticket.slot as usize)?;
        if slot.generation != ticket.generation {
            return None;
        }
        let entry = slot.entry.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(ticket.slot);
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_slot_is_another_entry() {
        let mut slab = Slab::default();
        let first = slab.insert('a');
        assert_eq!(slab.remove(first), Some('a'));
        let second = slab.insert('b');
        assert_eq!(second.slot, first.slot);
        assert_eq!(slab.get_mut(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get_mut(second), Some(&mut 'b'));
    }
}
