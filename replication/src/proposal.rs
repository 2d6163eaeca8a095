//! What someone wishes the cluster to agree on, and the command that would make it so.

use base::{Incarnation, NodeId, PartitionId, ShardId, TopicNumber};

use crate::command::{ConfigSetting, NodeRegistered, TopicCreated};
use crate::leadership::{HandOver, Move, Opened};
use crate::node::Boot;
use crate::placer::Placer;
use crate::topic_config::{self, ConfigError};
use crate::{ClusterState, Command, Placement, Rejected, Replicas, Topic, Uuid, Voter};

/// The most partitions of one topic, so that its birth fits one journal frame.
pub const PARTITIONS_MAX: u32 = 10_000;

/// See the module's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proposal {
    CreateTopic {
        name: String,
        /// Drawn by the proposer.
        uuid: Uuid,
        partitions: NewPartitions,
        /// Of partitions that are counted; `None` for
        /// [`ClusterState::default_replication_factor`].
        replication_factor: Option<u16>,
        configs: Vec<(String, String)>,
    },
    DeleteTopic {
        topic: TopicNumber,
    },
    /// Grows the topic to `total` partitions; `places` for the new ones, or empty to choose them.
    AddPartitions {
        topic: TopicNumber,
        total: u32,
        places: Vec<Vec<Place>>,
    },
    ConfigureTopic {
        topic: TopicNumber,
        changes: Vec<ConfigChange>,
    },
    RegisterNode(NodeRegistered),
    BootShard {
        node: NodeId,
        shard: ShardId,
        journal: u64,
        boot: Incarnation,
    },
    GrantProducerIds {
        node: NodeId,
        shard: ShardId,
    },
    RaiseFeatureLevel {
        level: u16,
    },
    /// The node must have caught up: a voter that lacks the log delays every commit.
    AddVoter(Voter),
    RemoveVoter(Voter),
    /// Moves a partition to these places, preferred leader first; `None` stops a move.
    Reassign {
        partition: PartitionId,
        places: Option<Vec<Place>>,
    },
    /// The preferred leader shall lead again, by hand-over.
    PreferLeader {
        partition: PartitionId,
    },
    /// The operator accepts that a partition without a leader loses records.
    ElectUnclean {
        partition: PartitionId,
    },
    /// What the control core has found out.
    Decree(Command),
}

/// The partitions of a new topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewPartitions {
    /// So many, wherever there is least.
    Count(u32),
    /// One at each of these, preferred leader first.
    At(Vec<Vec<Place>>),
}

/// Where a partition is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On the least loaded shard of this node.
    Node(NodeId),
    Shard(Placement),
}

/// A change of one config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigChange {
    Set {
        name: String,
        value: String,
    },
    /// Back to the default.
    Delete {
        name: String,
    },
    /// Adds items to a list.
    Append {
        name: String,
        value: String,
    },
    /// Takes items from a list.
    Subtract {
        name: String,
        value: String,
    },
}

impl ConfigChange {
    fn name(&self) -> &str {
        match self {
            Self::Set { name, .. }
            | Self::Delete { name }
            | Self::Append { name, .. }
            | Self::Subtract { name, .. } => name,
        }
    }
}

impl ClusterState {
    /// The command that fulfils `proposal` in this state. Changes nothing: what `validate_only`
    /// asks for.
    pub fn plan(&self, proposal: &Proposal) -> Result<Command, Rejected> {
        let command = self.draw_up(proposal)?;
        self.check(&command)?;
        Ok(command)
    }

    /// Whether this state is as `proposal` wants it, whoever brought that about: what became of one
    /// whose answer was lost.
    #[must_use]
    pub fn fulfils(&self, proposal: &Proposal) -> bool {
        match proposal {
            Proposal::CreateTopic { uuid, .. } => self.topics().by_uuid(*uuid).is_some(),
            Proposal::DeleteTopic { topic } => {
                *topic < self.next_topic() && self.topics().by_number(*topic).is_none()
            }
            Proposal::AddPartitions { topic, total, .. } => {
                let topic = self.topics().by_number(*topic);
                topic.is_some_and(|topic| topic.partitions.len() == *total as usize)
            }
            Proposal::RegisterNode(registered) => {
                self.node(registered.node).is_some_and(|node| node.registered == *registered)
            }
            Proposal::BootShard { node, shard, journal, boot } => {
                let known = self.shard(Placement { node: *node, shard: *shard });
                let boot = Boot { journal: *journal, boot: *boot };
                known.is_ok_and(|known| known.boot == Some(boot))
            }
            _ => false,
        }
    }

