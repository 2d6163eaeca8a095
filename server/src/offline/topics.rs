//! What the partitions of a stopped folder are called: the cluster log, read as far as it goes.

use base::{Offset, PartitionId, ShardId};
use replication::{ClusterLog, ClusterState, LogSettings, Placement};
use shard::control::{CLUSTER_LOG, replay_batches};

use super::{OfflineShard, OfflineStopped};
use crate::data_folder::Meta;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct TopicNames {
    state: ClusterState,
}

impl TopicNames {
    /// Reads the log that `control` holds. A damaged one names the topics before the damage.
    pub(crate) fn read(meta: &Meta, control: &mut OfflineShard) -> Result<Self, OfflineStopped> {
        let mut log = ClusterLog::new(LogSettings::alone(meta.cluster(), meta.node()));
        let mut replayed = Ok(Offset::ZERO);
        control.read(CLUSTER_LOG, &mut |batch| {
            if let Ok(next) = replayed {
                replayed = replay_batches(&mut log, batch.bytes(), next);
            }
        })?;
        Ok(Self { state: log.proposed().clone() })
    }

    /// `topic-index` as other tools write it; topic numbers where no name is known.
    pub(crate) fn name_of(&self, id: PartitionId) -> String {
        if id == CLUSTER_LOG {
            return "cluster log".to_owned();
        }
        match self.state.topics().by_number(id.topic) {
            Some(topic) => format!("{}-{}", topic.name, id.index),
            None => format!("topic {}, partition {}", id.topic, id.index),
        }
    }

    /// The name of the topic alone.
    pub(crate) fn topic_of(&self, id: PartitionId) -> Option<&str> {
        Some(&self.state.topics().by_number(id.topic)?.name)
    }

    /// Every partition that the cluster log places on `shard`.
    pub(crate) fn placed_on(&self, meta: &Meta, shard: ShardId) -> Vec<PartitionId> {
        let own = Placement { node: meta.node(), shard };
        let topics = self.state.topics().iter();
        let placed = topics.flat_map(|topic| {
            let partitions = topic.partition_ids().zip(&topic.partitions);
            partitions.filter(move |(_, one)| one.has_member(own)).map(|(id, _)| id)
        });
        placed.collect()
    }
}
