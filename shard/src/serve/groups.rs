//! Requests about groups: each becomes questions to coordinators.

use core::time::Duration;
use std::sync::Arc;

use base::{Listener, Now, PartitionId, ShardId, TopicNumber};
use net::api::{
    delete_groups, describe_groups, join_group, leave_group, list_groups, offset_commit,
    offset_delete, offset_fetch, sync_group,
};
use net::{ErrorCode, Request};

use super::{Call, Home, Served};
use crate::ask::Ask;
use crate::core::Core;
use crate::groups::ask::{Commit, CommitPartition, GroupAsk, Identity, Join, Leaver, Sync};
use crate::groups::{OFFSETS_TOPIC, partition_of};

/// The first version whose members learn their id before they join (KIP-394).
const ID_FIRST_VERSION: i16 = 4;
/// The first version whose leaders may be told to leave the assignment alone (KIP-814).
const SKIP_ASSIGNMENT_VERSION: i16 = 9;
/// The first version of LeaveGroup with many members, of OffsetFetch with many groups.
pub(super) const MANY_LEAVERS_VERSION: i16 = 3;
pub(super) const MANY_GROUPS_VERSION: i16 = 8;

impl Core {
    pub(super) fn serve_groups(
        &mut self,
        now: Now,
        call: &Call<'_>,
        request: &Request<'_>,
    ) -> Served {
        let asks = match request {
            Request::FindCoordinator(view) => return self.find_coordinator(call, view),
            Request::ListGroups(view) => return self.list_groups(now, call, view),
            Request::JoinGroup(view) => vec![join(call, view)],
            Request::SyncGroup(view) => vec![sync(view)],
            Request::Heartbeat(view) => vec![GroupAsk::Heartbeat(Identity {
                group: view.group_id.to_owned(),
                generation: view.generation_id,
                member: view.member_id.to_owned(),
                instance: view.group_instance_id.map(str::to_owned),
            })],
            Request::LeaveGroup(view) => vec![leave(call, view)],
            Request::OffsetCommit(view) => vec![self.commit(view)],
            Request::OffsetFetch(view) => fetches(call, view),
            Request::OffsetDelete(view) => vec![delete_offsets(view)],
            Request::DescribeGroups(view) => describe(view),
            Request::DeleteGroups(view) => delete(view),
            other => panic!("{} is not about groups", other.api()),
        };
        let questions = asks.into_iter().map(|ask| {
            let home = self.group_home(call.listener, ask.group());
            home.map(|home| (home, Ask::Group(Box::new(ask))))
        });
        let questions = questions.collect();
        self.ask_each(now, call, questions)
    }

    /// Where the coordinator of a group lives, if a client of `listener` may ask for it here.
    fn group_home(&self, listener: Listener, group: &str) -> Result<Home, ErrorCode> {
        let topic = self.state.topics().by_name(OFFSETS_TOPIC).ok_or(ErrorCode::NotCoordinator)?;
        let index = partition_of(group, topic.partitions.len() as u32);
        self.locate(listener, topic, index.cast_signed()).map_err(|_| ErrorCode::NotCoordinator)
    }

    /// Asks every shard that the client takes for this broker.
    fn list_groups(
        &mut self,
        now: Now,
        call: &Call<'_>,
        _: &list_groups::RequestView<'_>,
    ) -> Served {
        let shards = match call.listener {
            Listener::Core(shard) => vec![shard],
            Listener::Node | Listener::Peer(_) => {
                (0..self.layout.shard_cores.len() as u16).map(ShardId).collect()
            }
        };
        // The question is to the shard, whatever the partition.
        let partition = PartitionId::new(TopicNumber(0), 0);
        let home = |shard| Ok((Home { shard, partition }, Ask::ListGroups));
        let questions = shards.into_iter().map(home).collect();
        self.ask_each(now, call, questions)
    }

    fn commit(&self, view: &offset_commit::RequestView<'_>) -> GroupAsk {
        let mut partitions = Vec::new();
        for topic in &view.topics {
            let known = self.state.topics().by_name(topic.name);
            let name: Arc<str> =
                known.map_or_else(|| topic.name.into(), |known| Arc::clone(&known.name));
            let count = known.map_or(0, |known| known.partitions.len());
            for partition in topic.partitions {
                let index = usize::try_from(partition.partition_index);
                let exists = index.is_ok_and(|index| index < count);
                partitions.push(CommitPartition {
                    topic: Arc::clone(&name),
                    index: partition.partition_index,
                    offset: partition.committed_offset,
                    leader_epoch: partition.committed_leader_epoch,
                    metadata: partition.committed_metadata.unwrap_or_default().to_owned(),
                    refused: (!exists).then_some(ErrorCode::UnknownTopicOrPartition),
                });
            }
        }
        let who = Identity {
            group: view.group_id.to_owned(),
            generation: view.generation_id_or_member_epoch,
            member: view.member_id.to_owned(),
            instance: view.group_instance_id.map(str::to_owned),
        };
        let retention_ms = Some(view.retention_time_ms).filter(|kept| 0 <= *kept);
        GroupAsk::Commit(Commit { who, retention_ms, partitions })
    }
}