    fn draw_up(&self, proposal: &Proposal) -> Result<Command, Rejected> {
        Ok(match proposal {
            Proposal::CreateTopic { name, uuid, partitions, replication_factor, configs } => {
                let placements = self.place_all(partitions, *replication_factor)?;
                Command::TopicCreated(TopicCreated {
                    topic: self.next_topic(),
                    uuid: *uuid,
                    name: name.clone(),
                    placements,
                    configs: configs.clone(),
                })
            }
            Proposal::DeleteTopic { topic } => Command::TopicDeleted { topic: *topic },
            Proposal::AddPartitions { topic, total, places } => {
                let placements = self.place_more(self.topic(*topic)?, *total, places)?;
                Command::PartitionsAdded { topic: *topic, placements }
            }
            Proposal::ConfigureTopic { topic, changes } => {
                let changes = settle(self.topic(*topic)?, changes)?;
                Command::TopicConfigured { topic: *topic, changes }
            }
            Proposal::RegisterNode(registered) => Command::NodeRegistered(registered.clone()),
            Proposal::BootShard { node, shard, journal, boot } => {
                let (node, shard, journal, boot) = (*node, *shard, *journal, *boot);
                Command::ShardBooted { node, shard, journal, boot }
            }
            Proposal::GrantProducerIds { node, shard } => {
                let (node, shard, first) = (*node, *shard, self.next_producer_id());
                let known = self.shard(Placement { node, shard })?.boot;
                let boot = known.ok_or(Rejected::NoShard { node, shard })?.boot;
                Command::ProducerIdsGranted { node, shard, boot, first }
            }
            Proposal::RaiseFeatureLevel { level } => Command::FeatureLevelRaised { level: *level },
            Proposal::AddVoter(voter) => Command::VoterAdded(*voter),
            Proposal::RemoveVoter(voter) => Command::VoterRemoved(*voter),
            Proposal::Reassign { partition, places: Some(places) } => {
                let target = Placer::new(self).resolve(places)?;
                let moves = vec![Move { partition: *partition, target }];
                Command::ReassignmentsStarted { moves }
            }
            Proposal::Reassign { partition, places: None } => {
                Command::ReassignmentsCancelled { partitions: vec![*partition] }
            }
            Proposal::PreferLeader { partition } => self.prefer(*partition)?,
            Proposal::ElectUnclean { partition } => {
                let epoch = self.partition(*partition)?.epoch;
                let elections = vec![Opened { partition: *partition, epoch }];
                Command::UncleanElectionsAllowed { elections }
            }
            Proposal::Decree(command) => command.clone(),
        })
    }

    fn place_all(
        &self,
        partitions: &NewPartitions,
        replication_factor: Option<u16>,
    ) -> Result<Vec<Replicas>, Rejected> {
        let mut placer = Placer::new(self);
        match partitions {
            NewPartitions::Count(count) => {
                let default = self.default_replication_factor();
                placer.spread(*count, replication_factor.unwrap_or(default))
            }
            NewPartitions::At(places) => places.iter().map(|one| placer.resolve(one)).collect(),
        }
    }

    fn place_more(
        &self,
        topic: &Topic,
        total: u32,
        places: &[Vec<Place>],
    ) -> Result<Vec<Replicas>, Rejected> {
        let have = topic.partitions.len() as u32;
        let more = total.checked_sub(have).filter(|more| 0 < *more);
        let more = more.ok_or(Rejected::NotMorePartitions { have, wanted: total })?;
        let replication_factor = topic.replication_factor();
        let mut placer = Placer::new(self);
        if places.is_empty() {
            return placer.spread(more, replication_factor);
        }
        if places.len() != more as usize {
            return Err(Rejected::Places { partitions: more, places: places.len() as u32 });
        }
        if places.iter().any(|one| one.len() != usize::from(replication_factor)) {
            return Err(Rejected::UnequalReplicas);
        }
        places.iter().map(|one| placer.resolve(one)).collect()
    }

    fn prefer(&self, id: PartitionId) -> Result<Command, Rejected> {
        let partition = self.partition(id)?;
        let hand_over =
            HandOver { partition: id, epoch: partition.epoch, to: partition.preferred() };
        Ok(Command::HandOversWanted { hand_overs: vec![hand_over] })
    }
}

