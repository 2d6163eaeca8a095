//! Groups: who is in them, how far they have come, and changes of that.

use std::collections::BTreeMap;
use std::time::Instant;

use net::api::{
    delete_groups, describe_groups, find_coordinator, list_groups, offset_commit, offset_fetch,
};
use net::{Empty, ErrorCode, Null, each};

use super::{ClientError, Cluster};

/// Between two tries while a coordinator loads.
const RETRY: std::time::Duration = std::time::Duration::from_millis(100);

/// A group in the list of its coordinator.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    pub name: String,
    pub protocol_type: String,
    pub state: String,
}

/// A group and its members.
#[derive(Clone, Debug)]
pub struct Group {
    pub name: String,
    pub state: String,
    pub protocol_type: String,
    pub protocol: String,
    pub members: Vec<Member>,
}

#[derive(Clone, Debug)]
pub struct Member {
    pub id: String,
    pub instance: Option<String>,
    pub client_id: String,
    pub host: String,
    /// Topic and partition, if the group is one of consumers.
    pub assigned: Vec<(String, i32)>,
}

/// Topic and partition to offset and metadata.
pub type Offsets = BTreeMap<(String, i32), (i64, String)>;

/// Every group of every broker, by name.
pub fn list(cluster: &mut Cluster) -> Result<Vec<Listed>, ClientError> {
    let brokers: Vec<i32> = cluster.brokers().map(|(id, _)| id).collect();
    let mut groups = Vec::new();
    for broker in brokers {
        let listed = patiently(cluster, |cluster| {
            let request = list_groups::Request { states_filter: Empty, types_filter: Empty };
            cluster.broker(broker)?.call(request, |response| {
                ClientError::check(|| "listing groups".to_owned(), response.error_code, None)?;
                let listed = |group: list_groups::ListedGroup<'_>| Listed {
                    name: group.group_id.to_owned(),
                    protocol_type: group.protocol_type.to_owned(),
                    state: group.group_state.to_owned(),
                };
                Ok(response.groups.iter().map(listed).collect::<Vec<_>>())
            })?
        })?;
        groups.extend(listed);
    }
    groups.sort();
    groups.dedup();
    Ok(groups)
}

/// The group as its coordinator sees it.
pub fn describe(cluster: &mut Cluster, group: &str) -> Result<Group, ClientError> {
    at_coordinator(cluster, group, |cluster, broker| {
        let request =
            describe_groups::Request { groups: [group], include_authorized_operations: false };
        cluster.broker(broker)?.call(request, |response| {
            let found = response.groups.first().unwrap_or_default();
            ClientError::check(|| subject(group), found.error_code, found.error_message)?;
            if found.group_state == "Dead" {
                return Err(refused(group, ErrorCode::GroupIdNotFound));
            }
            let member = |member: describe_groups::DescribedGroupMember<'_>| Member {
                id: member.member_id.to_owned(),
                instance: member.group_instance_id.map(str::to_owned),
                client_id: member.client_id.to_owned(),
                host: member.client_host.to_owned(),
                assigned: assigned(member.member_assignment).unwrap_or_default(),
            };
            Ok(Group {
                name: group.to_owned(),
                state: found.group_state.to_owned(),
                protocol_type: found.protocol_type.to_owned(),
                protocol: found.protocol_data.to_owned(),
                members: found.members.iter().map(member).collect(),
            })
        })?
    })
}

/// Every offset that the group has committed.
pub fn offsets(cluster: &mut Cluster, group: &str) -> Result<Offsets, ClientError> {
    at_coordinator(cluster, group, |cluster, broker| {
        let request = offset_fetch::Request {
            group_id: group,
            topics: None::<Empty>,
            groups: [offset_fetch::OffsetFetchGroup {
                group_id: group,
                member_id: None,
                member_epoch: -1,
                topics: Null,
            }],
            require_stable: false,
        };
        cluster.broker(broker)?.call(request, |response| {
            let mut found = Offsets::new();
            ClientError::check(|| subject(group), response.error_code, None)?;
            for topic in response.topics {
                for partition in topic.partitions {
                    let metadata = partition.metadata.unwrap_or_default().to_owned();
                    let place = (topic.name.to_owned(), partition.partition_index);
                    found.insert(place, (partition.committed_offset, metadata));
                }
            }
            for of_group in response.groups {
                ClientError::check(|| subject(group), of_group.error_code, None)?;
                for topic in of_group.topics {
                    for partition in topic.partitions {
                        let metadata = partition.metadata.unwrap_or_default().to_owned();
                        let place = (topic.name.to_owned(), partition.partition_index);
                        found.insert(place, (partition.committed_offset, metadata));
                    }
                }
            }
            Ok(found)
        })?
    })
}

