//! Cluster state in: what a snapshot says of this core's shards is made so.

use std::sync::Arc;

use base::{CoreId, Now, Output, PartitionId};
use engine::{PartitionSettings, Phase, Refused};
use replication::{Boot, ClusterState, Leader, Partition, Placement, Topic, TopicSettings};

use super::Core;
use crate::mail::Mail;
use crate::shard::Shard;

impl Core {
    /// Puts a snapshot in force. What the journal has no room for now is done in a later turn, and
    /// the control core hears of it only then.
    pub(crate) fn apply_snapshot(&mut self, now: Now, state: Arc<ClusterState>) {
        if state.version() < self.state.version() {
            return;
        }
        let before = core::mem::replace(&mut self.state, state);
        self.note_elections(now, &before);
        self.unapplied = true;
        self.continue_applying(now);
    }

    /// Goes on with a snapshot that is not in force everywhere yet.
    pub(crate) fn continue_applying(&mut self, now: Now) {
        if !self.unapplied {
            return;
        }
        let Self { shards, state, layout, .. } = self;
        let open = shards.iter_mut().filter(|shard| matches!(shard.engine.phase(), Phase::Open));
        for shard in open {
            let placement = Placement { node: layout.node, shard: shard.id };
            if shard.conform(now, placement, state) == Err(Refused::Busy) {
                return;
            }
        }
        self.unapplied = false;
        self.peers.look_at = None;
        let mail = Mail::Applied { core: self.id, version: self.state.version() };
        self.outputs.push_back(Output::Mail { to: CoreId::CONTROL, mail });
    }
}

impl Shard {
    /// Creates, configures, opens and deletes partitions until this shard holds what `state` places
    /// on it. Each step is idempotent: after `Busy` the whole is simply done again.
    fn conform(&mut self, now: Now, own: Placement, state: &ClusterState) -> Result<(), Refused> {
        let boot = Boot { journal: self.engine.journal_id(), boot: self.engine.incarnation() };
        let own = Leader { placement: own, boot };
        for topic in state.topics().iter() {
            let known = self.applied.get(&topic.number).is_some_and(|had| Arc::ptr_eq(had, topic));
            if known {
                continue;
            }
            self.conform_topic(now, own, topic)?;
            self.applied.insert(topic.number, Arc::clone(topic));
        }
        self.delete_vanished(now, own, state)?;
        if knows_boot(state, own) {
            // A state that knows of this start knows every partition from before it.
            self.engine.end_roll_call();
            self.conform_replicas(now, own, state);
        }
        Ok(())
    }

    fn conform_topic(&mut self, now: Now, own: Leader, topic: &Topic) -> Result<(), Refused> {
        for (index, partition) in topic.partitions.iter().enumerate() {
            if !partition.has_member(own.placement) {
                continue;
            }
            let id = PartitionId::new(topic.number, index as u32);
            let replicated = is_replicated(partition);
            let settings = PartitionSettings { replicated, ..settings(&topic.settings) };
            self.engine.create_partition(now, id, settings)?;
            let opened = self.current_epoch(id);
            // With several replicas replication opens the epoch.
            let leads = partition.leader == Some(own) && !replicated;
            if leads && opened.is_none_or(|opened| opened < partition.epoch) {
                match self.engine.open_epoch(now, id, partition.epoch) {
                    // A halted partition is read-only until its loss is accepted.
                    Ok(_) | Err(Refused::Halted) => {}
                    Err(refused) => return Err(refused),
                }
            }
        }
        Ok(())
    }

    /// Deletes the partitions of topics whose deletion is committed. A topic that the state merely
    /// does not know yet has a number it has not given out; such a one is never touched.
    ///
    /// So are partitions that are held by other shards now, in a state that knows this boot: an older
    /// one may not know yet that this shard became a member.
    fn delete_vanished(
        &mut self,
        now: Now,
        own: Leader,
        state: &ClusterState,
    ) -> Result<(), Refused> {
        let is_current = knows_boot(state, own);
        let gone = |id: &PartitionId| match state.topics().by_number(id.topic) {
            None => true,
            Some(topic) => {
                let partition = topic.partitions.get(id.index as usize);
                let elsewhere = |partition: &Partition| !partition.has_member(own.placement);
                is_current && partition.is_some_and(elsewhere)
            }
        };
        let vanished: Vec<PartitionId> = self
            .engine
            .partitions()
            .filter(|id| id.topic < state.next_topic())
            .filter(gone)
            .collect();
        for id in vanished {
            self.engine.delete_partition(now, id)?;
            self.forget_partition(id);
            if state.topics().by_number(id.topic).is_none() {
                self.applied.remove(&id.topic);
            }
        }
        Ok(())
    }
}

/// Whether more than one shard holds the partition, or is to hold it.
pub(crate) fn is_replicated(partition: &Partition) -> bool {
    1 < partition.members().count()
}

/// Whether the state was made by those who know that this boot of the shard runs.
fn knows_boot(state: &ClusterState, own: Leader) -> bool {
    state.shard(own.placement).is_ok_and(|shard| shard.boot == Some(own.boot))
}

fn settings(topic: &TopicSettings) -> PartitionSettings {
    PartitionSettings {
        retention_ms: topic.retention_ms,
        retention_bytes: topic.retention_bytes,
        max_message_bytes: topic.max_message_bytes,
        append_time: topic.append_time,
        timestamp_before_max_ms: i64::try_from(topic.timestamp_before_max_ms).unwrap_or(i64::MAX),
        timestamp_after_max_ms: i64::try_from(topic.timestamp_after_max_ms).unwrap_or(i64::MAX),
        replicated: false,
    }
}
