//! Whether something is slow: not by one bad moment, and not well again by one good one.

use core::time::Duration;

/// Windows in a row that make it slow.
const SLOW_AFTER: u8 = 3;
/// Windows in a row that make it well again.
const WELL_AFTER: u8 = 5;

/// See the module's description. What a window is, its owner says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slowness {
    is_slow: bool,
    /// Windows in a row that speak against what it is.
    run: u8,
}

impl Slowness {
    /// Takes what was typical of a window. At `limit` and above it speaks for slow, below half of
    /// that for well, between for what it was.
    pub fn judge(&mut self, typical: Duration, limit: Duration) {
        let (against, enough) = match self.is_slow {
            false => (limit <= typical, SLOW_AFTER),
            true => (typical < limit / 2, WELL_AFTER),
        };
        self.run = if against { self.run + 1 } else { 0 };
        if enough <= self.run {
            *self = Self { is_slow: !self.is_slow, run: 0 };
        }
    }

    #[must_use]
    pub fn is_slow(&self) -> bool {
        self.is_slow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(20);

    fn after(windows_ms: &[u64]) -> bool {
        let mut slowness = Slowness::default();
        for ms in windows_ms {
            slowness.judge(Duration::from_millis(*ms), LIMIT);
        }
        slowness.is_slow()
    }

    #[test]
    fn it_takes_three_windows_in_a_row_to_be_slow() {
        assert!(!after(&[20, 20]));
        assert!(after(&[20, 30, 20]));
        assert!(!after(&[20, 30, 1, 20, 20]), "a good one in between");
    }

    #[test]
    fn it_takes_five_windows_below_half_to_be_well_again() {
        assert!(after(&[20, 20, 20, 1, 1, 1, 1]));
        assert!(!after(&[20, 20, 20, 1, 1, 1, 1, 1]));
        assert!(after(&[20, 20, 20, 15, 15, 15, 15, 15, 15]), "neither slow nor well");
        assert!(after(&[20, 20, 20, 1, 1, 1, 1, 12, 1]), "a doubtful one in between");
    }
}
