//! The cluster as its clients see it, and what is wrong with it.

use std::collections::BTreeMap;

use replication::Health;
use serde_json::{Value, json};

use crate::client::cluster::Wanted;
use crate::client::placement::{self, Broker};
use crate::client::{ClientError, Cluster, Connection, Partition};

/// What brokers of ours tell as configs.
const HEALTH: &str = "chiplog.health";
const FAULTS: &str = "chiplog.faults";
/// The most partitions that one sentence names.
const NAMED_MAX: usize = 3;

/// See the module's description.
pub(super) struct Overview {
    pub(super) id: Option<String>,
    pub(super) controller: Option<i32>,
    pub(super) voters: Vec<i32>,
    pub(super) nodes: Vec<Node>,
    /// Shards as NODE/SHARD and how they are in a word, as the controller has it.
    pub(super) shards: Vec<(String, String)>,
    /// With the names of their topics.
    pub(super) partitions: Vec<(String, Partition)>,
}

pub(super) struct Node {
    pub(super) broker: Broker,
    /// It takes connections.
    pub(super) answers: bool,
    /// Faults that were injected into it.
    pub(super) faults: String,
    pub(super) leads: usize,
    pub(super) holds: usize,
    /// Replicas that are not in sync.
    pub(super) behind: usize,
}

impl Overview {
    pub(super) fn of(cluster: &mut Cluster) -> Result<Self, ClientError> {
        let topics = cluster.topics(Wanted::All, false)?;
        let mut partitions = Vec::new();
        for topic in topics {
            let topic = topic?;
            let of_topic = topic.partitions.into_iter();
            partitions.extend(of_topic.map(|partition| (topic.name.clone(), partition)));
        }
        let controller = cluster.controller_id();
        let patience = cluster.patience();
        let voters = placement::voters(cluster)?;
        let nodes = placement::brokers(cluster)?.into_iter().map(|broker| {
            let counts = |has: &dyn Fn(&Partition) -> bool| {
                partitions.iter().filter(|(_, partition)| has(partition)).count()
            };
            let id = broker.id;
            let mut connection = Connection::open(&broker.address, patience).ok();
            let faults = connection.as_mut().map(|one| placement::noticed(one, id, FAULTS));
            Node {
                answers: connection.is_some(),
                faults: faults.and_then(Result::ok).unwrap_or_default(),
                leads: counts(&|partition| partition.leader == Some(id)),
                holds: counts(&|partition| partition.replicas.contains(&id)),
                behind: counts(&|partition| lagging(partition).contains(&id)),
                broker,
            }
        });
        let nodes = nodes.collect();
        let id = cluster.id().map(str::to_owned);
        let shards = match controller {
            // Who cannot say it has nothing to say.
            Some(id) => placement::noticed(cluster.controller()?, id, HEALTH).unwrap_or_default(),
            None => String::new(),
        };
        let word =
            |part: &str| part.split_once('=').map(|(at, word)| (at.to_owned(), word.to_owned()));
        let shards = shards.split(',').filter_map(word).collect();
        Ok(Self { id, controller, voters, nodes, shards, partitions })
    }

    /// A sentence for each thing that is not as it should be, the worst first.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.controller.is_none() {
            problems.push("nobody leads the cluster log: nothing can be changed".to_owned());
        }
        for (topic, partition) in self.partitions.iter().filter(|(_, one)| one.leader.is_none()) {
            problems.push(format!(
                "{topic}-{} has no leader: too few of its replicas ({}) can prove what they hold",
                partition.index,
                list(&partition.replicas)
            ));
        }
        let is_known = |id: &i32| self.nodes.iter().any(|node| node.broker.id == *id);
        for id in self.voters.iter().filter(|id| self.is_node_view() && !is_known(id)) {
            problems.push(format!("node {id}, a voter of the cluster log, is gone"));
        }
        for node in self.nodes.iter().filter(|node| !node.answers) {
            let Broker { id, address, .. } = &node.broker;
            problems.push(format!("node {id} does not answer at {address}"));
        }
        for (at, word) in &self.shards {
            if let Some(reason) = reason_of(word) {
                problems.push(format!("shard {at} (node/shard) is {word}: {reason}"));
            }
        }
        for node in self.nodes.iter().filter(|node| !node.faults.is_empty()) {
            let (id, faults) = (node.broker.id, &node.faults);
            problems.push(format!("node {id} has injected faults: {faults}"));
        }
        problems.extend(self.laggards().iter().map(|(nodes, partitions)| {
            let named = partitions[..partitions.len().min(NAMED_MAX)].join(", ");
            let verb = if partitions.len() == 1 { "is" } else { "are" };
            let more = match partitions.len().saturating_sub(NAMED_MAX) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!("{named}{more} {verb} not in sync on {}", list(nodes))
        }));
        problems
    }

    /// Partitions that are led, by the replicas that are behind.
    fn laggards(&self) -> BTreeMap<Vec<i32>, Vec<String>> {
        let mut laggards = BTreeMap::<_, Vec<_>>::new();
        for (topic, partition) in self.partitions.iter().filter(|(_, one)| one.leader.is_some()) {
            let lagging = lagging(partition);
            if !lagging.is_empty() {
                let name = format!("{topic}-{}", partition.index);
                laggards.entry(lagging).or_default().push(name);
            }
        }
        laggards
    }

    /// In the core view brokers are shards, whose ids are beyond those of nodes.
    fn is_node_view(&self) -> bool {
        self.nodes.iter().all(|node| node.broker.id < 1000)
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "cluster": self.id,
            "controller": self.controller,
            "voters": self.voters,
            "nodes": self.nodes.iter().map(Node::to_json).collect::<Vec<_>>(),
            "shards": self.shards.iter().map(|(at, word)| {
                json!({ "shard": at, "health": word })
            }).collect::<Vec<_>>(),
            "partitions": self.partitions.iter().map(partition_to_json).collect::<Vec<_>>(),
            "problems": self.problems(),
        })
    }
}

