//! What coordinators answered, as responses.

use core::cell::Cell;

use net::api::{
    delete_groups, describe_groups, heartbeat, join_group, leave_group, list_groups, offset_commit,
    offset_delete, offset_fetch, sync_group,
};
use net::{Empty, ErrorCode, Request, each};

use super::groups::{MANY_GROUPS_VERSION, MANY_LEAVERS_VERSION};
use crate::ask::Answer;
use crate::core::Core;
use crate::groups::ask::{
    Described, FoundOffset, GroupAnswer, Joined, Listed, Synced, TopicOffsets,
};
use crate::job::{Job, Part};

/// The one type of groups there is.
const TYPE: &str = "Classic";
/// The first version of DescribeGroups that says that a group does not exist.
const NOT_FOUND_VERSION: i16 = 6;
/// The first version of OffsetFetch with an error of its own.
const FETCH_ERROR_VERSION: i16 = 2;

impl Core {
    pub(super) fn write_group_job(&mut self, job: &Job, request: &Request<'_>) {
        match request {
            Request::FindCoordinator(view) => {
                self.write_coordinators(job.listener, job.reply_to, view);
            }
            Request::JoinGroup(view) => self.write_joined(job, view),
            Request::SyncGroup(_) => self.write_synced(job),
            Request::Heartbeat(_) => {
                let error_code = done(&job.parts[0]);
                self.out
                    .respond(job.reply_to, heartbeat::Response { throttle_time_ms: 0, error_code });
            }
            Request::LeaveGroup(view) => self.write_left(job, view),
            Request::OffsetCommit(view) => self.write_committed(job, view),
            Request::OffsetFetch(view) => self.write_offsets(job, view),
            Request::OffsetDelete(view) => self.write_offsets_deleted(job, view),
            Request::DescribeGroups(view) => self.write_described(job, view),
            Request::ListGroups(view) => self.write_groups(job, view),
            Request::DeleteGroups(view) => {
                let results =
                    each(view.groups_names.iter().zip(&job.parts).map(|(group_id, part)| {
                        delete_groups::DeletableGroupResult { group_id, error_code: done(part) }
                    }));
                let response = delete_groups::Response { throttle_time_ms: 0, results };
                self.out.respond(job.reply_to, response);
            }
            other => panic!("{} never becomes a job", other.api()),
        }
    }

    fn write_joined(&mut self, job: &Job, view: &join_group::RequestView<'_>) {
        let refused;
        let joined = match answer(&job.parts[0]) {
            Ok(GroupAnswer::Joined(joined)) => joined,
            Ok(other) => panic!("a join answered with {other:?}"),
            Err(error) => {
                let member = view.member_id.into();
                refused = Joined { error, generation: -1, member, ..Joined::default() };
                &refused
            }
        };
        let members = each(joined.members.iter().map(|member| join_group::JoinGroupMember {
            member_id: &member.id,
            group_instance_id: member.instance.as_deref(),
            metadata: &member.metadata,
        }));
        let response = join_group::Response {
            throttle_time_ms: 0,
            error_code: joined.error,
            generation_id: joined.generation,
            protocol_type: joined.protocol_type.as_deref(),
            protocol_name: joined.protocol.as_deref(),
            leader: &joined.leader,
            skip_assignment: joined.skip_assignment,
            member_id: &joined.member,
            members,
        };
        self.out.respond(job.reply_to, response);
    }

    fn write_synced(&mut self, job: &Job) {
        let refused;
        let synced = match answer(&job.parts[0]) {
            Ok(GroupAnswer::Synced(synced)) => synced,
            Ok(other) => panic!("a sync answered with {other:?}"),
            Err(error) => {
                refused = Synced { error, ..Synced::default() };
                &refused
            }
        };
        let response = sync_group::Response {
            throttle_time_ms: 0,
            error_code: synced.error,
            protocol_type: synced.protocol_type.as_deref(),
            protocol_name: synced.protocol.as_deref(),
            assignment: &synced.assignment,
        };
        self.out.respond(job.reply_to, response);
    }

    fn write_left(&mut self, job: &Job, view: &leave_group::RequestView<'_>) {
        let (error, codes) = match answer(&job.parts[0]) {
            Ok(GroupAnswer::Left(codes)) => (ErrorCode::None, codes.as_slice()),
            Ok(GroupAnswer::Done(code)) => (*code, &[][..]),
            Ok(other) => panic!("a leave answered with {other:?}"),
            Err(code) => (code, &[][..]),
        };
        let is_single = job.reply_to.version < MANY_LEAVERS_VERSION;
        let single = codes.first().copied().filter(|_| is_single);
        let members =
            view.members.iter().zip(codes).map(|(member, code)| leave_group::MemberResponse {
                member_id: member.member_id,
                group_instance_id: member.group_instance_id,
                error_code: *code,
            });
        let members: Vec<_> = members.collect();
        let response = leave_group::Response {
            throttle_time_ms: 0,
            error_code: single.unwrap_or(error),
            members: members.as_slice(),
        };
        self.out.respond(job.reply_to, response);
    }

