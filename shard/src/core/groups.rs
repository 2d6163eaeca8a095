//! What coordinators of groups have to do with their core: where they sit, and how they ask.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::{Epoch, Now, PartitionId, Piece, ShardId};
use replication::{Boot, ClusterState};

use super::Core;
use crate::ask::{Answer, Ask};
use crate::groups::OFFSETS_TOPIC;
use crate::mail::{Asker, Ticket};
use crate::serve::Home;

impl Core {
    /// Seats coordinators as the newest state has it, and lets them do what is due.
    pub(crate) fn turn_groups(&mut self, now: Now) {
        if !self.unapplied && self.seated_by.version() != self.state.version() {
            self.seat_coordinators(now);
        }
        for ((shard, partition), epoch) in self.groups.waiting() {
            let Some(own) = self.shard_mut(shard) else { continue };
            let ends = own.engine.log_start(partition).zip(own.engine.log_end(partition));
            let is_open = own.current_epoch(partition) == Some(epoch);
            if let Some((start, end)) = ends.filter(|_| is_open) {
                self.groups.begin(now, (shard, partition), start.0, end.0);
            }
        }
        for (ticket, home, ask) in self.groups.turn(now) {
            let to = Asker { part: Asker::GROUPS, ..self.asker(ticket, 0) };
            self.ask(now, to, home, ask);
        }
    }

    fn seat_coordinators(&mut self, now: Now) {
        self.groups.seat(&self.led_coordinators());
        let gone = deleted_topics(&self.seated_by, &self.state);
        if !gone.is_empty() {
            self.groups.forget_topics(now, &gone);
        }
        self.seated_by = Arc::clone(&self.state);
    }

    /// The partitions of the offsets topic that shards of this core lead, and in which epoch.
    fn led_coordinators(&self) -> BTreeMap<(ShardId, PartitionId), Epoch> {
        let mut led = BTreeMap::new();
        let Some(topic) = self.state.topics().by_name(OFFSETS_TOPIC) else { return led };
        for (id, partition) in topic.partition_ids().zip(&topic.partitions) {
            let Some(leader) = partition.leader else { continue };
            let own = self.shards.iter().find(|own| own.id == leader.placement.shard);
            let Some(own) = own.filter(|_| leader.placement.node == self.layout.node) else {
                continue;
            };
            let engine = &own.engine;
            if leader.boot == (Boot { journal: engine.journal_id(), boot: engine.incarnation() }) {
                led.insert((own.id, id), partition.epoch);
            }
        }
        led
    }

    /// Takes the question if it is about groups of a shard of this core; else gives it back.
    pub(super) fn ask_groups(&mut self, now: Now, to: Asker, home: Home, ask: Ask) -> Option<Ask> {
        if self.shards.iter().all(|own| own.id != home.shard) {
            return Some(ask);
        }
        match ask {
            Ask::Group(ask) => {
                self.groups.ask(now, to, home, *ask);
                None
            }
            Ask::ListGroups => {
                let (groups, loading) = self.groups.list(home.shard);
                let answer = Answer::Groups { groups, loading };
                self.deliver_group_answer(now, to, answer);
                None
            }
            other => Some(other),
        }
    }

    /// Brings the answers of coordinators to whoever asked.
    pub(super) fn deliver_group_answers(&mut self, now: Now) {
        while let Some((to, answer)) = self.groups.pop_answer() {
            self.deliver_group_answer(now, to, answer);
        }
    }

    fn deliver_group_answer(&mut self, now: Now, to: Asker, answer: Answer) {
        if to.core == self.id {
            self.file_answer(now, to, answer);
        } else {
            self.send_answer(to, answer);
        }
    }

    /// Files what a shard answered to a coordinator.
    pub(super) fn file_for_groups(&mut self, now: Now, ticket: Ticket, answer: Answer) {
        let answer = self.detach(answer);
        let records = match &answer {
            Answer::Fetched(fetched) => match fetched.records.first() {
                Some(Piece::Bytes { bytes, from }) => &bytes[*from..],
                _ => &[],
            },
            _ => &[],
        };
        self.groups.file(now, ticket, &answer, records);
        self.drop_answer(answer);
    }
}

/// The names of topics that `before` has and `after` has not.
fn deleted_topics(before: &ClusterState, after: &ClusterState) -> Vec<Arc<str>> {
    let created = after.next_topic().0 - before.next_topic().0;
    if before.topics().len() + created as usize == after.topics().len() {
        return Vec::new();
    }
    let gone =
        before.topics().iter().filter(|topic| after.topics().by_number(topic.number).is_none());
    gone.map(|topic| Arc::clone(&topic.name)).collect()
}
