//! When jobs end by themselves, soonest first.
//!
//! A sorted queue: most jobs that are filed end last, most that are answered end soon, and in steady
//! state no memory is taken or given back.

use std::collections::VecDeque;

use base::Instant;

use crate::mail::Ticket;

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    queue: VecDeque<(Instant, Ticket)>,
}

impl Deadlines {
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn insert(&mut self, at: Instant, ticket: Ticket) {
        let place = self.queue.partition_point(|other| *other <= (at, ticket));
        self.queue.insert(place, (at, ticket));
    }

    /// Forgets a job, if it is still waited for.
    pub(crate) fn remove(&mut self, at: Instant, ticket: Ticket) {
        if let Ok(place) = self.queue.binary_search(&(at, ticket)) {
            self.queue.remove(place);
        }
    }

    /// When the first job ends.
    pub(crate) fn first(&self) -> Option<Instant> {
        self.queue.front().map(|(at, _)| *at)
    }

    /// Takes the first job, if its time is up.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Ticket> {
        let (at, ticket) = *self.queue.front()?;
        if now < at {
            return None;
        }
        self.queue.pop_front();
        Some(ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(slot: u32) -> Ticket {
        Ticket { slot, generation: 0 }
    }

    #[test]
    fn jobs_end_in_the_order_of_their_deadlines() {
        let mut deadlines = Deadlines::default();
        for (at, slot) in [(30, 0), (10, 1), (20, 2), (20, 3), (10, 4)] {
            deadlines.insert(Instant(at), ticket(slot));
        }
        deadlines.remove(Instant(20), ticket(2));
        deadlines.remove(Instant(20), ticket(9));
        assert_eq!(deadlines.first(), Some(Instant(10)));
        assert_eq!(deadlines.pop_due(Instant(9)), None);
        let mut ended: Vec<u32> = Vec::new();
        while let Some(ticket) = deadlines.pop_due(Instant(20)) {
            ended.push(ticket.slot);
        }
        assert_eq!(ended, [1, 4, 3]);
        assert_eq!(deadlines.first(), Some(Instant(30)));
    }
}