fn join(call: &Call<'_>, view: &join_group::RequestView<'_>) -> GroupAsk {
    let ms = |ms: i32| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    let version = call.header.version;
    let own_rebalance =
        if version == 0 { view.session_timeout_ms } else { view.rebalance_timeout_ms };
    let protocol = |protocol: join_group::JoinGroupProtocol<'_>| {
        (protocol.name.to_owned(), protocol.metadata.to_vec())
    };
    GroupAsk::Join(Join {
        group: view.group_id.to_owned(),
        member: view.member_id.to_owned(),
        instance: view.group_instance_id.map(str::to_owned),
        client_id: call.header.client_id.unwrap_or_default().to_owned(),
        // Where a connection comes from is not told to state machines.
        client_host: "/".to_owned(),
        session_timeout: ms(view.session_timeout_ms),
        rebalance_timeout: ms(own_rebalance),
        protocol_type: view.protocol_type.to_owned(),
        protocols: view.protocols.iter().map(protocol).collect(),
        id_required: ID_FIRST_VERSION <= version,
        may_skip_assignment: SKIP_ASSIGNMENT_VERSION <= version,
    })
}

fn sync(view: &sync_group::RequestView<'_>) -> GroupAsk {
    let assignment = |given: sync_group::SyncGroupAssignment<'_>| {
        (given.member_id.to_owned(), given.assignment.to_vec())
    };
    GroupAsk::Sync(Sync {
        who: Identity {
            group: view.group_id.to_owned(),
            generation: view.generation_id,
            member: view.member_id.to_owned(),
            instance: view.group_instance_id.map(str::to_owned),
        },
        protocol_type: view.protocol_type.map(str::to_owned),
        protocol: view.protocol_name.map(str::to_owned),
        assignments: view.assignments.iter().map(assignment).collect(),
    })
}

fn leave(call: &Call<'_>, view: &leave_group::RequestView<'_>) -> GroupAsk {
    let group = view.group_id.to_owned();
    let members = if call.header.version < MANY_LEAVERS_VERSION {
        vec![Leaver { member: view.member_id.to_owned(), instance: None }]
    } else {
        let leaver = |leaver: leave_group::MemberIdentity<'_>| Leaver {
            member: leaver.member_id.to_owned(),
            instance: leaver.group_instance_id.map(str::to_owned),
        };
        view.members.iter().map(leaver).collect()
    };
    GroupAsk::Leave { group, members }
}

fn fetches(call: &Call<'_>, view: &offset_fetch::RequestView<'_>) -> Vec<GroupAsk> {
    if call.header.version < MANY_GROUPS_VERSION {
        let topic = |topic: offset_fetch::OffsetFetchTopicView<'_>| {
            (topic.name.to_owned(), topic.partition_indexes.iter().collect())
        };
        let topics = view.topics.map(|topics| topics.iter().map(topic).collect());
        return vec![GroupAsk::FetchOffsets { group: view.group_id.to_owned(), topics }];
    }
    let topic = |topic: offset_fetch::OffsetFetchGroupTopicView<'_>| {
        (topic.name.to_owned(), topic.partition_indexes.iter().collect())
    };
    let group = |group: offset_fetch::OffsetFetchGroupView<'_>| GroupAsk::FetchOffsets {
        group: group.group_id.to_owned(),
        topics: group.topics.map(|topics| topics.iter().map(topic).collect()),
    };
    view.groups.iter().map(group).collect()
}

fn delete_offsets(view: &offset_delete::RequestView<'_>) -> GroupAsk {
    let partitions = view.topics.iter().flat_map(|topic| {
        let index = |partition: offset_delete::OffsetDeletePartition| {
            (topic.name.to_owned(), partition.partition_index)
        };
        topic.partitions.iter().map(index)
    });
    GroupAsk::DeleteOffsets { group: view.group_id.to_owned(), partitions: partitions.collect() }
}

fn describe(view: &describe_groups::RequestView<'_>) -> Vec<GroupAsk> {
    view.groups.iter().map(|group| GroupAsk::Describe { group: group.to_owned() }).collect()
}

fn delete(view: &delete_groups::RequestView<'_>) -> Vec<GroupAsk> {
    view.groups_names.iter().map(|group| GroupAsk::Delete { group: group.to_owned() }).collect()
}
