//! Why the engine refuses: one type per verb, data and one clear sentence.

use core::fmt;

use base::{BatchError, Epoch, IoError, LogEnd, LogStart, Offset};

use crate::halt::Halt;
use crate::producers::ProducerError;

/// Why a verb other than append or read is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Recovery is not over.
    Recovering,
    /// No such partition.
    NoPartition,
    /// No room at this moment; try again after a completion.
    Busy,
    /// The journal failed: this process takes nothing any more.
    Poisoned,
    /// The partition may have lost data and serves what is intact, nothing more.
    Halted,
    /// The epoch is not newer than all that the partition has known.
    StaleEpoch { opened: Epoch },
    /// A higher epoch was promised, or opened: leaders of lower ones are not listened to.
    Fenced { promised: Epoch },
    /// What should follow the log does not join its end.
    Gap { log_end: LogEnd },
    /// The offset lies beyond what consumers may see.
    BeyondCommitted { committed: Offset },
    /// Only a halted partition has a loss to accept.
    NothingLost,
}

/// Why a batch is not appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendError {
    Recovering,
    NoPartition,
    /// The journal or its memory is nearly full; try again after a completion.
    Busy,
    /// Neither journal nor bins have room, and no bin can be made: delete something.
    DiskFull,
    Poisoned,
    /// The partition may have lost data: see [`crate::Engine::halt`].
    Halted,
    /// No epoch was opened for the partition since this process started, or a higher one was
    /// promised since.
    EpochNotOpen,
    /// The sender's reign is over: a higher epoch was promised, or opened.
    Fenced {
        promised: Epoch,
    },
    /// The batch does not follow the log, in offset or epoch.
    Gap {
        log_end: LogEnd,
    },
    /// The batch exceeds the topic's or the journal's limit, in bytes.
    TooLarge {
        max: u32,
    },
    /// A record's timestamp lies outside the topic's bounds, or claims to be the broker's.
    InvalidTimestamp,
    Producer(ProducerError),
    Batch(BatchError),
}

/// Why a read yields nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    Recovering,
    NoPartition,
    /// The offset is not between log start and log end.
    OutOfRange {
        log_start: LogStart,
        log_end: LogEnd,
    },
    /// The offset lies in a range that is or may be lost.
    Halted(Halt),
    /// More reads wait than the engine accepts.
    Busy,
    /// The device failed; other offsets may still be readable.
    Io(IoError),
    /// The partition was deleted, or the offset expired, while the read waited.
    Gone,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recovering => write!(f, "the shard is still recovering"),
            Self::NoPartition => write!(f, "the shard has no such partition"),
            Self::Busy => write!(f, "the journal has no room at this moment"),
            Self::Poisoned => write!(f, "a journal write failed, the shard stopped"),
            Self::Halted => write!(f, "the partition may have lost data and is read-only"),
            Self::StaleEpoch { opened } => write!(f, "epoch {opened} was opened before"),
            Self::Fenced { promised } => write!(f, "only epochs from {promised} on are heard"),
            Self::Gap { log_end } => {
                write!(f, "the log ends at {} and not where it should", log_end.0)
            }
            Self::BeyondCommitted { committed } => {
                write!(f, "the offset lies beyond the committed end {committed}")
            }
            Self::NothingLost => write!(f, "the partition is not halted"),
        }
    }
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recovering => Refused::Recovering.fmt(f),
            Self::NoPartition => Refused::NoPartition.fmt(f),
            Self::Busy => Refused::Busy.fmt(f),
            Self::DiskFull => write!(f, "the disk is full: delete records or topics, or add space"),
            Self::Poisoned => Refused::Poisoned.fmt(f),
            Self::Halted => Refused::Halted.fmt(f),
            Self::EpochNotOpen => write!(f, "no epoch was opened since the process started"),
            Self::Fenced { promised } => Refused::Fenced { promised: *promised }.fmt(f),
            Self::Gap { log_end } => Refused::Gap { log_end: *log_end }.fmt(f),
            Self::TooLarge { max } => write!(f, "the batch is larger than {max} bytes"),
            Self::InvalidTimestamp => write!(f, "a timestamp is outside the topic's bounds"),
            Self::Producer(error) => error.fmt(f),
            Self::Batch(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recovering => Refused::Recovering.fmt(f),
            Self::NoPartition => Refused::NoPartition.fmt(f),
            Self::OutOfRange { log_start, log_end } => {
                write!(f, "the log holds offsets {} to {}", log_start.0, log_end.0)
            }
            Self::Halted(halt) => halt.fmt(f),
            Self::Busy => write!(f, "too many disk reads wait"),
            Self::Io(error) => write!(f, "reading a bin: {error}"),
            Self::Gone => write!(f, "the offset was deleted while the read waited"),
        }
    }
}

impl std::error::Error for Refused {}
impl std::error::Error for AppendError {}
impl std::error::Error for ReadError {}

impl From<ProducerError> for AppendError {
    fn from(error: ProducerError) -> Self {
        Self::Producer(error)
    }
}
