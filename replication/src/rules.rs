//! Which commands a state admits. Proposals are held to these rules before they are written, and
//! entries again when they are replayed: a log that breaks them is not ours or not whole.

mod leadership;

use base::{NodeId, ShardId};

use crate::cluster_state::FEATURE_LEVEL_MAX;
use crate::command::{NodeRegistered, TopicCreated};
use crate::node::{Boot, PRODUCER_IDS_PER_BLOCK};
use crate::proposal::PARTITIONS_MAX;
use crate::topic_config::{self, ConfigError};
use crate::{ClusterState, Command, Partition, Placement, Rejected, Replicas, topic_name};

impl ClusterState {
    pub(crate) fn check(&self, command: &Command) -> Result<(), Rejected> {
        match command {
            Command::ClusterFormed { cluster, feature_level, .. } => {
                if *cluster != self.cluster() || self.feature_level() != 0 {
                    return Err(Rejected::ForeignCluster);
                }
                self.check_level(*feature_level)
            }
            _ if self.feature_level() == 0 => Err(Rejected::ForeignCluster),
            Command::FeatureLevelRaised { level } => self.check_level(*level),
            Command::VoterAdded(voter) => self.voters().clone().add(*voter),
            Command::VoterRemoved(voter) => self.voters().clone().remove(*voter),
            Command::LeaderElected { .. } => Ok(()),
            Command::NodeRegistered(registered) => self.check_node(registered),
            Command::ShardBooted { node, shard, journal, boot } => {
                let placement = Placement { node: *node, shard: *shard };
                self.check_boot(placement, Boot { journal: *journal, boot: *boot })
            }
            Command::TopicCreated(created) => self.check_created(created),
            Command::TopicDeleted { topic } => self.topic(*topic).map(|_| ()),
            Command::PartitionsAdded { topic, placements } => {
                let known = &self.topic(*topic)?.partitions;
                if placements.is_empty() {
                    let have = known.len() as u32;
                    return Err(Rejected::NotMorePartitions { have, wanted: have });
                }
                self.check_placements(known.len(), placements)
            }
            Command::TopicConfigured { topic, changes } => {
                self.topic(*topic)?;
                let settings = changes.iter().map(|(name, value)| (&**name, value.as_deref()));
                Ok(check_configs(settings)?)
            }
            Command::ProducerIdsGranted { node, shard, boot, first } => {
                let (node, shard) = (*node, *shard);
                let known = self.shard(Placement { node, shard })?.boot;
                if known.is_none_or(|known| known.boot != *boot) {
                    return Err(Rejected::NoShard { node, shard });
                }
                let end = first.0.checked_add(PRODUCER_IDS_PER_BLOCK);
                if *first < self.next_producer_id() || end.is_none_or(|end| i64::MAX as u64 <= end)
                {
                    return Err(Rejected::ProducerIdsExhausted);
                }
                Ok(())
            }
            leadership => self.check_leadership(leadership),
        }
    }

    fn check_level(&self, wanted: u16) -> Result<(), Rejected> {
        let (known, supported) = (self.feature_level(), FEATURE_LEVEL_MAX);
        if known < wanted && wanted <= supported {
            return Ok(());
        }
        Err(Rejected::FeatureLevel { known, wanted, supported })
    }

    fn check_node(&self, registered: &NodeRegistered) -> Result<(), Rejected> {
        let NodeRegistered { node, shards: proposed, .. } = *registered;
        let known = self.node(node).map_or(0, |known| known.registered.shards);
        if proposed < known {
            return Err(Rejected::ShardsVanished { node, known, proposed });
        }
        Ok(())
    }

    fn check_boot(&self, placement: Placement, proposed: Boot) -> Result<(), Rejected> {
        let Placement { node, shard } = placement;
        match self.shard(placement)?.boot {
            Some(known) if known.journal != proposed.journal => {
                // Nobody could give back what it held alone: an operator must look.
                let sole = |partition: &Partition| partition.sole() == Some(placement);
                let mut partitions = self.topics().iter().flat_map(|topic| &topic.partitions);
                let lost = self.nodes().count() == 1 || partitions.any(sole);
                if lost { Err(Rejected::JournalReplaced { node, shard }) } else { Ok(()) }
            }
            Some(known) if proposed.boot <= known.boot => Err(stale(node, shard, known, proposed)),
            Some(_) | None => Ok(()),
        }
    }

    fn check_created(&self, created: &TopicCreated) -> Result<(), Rejected> {
        topic_name::check_any(&created.name)?;
        if self.topics().by_name(&created.name).is_some() {
            return Err(Rejected::TopicExists);
        }
        let number_taken = created.topic < self.next_topic() || created.topic.0 == u32::MAX;
        let uuid_taken =
            created.uuid.is_reserved() || self.topics().by_uuid(created.uuid).is_some();
        if number_taken || uuid_taken {
            return Err(Rejected::TopicIdTaken);
        }
        if created.placements.is_empty() {
            return Err(Rejected::Partitions { wanted: 0 });
        }
        let configs = created.configs.iter().map(|(name, value)| (&**name, Some(&**value)));
        check_configs(configs)?;
        self.check_placements(0, &created.placements)
    }

    fn check_placements(&self, have: usize, placements: &[Replicas]) -> Result<(), Rejected> {
        let wanted = (have + placements.len()) as u32;
        if PARTITIONS_MAX < wanted {
            return Err(Rejected::Partitions { wanted });
        }
        if placements.iter().any(|replicas| replicas.len() != placements[0].len()) {
            return Err(Rejected::UnequalReplicas);
        }
        placements.iter().try_for_each(|replicas| self.check_replicas(replicas))
    }
}

fn stale(node: NodeId, shard: ShardId, known: Boot, proposed: Boot) -> Rejected {
    Rejected::StaleBoot { node, shard, known: known.boot, proposed: proposed.boot }
}

fn check_configs<'a>(
    settings: impl Iterator<Item = (&'a str, Option<&'a str>)>,
) -> Result<(), ConfigError> {
    let mut seen = Vec::new();
    for (name, value) in settings {
        let config = topic_config::find(name)?;
        if seen.contains(&name) {
            return Err(ConfigError::Repeated { name: name.to_owned() });
        }
        seen.push(name);
        value.map_or(Ok(()), |value| config.check(value))?;
    }
    Ok(())
}
