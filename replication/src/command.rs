//! What an entry of the cluster log says: a fact once it is committed.
//!
//! A kind's number and layout never change; a new layout is a new version of its kind, and a kind
//! that is retired keeps its number.

use base::{Incarnation, NodeId, ProducerId, ShardId, TopicNumber};

use crate::fields::{
    Fields, put_list, put_optional_text, put_text, put_u8, put_u16, put_u32, put_u64,
};
use crate::{DecodeError, Placement, Uuid, Voter, Voters};

/// See the module's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The first entry of a cluster's log. Without voters, its writer is the only one.
    ClusterFormed {
        cluster: Uuid,
        feature_level: u16,
        voters: Voters,
    },
    /// A node joined, or came back with other addresses or more shards.
    NodeRegistered(NodeRegistered),
    /// A shard started. Bumps the epoch of every partition that it leads: no restart resumes one.
    ShardBooted {
        node: NodeId,
        shard: ShardId,
        journal: u64,
        boot: Incarnation,
    },
    TopicCreated(TopicCreated),
    TopicDeleted {
        topic: TopicNumber,
    },
    /// Partitions behind those that the topic has.
    PartitionsAdded {
        topic: TopicNumber,
        placements: Vec<Placement>,
    },
    TopicConfigured {
        topic: TopicNumber,
        changes: Vec<ConfigSetting>,
    },
    /// [`crate::node::PRODUCER_IDS_PER_BLOCK`] producer ids from `first` on belong to this boot of
    /// a shard.
    ProducerIdsGranted {
        node: NodeId,
        shard: ShardId,
        boot: Incarnation,
        first: ProducerId,
    },
    /// Every node of the cluster now speaks `level`; it never falls.
    FeatureLevelRaised {
        level: u16,
    },
    /// The journal's node has caught up and votes from this entry on, committed or not.
    VoterAdded(Voter),
    /// Votes no more from this entry on, committed or not.
    VoterRemoved(Voter),
    /// The first entry of a leader of the cluster log, in its term.
    LeaderElected {
        node: NodeId,
    },
}

/// How clients and peers reach a node, and how many shards it has (numbers 0 up).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRegistered {
    pub node: NodeId,
    pub shards: u16,
    /// The address of the node view.
    pub host: String,
    pub port: u16,
    /// The address of shard 0 in the core view; shard n answers n ports further on.
    pub core_host: String,
    pub core_port: u16,
    pub rack: Option<String>,
}

/// A topic's birth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicCreated {
    pub topic: TopicNumber,
    pub uuid: Uuid,
    pub name: String,
    /// One per partition, in order.
    pub placements: Vec<Placement>,
    /// What differs from the defaults, by name.
    pub configs: Vec<(String, String)>,
}

/// A config's new value; `None` returns it to its default.
pub type ConfigSetting = (String, Option<String>);

const CLUSTER_FORMED: u8 = 1;
const NODE_REGISTERED: u8 = 2;
const SHARD_BOOTED: u8 = 3;
const TOPIC_CREATED: u8 = 4;
const TOPIC_DELETED: u8 = 5;
const PARTITIONS_ADDED: u8 = 6;
const TOPIC_CONFIGURED: u8 = 7;
const PRODUCER_IDS_GRANTED: u8 = 8;
const FEATURE_LEVEL_RAISED: u8 = 9;
const VOTER_ADDED: u8 = 10;
const VOTER_REMOVED: u8 = 11;
const LEADER_ELECTED: u8 = 12;

/// The layout of every kind so far, but that of a cluster formed with voters.
const VERSION: u8 = 1;
const VERSION_WITH_VOTERS: u8 = 2;