    fn write_committed(&mut self, job: &Job, view: &offset_commit::RequestView<'_>) {
        let codes = codes(&job.parts[0]);
        let next = Cell::new(0);
        let next_code = || code_at(&codes, next.replace(next.get() + 1));
        let next_code = &next_code;
        let topics =
            each(view.topics.iter().map(|topic| offset_commit::OffsetCommitTopicResponse {
                name: topic.name,
                partitions: each(topic.partitions.iter().map(move |partition| {
                    offset_commit::OffsetCommitPartitionResponse {
                        partition_index: partition.partition_index,
                        error_code: next_code(),
                    }
                })),
            }));
        self.out.respond(job.reply_to, offset_commit::Response { throttle_time_ms: 0, topics });
    }

    fn write_offsets(&mut self, job: &Job, view: &offset_fetch::RequestView<'_>) {
        if job.reply_to.version < MANY_GROUPS_VERSION {
            return self.write_offsets_of_one(job, view);
        }
        let found: Vec<_> = view
            .groups
            .iter()
            .zip(&job.parts)
            .map(|(group, part)| (group.group_id, offsets(part)))
            .collect();
        let groups = each(found.iter().map(|(group_id, found)| {
            let topics = found.as_ref().map_or(&[][..], |topics| topics);
            offset_fetch::OffsetFetchGroupResponse {
                group_id,
                error_code: found.as_ref().err().copied().unwrap_or(ErrorCode::None),
                topics: each(topics.iter().map(|(name, partitions)| {
                    offset_fetch::OffsetFetchGroupTopicResponse {
                        name,
                        partitions: each(partitions.iter().map(|(partition_index, found)| {
                            offset_fetch::OffsetFetchGroupPartitionResponse {
                                partition_index: *partition_index,
                                committed_offset: found.offset,
                                committed_leader_epoch: found.leader_epoch,
                                metadata: Some(&found.metadata),
                                error_code: ErrorCode::None,
                            }
                        })),
                    }
                })),
            }
        }));
        let error_code = ErrorCode::None;
        let response =
            offset_fetch::Response { throttle_time_ms: 0, topics: Empty, error_code, groups };
        self.out.respond(job.reply_to, response);
    }

    fn write_offsets_of_one(&mut self, job: &Job, view: &offset_fetch::RequestView<'_>) {
        let (error_code, topics) = match offsets(&job.parts[0]) {
            Ok(topics) => (ErrorCode::None, topics.to_vec()),
            Err(code) if FETCH_ERROR_VERSION <= job.reply_to.version => (code, Vec::new()),
            Err(code) => (code, nothing_found(view)),
        };
        let topics =
            each(topics.iter().map(|(name, partitions)| offset_fetch::OffsetFetchTopicResponse {
                name,
                partitions: each(partitions.iter().map(|(partition_index, found)| {
                    offset_fetch::OffsetFetchPartitionResponse {
                        partition_index: *partition_index,
                        committed_offset: found.offset,
                        committed_leader_epoch: found.leader_epoch,
                        metadata: Some(&found.metadata),
                        error_code,
                    }
                })),
            }));
        let response =
            offset_fetch::Response { throttle_time_ms: 0, topics, error_code, groups: Empty };
        self.out.respond(job.reply_to, response);
    }

    fn write_offsets_deleted(&mut self, job: &Job, view: &offset_delete::RequestView<'_>) {
        let (error_code, codes) = match answer(&job.parts[0]) {
            Ok(GroupAnswer::OffsetsDeleted(Ok(codes))) => (ErrorCode::None, codes.as_slice()),
            Ok(GroupAnswer::OffsetsDeleted(Err(code))) => (*code, &[][..]),
            Ok(other) => panic!("OffsetDelete answered with {other:?}"),
            Err(code) => (code, &[][..]),
        };
        let next = Cell::new(0);
        let next_code = || codes.get(next.replace(next.get() + 1)).copied().unwrap_or_default();
        let next_code = &next_code;
        let topics = error_code.is_ok().then(|| {
            each(view.topics.iter().map(|topic| offset_delete::OffsetDeleteTopicResponse {
                name: topic.name,
                partitions: each(topic.partitions.iter().map(move |partition| {
                    offset_delete::OffsetDeletePartitionResponse {
                        partition_index: partition.partition_index,
                        error_code: next_code(),
                    }
                })),
            }))
        });
        let response = offset_delete::Response { error_code, throttle_time_ms: 0, topics };
        self.out.respond(job.reply_to, response);
    }

