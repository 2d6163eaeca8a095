//! What operators should hear of partitions, as sentences.

use base::PartitionId;
use replication::ClusterState;
use replication::elector::Order;
use replication::replica::Event;
use shard::control::News;

/// The sentence; `None` if there is nothing to say.
pub(super) fn sentence(state: &ClusterState, news: &News) -> Option<String> {
    let name = |id: PartitionId| match state.topics().by_number(id.topic) {
        Some(topic) => format!("{}-{}", topic.name, id.index),
        None => id.to_string(),
    };
    match news {
        News::Election(Order::Halted { partition, epoch, shortage }) => {
            Some(format!("{} has no leader in epoch {epoch}: {shortage}", name(*partition)))
        }
        News::Election(Order::Lost { chosen, loss }) => Some(format!(
            "the forced election of {} lost records: its log ends at {}, committed were at least \
             {}, and {} replicas did not answer",
            name(chosen.partition),
            loss.log_end.0,
            loss.known_committed,
            loss.unheard
        )),
        News::Election(Order::Fence { .. } | Order::Propose(_)) => None,
        News::Replica(shard, Event::Diverged { partition, from, to, last_epoch }) => Some(format!(
            "shard {shard} gave up offsets {from} to {to} of {}, of epochs up to \
                 {last_epoch}: no quorum held them",
            name(*partition)
        )),
        News::Replica(shard, Event::Contradiction { partition, committed, joins_at, leader }) => {
            Some(format!(
                "shard {shard} stands still with {}: its log joins that of {leader:?} at {joins_at}, \
                 below the committed {committed}",
                name(*partition)
            ))
        }
        News::Replica(_, _) => None,
    }
}
