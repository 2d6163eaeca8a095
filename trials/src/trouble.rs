//! Why a trial did not pass.

use core::fmt;
use std::io;

/// What a trial answers: a sentence about what it saw, or the trouble it had.
pub type Outcome<T = String> = Result<T, Trouble>;

/// Why a trial did not pass.
#[derive(Debug)]
pub enum Trouble {
    /// A promise was broken, or the harness could not do its work.
    Failed(String),
    /// The trial cannot run here.
    Skipped(String),
}

impl Trouble {
    pub fn failed(why: impl Into<String>) -> Self {
        Self::Failed(why.into())
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(why) => write!(f, "failed: {why}"),
            Self::Skipped(why) => write!(f, "skipped: {why}"),
        }
    }
}

impl std::error::Error for Trouble {}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<nix::Error> for Trouble {
    fn from(error: nix::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<rdkafka::error::KafkaError> for Trouble {
    fn from(error: rdkafka::error::KafkaError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Ends the trial as failed unless the condition holds.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($why:tt)+) => {
        if !$condition {
            return Err($crate::Trouble::Failed(format!($($why)+)));
        }
    };
}