impl Node {
    pub(super) fn to_json(&self) -> Value {
        json!({
            "node": self.broker.id,
            "address": self.broker.address,
            "rack": self.broker.rack,
            "answers": self.answers,
            "faults": self.faults,
            "leads": self.leads,
            "holds": self.holds,
            "behind": self.behind,
        })
    }
}

pub(super) fn partition_to_json((topic, partition): &(String, Partition)) -> Value {
    json!({
        "topic": topic,
        "partition": partition.index,
        "leader": partition.leader,
        "epoch": partition.epoch,
        "replicas": partition.replicas,
        "in_sync": partition.in_sync,
    })
}

/// What is wrong with a shard of that word, if nothing else tells: a node that is dead does not
/// answer, and replicas of learners are not in sync.
fn reason_of(word: &str) -> Option<&'static str> {
    let told = [Health::SlowDisk, Health::SlowNet, Health::Suspect];
    told.into_iter().find(|health| health.to_string() == word).map(Health::reason)
}

/// Replicas that are not in sync.
pub(super) fn lagging(partition: &Partition) -> Vec<i32> {
    let behind = |id: &&i32| !partition.in_sync.contains(id);
    partition.replicas.iter().filter(behind).copied().collect()
}

pub(super) fn list(ids: &[i32]) -> String {
    ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overview(leader: Option<i32>, in_sync: &[i32], answers: [bool; 3]) -> Overview {
        let node = |(id, answers): (i32, bool)| Node {
            broker: Broker { id, address: format!("host:{id}"), rack: None },
            answers,
            faults: String::new(),
            leads: 0,
            holds: 1,
            behind: 0,
        };
        let partition = Partition {
            index: 0,
            leader,
            epoch: 1,
            replicas: vec![0, 1, 2],
            in_sync: in_sync.to_vec(),
        };
        Overview {
            id: None,
            controller: Some(0),
            voters: vec![0, 1, 2],
            nodes: (0..).zip(answers).map(node).collect(),
            shards: Vec::new(),
            partitions: vec![("t".to_owned(), partition)],
        }
    }

    #[test]
    fn slow_shards_and_injected_faults_are_problems() {
        let mut overview = overview(Some(0), &[0, 1, 2], [true; 3]);
        let words = [("0/0", "healthy"), ("1/0", "slow(disk)"), ("2/0", "dead")];
        overview.shards = words.map(|(at, word)| (at.to_owned(), word.to_owned())).into();
        overview.nodes[1].faults = "disk freeze".to_owned();
        let problems = overview.problems();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].starts_with("shard 1/0 (node/shard) is slow(disk): its journal"));
        assert_eq!(problems[1], "node 1 has injected faults: disk freeze");
    }

    #[test]
    fn what_is_wrong_is_named_once() {
        assert!(overview(Some(0), &[0, 1, 2], [true; 3]).problems().is_empty());
        let problems = overview(Some(0), &[0, 2], [true, false, true]).problems();
        assert_eq!(problems, ["node 1 does not answer at host:1", "t-0 is not in sync on 1"]);
        let mut many = overview(Some(0), &[0, 2], [true; 3]);
        let lagging = many.partitions[0].clone();
        many.partitions = (0..5).map(|n| (format!("t{n}"), lagging.1.clone())).collect();
        assert_eq!(many.problems(), ["t0-0, t1-0, t2-0 and 2 more are not in sync on 1"]);
        let mut gone = overview(Some(0), &[0, 1, 2], [true; 3]);
        gone.nodes.remove(1);
        assert_eq!(gone.problems(), ["node 1, a voter of the cluster log, is gone"]);
        let problems = overview(None, &[], [true; 3]).problems();
        assert!(
            problems.len() == 1 && problems[0].starts_with("t-0 has no leader"),
            "{problems:?}"
        );
    }
}
