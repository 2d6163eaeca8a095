//! What an entry of the cluster log says: a fact once it is committed.
//!
//! A kind's number and layout never change; a new layout is a new version of its kind, and a kind
//! that is retired keeps its number.

use base::{Incarnation, NodeId, PartitionId, ProducerId, ShardId, TopicNumber};

use crate::fields::{
    Fields, put_list, put_optional_text, put_text, put_u8, put_u16, put_u32, put_u64,
};
use crate::leadership::{
    CaughtUp, Chosen, HandOver, Item, Move, Opened, put_boot, put_placement, put_replicas,
    take_boot, take_placement, take_replicas,
};
use crate::node::Boot;
use crate::{DecodeError, Placement, Replicas, Uuid, Voter, Voters};

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
    /// A shard started. Ends the epoch of every partition that it led: no restart resumes one. What
    /// it holds alone it leads at once. On another journal than before it can prove nothing.
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
        placements: Vec<Replicas>,
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
    /// This boot of a shard is taken for dead, or cannot be reached: what it led, and others hold
    /// too, is led by nobody from now on.
    ShardFenced {
        node: NodeId,
        shard: ShardId,
        boot: Boot,
    },
    /// It is heard from again.
    ShardReturned {
        node: NodeId,
        shard: ShardId,
        boot: Boot,
    },
    /// The log of a shard is not what it was: nothing that it says of it counts until it has caught
    /// up again.
    ShardDistrusted {
        node: NodeId,
        shard: ShardId,
    },
    /// The ends of elections.
    LeadersChosen {
        chosen: Vec<Chosen>,
    },
    /// Leaders that stopped and the replicas that hold all they held: the next epoch is theirs.
    LeadersHandedOver {
        chosen: Vec<Chosen>,
    },
    /// An operator prefers a leader that lacks records to none, in these elections alone.
    UncleanElectionsAllowed {
        elections: Vec<Opened>,
    },
    /// The end of an election that an operator forced.
    UncleanLeadersChosen {
        chosen: Vec<Chosen>,
    },
    /// A quorum holds all that the leaders held when they began. Ends joint configs.
    EpochsOpened {
        opened: Vec<Opened>,
    },
    ReassignmentsStarted {
        moves: Vec<Move>,
    },
    ReassignmentsCancelled {
        partitions: Vec<PartitionId>,
    },
    /// The replicas to come count from now on, beside those there are, in a new epoch.
    ReassignmentsJoined {
        chosen: Vec<Chosen>,
    },
    ReplicasCaughtUp {
        caught_up: Vec<CaughtUp>,
    },
    HandOversWanted {
        hand_overs: Vec<HandOver>,
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
    /// One list per partition, in order, each with its preferred leader first.
    pub placements: Vec<Replicas>,
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
const SHARD_FENCED: u8 = 32;
const SHARD_RETURNED: u8 = 33;
const SHARD_DISTRUSTED: u8 = 34;
const LEADERS_CHOSEN: u8 = 35;
const LEADERS_HANDED_OVER: u8 = 36;
const UNCLEAN_ELECTIONS_ALLOWED: u8 = 37;
const UNCLEAN_LEADERS_CHOSEN: u8 = 38;
const EPOCHS_OPENED: u8 = 39;
const REASSIGNMENTS_STARTED: u8 = 40;
const REASSIGNMENTS_CANCELLED: u8 = 41;
const REASSIGNMENTS_JOINED: u8 = 42;
const REPLICAS_CAUGHT_UP: u8 = 43;
const HAND_OVERS_WANTED: u8 = 44;

/// The first layout of a kind.
const FIRST: u8 = 1;
/// Of topics and partitions some of which have several replicas; those that have one each are still
/// written as ever.
const REPLICATED: u8 = 2;
/// Of a cluster that was formed with voters.
const WITH_VOTERS: u8 = 2;

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
                put_shard(out, *node, *shard);
                put_boot(out, Boot { journal: *journal, boot: *boot });
            }
            Self::TopicCreated(created) => created.encode(out),
            Self::TopicDeleted { topic } => put_u32(out, topic.0),
            Self::PartitionsAdded { topic, placements } => {
                put_u32(out, topic.0);
                put_placements(out, placements);
            }
            Self::TopicConfigured { topic, changes } => {
                put_u32(out, topic.0);
                put_list(out, changes, |out, (name, value)| {
                    put_text(out, name);
                    put_optional_text(out, value.as_deref());
                });
            }
            Self::ProducerIdsGranted { node, shard, boot, first } => {
                put_shard(out, *node, *shard);
                put_u32(out, boot.0);
                put_u64(out, first.0);
            }
            Self::FeatureLevelRaised { level } => put_u16(out, *level),
            Self::VoterAdded(voter) | Self::VoterRemoved(voter) => voter.encode(out),
            Self::LeaderElected { node } => put_u16(out, node.0),
            Self::ShardFenced { node, shard, boot } | Self::ShardReturned { node, shard, boot } => {
                put_shard(out, *node, *shard);
                put_boot(out, *boot);
            }
            Self::ShardDistrusted { node, shard } => put_shard(out, *node, *shard),
            Self::LeadersChosen { chosen }
            | Self::LeadersHandedOver { chosen }
            | Self::UncleanLeadersChosen { chosen }
            | Self::ReassignmentsJoined { chosen } => put_items(out, chosen),
            Self::UncleanElectionsAllowed { elections: opened } | Self::EpochsOpened { opened } => {
                put_items(out, opened);
            }
            Self::ReassignmentsStarted { moves } => put_items(out, moves),
            Self::ReassignmentsCancelled { partitions } => put_items(out, partitions),
            Self::ReplicasCaughtUp { caught_up } => put_items(out, caught_up),
            Self::HandOversWanted { hand_overs } => put_items(out, hand_overs),
        }
    }

    pub(crate) fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        let (kind, version) = (fields.u8()?, fields.u8()?);
        let newest = match kind {
            CLUSTER_FORMED => WITH_VOTERS,
            TOPIC_CREATED | PARTITIONS_ADDED => REPLICATED,
            _ => FIRST,
        };
        let unknown = DecodeError::UnknownVersion { kind, version };
        if !(FIRST..=newest).contains(&version) {
            return Err(unknown);
        }
        let command = Self::decode_kind(kind, version, fields)?;
        if command.version() == version { Ok(command) } else { Err(unknown) }
    }

    fn decode_kind(kind: u8, version: u8, fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(match kind {
            CLUSTER_FORMED => Self::ClusterFormed {
                cluster: Uuid(fields.array()?),
                feature_level: fields.u16()?,
                voters: match version {
                    WITH_VOTERS => Voters::decode(fields)?,
                    _ => Voters::default(),
                },
            },
            NODE_REGISTERED => Self::NodeRegistered(NodeRegistered::decode(fields)?),
            SHARD_BOOTED => Self::ShardBooted {
                node: NodeId(fields.u16()?),
                shard: ShardId(fields.u16()?),
                journal: fields.u64()?,
                boot: Incarnation(fields.u32()?),
            },
            TOPIC_CREATED => Self::TopicCreated(TopicCreated::decode(version, fields)?),
            TOPIC_DELETED => Self::TopicDeleted { topic: TopicNumber(fields.u32()?) },
            PARTITIONS_ADDED => Self::PartitionsAdded {
                topic: TopicNumber(fields.u32()?),
                placements: take_placements(version, fields)?,
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
            LEADER_ELECTED => Self::LeaderElected { node: NodeId(fields.u16()?) },
            _ => Self::decode_leadership(kind, fields)?,
        })
    }

    fn decode_leadership(kind: u8, fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(match kind {
            SHARD_FENCED | SHARD_RETURNED | SHARD_DISTRUSTED => {
                let (node, shard) = (NodeId(fields.u16()?), ShardId(fields.u16()?));
                match kind {
                    SHARD_FENCED => Self::ShardFenced { node, shard, boot: take_boot(fields)? },
                    SHARD_RETURNED => Self::ShardReturned { node, shard, boot: take_boot(fields)? },
                    _ => Self::ShardDistrusted { node, shard },
                }
            }
            LEADERS_CHOSEN => Self::LeadersChosen { chosen: take_items(fields)? },
            LEADERS_HANDED_OVER => Self::LeadersHandedOver { chosen: take_items(fields)? },
            UNCLEAN_ELECTIONS_ALLOWED => {
                Self::UncleanElectionsAllowed { elections: take_items(fields)? }
            }
            UNCLEAN_LEADERS_CHOSEN => Self::UncleanLeadersChosen { chosen: take_items(fields)? },
            EPOCHS_OPENED => Self::EpochsOpened { opened: take_items(fields)? },
            REASSIGNMENTS_STARTED => Self::ReassignmentsStarted { moves: take_items(fields)? },
            REASSIGNMENTS_CANCELLED => {
                Self::ReassignmentsCancelled { partitions: take_items(fields)? }
            }
            REASSIGNMENTS_JOINED => Self::ReassignmentsJoined { chosen: take_items(fields)? },
            REPLICAS_CAUGHT_UP => Self::ReplicasCaughtUp { caught_up: take_items(fields)? },
            HAND_OVERS_WANTED => Self::HandOversWanted { hand_overs: take_items(fields)? },
            _ => return Err(DecodeError::UnknownKind(kind)),
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
            Self::ShardFenced { .. } => SHARD_FENCED,
            Self::ShardReturned { .. } => SHARD_RETURNED,
            Self::ShardDistrusted { .. } => SHARD_DISTRUSTED,
            Self::LeadersChosen { .. } => LEADERS_CHOSEN,
            Self::LeadersHandedOver { .. } => LEADERS_HANDED_OVER,
            Self::UncleanElectionsAllowed { .. } => UNCLEAN_ELECTIONS_ALLOWED,
            Self::UncleanLeadersChosen { .. } => UNCLEAN_LEADERS_CHOSEN,
            Self::EpochsOpened { .. } => EPOCHS_OPENED,
            Self::ReassignmentsStarted { .. } => REASSIGNMENTS_STARTED,
            Self::ReassignmentsCancelled { .. } => REASSIGNMENTS_CANCELLED,
            Self::ReassignmentsJoined { .. } => REASSIGNMENTS_JOINED,
            Self::ReplicasCaughtUp { .. } => REPLICAS_CAUGHT_UP,
            Self::HandOversWanted { .. } => HAND_OVERS_WANTED,
        }
    }

    /// The one layout in which this command is written: bytes have one spelling.
    fn version(&self) -> u8 {
        match self {
            Self::ClusterFormed { voters, .. } if !voters.is_empty() => WITH_VOTERS,
            Self::TopicCreated(TopicCreated { placements, .. })
            | Self::PartitionsAdded { placements, .. }
                if placements.iter().any(|replicas| replicas.len() != 1) =>
            {
                REPLICATED
            }
            _ => FIRST,
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
        put_placements(out, &self.placements);
        put_list(out, &self.configs, |out, (name, value)| {
            put_text(out, name);
            put_text(out, value);
        });
    }

    fn decode(version: u8, fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            topic: TopicNumber(fields.u32()?),
            uuid: Uuid(fields.array()?),
            name: fields.text()?.to_owned(),
            placements: take_placements(version, fields)?,
            configs: fields
                .list(4, |fields| Ok((fields.text()?.to_owned(), fields.text()?.to_owned())))?,
        })
    }
}

fn put_shard(out: &mut Vec<u8>, node: NodeId, shard: ShardId) {
    put_placement(out, &Placement { node, shard });
}

fn put_items<T: Item>(out: &mut Vec<u8>, items: &[T]) {
    put_list(out, items, |out, item| item.put(out));
}

fn take_items<T: Item>(fields: &mut Fields<'_>) -> Result<Vec<T>, DecodeError> {
    fields.list(T::BYTES_MIN, T::take)
}

fn put_placements(out: &mut Vec<u8>, placements: &[Replicas]) {
    if placements.iter().all(|replicas| replicas.len() == 1) {
        put_list(out, placements, |out, replicas| put_placement(out, &replicas[0]));
    } else {
        put_list(out, placements, put_replicas);
    }
}

fn take_placements(version: u8, fields: &mut Fields<'_>) -> Result<Vec<Replicas>, DecodeError> {
    if version == REPLICATED {
        return fields.list(1, take_replicas);
    }
    fields.list(4, |fields| Ok(Replicas::one(take_placement(fields)?)))
}
