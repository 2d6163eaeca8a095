//! How regularly a node is heard from, and when its silence means something.

use core::time::Duration;

use base::{Instant, LatencyHistogram};

/// Arrivals after which the older half of what is remembered goes.
const WINDOW: u64 = 10_000;
/// Arrivals below which nothing is known of a node's habits.
const SAMPLES_MIN: u64 = 100;
/// However irregular a node was: longer silence is suspicious.
const SUSPECT_MAX: Duration = Duration::from_secs(5);
/// A silence is suspicious when it is so many times longer than all but one in a thousand.
const TIMES: u32 = 4;

/// See the module's description.
#[derive(Clone, Debug)]
pub(super) struct Arrivals {
    pub(super) last: Instant,
    current: LatencyHistogram,
    previous: LatencyHistogram,
}

impl Arrivals {
    pub(super) fn new(now: Instant) -> Self {
        let (current, previous) = Default::default();
        Self { last: now, current, previous }
    }

    pub(super) fn heard(&mut self, now: Instant) {
        self.current.record(now.since(self.last), 1);
        self.last = self.last.max(now);
        if WINDOW <= self.current.count() {
            self.previous = core::mem::take(&mut self.current);
        }
    }

    /// The silence after which the node is suspected: at least `floor`, and four times what all but
    /// one of a thousand pauses were shorter than.
    pub(super) fn suspect_after(&self, floor: Duration) -> Duration {
        let count = self.current.count() + self.previous.count();
        if count < SAMPLES_MIN {
            return floor;
        }
        let rank = count - count / 1000;
        let bounds = self.current.cumulative().zip(self.previous.cumulative());
        let mut reached = bounds.filter(|((_, a), (_, b))| rank <= a + b);
        let p999 = reached.next().map_or(SUSPECT_MAX, |((ns, _), _)| Duration::from_nanos(ns));
        (p999 * TIMES).clamp(floor, SUSPECT_MAX.max(floor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOR: Duration = Duration::from_millis(250);

    #[test]
    fn a_regular_node_is_suspected_at_the_floor_and_an_irregular_one_later() {
        let mut now = Instant(0);
        let mut arrivals = Arrivals::new(now);
        for number in 0..2_000_u64 {
            now = now.plus(Duration::from_millis(if number % 2 == 0 { 9 } else { 11 }));
            arrivals.heard(now);
        }
        assert_eq!(arrivals.suspect_after(FLOOR), FLOOR);
        for _ in 0..20 {
            now = now.plus(Duration::from_millis(180));
            arrivals.heard(now);
        }
        let later = arrivals.suspect_after(FLOOR);
        assert!(Duration::from_millis(720) <= later && later <= Duration::from_millis(1_080));
        for _ in 0..3 * WINDOW {
            now = now.plus(Duration::from_millis(10));
            arrivals.heard(now);
        }
        assert_eq!(arrivals.suspect_after(FLOOR), FLOOR, "it has become regular again");
    }

    #[test]
    fn even_the_most_irregular_node_is_suspected_in_the_end() {
        let mut now = Instant(0);
        let mut arrivals = Arrivals::new(now);
        for _ in 0..200 {
            now = now.plus(Duration::from_secs(20));
            arrivals.heard(now);
        }
        assert_eq!(arrivals.suspect_after(FLOOR), SUSPECT_MAX);
    }
}
