//! The topics that the world's administrators want to exist.

use base::{PartitionId, TopicNumber};

use crate::knobs::Knobs;
use crate::ledger::{Keep, Ledger};
use crate::random::Random;
use crate::worlds::settings::segment_pages;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    pub(super) topics: Vec<Topic>,
    next: u32,
}

/// A topic. In the ledger its partitions go by a number of ours: names are never used again.
#[derive(Debug)]
pub(super) struct Topic {
    number: u32,
    pub(super) name: String,
    pub(super) partitions: u32,
    pub(super) configs: Vec<(&'static str, String)>,
    pub(super) stay: Stay,
}

/// How far a topic's coming or going is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stay {
    Wanted,
    /// Its creation was asked for; the answer is out.
    Coming,
    /// Its creation was acked.
    There,
    Unwanted,
    Going,
    /// Its deletion was acked.
    Gone,
}

impl Topic {
    pub(super) fn is_wanted(&self) -> bool {
        matches!(self.stay, Stay::Wanted | Stay::Coming | Stay::There)
    }

    pub(super) fn partition_ids(&self) -> impl Iterator<Item = PartitionId> {
        let number = TopicNumber(self.number);
        (0..self.partitions).map(move |index| PartitionId::new(number, index))
    }
}

impl Catalogue {
    pub(super) fn new(knobs: &Knobs, random: &mut Random, ledger: &mut Ledger) -> Self {
        let mut catalogue = Self::default();
        let mut partitions = knobs.partitions.min(segment_pages(knobs) * knobs.segments / 16);
        while 0 < partitions {
            let count = random.within(1..=partitions.min(4));
            partitions -= count;
            catalogue.add(knobs, random, ledger, count as u32);
        }
        catalogue
    }

    /// The partitions of wanted topics.
    pub(super) fn partitions(&self) -> Vec<PartitionId> {
        self.topics
            .iter()
            .filter(|topic| topic.is_wanted())
            .flat_map(Topic::partition_ids)
            .collect()
    }

    /// The topic of a partition, as long as it is listed.
    pub(super) fn topic(&self, partition: PartitionId) -> Option<&Topic> {
        self.topics.iter().find(|topic| topic.number == partition.topic.0)
    }

    pub(super) fn named(&mut self, name: &str) -> Option<&mut Topic> {
        self.topics.iter_mut().find(|topic| topic.name == name)
    }

    /// Someone deletes a topic that is there, and wants another.
    pub(super) fn replace_one(&mut self, knobs: &Knobs, random: &mut Random, ledger: &mut Ledger) {
        let there = self.topics.iter_mut().filter(|topic| topic.stay == Stay::There);
        let mut there: Vec<_> = there.collect();
        let Some(last) = (there.len() as u64).checked_sub(1) else { return };
        let victim = &mut there[random.within(0..=last) as usize];
        victim.stay = Stay::Unwanted;
        victim.partition_ids().for_each(|partition| ledger.close(partition));
        let count = victim.partitions;
        self.add(knobs, random, ledger, count);
    }

    /// The node is gone: what was asked and not answered must be asked again.
    pub(super) fn disconnected(&mut self) {
        for topic in &mut self.topics {
            topic.stay = match topic.stay {
                Stay::Coming => Stay::Wanted,
                Stay::Going => Stay::Unwanted,
                other => other,
            };
        }
    }

    fn add(&mut self, knobs: &Knobs, random: &mut Random, ledger: &mut Ledger, partitions: u32) {
        self.next += 1;
        let some = |value: u64| (0 < value).then_some(value);
        let keep = Keep { ms: some(knobs.retention_ms), bytes: some(knobs.retention_bytes) };
        let mut configs = vec![
            ("retention.ms", or_unlimited(keep.ms)),
            ("retention.bytes", or_unlimited(keep.bytes)),
        ];
        if random.chance(knobs.append_time) {
            configs.push(("message.timestamp.type", "LogAppendTime".to_owned()));
        }
        let name = format!("topic-{}", self.next);
        let topic = Topic { number: self.next, name, partitions, configs, stay: Stay::Wanted };
        topic.partition_ids().for_each(|partition| ledger.open(partition, keep));
        self.topics.push(topic);
    }
}

fn or_unlimited(limit: Option<u64>) -> String {
    limit.map_or_else(|| "-1".to_owned(), |limit| limit.to_string())
}
