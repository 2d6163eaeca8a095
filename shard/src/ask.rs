//! What can be asked of a partition's owner, and what it answers.

use base::{Epoch, Instant, Offset, Piece};
use net::ErrorCode;

use crate::groups::ask::{GroupAnswer, GroupAsk, Listed};

/// A question to the shard that owns a partition.
#[derive(Debug)]
pub enum Ask {
    /// Append one batch whose checksum has been verified. Answered once it is committed, or, unless
    /// `all`, once it is durable here.
    Produce { batch: Vec<u8>, all: bool },
    /// Read committed batches from the one that holds `from` on.
    Fetch { from: Offset, max_bytes: u32, min_one: bool, known_epoch: Option<Epoch> },
    /// Say [`Answer::Woken`] once anything at or behind `from` is committed, at latest at `until`.
    Watch { from: Offset, until: Instant },
    /// Kafka's ListOffsets: −1 latest, −2 earliest, −3 largest timestamp, else by time in ms.
    ListOffset { timestamp: i64, known_epoch: Option<Epoch> },
    /// Forget records below `before` (`None`: below the committed end).
    DeleteRecords { before: Option<Offset> },
    /// To the coordinator of a group that lives in this partition.
    Group(Box<GroupAsk>),
    /// The groups that the shard coordinates, whatever the partition.
    ListGroups,
    /// Where the largest epoch not above `epoch` ends.
    EpochEnd { epoch: Epoch, known_epoch: Option<Epoch> },
}

/// The owner's answer.
#[derive(Debug)]
pub enum Answer {
    Produced(Produced),
    Fetched(Fetched),
    Woken,
    /// −1 stands for "none" in each field.
    Offset {
        offset: i64,
        timestamp_ms: i64,
        epoch: i32,
    },
    Deleted {
        log_start: Offset,
    },
    /// `None`: the partition has no epoch that old.
    EpochEnd(Option<(Epoch, Offset)>),
    Group(Box<GroupAnswer>),
    /// `loading`: some are not known yet.
    Groups {
        groups: Vec<Listed>,
        loading: bool,
    },
    Failed(ErrorCode),
}

/// A batch's place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Produced {
    pub base: Offset,
    /// Set on topics with LogAppendTime, ms since 1970.
    pub append_time_ms: Option<i64>,
    pub log_start: Offset,
}

/// Record bytes, as pieces that a send can gather.
#[derive(Debug)]
pub struct Fetched {
    pub records: Vec<Piece>,
    pub bytes: u32,
    pub committed: Offset,
    pub log_start: Offset,
}
