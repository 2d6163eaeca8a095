//! Faults that operators inject, as values on their way to the cores.
//!
//! The machines know nothing of them: who runs a machine stands between it and the world, and does
//! wrong in its name.

use core::fmt;
use core::time::Duration;

use base::{FileKind, Instant, NodeId, ShardId};

/// Names a fault, from its injection to its end. Never used again by one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FaultNumber(pub u32);

/// What a core is told of faults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultOrder {
    /// The fault holds until that time.
    Inject { number: FaultNumber, fault: Fault, until: Instant },
    /// It holds no more.
    Clear(FaultNumber),
}

/// One way of going wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    Disk {
        /// `None`: every shard, the control shard included.
        shard: Option<ShardId>,
        files: Files,
        accesses: Accesses,
        what: DiskFault,
        /// Of a hundred operations, so many are hit.
        percent: u8,
    },
    Net {
        /// `None`: every other node.
        peer: Option<NodeId>,
        way: Way,
        what: NetFault,
    },
    /// The core of this shard does nothing.
    Pause {
        /// `None`: every core of the node.
        shard: Option<ShardId>,
    },
}

/// Files of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    All,
    Journal,
    Bins,
    One(FileKind),
}

/// Operations on files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accesses {
    All,
    Reads,
    /// Writes, syncs and new files.
    Writes,
}

/// What becomes of an operation on a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// It begins that much later.
    Delay(Duration),
    /// It begins when the fault ends.
    Freeze,
    /// It is not done, and fails with this `errno`.
    Error(i32),
    /// A write is not done, and succeeds.
    Drop,
    /// The first half of a frame is written, then the write fails; other writes just fail.
    Tear,
}

/// What becomes of bytes between two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetFault {
    /// They pass so much later, and up to `jitter` on top.
    Delay { by: Duration, jitter: Duration },
    /// As TCP makes of lost packets: of a hundred pieces, so many wait for [`RETRANSMISSION`], and
    /// all behind them.
    Loss(u8),
    /// Nothing passes. What is on its way arrives when the fault ends; no connection comes to stand.
    Cut,
    /// Connections break, and none comes to stand.
    Reset,
}

/// How long TCP waits before it sends again, at least.
pub const RETRANSMISSION: Duration = Duration::from_millis(200);

/// A direction, seen from this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    In,
    Out,
    Both,
}

impl Files {
    #[must_use]
    pub fn include(self, file: FileKind) -> bool {
        match self {
            Self::All => true,
            Self::Journal => matches!(file, FileKind::Segment(_)),
            Self::Bins => matches!(file, FileKind::Bin(_)),
            Self::One(one) => one == file,
        }
    }
}

impl Way {
    /// Whether what goes `way`, which is one direction, is meant.
    #[must_use]
    pub fn includes(self, way: Self) -> bool {
        self == Self::Both || self == way
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk { shard, files, accesses, what, percent } => {
                write!(f, "disk {what}")?;
                match accesses {
                    Accesses::All => {}
                    Accesses::Reads => f.write_str(" of reads")?,
                    Accesses::Writes => f.write_str(" of writes")?,
                }
                match files {
                    Files::All => {}
                    Files::Journal => f.write_str(" in the journal")?,
                    Files::Bins => f.write_str(" in bins")?,
                    Files::One(FileKind::Segment(number)) => write!(f, " in segment {number}")?,
                    Files::One(FileKind::Bin(number)) => write!(f, " in bin {number}")?,
                }
                write_shard(f, *shard)?;
                if *percent < 100 { write!(f, ", {percent} %") } else { Ok(()) }
            }
            Self::Net { peer, way, what } => {
                write!(f, "net {what} ")?;
                f.write_str(match way {
                    Way::In => "from ",
                    Way::Out => "to ",
                    Way::Both => "from and to ",
                })?;
                match peer {
                    Some(peer) => write!(f, "node {peer}"),
                    None => f.write_str("all nodes"),
                }
            }
            Self::Pause { shard } => {
                f.write_str("pause")?;
                write_shard(f, *shard)
            }
        }
    }
}

fn write_shard(f: &mut fmt::Formatter<'_>, shard: Option<ShardId>) -> fmt::Result {
    match shard {
        Some(ShardId::CONTROL) => f.write_str(" of the control shard"),
        Some(shard) => write!(f, " of shard {shard}"),
        None => Ok(()),
    }
}

impl fmt::Display for DiskFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delay(by) => write!(f, "delay of {by:?}"),
            Self::Freeze => f.write_str("freeze"),
            Self::Error(errno) => write!(f, "error {errno}"),
            Self::Drop => f.write_str("drop"),
            Self::Tear => f.write_str("tear"),
        }
    }
}

impl fmt::Display for NetFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delay { by, jitter } if jitter.is_zero() => write!(f, "delay of {by:?}"),
            Self::Delay { by, jitter } => {
                write!(f, "delay of {by:?} and up to {jitter:?} more")
            }
            Self::Loss(percent) => write!(f, "loss of {percent} %"),
            Self::Cut => f.write_str("cut"),
            Self::Reset => f.write_str("reset"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_named_as_a_person_would() {
        let slow = Fault::Disk {
            shard: Some(ShardId(1)),
            files: Files::Journal,
            accesses: Accesses::Writes,
            what: DiskFault::Delay(Duration::from_millis(20)),
            percent: 50,
        };
        let text = "disk delay of 20ms of writes in the journal of shard 1, 50 %";
        assert_eq!(slow.to_string(), text);
        let deaf = Fault::Net { peer: Some(NodeId(2)), way: Way::In, what: NetFault::Cut };
        assert_eq!(deaf.to_string(), "net cut from node 2");
        let stopped = Fault::Pause { shard: Some(ShardId::CONTROL) };
        assert_eq!(stopped.to_string(), "pause of the control shard");
    }
}
