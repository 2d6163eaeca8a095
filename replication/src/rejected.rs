//! Why the cluster does not agree to something.

use core::fmt;

use base::{Epoch, Incarnation, NodeId, PartitionId, ShardId, TopicNumber};

use crate::proposal::PARTITIONS_MAX;
use crate::replicas::REPLICAS_MAX;
use crate::topic_name::NameError;
use crate::voters::VOTERS_MAX;
use crate::{ConfigError, Placement};

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
    /// INVALID_REPLICATION_FACTOR: each replica needs a node of its own.
    ReplicationFactor { wanted: u16, nodes: u16 },
    /// INVALID_REPLICA_ASSIGNMENT: 1 to [`REPLICAS_MAX`] replicas, each once.
    Replicas,
    /// INVALID_REPLICA_ASSIGNMENT: two replicas of one partition fail together on one node.
    SameNode(NodeId),
    /// INVALID_REPLICA_ASSIGNMENT: the partitions of a topic have equally many replicas.
    UnequalReplicas,
    /// UNKNOWN_TOPIC_OR_PARTITION.
    NoPartition(PartitionId),
    /// FENCED_LEADER_EPOCH: things have changed since the proposer looked.
    Epoch { partition: PartitionId, known: Epoch, proposed: Epoch },
    /// FENCED_LEADER_EPOCH: an epoch has one leader.
    EpochTaken(PartitionId),
    /// LEADER_NOT_AVAILABLE.
    NoLeader(PartitionId),
    /// ELIGIBLE_LEADERS_NOT_AVAILABLE: it holds no replica whose log is proven.
    NoProvenReplica { partition: PartitionId, at: Placement },
    /// ELECTION_NOT_NEEDED: it leads already.
    LeadsAlready { partition: PartitionId, at: Placement },
    /// FENCED_LEADER_EPOCH: the config has changed since the proposer looked.
    ConfigVersion { partition: PartitionId, known: u32, proposed: u32 },
    /// NO_REASSIGNMENT_IN_PROGRESS.
    NoReassignment(PartitionId),
    /// REASSIGNMENT_IN_PROGRESS: old and new replicas count together; this step cannot be undone.
    Joint(PartitionId),
    /// REASSIGNMENT_IN_PROGRESS: its new replicas have not caught up.
    NotCaughtUp(PartitionId),
    /// A list is empty or does not name each partition once, in order.
    Unordered,
    /// This is not the boot of the shard that the cluster knows.
    NotCurrent { node: NodeId, shard: ShardId },
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
            Self::ReplicationFactor { wanted, nodes } => {
                write!(f, "{wanted} replicas need as many nodes; there are {nodes}")
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
            leadership => leadership.fmt_leadership(f),
        }
    }
}

impl Rejected {
    fn fmt_leadership(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replicas => {
                write!(f, "a partition has 1 to {REPLICAS_MAX} replicas, each on another shard")
            }
            Self::SameNode(node) => write!(f, "two replicas of one partition are on node {node}"),
            Self::UnequalReplicas => {
                write!(f, "the partitions of a topic have equally many replicas")
            }
            Self::NoPartition(partition) => write!(f, "partition {partition} does not exist"),
            Self::Epoch { partition, known, proposed } => {
                write!(f, "partition {partition} is in epoch {known}; {proposed} was proposed")
            }
            Self::EpochTaken(partition) => {
                write!(f, "the epoch of partition {partition} has a leader")
            }
            Self::NoLeader(partition) => write!(f, "partition {partition} has no leader"),
            Self::NoProvenReplica { partition, at } => {
                let Placement { node, shard } = at;
                write!(f, "shard {shard} of node {node} has no proven replica of {partition}")
            }
            Self::LeadsAlready { partition, at } => {
                let Placement { node, shard } = at;
                write!(f, "shard {shard} of node {node} leads {partition} already")
            }
            Self::ConfigVersion { partition, known, proposed } => {
                write!(f, "config {proposed} of partition {partition} is not {known}")
            }
            Self::NoReassignment(partition) => write!(f, "partition {partition} is not moving"),
            Self::Joint(partition) => {
                write!(f, "partition {partition} is in the last step of a move")
            }
            Self::NotCaughtUp(partition) => {
                write!(f, "the new replicas of partition {partition} have not caught up")
            }
            Self::Unordered => write!(f, "a list must name partitions, each once and in order"),
            Self::NotCurrent { node, shard } => {
                write!(f, "that is not the latest start of shard {shard} of node {node}")
            }
            other => panic!("{other:?} is not about leaders"),
        }
    }
}

impl core::error::Error for Rejected {}
