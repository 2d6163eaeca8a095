//! How a shard or a node is, as one word and a reason.

use core::fmt;

/// See the module's description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    Healthy,
    /// Its journal's writes take far longer than they did at its start.
    SlowDisk,
    /// Words to all other nodes and back take long.
    SlowNet,
    /// It holds replicas that are being caught up.
    Learner,
    /// Not heard from; others are being asked.
    Suspect,
    /// What it led is led by others.
    Dead,
}

impl Health {
    /// What an operator should know beside the word.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Healthy => "heard from, and as fast as its peers",
            Self::SlowDisk => "its journal's writes take far longer than they did at its start",
            Self::SlowNet => "words to all other nodes and back take long, and not between those",
            Self::Learner => "replicas here are being caught up and count for nothing yet",
            Self::Suspect => "not heard from for a while; its followers are being asked",
            Self::Dead => {
                "not heard from by a quorum of its followers, or seen dying, or not started"
            }
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Healthy => "healthy",
            Self::SlowDisk => "slow(disk)",
            Self::SlowNet => "slow(net)",
            Self::Learner => "learner",
            Self::Suspect => "suspect",
            Self::Dead => "dead",
        })
    }
}
