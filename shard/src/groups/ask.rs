//! What can be asked of a group's coordinator, and what it answers. All owned: questions cross cores.

use core::time::Duration;
use std::sync::Arc;

use net::ErrorCode;

/// A question to the coordinator of a group.
#[derive(Clone, Debug)]
pub enum GroupAsk {
    /// Answered when all members have joined.
    Join(Join),
    /// Answered when the leader has assigned.
    Sync(Sync),
    Heartbeat(Identity),
    Leave {
        group: String,
        members: Vec<Leaver>,
    },
    /// Answered once the offsets are committed.
    Commit(Commit),
    /// `None`: every partition with an offset.
    FetchOffsets {
        group: String,
        topics: Option<Vec<(String, Vec<i32>)>>,
    },
    DeleteOffsets {
        group: String,
        partitions: Vec<(String, i32)>,
    },
    Describe {
        group: String,
    },
    Delete {
        group: String,
    },
}

/// Who speaks, and for which generation: −1 and no id for someone who is no member.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    pub group: String,
    pub generation: i32,
    pub member: String,
    pub instance: Option<String>,
}

/// A wish to be a member.
#[derive(Clone, Debug)]
pub struct Join {
    pub group: String,
    /// Empty: a new one.
    pub member: String,
    pub instance: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub session_timeout: Duration,
    pub rebalance_timeout: Duration,
    pub protocol_type: String,
    /// Name and metadata, the preferred first.
    pub protocols: Vec<(String, Vec<u8>)>,
    /// A new member is first told its id, and joins again with it.
    pub id_required: bool,
    /// The client knows that a leader may be told to leave the assignment alone.
    pub may_skip_assignment: bool,
}

/// A wish for the own assignment; the leader brings everyone's.
#[derive(Clone, Debug)]
pub struct Sync {
    pub who: Identity,
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    pub assignments: Vec<(String, Vec<u8>)>,
}

/// Someone who goes: by member id, by instance id, or both.
#[derive(Clone, Debug)]
pub struct Leaver {
    pub member: String,
    pub instance: Option<String>,
}

/// Offsets to remember.
#[derive(Clone, Debug)]
pub struct Commit {
    pub who: Identity,
    /// How long from now on they are kept, if the client says.
    pub retention_ms: Option<i64>,
    pub partitions: Vec<CommitPartition>,
}

/// The offset of one partition.
#[derive(Clone, Debug)]
pub struct CommitPartition {
    pub topic: Arc<str>,
    pub index: i32,
    pub offset: i64,
    pub leader_epoch: i32,
    pub metadata: String,
    /// Why it cannot be remembered whatever the coordinator says.
    pub refused: Option<ErrorCode>,
}

/// The coordinator's answer.
#[derive(Clone, Debug)]
pub enum GroupAnswer {
    Joined(Joined),
    Synced(Synced),
    /// A heartbeat, or a deletion.
    Done(ErrorCode),
    /// One code per leaver.
    Left(Vec<ErrorCode>),
    /// One code per partition.
    Committed(Vec<ErrorCode>),
    Offsets(Vec<TopicOffsets>),
    /// One code per partition, or why none was looked at.
    OffsetsDeleted(Result<Vec<ErrorCode>, ErrorCode>),
    Described(Described),
}

/// The answer to a join.
#[derive(Clone, Debug, Default)]
pub struct Joined {
    pub error: ErrorCode,
    pub generation: i32,
    pub protocol_type: Option<Arc<str>>,
    pub protocol: Option<Arc<str>>,
    pub leader: Arc<str>,
    pub member: Arc<str>,
    pub skip_assignment: bool,
    /// For the leader only.
    pub members: Vec<JoinedMember>,
}

/// A member as its leader is told.
#[derive(Clone, Debug)]
pub struct JoinedMember {
    pub id: Arc<str>,
    pub instance: Option<Arc<str>>,
    pub metadata: Vec<u8>,
}

/// The answer to a sync.
#[derive(Clone, Debug, Default)]
pub struct Synced {
    pub error: ErrorCode,
    pub protocol_type: Option<Arc<str>>,
    pub protocol: Option<Arc<str>>,
    pub assignment: Vec<u8>,
}

/// A topic, and what was found of its partitions.
pub type TopicOffsets = (Arc<str>, Vec<(i32, FoundOffset)>);

/// A committed offset as it is told; the default says that there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundOffset {
    pub offset: i64,
    pub leader_epoch: i32,
    pub metadata: Arc<str>,
}

/// A group as an operator sees it.
#[derive(Clone, Debug, Default)]
pub struct Described {
    pub error: ErrorCode,
    pub state: &'static str,
    pub protocol_type: String,
    pub protocol: String,
    pub members: Vec<DescribedMember>,
}

/// A member as an operator sees it.
#[derive(Clone, Debug)]
pub struct DescribedMember {
    pub id: Arc<str>,
    pub instance: Option<Arc<str>>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    pub metadata: Vec<u8>,
    pub assignment: Vec<u8>,
}

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub group: Arc<str>,
    pub protocol_type: Arc<str>,
    pub state: &'static str,
}

impl Default for FoundOffset {
    fn default() -> Self {
        Self { offset: -1, leader_epoch: -1, metadata: "".into() }
    }
}

impl Joined {
    pub(super) fn refused(error: ErrorCode, member: Arc<str>) -> Self {
        Self { error, generation: -1, member, ..Self::default() }
    }
}

impl Synced {
    pub(super) fn refused(error: ErrorCode) -> Self {
        Self { error, ..Self::default() }
    }
}

impl GroupAsk {
    /// The group that is meant.
    #[must_use]
    pub fn group(&self) -> &str {
        match self {
            Self::Join(join) => &join.group,
            Self::Sync(sync) => &sync.who.group,
            Self::Heartbeat(who) => &who.group,
            Self::Commit(commit) => &commit.who.group,
            Self::Leave { group, .. }
            | Self::FetchOffsets { group, .. }
            | Self::DeleteOffsets { group, .. }
            | Self::Describe { group }
            | Self::Delete { group } => group,
        }
    }
}
