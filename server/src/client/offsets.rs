//! ListOffsets: the ends of partitions, and offsets by time.

use std::collections::BTreeMap;

use net::api::list_offsets;
use net::each;

use super::{ClientError, Cluster};

/// In the place of a time: one past the last record.
pub const LATEST: i64 = -1;
/// In the place of a time: the first record.
pub const EARLIEST: i64 = -2;

/// The offset of the first record at or after `timestamp` (ms since 1970), by partition; −1 where
/// there is none. `partitions` maps each to its leader.
pub fn find(
    cluster: &mut Cluster,
    topic: &str,
    partitions: &BTreeMap<i32, i32>,
    timestamp: i64,
) -> Result<BTreeMap<i32, i64>, ClientError> {
    let mut leaders = BTreeMap::<i32, Vec<list_offsets::ListOffsetsPartition>>::new();
    for (index, leader) in partitions {
        let partition_index = *index;
        leaders.entry(*leader).or_default().push(list_offsets::ListOffsetsPartition {
            partition_index,
            timestamp,
            ..Default::default()
        });
    }
    let mut found = BTreeMap::new();
    for (leader, asked) in leaders {
        let timeout_ms = cluster.patience().as_millis().try_into().unwrap_or(i32::MAX);
        let request = list_offsets::Request {
            replica_id: -1,
            isolation_level: 0,
            topics: [list_offsets::ListOffsetsTopic {
                name: topic,
                partitions: each(asked.iter().copied()),
            }],
            timeout_ms,
        };
        let answers: Vec<_> = cluster.broker(leader)?.call(request, |response| {
            response.topics.iter().flat_map(|topic| topic.partitions.iter()).collect()
        })?;
        for answer in answers {
            let index = answer.partition_index;
            let subject = || format!("finding offsets of {topic}-{index}");
            ClientError::check(subject, answer.error_code, None)?;
            found.insert(index, answer.offset);
        }
    }
    match partitions.keys().find(|index| !found.contains_key(index)) {
        None => Ok(found),
        Some(index) => Err(ClientError::NoPartition { topic: topic.to_owned(), partition: *index }),
    }
}
