//! The state that the cluster agrees on: the fold of all committed commands.
//!
//! A snapshot is an `Arc<ClusterState>`. Cloning the state to change it copies one pointer per
//! topic; topics, and the index over them, are shared until they change.

mod leadership;

use std::collections::BTreeMap;
use std::sync::Arc;

use base::{NodeId, ProducerId, TopicNumber};

use crate::command::{ConfigSetting, NodeRegistered, TopicCreated};
use crate::node::{Boot, PRODUCER_IDS_PER_BLOCK, ProducerIdBlock};
use crate::{
    Command, LogIndex, Node, Partition, Placement, Rejected, Replicas, Shard, Topic, TopicSettings,
    Topics, Uuid, Voters,
};

/// The highest feature level that this build understands.
pub const FEATURE_LEVEL_MAX: u16 = 1;

/// See the module's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterState {
    cluster: Uuid,
    version: LogIndex,
    /// 0 before the cluster is formed.
    feature_level: u16,
    voters: Voters,
    /// Whoever leads the cluster log, or led it last.
    controller: Option<NodeId>,
    nodes: BTreeMap<NodeId, Node>,
    topics: Topics,
    next_topic: TopicNumber,
    next_producer_id: ProducerId,
}

impl ClusterState {
    /// The state before the first entry.
    #[must_use]
    pub fn new(cluster: Uuid) -> Self {
        Self {
            cluster,
            version: LogIndex(0),
            feature_level: 0,
            voters: Voters::default(),
            controller: None,
            nodes: BTreeMap::new(),
            topics: Topics::default(),
            next_topic: TopicNumber(1),
            next_producer_id: ProducerId(1),
        }
    }

    #[must_use]
    pub fn cluster(&self) -> Uuid {
        self.cluster
    }

    /// The last entry that this state includes.
    #[must_use]
    pub fn version(&self) -> LogIndex {
        self.version
    }

    #[must_use]
    pub fn feature_level(&self) -> u16 {
        self.feature_level
    }

    /// Who votes in the cluster log. Empty: the one node that formed the cluster.
    #[must_use]
    pub fn voters(&self) -> &Voters {
        &self.voters
    }

    /// The node that leads the cluster log, or led it last. `None` while nobody was elected: the
    /// one voter of a cluster without [`ClusterState::voters`] leads without an election.
    #[must_use]
    pub fn controller(&self) -> Option<NodeId> {
        self.controller
    }

    #[must_use]
    pub fn topics(&self) -> &Topics {
        &self.topics
    }

    /// In the order of their ids.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    #[must_use]
    pub fn node(&self, node: NodeId) -> Option<&Node> {
        self.nodes.get(&node)
    }

    /// The shard at `placement`.
    pub fn shard(&self, placement: Placement) -> Result<&Shard, Rejected> {
        let Placement { node, shard } = placement;
        let known = self.nodes.get(&node).ok_or(Rejected::NoNode(node))?;
        known.shard(shard).ok_or(Rejected::NoShard { node, shard })
    }

    /// Whether the shard has started and is not taken for dead.
    #[must_use]
    pub fn is_up(&self, placement: Placement) -> bool {
        self.shard(placement).is_ok_and(|shard| shard.boot.is_some() && !shard.fenced)
    }

    pub(crate) fn topic(&self, topic: TopicNumber) -> Result<&Topic, Rejected> {
        self.topics.by_number(topic).map(AsRef::as_ref).ok_or(Rejected::NoTopic(topic))
    }

    /// The number that the next topic gets: those below it were given to topics that exist or were
    /// deleted.
    #[must_use]
    pub fn next_topic(&self) -> TopicNumber {
        self.next_topic
    }

    pub(crate) fn next_producer_id(&self) -> ProducerId {
        self.next_producer_id
    }

    /// Takes a committed command in, or refuses it and changes nothing.
    pub fn apply(&mut self, index: LogIndex, command: &Command) -> Result<(), Rejected> {
        assert_eq!(index, self.version.next(), "entries are applied in order");
        self.check(command)?;
        match command {
            Command::ClusterFormed { feature_level, voters, .. } => {
                self.feature_level = *feature_level;
                self.voters.clone_from(voters);
            }
            Command::FeatureLevelRaised { level } => self.feature_level = *level,
            Command::VoterAdded(voter) => self.voters.add(*voter)?,
            Command::VoterRemoved(voter) => self.voters.remove(*voter)?,
            Command::LeaderElected { node } => self.controller = Some(*node),
            Command::NodeRegistered(registered) => self.register(registered),
            Command::ShardBooted { node, shard, journal, boot } => {
                let placement = Placement { node: *node, shard: *shard };
                self.boot(placement, Boot { journal: *journal, boot: *boot });
            }
            Command::TopicCreated(created) => self.create(created),
            Command::TopicDeleted { topic } => self.delete(*topic),
            Command::PartitionsAdded { topic, placements } => self.extend(*topic, placements),
            Command::TopicConfigured { topic, changes } => self.configure(*topic, changes),
            Command::ProducerIdsGranted { node, shard, boot, first } => {
                let block = ProducerIdBlock { boot: *boot, first: *first };
                let placement = Placement { node: *node, shard: *shard };
                self.shard_mut(placement).producer_ids = Some(block);
                self.next_producer_id = ProducerId(first.0 + PRODUCER_IDS_PER_BLOCK);
            }
            leadership => self.apply_leadership(leadership),
        }
        self.version = index;
        Ok(())
    }

    fn register(&mut self, registered: &NodeRegistered) {
        let node = self.nodes.entry(registered.node);
        let node = node.or_insert_with(|| Node::new(registered.clone()));
        node.shards.resize(usize::from(registered.shards), Shard::default());
        node.registered = registered.clone();
    }

    fn create(&mut self, created: &TopicCreated) {
        let configs: BTreeMap<_, _> = created.configs.iter().cloned().collect();
        self.topics.insert(Topic {
            number: created.topic,
            uuid: created.uuid,
            name: Arc::from(created.name.as_str()),
            partitions: Vec::with_capacity(created.placements.len()),
            settings: TopicSettings::of(&configs),
            configs,
        });
        self.next_topic = TopicNumber(created.topic.0 + 1);
        self.extend(created.topic, &created.placements);
    }

    fn delete(&mut self, topic: TopicNumber) {
        let gone = self.topics.remove(topic).expect("a checked topic exists");
        for partition in &gone.partitions {
            self.count(partition, |load| *load -= 1);
        }
    }

    fn extend(&mut self, topic: TopicNumber, placements: &[Replicas]) {
        let new: Vec<_> =
            placements.iter().map(|replicas| self.newborn(Partition::new(*replicas))).collect();
        for partition in &new {
            self.count(partition, |load| *load += 1);
        }
        let topic = self.topics.get_mut(topic).expect("a checked topic exists");
        topic.partitions.extend(new);
    }

    fn configure(&mut self, topic: TopicNumber, changes: &[ConfigSetting]) {
        let topic = self.topics.get_mut(topic).expect("a checked topic exists");
        for (name, value) in changes {
            match value {
                Some(value) => topic.configs.insert(name.clone(), value.clone()),
                None => topic.configs.remove(name),
            };
        }
        topic.settings = TopicSettings::of(&topic.configs);
    }

    fn shard_mut(&mut self, placement: Placement) -> &mut Shard {
        let node = self.nodes.get_mut(&placement.node).expect("a checked node exists");
        &mut node.shards[usize::from(placement.shard.0)]
    }
}
