//! Where partitions are, where they are to go, and who leads the cluster log.

use net::api::{
    alter_partition_reassignments, describe_cluster, describe_configs, describe_quorum,
    elect_leaders,
};
use net::each;

use super::{ClientError, Cluster, Connection};

/// Kafka's name of its cluster log.
const CLUSTER_METADATA: &str = "__cluster_metadata";

/// Kafka's number of a broker as a thing that has configs.
const BROKER: i8 = 4;

/// A node, or a shard in the core view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    pub id: i32,
    pub address: String,
    pub rack: Option<String>,
}

/// Kafka's election types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Election {
    Preferred = 0,
    Unclean = 1,
}

/// All brokers of the cluster, by id.
pub fn brokers(cluster: &mut Cluster) -> Result<Vec<Broker>, ClientError> {
    let request = describe_cluster::Request {
        include_cluster_authorized_operations: false,
        ..describe_cluster::Request::default()
    };
    let mut brokers = cluster.controller()?.call(request, |response| {
        let broker = |broker: describe_cluster::DescribeClusterBroker<'_>| Broker {
            id: broker.broker_id,
            address: format!("{}:{}", broker.host, broker.port),
            rack: broker.rack.map(str::to_owned),
        };
        response.brokers.iter().map(broker).collect::<Vec<_>>()
    })?;
    brokers.sort_unstable_by_key(|broker| broker.id);
    Ok(brokers)
}

/// The nodes that vote in the cluster log.
pub fn voters(cluster: &mut Cluster) -> Result<Vec<i32>, ClientError> {
    let request = describe_quorum::Request {
        topics: [describe_quorum::QuorumTopic {
            topic_name: CLUSTER_METADATA,
            partitions: [describe_quorum::QuorumPartition { partition_index: 0 }],
        }],
    };
    cluster.controller()?.call(request, |response| {
        let partitions = response.topics.iter().flat_map(|topic| topic.partitions.iter());
        let voters = partitions.flat_map(|partition| partition.current_voters.iter());
        voters.map(|voter| voter.replica_id).collect()
    })
}

/// What a broker says of itself under the name of a config that only ours have; empty if it has
/// none.
pub fn noticed(broker: &mut Connection, id: i32, name: &str) -> Result<String, ClientError> {
    let (id, names) = (id.to_string(), [name]);
    let request = describe_configs::Request {
        resources: [describe_configs::DescribeConfigsResource {
            resource_type: BROKER,
            resource_name: &id,
            configuration_keys: Some(names),
        }],
        include_synonyms: false,
        include_documentation: false,
    };
    broker.call(request, |response| {
        let rows = response.results.iter().flat_map(|result| result.configs.iter());
        rows.filter_map(|row| row.value.map(str::to_owned)).next().unwrap_or_default()
    })
}

/// Moves a partition to these brokers, the preferred leader first. Returns when the move has begun.
pub fn reassign(
    cluster: &mut Cluster,
    topic: &str,
    partition: i32,
    replicas: &[i32],
) -> Result<(), ClientError> {
    let request = alter_partition_reassignments::Request {
        timeout_ms: cluster.patience().as_millis().try_into().unwrap_or(i32::MAX),
        allow_replication_factor_change: true,
        topics: [alter_partition_reassignments::ReassignableTopic {
            name: topic,
            partitions: [alter_partition_reassignments::ReassignablePartition {
                partition_index: partition,
                replicas: Some(each(replicas.iter().copied())),
            }],
        }],
    };
    cluster.controller()?.call(request, |response| {
        let subject = || format!("moving {topic}-{partition}");
        ClientError::check(subject, response.error_code, response.error_message)?;
        let answers = response.responses.iter().flat_map(|topic| topic.partitions.iter());
        answers.into_iter().try_for_each(|answer| {
            ClientError::check(subject, answer.error_code, answer.error_message)
        })
    })?
}

/// Begins an election of a partition's leader. Metadata tells how it ended.
pub fn elect(
    cluster: &mut Cluster,
    topic: &str,
    partition: i32,
    election: Election,
) -> Result<(), ClientError> {
    let request = elect_leaders::Request {
        election_type: election as i8,
        topic_partitions: Some([elect_leaders::TopicPartitions { topic, partitions: [partition] }]),
        timeout_ms: cluster.patience().as_millis().try_into().unwrap_or(i32::MAX),
    };
    cluster.controller()?.call(request, |response| {
        let subject = || format!("electing a leader of {topic}-{partition}");
        ClientError::check(subject, response.error_code, None)?;
        let answers = response.replica_election_results.iter();
        let mut answers = answers.flat_map(|topic| topic.partition_result.iter());
        answers.try_for_each(|answer| {
            ClientError::check(subject, answer.error_code, answer.error_message)
        })
    })?
}
