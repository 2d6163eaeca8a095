//! DescribeQuorum: who votes in the cluster log, as Kafka tells of its metadata quorum.

use net::api::describe_quorum::{
    QuorumPartitionState, QuorumTopicState, QuorumVoter, RequestView, Response,
};
use net::{Empty, ErrorCode, each};

use super::{Call, Served};
use crate::core::Core;

/// Kafka's name of its cluster log.
const CLUSTER_METADATA: &str = "__cluster_metadata";
/// What is not known on this node.
const UNKNOWN: i64 = -1;

impl Core {
    /// Tells what this core knows: who votes and who led last. How far the others are only the
    /// leader knows.
    pub(super) fn describe_quorum(&mut self, call: &Call<'_>, view: &RequestView<'_>) -> Served {
        let state = std::sync::Arc::clone(&self.state);
        let own = self.layout.node;
        let leader_id = i32::from(state.controller().unwrap_or(own).0);
        let mut voters: Vec<_> = state.voters().iter().map(|voter| voter.node).collect();
        if voters.is_empty() {
            voters.push(own);
        }
        let version = state.version().0 as i64;
        let voters = &voters;
        let described = |index: i32, known: bool| QuorumPartitionState {
            partition_index: index,
            error_code: match known && index == 0 {
                true => ErrorCode::None,
                false => ErrorCode::UnknownTopicOrPartition,
            },
            leader_id,
            leader_epoch: UNKNOWN as i32,
            high_watermark: version,
            current_voters: each(voters.iter().map(|node| QuorumVoter {
                replica_id: i32::from(node.0),
                log_end_offset: if *node == own { version } else { UNKNOWN },
                last_fetch_timestamp: UNKNOWN,
                last_caught_up_timestamp: UNKNOWN,
            })),
            observers: Empty,
        };
        let described = &described;
        let response = Response {
            error_code: ErrorCode::None,
            topics: each(view.topics.iter().map(|topic| QuorumTopicState {
                topic_name: topic.topic_name,
                partitions: each(topic.partitions.iter().map(move |partition| {
                    let known = topic.topic_name == CLUSTER_METADATA;
                    described(partition.partition_index, known)
                })),
            })),
        };
        self.answer(call, response)
    }
}
