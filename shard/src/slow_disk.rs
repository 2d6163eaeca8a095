//! Whether a shard's journal is written slowly, against what the device did at the start.

use core::time::Duration;

use base::{Instant, LatencyHistogram};
use replication::slowness::Slowness;

/// How long writes are gathered before they are judged. A write that takes a whole one is slow
/// though it has not ended.
const WINDOW: Duration = Duration::from_secs(1);
/// Writes below which a window says nothing.
const WRITES_MIN: u64 = 3;

/// See the module's description.
#[derive(Clone, Debug, Default)]
pub(crate) struct SlowDisk {
    slowness: Slowness,
    window_ends: Instant,
    /// All writes up to the last window.
    seen: LatencyHistogram,
    /// Writes were under way when it ended.
    was_writing: bool,
}

impl SlowDisk {
    /// Takes all write times so far and how many writes are under way, which `look` tells. A journal
    /// half of whose writes take `slow_from` is slow.
    pub(crate) fn turn(
        &mut self,
        now: Instant,
        slow_from: Duration,
        look: impl FnOnce() -> (LatencyHistogram, u32),
    ) {
        if now < self.window_ends {
            return;
        }
        self.window_ends = now.plus(WINDOW);
        let (times, in_flight) = look();
        let writes = times.count() - self.seen.count();
        let is_stuck = self.was_writing && 0 < in_flight && writes == 0;
        if is_stuck {
            self.slowness.judge(WINDOW.max(slow_from), slow_from);
        } else if WRITES_MIN <= writes {
            self.slowness.judge(median(&self.seen, &times), slow_from);
        }
        (self.seen, self.was_writing) = (times, 0 < in_flight);
    }

    pub(crate) fn is_slow(&self) -> bool {
        self.slowness.is_slow()
    }
}

/// Of what came on top of `before`: the bound of the bucket in which it lies.
fn median(before: &LatencyHistogram, now: &LatencyHistogram) -> Duration {
    let half = (now.count() - before.count()).div_ceil(2);
    let fresh = before.cumulative().zip(now.cumulative()).map(|((_, b), (ns, n))| (ns, n - b));
    let reached = fresh.into_iter().find(|(_, count)| half <= *count);
    reached.map_or(Duration::MAX, |(ns, _)| Duration::from_nanos(ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(10);

    struct Life {
        disk: SlowDisk,
        times: LatencyHistogram,
        now: Instant,
    }

    impl Life {
        fn new() -> Self {
            let (disk, times, now) = Default::default();
            Self { disk, times, now }
        }

        /// So many seconds, each with writes that take so long.
        fn live(&mut self, seconds: u64, writes: u64, ms: u64, in_flight: u32) -> bool {
            for _ in 0..seconds {
                self.now = self.now.plus(WINDOW);
                self.times.record(Duration::from_millis(ms), writes);
                self.disk.turn(self.now, LIMIT, || (self.times, in_flight));
            }
            self.disk.is_slow()
        }
    }

    #[test]
    fn a_disk_is_slow_after_three_slow_seconds_and_well_after_five_good_ones() {
        let mut life = Life::new();
        assert!(!life.live(5, 100, 1, 1));
        assert!(!life.live(2, 100, 20, 1));
        assert!(life.live(1, 100, 20, 1));
        assert!(life.live(4, 100, 1, 1));
        assert!(!life.live(1, 100, 1, 1));
    }

    #[test]
    fn a_disk_that_stands_still_is_slow_and_an_idle_one_is_as_it_was() {
        let mut life = Life::new();
        life.live(1, 10, 1, 0);
        assert!(!life.live(10, 0, 0, 0), "idle");
        assert!(life.live(4, 0, 0, 2), "nothing ends");
        assert!(life.live(10, 0, 0, 0), "idle again: nothing speaks for it");
        assert!(!life.live(5, 10, 1, 0));
    }

    #[test]
    fn a_few_slow_writes_among_many_are_none_of_its_business() {
        let mut life = Life::new();
        for _ in 0..10 {
            life.times.record(Duration::from_secs(1), 49);
            assert!(!life.live(1, 51, 1, 1));
        }
    }
}
