//! Both clocks, read once per turn.

use base::{BrokerTime, Instant, Now};
use rustix::time::{ClockId, clock_gettime};

pub(crate) fn now() -> Now {
    let mono = clock_gettime(ClockId::Monotonic);
    let wall = clock_gettime(ClockId::Realtime);
    let nanoseconds = mono.tv_sec.unsigned_abs() * 1_000_000_000 + mono.tv_nsec.unsigned_abs();
    let milliseconds = wall.tv_sec.saturating_mul(1000).saturating_add(wall.tv_nsec / 1_000_000);
    Now { mono: Instant(nanoseconds), wall: BrokerTime(milliseconds) }
}
