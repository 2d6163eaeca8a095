//! Where new replicas go: leaders where fewest lead, each further replica on another node, if
//! possible in another rack, where there is least; never on a shard that is down while others run.

use crate::proposal::{PARTITIONS_MAX, Place};
use crate::{ClusterState, Placement, Rejected, Replicas};

/// Replicas of a topic that names no number, in a cluster of so many nodes or more. With two of two
/// the loss of either would stop it: smaller clusters have one.
const DEFAULT_REPLICATION_FACTOR: u16 = 3;

/// The loads of all shards while replicas are added to them.
#[derive(Debug)]
pub(crate) struct Placer {
    /// In the order of their placements.
    shards: Vec<Candidate>,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    at: Placement,
    /// Nodes with the same number fail together.
    rack: usize,
    down: bool,
    preferred: u32,
    partitions: u32,
}

impl ClusterState {
    /// Replicas of a topic that names no number. Voters count before they are registered: a topic
    /// made at the birth of a cluster waits for nodes rather than to do without replicas.
    #[must_use]
    pub fn default_replication_factor(&self) -> u16 {
        let nodes = self.nodes().count().max(self.voters().len());
        if nodes < usize::from(DEFAULT_REPLICATION_FACTOR) { 1 } else { DEFAULT_REPLICATION_FACTOR }
    }
}

impl Placer {
    pub(crate) fn new(state: &ClusterState) -> Self {
        let mut racks = Vec::new();
        let mut shards = Vec::new();
        for node in state.nodes() {
            let known = |rack: &Option<&str>| {
                node.registered.rack.is_some() && *rack == node.registered.rack.as_deref()
            };
            let rack = racks.iter().position(known).unwrap_or(racks.len());
            if rack == racks.len() {
                racks.push(node.registered.rack.as_deref());
            }
            for (shard, at) in node.shards.iter().zip(node.placements()) {
                let down = shard.fenced || shard.boot.is_none();
                let (preferred, partitions) = (shard.preferred, shard.partitions);
                shards.push(Candidate { at, rack, down, preferred, partitions });
            }
        }
        Self { shards }
    }

    /// Places `partitions` partitions of `replication_factor` replicas each.
    pub(crate) fn spread(
        &mut self,
        partitions: u32,
        replication_factor: u16,
    ) -> Result<Vec<Replicas>, Rejected> {
        if PARTITIONS_MAX < partitions {
            return Err(Rejected::Partitions { wanted: partitions });
        }
        if self.shards.is_empty() {
            return Err(Rejected::NoShards);
        }
        if replication_factor == 0 {
            return Err(self.too_many(0));
        }
        (0..partitions).map(|_| self.spread_one(replication_factor)).collect()
    }

    fn spread_one(&mut self, replication_factor: u16) -> Result<Replicas, Rejected> {
        let mut replicas = Replicas::EMPTY;
        let mut racks = Vec::new();
        while replicas.len() < usize::from(replication_factor) {
            let free = |shard: &&Candidate| replicas.iter().all(|at| at.node != shard.at.node);
            let shards = self.shards.iter().filter(free);
            let chosen = if replicas.is_empty() {
                shards.min_by_key(|s| (s.down, s.preferred, s.partitions, s.at))
            } else {
                let crowd = |rack| racks.iter().filter(|used| **used == rack).count();
                shards.min_by_key(|s| (s.down, crowd(s.rack), s.partitions, s.at))
            };
            let (at, rack) = match chosen {
                Some(chosen) => (chosen.at, chosen.rack),
                None => return Err(self.too_many(replication_factor)),
            };
            if !replicas.add(at) {
                return Err(self.too_many(replication_factor));
            }
            racks.push(rack);
            self.load(at, replicas.len() == 1);
        }
        Ok(replicas)
    }

    /// The replicas of one partition where someone wants them.
    pub(crate) fn resolve(&mut self, places: &[Place]) -> Result<Replicas, Rejected> {
        let mut replicas = Replicas::EMPTY;
        for place in places {
            let leads = replicas.is_empty();
            let at = match *place {
                Place::Shard(placement) => placement,
                Place::Node(node) => self
                    .shards
                    .iter()
                    .filter(|shard| shard.at.node == node)
                    .min_by_key(|s| (s.down, if leads { s.preferred } else { 0 }, s.partitions))
                    .map(|shard| shard.at)
                    .ok_or(Rejected::NoNode(node))?,
            };
            if replicas.iter().any(|other| other.node == at.node) {
                return Err(Rejected::SameNode(at.node));
            }
            if !replicas.add(at) {
                return Err(Rejected::Replicas);
            }
            self.load(at, leads);
        }
        Ok(replicas)
    }

    fn load(&mut self, at: Placement, leads: bool) {
        if let Ok(index) = self.shards.binary_search_by_key(&at, |shard| shard.at) {
            self.shards[index].partitions += 1;
            self.shards[index].preferred += u32::from(leads);
        }
    }

    fn too_many(&self, wanted: u16) -> Rejected {
        let mut nodes: Vec<_> = self.shards.iter().map(|shard| shard.at.node).collect();
        nodes.dedup();
        Rejected::ReplicationFactor { wanted, nodes: nodes.len() as u16 }
    }
}
