//! An even rate: record n is due n intervals after the first, however late earlier ones were.

use std::time::{Duration, Instant};

/// See the module's description.
#[derive(Debug)]
pub(super) struct Pacer {
    per_second: u32,
    first: Option<Instant>,
    sent: u64,
}

impl Pacer {
    pub(super) fn new(per_second: u32) -> Self {
        Self { per_second, first: None, sent: 0 }
    }

    /// How long to wait before the next record; `None` if it is due.
    pub(super) fn next(&mut self) -> Option<Duration> {
        self.next_at(Instant::now())
    }

    fn next_at(&mut self, now: Instant) -> Option<Duration> {
        let first = *self.first.get_or_insert(now);
        let due = Duration::from_nanos(self.sent * 1_000_000_000 / u64::from(self.per_second));
        self.sent += 1;
        (first + due).checked_duration_since(now).filter(|wait| !wait.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_due_at_even_distances_from_the_first() {
        let start = Instant::now();
        let mut pacer = Pacer::new(10);
        assert_eq!(pacer.next_at(start), None);
        assert_eq!(pacer.next_at(start), Some(Duration::from_millis(100)));
        assert_eq!(pacer.next_at(start + Duration::from_millis(500)), None, "late: catch up");
        let third = pacer.next_at(start + Duration::from_millis(250));
        assert_eq!(third, Some(Duration::from_millis(50)));
    }
}