/// Turns changes into settings: lists are resolved against what the topic has now.
fn settle(topic: &Topic, changes: &[ConfigChange]) -> Result<Vec<ConfigSetting>, ConfigError> {
    let setting = |change: &ConfigChange| {
        let config = topic_config::find(change.name())?;
        let now = topic.configs.get(config.name).map_or(config.default, String::as_str);
        let items = || now.split(',').map(str::trim).filter(|item| !item.is_empty());
        let value = match change {
            ConfigChange::Set { value, .. } => Some(value.clone()),
            ConfigChange::Delete { .. } => None,
            ConfigChange::Append { .. } | ConfigChange::Subtract { .. } if !config.is_list() => {
                return Err(ConfigError::NotAList { config: config.name });
            }
            ConfigChange::Append { value, .. } => {
                let new = value.split(',').map(str::trim);
                let new = new.filter(|item| items().all(|held| held != *item));
                Some(items().chain(new).collect::<Vec<_>>().join(","))
            }
            ConfigChange::Subtract { value, .. } => {
                let gone: Vec<_> = value.split(',').map(str::trim).collect();
                Some(items().filter(|item| !gone.contains(item)).collect::<Vec<_>>().join(","))
            }
        };
        Ok((config.name.to_owned(), value))
    };
    changes.iter().map(setting).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LogIndex, Voters};

    /// A formed cluster with one node of `shards` shards and, on shard 0, a topic of two partitions.
    fn state(shards: u16) -> ClusterState {
        let mut state = ClusterState::new(Uuid([7; 16]));
        let voters = Voters::default();
        let formed = Command::ClusterFormed { cluster: Uuid([7; 16]), feature_level: 1, voters };
        state.apply(LogIndex(1), &formed).unwrap();
        let registered = NodeRegistered {
            node: NodeId(0),
            shards,
            host: "localhost".into(),
            port: 9092,
            core_host: "localhost".into(),
            core_port: 9100,
            rack: None,
        };
        agree(&mut state, &Proposal::RegisterNode(registered));
        agree(&mut state, &create("first", NewPartitions::At(vec![at(0), at(0)])));
        state
    }

    fn agree(state: &mut ClusterState, proposal: &Proposal) {
        let command = state.plan(proposal).unwrap();
        state.apply(state.version().next(), &command).unwrap();
    }

    fn create(name: &str, partitions: NewPartitions) -> Proposal {
        let mut uuid = [9; 16];
        uuid[..name.len()].copy_from_slice(name.as_bytes());
        Proposal::CreateTopic {
            name: name.into(),
            uuid: Uuid(uuid),
            partitions,
            replication_factor: Some(1),
            configs: Vec::new(),
        }
    }

    fn at(shard: u16) -> Vec<Place> {
        vec![Place::Shard(Placement { node: NodeId(0), shard: ShardId(shard) })]
    }

    fn shards_of(state: &ClusterState, name: &str) -> Vec<u16> {
        let topic = state.topics().by_name(name).unwrap();
        topic.partitions.iter().map(|partition| partition.preferred().shard.0).collect()
    }

    #[test]
    fn partitions_go_where_there_is_least_and_then_take_turns() {
        let mut state = state(3);
        agree(&mut state, &create("second", NewPartitions::Count(7)));
        assert_eq!(shards_of(&state, "second"), [1, 2, 1, 2, 0, 1, 2]);
        let deleted = state.topics().by_name("second").unwrap().number;
        agree(&mut state, &Proposal::DeleteTopic { topic: deleted });
        agree(
            &mut state,
            &create("third", NewPartitions::At(vec![vec![Place::Node(NodeId(0))]; 2])),
        );
        assert_eq!(shards_of(&state, "third"), [1, 2]);
        assert_eq!(state.topics().by_name("third").unwrap().number, TopicNumber(3));
    }

    #[test]
    fn partitions_only_grow() {
        let mut state = state(1);
        let grow = |total, places| Proposal::AddPartitions { topic: TopicNumber(1), total, places };
        let refused = Rejected::NotMorePartitions { have: 2, wanted: 2 };
        assert_eq!(state.plan(&grow(2, vec![])), Err(refused));
        let refused = Rejected::Places { partitions: 2, places: 1 };
        assert_eq!(state.plan(&grow(4, vec![at(0)])), Err(refused));
        let wanted = PARTITIONS_MAX + 1;
        assert_eq!(state.plan(&grow(wanted, vec![])), Err(Rejected::Partitions { wanted }));
        agree(&mut state, &grow(3, vec![]));
        assert_eq!(shards_of(&state, "first"), [0, 0, 0]);
    }

    #[test]
    fn wishes_that_cannot_be_are_refused_by_reason() {
        let state = state(1);
        let cases = [
            (create("first", NewPartitions::Count(1)), Rejected::TopicExists),
            (create("x", NewPartitions::Count(0)), Rejected::Partitions { wanted: 0 }),
            (
                create("x", NewPartitions::Count(u32::MAX)),
                Rejected::Partitions { wanted: u32::MAX },
            ),
            (
                create("x", NewPartitions::At(vec![at(1)])),
                Rejected::NoShard { node: NodeId(0), shard: ShardId(1) },
            ),
            (
                create("x", NewPartitions::At(vec![vec![Place::Node(NodeId(4))]])),
                Rejected::NoNode(NodeId(4)),
            ),
            (Proposal::DeleteTopic { topic: TopicNumber(5) }, Rejected::NoTopic(TopicNumber(5))),
            (
                Proposal::RaiseFeatureLevel { level: 1 },
                Rejected::FeatureLevel { known: 1, wanted: 1, supported: 1 },
            ),
        ];
        for (proposal, reason) in cases {
            assert_eq!(state.plan(&proposal), Err(reason), "{proposal:?}");
        }
    }

    #[test]
    fn configs_are_checked_and_lists_are_resolved() {
        let mut state = state(1);
        let named = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let configure = |changes| Proposal::ConfigureTopic { topic: TopicNumber(1), changes };
        let (name, value) = named("leader.replication.throttled.replicas", "0:1, 0:2");
        agree(&mut state, &configure(vec![ConfigChange::Append { name, value }]));
        let (name, value) = named("leader.replication.throttled.replicas", "0:1");
        agree(&mut state, &configure(vec![ConfigChange::Subtract { name, value }]));
        let (name, value) = named("retention.ms", "5000");
        agree(&mut state, &configure(vec![ConfigChange::Set { name, value }]));
        let topic = state.topics().by_name("first").unwrap();
        assert_eq!(topic.configs["leader.replication.throttled.replicas"], "0:2");
        assert_eq!(topic.settings.retention_ms, Some(5000));

        let (name, value) = named("retention.ms", "1");
        let refused = state.plan(&configure(vec![ConfigChange::Append { name, value }]));
        let reason = ConfigError::NotAList { config: "retention.ms" };
        assert_eq!(refused, Err(Rejected::Config(reason)));
        let twice = ConfigChange::Delete { name: "retention.ms".into() };
        let refused = state.plan(&configure(vec![twice.clone(), twice]));
        let reason = ConfigError::Repeated { name: "retention.ms".into() };
        assert_eq!(refused, Err(Rejected::Config(reason)));
    }

    #[test]
    fn a_start_bumps_the_epochs_it_leads_and_voids_older_producer_ids() {
        let mut state = state(2);
        agree(&mut state, &create("second", NewPartitions::At(vec![at(1)])));
        let boot = |boot| Proposal::BootShard {
            node: NodeId(0),
            shard: ShardId(0),
            journal: 4,
            boot: Incarnation(boot),
        };
        let grant = Proposal::GrantProducerIds { node: NodeId(0), shard: ShardId(0) };
        assert!(matches!(state.plan(&grant), Err(Rejected::NoShard { .. })), "not booted yet");
        agree(&mut state, &boot(1));
        agree(&mut state, &grant);
        agree(&mut state, &boot(3));
        agree(&mut state, &grant);
        let epochs = |name| {
            let topic: &Topic = state.topics().by_name(name).unwrap();
            topic.partitions.iter().map(|partition| partition.epoch.0).collect::<Vec<_>>()
        };
        assert_eq!((epochs("first"), epochs("second")), (vec![2, 2], vec![0]));
        let block = state.node(NodeId(0)).unwrap().shards[0].producer_ids.unwrap();
        assert_eq!((block.boot, block.first.0), (Incarnation(3), 1001));
        assert!(matches!(state.plan(&boot(3)), Err(Rejected::StaleBoot { .. })));
    }
}