    fn write_described(&mut self, job: &Job, view: &describe_groups::RequestView<'_>) {
        let says_not_found = NOT_FOUND_VERSION <= job.reply_to.version;
        let described: Vec<(&str, Described)> = view
            .groups
            .iter()
            .zip(&job.parts)
            .map(|(group, part)| (group, described(part, says_not_found)))
            .collect();
        let groups =
            each(described.iter().map(|(group_id, found)| describe_groups::DescribedGroup {
                error_code: found.error,
                error_message:
                    (found.error == ErrorCode::GroupIdNotFound).then_some("no such group"),
                group_id,
                group_state: found.state,
                protocol_type: &found.protocol_type,
                protocol_data: &found.protocol,
                members: each(found.members.iter().map(|member| {
                    describe_groups::DescribedGroupMember {
                        member_id: &member.id,
                        group_instance_id: member.instance.as_deref(),
                        client_id: &member.client_id,
                        client_host: &member.client_host,
                        member_metadata: &member.metadata,
                        member_assignment: &member.assignment,
                    }
                })),
                authorized_operations: i32::MIN, // not asked for
            }));
        self.out.respond(job.reply_to, describe_groups::Response { throttle_time_ms: 0, groups });
    }

    fn write_groups(&mut self, job: &Job, view: &list_groups::RequestView<'_>) {
        let mut found: Vec<&Listed> = Vec::new();
        let mut error_code = ErrorCode::None;
        for part in &job.parts {
            match part {
                Part::Answered(Answer::Groups { groups, loading }) => {
                    found.extend(groups);
                    if *loading {
                        error_code = ErrorCode::CoordinatorLoadInProgress;
                    }
                }
                Part::Answered(Answer::Failed(code)) | Part::Refused(code) => error_code = *code,
                other => panic!("ListGroups answered with {other:?}"),
            }
        }
        let has = |filter: net::Array<'_, &str>, value: &str| {
            filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(value))
        };
        found.retain(|group| has(view.states_filter, group.state) && has(view.types_filter, TYPE));
        let groups = each(found.iter().map(|group| list_groups::ListedGroup {
            group_id: &group.group,
            protocol_type: &group.protocol_type,
            group_state: group.state,
            group_type: TYPE,
        }));
        let response = list_groups::Response { throttle_time_ms: 0, error_code, groups };
        self.out.respond(job.reply_to, response);
    }
}

/// What a coordinator answered, or why none did.
fn answer(part: &Part) -> Result<&GroupAnswer, ErrorCode> {
    match part {
        Part::Answered(Answer::Group(answer)) => Ok(answer),
        Part::Answered(Answer::Failed(code)) | Part::Refused(code) => Err(*code),
        other => panic!("a question about a group answered with {other:?}"),
    }
}

fn done(part: &Part) -> ErrorCode {
    match answer(part) {
        Ok(GroupAnswer::Done(code)) => *code,
        Ok(other) => panic!("a heartbeat or deletion answered with {other:?}"),
        Err(code) => code,
    }
}

/// A code for each partition, or one for all.
fn codes(part: &Part) -> Result<&[ErrorCode], ErrorCode> {
    match answer(part) {
        Ok(GroupAnswer::Committed(codes)) => Ok(codes),
        Ok(other) => panic!("a commit answered with {other:?}"),
        Err(code) => Err(code),
    }
}

fn code_at(codes: &Result<&[ErrorCode], ErrorCode>, index: usize) -> ErrorCode {
    match codes {
        Ok(codes) => codes[index],
        Err(code) => *code,
    }
}

fn offsets(part: &Part) -> Result<&[TopicOffsets], ErrorCode> {
    match answer(part) {
        Ok(GroupAnswer::Offsets(topics)) => Ok(topics),
        Ok(GroupAnswer::Done(code)) => Err(*code),
        Ok(other) => panic!("OffsetFetch answered with {other:?}"),
        Err(code) => Err(code),
    }
}

/// What was asked for, with no offset anywhere.
fn nothing_found(view: &offset_fetch::RequestView<'_>) -> Vec<TopicOffsets> {
    let topics = view.topics.into_iter().flatten();
    let topic = |topic: offset_fetch::OffsetFetchTopicView<'_>| {
        let partitions =
            topic.partition_indexes.iter().map(|index| (index, FoundOffset::default()));
        (topic.name.into(), partitions.collect())
    };
    topics.map(topic).collect()
}

fn described(part: &Part, says_not_found: bool) -> Described {
    let mut found = match answer(part) {
        Ok(GroupAnswer::Described(described)) => described.clone(),
        Ok(other) => panic!("DescribeGroups answered with {other:?}"),
        Err(error) => Described { error, ..Described::default() },
    };
    if found.error == ErrorCode::GroupIdNotFound && !says_not_found {
        found.error = ErrorCode::None;
    }
    found
}