/// Commits offsets in the name of a group that has no members.
pub fn commit(
    cluster: &mut Cluster,
    group: &str,
    topic: &str,
    offsets: &BTreeMap<i32, i64>,
) -> Result<(), ClientError> {
    at_coordinator(cluster, group, |cluster, broker| {
        let partition = |(index, offset): (&i32, &i64)| offset_commit::OffsetCommitPartition {
            partition_index: *index,
            committed_offset: *offset,
            committed_leader_epoch: -1,
            committed_metadata: Some(""),
        };
        let request = offset_commit::Request {
            group_id: group,
            generation_id_or_member_epoch: -1,
            member_id: "",
            group_instance_id: None,
            retention_time_ms: -1,
            topics: [offset_commit::OffsetCommitTopic {
                name: topic,
                partitions: each(offsets.iter().map(partition)),
            }],
        };
        cluster.broker(broker)?.call(request, |response| {
            let partitions = response.topics.iter().flat_map(|topic| topic.partitions.iter());
            partitions.into_iter().try_for_each(|partition| {
                // Someone who is no member may commit only while there are none.
                let code = match partition.error_code {
                    ErrorCode::UnknownMemberId => ErrorCode::NonEmptyGroup,
                    code => code,
                };
                ClientError::check(|| subject(group), code, None)
            })
        })?
    })
}

/// Deletes a group that has no members, with its offsets.
pub fn delete(cluster: &mut Cluster, group: &str) -> Result<(), ClientError> {
    at_coordinator(cluster, group, |cluster, broker| {
        let request = delete_groups::Request { groups_names: [group] };
        cluster.broker(broker)?.call(request, |response| {
            response.results.iter().try_for_each(|result| {
                ClientError::check(|| subject(group), result.error_code, None)
            })
        })?
    })
}

/// Does something at the group's coordinator, again if that has moved or loads.
fn at_coordinator<T>(
    cluster: &mut Cluster,
    group: &str,
    mut act: impl FnMut(&mut Cluster, i32) -> Result<T, ClientError>,
) -> Result<T, ClientError> {
    patiently(cluster, |cluster| {
        let broker = coordinator(cluster, group)?;
        act(cluster, broker)
    })
}

fn coordinator(cluster: &mut Cluster, group: &str) -> Result<i32, ClientError> {
    let request = find_coordinator::Request { key: group, key_type: 0, coordinator_keys: [group] };
    cluster.controller()?.call(request, |response| match response.coordinators.first() {
        Some(found) => {
            ClientError::check(|| subject(group), found.error_code, None)?;
            Ok(found.node_id)
        }
        None => {
            ClientError::check(|| subject(group), response.error_code, None)?;
            Ok(response.node_id)
        }
    })?
}

fn patiently<T>(
    cluster: &mut Cluster,
    mut act: impl FnMut(&mut Cluster) -> Result<T, ClientError>,
) -> Result<T, ClientError> {
    let give_up_at = Instant::now() + cluster.patience();
    loop {
        match act(cluster) {
            Err(ClientError::Refused { code, .. })
                if is_moving(code) && Instant::now() < give_up_at =>
            {
                std::thread::sleep(RETRY);
            }
            ended => return ended,
        }
    }
}

fn is_moving(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::NotCoordinator
    )
}

fn subject(group: &str) -> String {
    format!("group {group}")
}

fn refused(group: &str, code: ErrorCode) -> ClientError {
    ClientError::Refused { subject: subject(group), code, message: None }
}

/// What a member of a group of consumers was assigned: version i16, topics [string, [i32]], and more.
/// Source: Kafka's `ConsumerProtocolAssignment`.
fn assigned(bytes: &[u8]) -> Option<Vec<(String, i32)>> {
    fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
        let (head, behind) = rest.split_first_chunk()?;
        *rest = behind;
        Some(head)
    }
    let mut rest = bytes.get(2..)?;
    let topics = i32::from_be_bytes(*take(&mut rest)?);
    let mut found = Vec::new();
    for _ in 0..topics {
        let length = usize::try_from(i16::from_be_bytes(*take(&mut rest)?)).ok()?;
        let (name, behind) = rest.split_at_checked(length)?;
        rest = behind;
        let name = std::str::from_utf8(name).ok()?;
        for _ in 0..i32::from_be_bytes(*take(&mut rest)?) {
            found.push((name.to_owned(), i32::from_be_bytes(*take(&mut rest)?)));
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_read_and_damage_is_noticed() {
        let bytes = [&[0, 1, 0, 0, 0, 1, 0, 1][..], b"t", &[0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3]];
        let bytes = bytes.concat();
        assert_eq!(assigned(&bytes), Some(vec![("t".to_owned(), 0), ("t".to_owned(), 3)]));
        assert!((0..bytes.len()).all(|end| assigned(&bytes[..end]).is_none()));
    }
}
