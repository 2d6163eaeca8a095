//! Topics, and the table that finds them by name, number and UUID.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ahash::RandomState;
use base::{NodeId, PartitionId, ShardId, TopicNumber};

use crate::{Partition, TopicSettings, Uuid};

/// A topic as of one version of the cluster's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub number: TopicNumber,
    pub uuid: Uuid,
    pub name: Arc<str>,
    /// By index.
    pub partitions: Vec<Partition>,
    /// What differs from the defaults, as it was set.
    pub configs: BTreeMap<String, String>,
    /// What `configs` and the defaults amount to.
    pub settings: TopicSettings,
}

/// A shard of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Placement {
    pub node: NodeId,
    pub shard: ShardId,
}

impl Placement {
    /// Shard 0 of node 0.
    pub const ORIGIN: Self = Self { node: NodeId(0), shard: ShardId(0) };
}

impl Topic {
    /// The ids of its partitions, in order.
    pub fn partition_ids(&self) -> impl Iterator<Item = PartitionId> {
        let topic = self.number;
        (0..self.partitions.len() as u32).map(move |index| PartitionId::new(topic, index))
    }

    /// How many replicas its partitions have: those of the first, where a move has made a
    /// difference.
    #[must_use]
    pub fn replication_factor(&self) -> u16 {
        self.partitions.first().map_or(1, |first| first.replicas.len() as u16)
    }
}

/// All topics. Cloning shares every topic and the whole index; a change copies only what it touches.
#[derive(Clone, Debug)]
pub struct Topics {
    slots: Vec<Option<Arc<Topic>>>,
    index: Arc<Index>,
}

/// Where topics stand in `slots`. Changes only when a topic comes or goes.
#[derive(Clone, Debug)]
struct Index {
    by_name: HashMap<Arc<str>, u32, RandomState>,
    by_number: HashMap<TopicNumber, u32, RandomState>,
    by_uuid: HashMap<Uuid, u32, RandomState>,
    in_name_order: Vec<u32>,
    free: Vec<u32>,
}

impl Default for Topics {
    fn default() -> Self {
        let hasher = RandomState::with_seeds(0x6368_6970, 0x6c6f_6721, 1, 2);
        let index = Index {
            by_name: HashMap::with_hasher(hasher.clone()),
            by_number: HashMap::with_hasher(hasher.clone()),
            by_uuid: HashMap::with_hasher(hasher),
            in_name_order: Vec::new(),
            free: Vec::new(),
        };
        Self { slots: Vec::new(), index: Arc::new(index) }
    }
}

impl PartialEq for Topics {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Topics {}

impl Topics {
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.in_name_order.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.in_name_order.is_empty()
    }

    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&Arc<Topic>> {
        self.index.by_name.get(name).map(|slot| self.at(*slot))
    }

    #[must_use]
    pub fn by_number(&self, number: TopicNumber) -> Option<&Arc<Topic>> {
        self.index.by_number.get(&number).map(|slot| self.at(*slot))
    }

    #[must_use]
    pub fn by_uuid(&self, uuid: Uuid) -> Option<&Arc<Topic>> {
        self.index.by_uuid.get(&uuid).map(|slot| self.at(*slot))
    }

    /// In the order of their names' bytes.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.index.in_name_order.iter().map(|slot| self.at(*slot))
    }

    /// Panics if its name, number or UUID is taken: the caller has checked.
    pub(crate) fn insert(&mut self, topic: Topic) {
        let place = self.place_of(&topic.name).expect_err("a topic's name is new");
        let index = Arc::make_mut(&mut self.index);
        let slot = index.free.pop().unwrap_or(self.slots.len() as u32);
        index.in_name_order.insert(place, slot);
        index.by_name.insert(Arc::clone(&topic.name), slot);
        let same_number = index.by_number.insert(topic.number, slot);
        let same_uuid = index.by_uuid.insert(topic.uuid, slot);
        assert_eq!((same_number, same_uuid), (None, None), "ids of topics are new");
        if slot as usize == self.slots.len() {
            self.slots.push(None);
        }
        self.slots[slot as usize] = Some(Arc::new(topic));
    }

    pub(crate) fn remove(&mut self, number: TopicNumber) -> Option<Arc<Topic>> {
        let slot = *self.index.by_number.get(&number)?;
        let topic = self.slots[slot as usize].take().expect("an indexed slot is taken");
        let index = Arc::make_mut(&mut self.index);
        index.by_name.remove(&topic.name);
        index.by_number.remove(&number);
        index.by_uuid.remove(&topic.uuid);
        index.in_name_order.retain(|other| *other != slot);
        index.free.push(slot);
        Some(topic)
    }

    pub(crate) fn get_mut(&mut self, number: TopicNumber) -> Option<&mut Topic> {
        let slot = *self.index.by_number.get(&number)?;
        self.slots[slot as usize].as_mut().map(Arc::make_mut)
    }

    /// Calls `change` for the partitions for which `wanted` holds; copies only topics that have some.
    pub(crate) fn change_each(
        &mut self,
        wanted: impl Fn(&Partition) -> bool,
        mut change: impl FnMut(&mut Partition),
    ) {
        for topic in self.slots.iter_mut().flatten() {
            if !topic.partitions.iter().any(&wanted) {
                continue;
            }
            let partitions = &mut Arc::make_mut(topic).partitions;
            partitions.iter_mut().filter(|partition| wanted(partition)).for_each(&mut change);
        }
    }

    /// Partition `id`.
    #[must_use]
    pub fn partition(&self, id: PartitionId) -> Option<&Partition> {
        self.by_number(id.topic)?.partitions.get(id.index as usize)
    }

    fn at(&self, slot: u32) -> &Arc<Topic> {
        self.slots[slot as usize].as_ref().expect("an indexed slot is taken")
    }

    fn place_of(&self, name: &str) -> Result<usize, usize> {
        self.index.in_name_order.binary_search_by(|slot| (*self.at(*slot).name).cmp(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(number: u32, name: &str) -> Topic {
        let mut uuid = [0; 16];
        uuid[..4].copy_from_slice(&number.to_be_bytes());
        Topic {
            number: TopicNumber(number),
            uuid: Uuid(uuid),
            name: name.into(),
            partitions: Vec::new(),
            configs: BTreeMap::new(),
            settings: TopicSettings::default(),
        }
    }

    #[test]
    fn topics_are_found_by_each_id_and_listed_by_name() {
        let mut topics = Topics::default();
        for (number, name) in [(1, "b"), (2, "c"), (3, "a")] {
            topics.insert(topic(number, name));
        }
        let names: Vec<_> = topics.iter().map(|topic| &*topic.name).collect();
        assert_eq!(names, ["a", "b", "c"]);
        let found = topics.by_name("c").unwrap();
        assert!(Arc::ptr_eq(found, topics.by_number(TopicNumber(2)).unwrap()));
        assert!(Arc::ptr_eq(found, topics.by_uuid(found.uuid).unwrap()));
    }

    #[test]
    fn a_change_leaves_the_earlier_snapshot_and_the_other_topics_alone() {
        let mut topics = Topics::default();
        topics.insert(topic(1, "kept"));
        topics.insert(topic(2, "gone"));
        let before = topics.clone();
        topics.remove(TopicNumber(2)).unwrap();
        topics.insert(topic(3, "new"));
        assert_eq!((before.len(), before.by_name("gone").is_some()), (2, true));
        assert!(before.by_name("new").is_none() && topics.by_name("gone").is_none());
        assert!(Arc::ptr_eq(before.by_name("kept").unwrap(), topics.by_name("kept").unwrap()));
    }
}
