//! How a core waits.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;

/// What a core does when it has nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollMode {
    /// Looks again at once: the shortest latency, a whole CPU.
    Spin,
    /// Looks again for `spin_us` µs after the last work, then sleeps.
    Adaptive { spin_us: u32 },
    /// Sleeps at once: the least CPU.
    Park,
}

impl Default for PollMode {
    fn default() -> Self {
        Self::Adaptive { spin_us: 50 }
    }
}

impl PollMode {
    /// How long to look again before sleeping.
    pub(crate) fn patience(self) -> Duration {
        match self {
            Self::Spin => Duration::MAX,
            Self::Adaptive { spin_us } => Duration::from_micros(spin_us.into()),
            Self::Park => Duration::ZERO,
        }
    }
}

impl fmt::Display for PollMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spin => f.write_str("spin"),
            Self::Adaptive { spin_us } => write!(f, "adaptive ({spin_us} µs)"),
            Self::Park => f.write_str("park"),
        }
    }
}

/// Not a mode's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownPollMode(pub String);

impl fmt::Display for UnknownPollMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no way to wait: there are spin, adaptive and park", self.0)
    }
}

impl std::error::Error for UnknownPollMode {}

impl FromStr for PollMode {
    type Err = UnknownPollMode;

    fn from_str(name: &str) -> Result<Self, UnknownPollMode> {
        match name {
            "spin" => Ok(Self::Spin),
            "adaptive" => Ok(Self::default()),
            "park" => Ok(Self::Park),
            other => Err(UnknownPollMode(other.to_owned())),
        }
    }
}
