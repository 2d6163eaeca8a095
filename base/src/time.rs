//! Time as a value: state machines are told what time it is and never ask.

use core::time::Duration;

/// Nanoseconds on the node's monotonic clock, from an arbitrary origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(pub u64);

/// Milliseconds since 1970 on the broker's wall clock: record timestamps and retention. May step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct BrokerTime(pub i64);

/// Both clocks, read once per turn by the shell.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    pub mono: Instant,
    pub wall: BrokerTime,
}

impl Instant {
    #[must_use]
    pub fn plus(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Time passed since `earlier`; zero if `earlier` lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}