impl Command {
    /// Appends kind, version and fields.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_u8(out, self.kind());
        put_u8(out, self.version());
        match self {
            Self::ClusterFormed { cluster, feature_level, voters } => {
                out.extend_from_slice(&cluster.0);
                put_u16(out, *feature_level);
                if !voters.is_empty() {
                    voters.encode(out);
                }
            }
            Self::NodeRegistered(registered) => registered.encode(out),
            Self::ShardBooted { node, shard, journal, boot } => {
                put_u16(out, node.0);
                put_u16(out, shard.0);
                put_u64(out, *journal);
                put_u32(out, boot.0);
            }
            Self::TopicCreated(created) => created.encode(out),
            Self::TopicDeleted { topic } => put_u32(out, topic.0),
            Self::PartitionsAdded { topic, placements } => {
                put_u32(out, topic.0);
                put_list(out, placements, put_placement);
            }
            Self::TopicConfigured { topic, changes } => {
                put_u32(out, topic.0);
                put_list(out, changes, |out, (name, value)| {
                    put_text(out, name);
                    put_optional_text(out, value.as_deref());
                });
            }
            Self::ProducerIdsGranted { node, shard, boot, first } => {
                put_u16(out, node.0);
                put_u16(out, shard.0);
                put_u32(out, boot.0);
                put_u64(out, first.0);
            }
            Self::FeatureLevelRaised { level } => put_u16(out, *level),
            Self::VoterAdded(voter) | Self::VoterRemoved(voter) => voter.encode(out),
            Self::LeaderElected { node } => put_u16(out, node.0),
        }
    }

    pub(crate) fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        let kind = fields.u8()?;
        let version = fields.u8()?;
        if !(CLUSTER_FORMED..=LEADER_ELECTED).contains(&kind) {
            return Err(DecodeError::UnknownKind(kind));
        }
        let with_voters = kind == CLUSTER_FORMED && version == VERSION_WITH_VOTERS;
        if version != VERSION && !with_voters {
            return Err(DecodeError::UnknownVersion { kind, version });
        }
        Ok(match kind {
            CLUSTER_FORMED => Self::ClusterFormed {
                cluster: Uuid(fields.array()?),
                feature_level: fields.u16()?,
                voters: if with_voters { Voters::decode(fields)? } else { Voters::default() },
            },
            NODE_REGISTERED => Self::NodeRegistered(NodeRegistered::decode(fields)?),
            SHARD_BOOTED => Self::ShardBooted {
                node: NodeId(fields.u16()?),
                shard: ShardId(fields.u16()?),
                journal: fields.u64()?,
                boot: Incarnation(fields.u32()?),
            },
            TOPIC_CREATED => Self::TopicCreated(TopicCreated::decode(fields)?),
            TOPIC_DELETED => Self::TopicDeleted { topic: TopicNumber(fields.u32()?) },
            PARTITIONS_ADDED => Self::PartitionsAdded {
                topic: TopicNumber(fields.u32()?),
                placements: fields.list(4, take_placement)?,
            },
            TOPIC_CONFIGURED => Self::TopicConfigured {
                topic: TopicNumber(fields.u32()?),
                changes: fields.list(3, |fields| {
                    Ok((fields.text()?.to_owned(), fields.optional_text()?.map(str::to_owned)))
                })?,
            },
            PRODUCER_IDS_GRANTED => Self::ProducerIdsGranted {
                node: NodeId(fields.u16()?),
                shard: ShardId(fields.u16()?),
                boot: Incarnation(fields.u32()?),
                first: ProducerId(fields.u64()?),
            },
            FEATURE_LEVEL_RAISED => Self::FeatureLevelRaised { level: fields.u16()? },
            VOTER_ADDED => Self::VoterAdded(Voter::decode(fields)?),
            VOTER_REMOVED => Self::VoterRemoved(Voter::decode(fields)?),
            _ => Self::LeaderElected { node: NodeId(fields.u16()?) },
        })
    }

    fn kind(&self) -> u8 {
        match self {
            Self::ClusterFormed { .. } => CLUSTER_FORMED,
            Self::NodeRegistered(_) => NODE_REGISTERED,
            Self::ShardBooted { .. } => SHARD_BOOTED,
            Self::TopicCreated(_) => TOPIC_CREATED,
            Self::TopicDeleted { .. } => TOPIC_DELETED,
            Self::PartitionsAdded { .. } => PARTITIONS_ADDED,
            Self::TopicConfigured { .. } => TOPIC_CONFIGURED,
            Self::ProducerIdsGranted { .. } => PRODUCER_IDS_GRANTED,
            Self::FeatureLevelRaised { .. } => FEATURE_LEVEL_RAISED,
            Self::VoterAdded(_) => VOTER_ADDED,
            Self::VoterRemoved(_) => VOTER_REMOVED,
            Self::LeaderElected { .. } => LEADER_ELECTED,
        }
    }

    fn version(&self) -> u8 {
        match self {
            Self::ClusterFormed { voters, .. } if !voters.is_empty() => VERSION_WITH_VOTERS,
            _ => VERSION,
        }
    }
}

impl NodeRegistered {
    fn encode(&self, out: &mut Vec<u8>) {
        put_u16(out, self.node.0);
        put_u16(out, self.shards);
        put_text(out, &self.host);
        put_u16(out, self.port);
        put_text(out, &self.core_host);
        put_u16(out, self.core_port);
        put_optional_text(out, self.rack.as_deref());
    }

    fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            node: NodeId(fields.u16()?),
            shards: fields.u16()?,
            host: fields.text()?.to_owned(),
            port: fields.u16()?,
            core_host: fields.text()?.to_owned(),
            core_port: fields.u16()?,
            rack: fields.optional_text()?.map(str::to_owned),
        })
    }
}

impl TopicCreated {
    fn encode(&self, out: &mut Vec<u8>) {
        put_u32(out, self.topic.0);
        out.extend_from_slice(&self.uuid.0);
        put_text(out, &self.name);
        put_list(out, &self.placements, put_placement);
        put_list(out, &self.configs, |out, (name, value)| {
            put_text(out, name);
            put_text(out, value);
        });
    }

    fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            topic: TopicNumber(fields.u32()?),
            uuid: Uuid(fields.array()?),
            name: fields.text()?.to_owned(),
            placements: fields.list(4, take_placement)?,
            configs: fields
                .list(4, |fields| Ok((fields.text()?.to_owned(), fields.text()?.to_owned())))?,
        })
    }
}

fn put_placement(out: &mut Vec<u8>, placement: &Placement) {
    put_u16(out, placement.node.0);
    put_u16(out, placement.shard.0);
}

fn take_placement(fields: &mut Fields<'_>) -> Result<Placement, DecodeError> {
    Ok(Placement { node: NodeId(fields.u16()?), shard: ShardId(fields.u16()?) })
}
