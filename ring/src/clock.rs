//! The two clocks, read together once per turn.

use base::{BrokerTime, Instant, Now};
use rustix::time::{ClockId, clock_gettime};

/// The time now. 40–60 ns: twice a vDSO call.
pub(crate) fn now() -> Now {
    let wall = clock_gettime(ClockId::Realtime);
    let wall = wall.tv_sec.saturating_mul(1000).saturating_add(wall.tv_nsec / 1_000_000);
    Now { mono: monotonic(), wall: BrokerTime(wall) }
}

/// Nanoseconds since boot.
pub(crate) fn monotonic() -> Instant {
    let mono = clock_gettime(ClockId::Monotonic);
    Instant(mono.tv_sec.unsigned_abs() * 1_000_000_000 + mono.tv_nsec.unsigned_abs())
}
