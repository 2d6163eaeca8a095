//! How long something took, counted in buckets: two per doubling, from 1 µs to 12 s.
//!
//! ```text
//!  bound    1   1.5   2    3    4    6    8   12 … µs          each bucket holds what is above the
//!  bucket │ 0 │  1 │  2 │  3 │  4 │  5 │  6 │  7 │ … │ 47 │    one before and at most its own bound
//! ```

use core::fmt;
use core::time::Duration;

/// Buckets with a bound; longer durations count in the total only.
pub const BUCKETS: usize = 48;

/// Half a microsecond: every bound is a whole number of these.
const UNIT_NS: u64 = 500;

/// See the module's description. Recording costs a few instructions and no memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LatencyHistogram {
    buckets: [u64; BUCKETS],
    count: u64,
    sum_ns: u64,
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self { buckets: [0; BUCKETS], count: 0, sum_ns: 0 }
    }
}

impl LatencyHistogram {
    /// Counts `times` events that each took `duration`.
    pub fn record(&mut self, duration: Duration, times: u64) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.buckets.get_mut(bucket_of(ns)) {
            *bucket += times;
        }
        self.count += times;
        self.sum_ns = self.sum_ns.saturating_add(ns.saturating_mul(times));
    }

    /// Events so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The sum of all durations, nanoseconds.
    #[must_use]
    pub fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    /// Each bucket's upper bound in nanoseconds, and how many events took at most that long.
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let mut total = 0;
        self.buckets.iter().enumerate().map(move |(index, count)| {
            total += count;
            (bound_ns(index), total)
        })
    }
}

impl fmt::Debug for LatencyHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LatencyHistogram({} events, {} ns)", self.count, self.sum_ns)
    }
}

fn bound_ns(index: usize) -> u64 {
    let units = match index {
        0 => 2,
        odd if odd % 2 == 1 => 3 << (odd / 2),
        even => 2 << (even / 2),
    };
    units * UNIT_NS
}

/// May lie beyond the last bucket.
fn bucket_of(ns: u64) -> usize {
    let units = ns.div_ceil(UNIT_NS);
    if units <= 2 {
        return 0;
    }
    let doublings = (units - 1).ilog2() as usize;
    let is_upper_half = 3 << (doublings - 1) < units;
    2 * doublings - 1 + usize::from(is_upper_half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_in_the_first_bucket_that_holds_it() {
        for index in 0..BUCKETS {
            let bound = bound_ns(index);
            assert_eq!(bucket_of(bound), index, "{bound} ns");
            assert_eq!(bucket_of(bound + 1), index + 1, "just above {bound} ns");
        }
        assert_eq!((bucket_of(0), bound_ns(0), bound_ns(1), bound_ns(2)), (0, 1000, 1500, 2000));
        assert_eq!(bound_ns(BUCKETS - 1), 12_582_912_000);
    }

    #[test]
    fn counts_add_up_and_the_longest_count_in_the_total_only() {
        let mut histogram = LatencyHistogram::default();
        histogram.record(Duration::from_micros(1), 3);
        histogram.record(Duration::from_micros(3), 1);
        histogram.record(Duration::from_secs(60), 1);
        assert_eq!((histogram.count(), histogram.sum_ns()), (5, 60_000_006_000));
        let cumulative: Vec<_> = histogram.cumulative().collect();
        assert_eq!(cumulative[..4], [(1000, 3), (1500, 3), (2000, 3), (3000, 4)]);
        assert_eq!(cumulative.last().map(|(_, count)| *count), Some(4));
    }
}
