//! Fetches that wait for records: who to wake when a partition's committed end moves.

use std::collections::BTreeMap;

use base::{Committed, Instant, Offset, PartitionId};

use crate::mail::Asker;

/// Everyone who waits, by partition.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    by_partition: BTreeMap<PartitionId, Vec<Watch>>,
    /// No watch ends before this; late at worst by one sweep.
    next_end: Option<Instant>,
}

#[derive(Debug)]
struct Watch {
    from: Offset,
    until: Instant,
    to: Asker,
}

impl Watches {
    pub(crate) fn len(&self) -> usize {
        self.by_partition.values().map(Vec::len).sum()
    }

    /// Partitions that anybody watches.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = PartitionId> {
        let watched = self.by_partition.iter().filter(|(_, watches)| !watches.is_empty());
        watched.map(|(id, _)| *id)
    }

    pub(crate) fn add(&mut self, id: PartitionId, from: Offset, until: Instant, to: Asker) {
        self.by_partition.entry(id).or_default().push(Watch { from, until, to });
        self.next_end = Some(self.next_end.map_or(until, |end| end.min(until)));
    }

    /// Takes those that `committed` satisfies.
    pub(crate) fn wake(
        &mut self,
        id: PartitionId,
        committed: Committed,
        mut woken: impl FnMut(Asker),
    ) {
        let Some(watches) = self.by_partition.get_mut(&id) else { return };
        watches.retain(|watch| {
            let waits = committed.0 <= watch.from;
            if !waits {
                woken(watch.to);
            }
            waits
        });
    }

    /// Takes all of a partition: it was deleted, or it halted.
    pub(crate) fn wake_all(&mut self, id: PartitionId, mut woken: impl FnMut(Asker)) {
        for watch in self.by_partition.remove(&id).into_iter().flatten() {
            woken(watch.to);
        }
    }

    /// Drops watches whose time is over: their jobs have answered by themselves. Lists that became
    /// empty stay: who reads a partition watches it again and again.
    pub(crate) fn expire(&mut self, now: Instant) {
        if self.next_end.is_none_or(|end| now < end) {
            return;
        }
        self.next_end = None;
        for watches in self.by_partition.values_mut() {
            watches.retain(|watch| now < watch.until);
            let soonest = watches.iter().map(|watch| watch.until).min();
            self.next_end = [self.next_end, soonest].into_iter().flatten().min();
        }
    }

    pub(crate) fn next_end(&self) -> Option<Instant> {
        self.next_end
    }
}

#[cfg(test)]
mod tests {
    use base::{CoreId, TopicNumber};

    use super::*;
    use crate::mail::Ticket;

    fn to(slot: u32) -> Asker {
        Asker { core: CoreId(0), ticket: Ticket { slot, generation: 0 }, part: 0 }
    }

    #[test]
    fn a_watch_wakes_once_its_offset_is_committed_or_ends_with_its_time() {
        let id = PartitionId::new(TopicNumber(1), 0);
        let mut watches = Watches::default();
        watches.add(id, Offset(5), Instant(100), to(1));
        watches.add(id, Offset(6), Instant(50), to(2));
        let mut woken = Vec::new();
        watches.wake(id, Committed(Offset(5)), |to| woken.push(to.ticket.slot));
        assert!(woken.is_empty(), "offset 5 itself is not committed yet");
        watches.wake(id, Committed(Offset(6)), |to| woken.push(to.ticket.slot));
        assert_eq!(woken, [1]);
        assert_eq!(watches.next_end(), Some(Instant(50)));
        watches.expire(Instant(50));
        assert_eq!(watches.next_end(), None);
        watches.wake(id, Committed(Offset(9)), |_| panic!("nobody is left"));
    }
}
