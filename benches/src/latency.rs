//! Latencies and what to say about them.

use core::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest that is told apart; longer counts as this long.
const LONGEST: Duration = Duration::from_secs(100);

/// A distribution of latencies, exact to three digits.
#[derive(Clone, Debug)]
pub struct Latency {
    histogram: Histogram<u64>,
}

/// Points of a distribution, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Quantiles {
    pub count: u64,
    pub p50_us: f64,
    pub p90_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub max_us: f64,
}

impl Default for Latency {
    fn default() -> Self {
        let longest = LONGEST.as_nanos() as u64;
        let histogram = Histogram::new_with_bounds(1, longest, 3).expect("the bounds are valid");
        Self { histogram }
    }
}

impl Latency {
    pub fn record(&mut self, took: Duration) {
        self.histogram.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1));
    }

    /// Takes another distribution in.
    pub fn add(&mut self, other: &Self) {
        self.histogram.add(&other.histogram).expect("both have the same bounds");
    }

    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    #[must_use]
    pub fn quantiles(&self) -> Quantiles {
        let at = |quantile| self.histogram.value_at_quantile(quantile) as f64 / 1000.0;
        Quantiles {
            count: self.histogram.len(),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: self.histogram.max() as f64 / 1000.0,
        }
    }
}

impl Quantiles {
    /// The heading of a table of [`Quantiles`], a first column of 24 included.
    pub const HEADING: &str =
        "                              p50        p90        p99      p99.9        max    count";
}

impl fmt::Display for Quantiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, p50_us, p90_us, p99_us, p999_us, max_us } = self;
        for point in [p50_us, p90_us, p99_us, p999_us, max_us] {
            write!(f, " {:>10}", microseconds(*point))?;
        }
        write!(f, " {count:>8}")
    }
}

/// A latency with the unit that reads best.
#[must_use]
pub fn microseconds(value: f64) -> String {
    match value {
        value if value < 10_000.0 => format!("{value:.1} µs"),
        value if value < 10_000_000.0 => format!("{:.1} ms", value / 1e3),
        value => format!("{:.1} s", value / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_distribution() {
        let mut latency = Latency::default();
        for microsecond in 1..=1000 {
            latency.record(Duration::from_micros(microsecond));
        }
        let quantiles = latency.quantiles();
        assert_eq!(quantiles.count, 1000);
        assert!((quantiles.p50_us - 500.0).abs() < 1.0, "{quantiles:?}");
        assert!((quantiles.p99_us - 990.0).abs() < 1.0, "{quantiles:?}");
    }

    #[test]
    fn beyond_the_longest_counts_as_the_longest() {
        let mut latency = Latency::default();
        latency.record(Duration::from_secs(1_000_000));
        assert!((latency.quantiles().max_us / 1e8 - 1.0).abs() < 0.01);
    }
}
