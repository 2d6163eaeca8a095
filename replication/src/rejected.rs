//! Why the cluster does not agree to something.

use core::fmt;

use base::{Incarnation, NodeId, ShardId, TopicNumber};

use crate::ConfigError;
use crate::proposal::PARTITIONS_MAX;
use crate::topic_name::NameError;
use crate::voters::VOTERS_MAX;

/// A proposal's or a command's refusal. Each variant names the Kafka error that a client gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// NOT_CONTROLLER: propose elsewhere.
    NotLeader,
    /// THROTTLING_QUOTA_EXCEEDED, or wait: too many proposals are not yet durable.
    Busy,
    /// INVALID_TOPIC_EXCEPTION.
    Name(NameError),
    /// TOPIC_ALREADY_EXISTS.
    TopicExists,
    /// TOPIC_ALREADY_EXISTS: the UUID or number was drawn or counted wrongly; draw again.
    TopicIdTaken,
    /// UNKNOWN_TOPIC_OR_PARTITION, or UNKNOWN_TOPIC_ID when asked by UUID.
    NoTopic(TopicNumber),
    /// INVALID_PARTITIONS: none, or more than [`PARTITIONS_MAX`].
    Partitions { wanted: u32 },
    /// INVALID_PARTITIONS: a topic's partitions only ever grow in number.
    NotMorePartitions { have: u32, wanted: u32 },
    /// INVALID_REPLICA_ASSIGNMENT: as many places as new partitions are needed.
    Places { partitions: u32, places: u32 },
    /// INVALID_REPLICATION_FACTOR.
    ReplicationFactor { wanted: u16 },
    /// INVALID_CONFIG.
    Config(ConfigError),
    /// INVALID_REPLICA_ASSIGNMENT.
    NoNode(NodeId),
    /// INVALID_REPLICA_ASSIGNMENT.
    NoShard { node: NodeId, shard: ShardId },
    /// COORDINATOR_NOT_AVAILABLE: no shard has registered yet.
    NoShards,
    /// To the operator: a restarted shard must have counted its start.
    StaleBoot { node: NodeId, shard: ShardId, known: Incarnation, proposed: Incarnation },
    /// To the operator: the shard's journal is not the one that the cluster knows.
    JournalReplaced { node: NodeId, shard: ShardId },
    /// To the operator: shards do not vanish; a data folder was swapped.
    ShardsVanished { node: NodeId, known: u16, proposed: u16 },
    /// FEATURE_UPDATE_FAILED.
    FeatureLevel { known: u16, wanted: u16, supported: u16 },
    /// To the operator: the log is of another cluster, or formed twice.
    ForeignCluster,
    /// No producer ids are left: 2^63 were granted.
    ProducerIdsExhausted,
    /// INVALID_REQUEST: the node votes already, or does not, or is the last that does.
    Voter { node: NodeId },
    /// INVALID_REQUEST: more than [`crate::voters::VOTERS_MAX`] voters.
    TooManyVoters,
    /// INVALID_REQUEST: the change does not fit an entry of the cluster log.
    TooLong { bytes: usize },
}

impl From<ConfigError> for Rejected {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<NameError> for Rejected {
    fn from(error: NameError) -> Self {
        Self::Name(error)
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLeader => write!(f, "this node does not lead the cluster log"),
            Self::Busy => write!(f, "too many changes are waiting to become durable"),
            Self::Name(error) => error.fmt(f),
            Self::TopicExists => write!(f, "a topic of that name exists"),
            Self::TopicIdTaken => write!(f, "the topic's id is taken"),
            Self::NoTopic(topic) => write!(f, "topic {topic} does not exist"),
            Self::Partitions { wanted } => {
                write!(f, "a topic has 1 to {PARTITIONS_MAX} partitions, not {wanted}")
            }
            Self::NotMorePartitions { have, wanted } => {
                write!(f, "the topic has {have} partitions, {wanted} would not be more")
            }
            Self::Places { partitions, places } => {
                write!(f, "{places} places were given for {partitions} new partitions")
            }
            Self::ReplicationFactor { wanted } => {
                write!(f, "this cluster keeps one replica of a partition, not {wanted}")
            }
            Self::Config(error) => error.fmt(f),
            Self::NoNode(node) => write!(f, "node {node} does not exist"),
            Self::NoShard { node, shard } => write!(f, "node {node} has no shard {shard}"),
            Self::NoShards => write!(f, "no shard has joined the cluster yet"),
            Self::StaleBoot { node, shard, known, proposed } => {
                write!(f, "shard {shard} of node {node} says start {proposed} after {known}")
            }
            Self::JournalReplaced { node, shard } => {
                write!(f, "shard {shard} of node {node} came back with another journal")
            }
            Self::ShardsVanished { node, known, proposed } => {
                write!(f, "node {node} had {known} shards and now says {proposed}")
            }
            Self::FeatureLevel { known, wanted, supported } => {
                write!(f, "feature level {wanted} is not above {known} and at most {supported}")
            }
            Self::ForeignCluster => write!(f, "the log is of another cluster"),
            Self::ProducerIdsExhausted => write!(f, "no producer ids are left"),
            Self::Voter { node } => {
                write!(f, "node {node} votes already, or does not vote, or is the last that does")
            }
            Self::TooManyVoters => write!(f, "a cluster log has {VOTERS_MAX} voters at most"),
            Self::TooLong { bytes } => {
                write!(f, "the change takes {bytes} bytes, too many for the cluster log")
            }
        }
    }
}

impl core::error::Error for Rejected {}
