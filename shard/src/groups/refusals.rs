//! Answers of coordinators that cannot do what they were asked.

use net::ErrorCode;

use super::ask::{Described, GroupAnswer, GroupAsk, Joined, Synced};
use super::effects::Then;
use super::group::Group;
use crate::mail::Asker;

/// The answer that refuses a question.
pub(super) fn refusal(ask: &GroupAsk, error: ErrorCode) -> GroupAnswer {
    match ask {
        GroupAsk::Join(join) => {
            GroupAnswer::Joined(Joined::refused(error, join.member.as_str().into()))
        }
        GroupAsk::Sync(_) => GroupAnswer::Synced(Synced::refused(error)),
        GroupAsk::Leave { members, .. } => GroupAnswer::Left(vec![error; members.len()]),
        GroupAsk::Commit(commit) => GroupAnswer::Committed(vec![error; commit.partitions.len()]),
        GroupAsk::DeleteOffsets { .. } => GroupAnswer::OffsetsDeleted(Err(error)),
        GroupAsk::Describe { .. } => {
            GroupAnswer::Described(Described { error, ..Described::default() })
        }
        GroupAsk::Heartbeat(_) | GroupAsk::FetchOffsets { .. } | GroupAsk::Delete { .. } => {
            GroupAnswer::Done(error)
        }
    }
}

/// What is answered about a group that does not exist.
pub(super) fn of_no_group(ask: GroupAsk) -> GroupAnswer {
    match ask {
        GroupAsk::FetchOffsets { topics, .. } => {
            GroupAnswer::Offsets(Group::new("".into(), 0).find(topics))
        }
        GroupAsk::DeleteOffsets { .. } => {
            GroupAnswer::OffsetsDeleted(Err(ErrorCode::GroupIdNotFound))
        }
        GroupAsk::Describe { .. } => GroupAnswer::Described(Described {
            error: ErrorCode::GroupIdNotFound,
            state: "Dead",
            ..Described::default()
        }),
        GroupAsk::Delete { .. } => GroupAnswer::Done(ErrorCode::GroupIdNotFound),
        ask => refusal(&ask, ErrorCode::UnknownMemberId),
    }
}

/// The answer to whoever waited for something that will not be committed here.
pub(super) fn given_up(then: Then, error: ErrorCode) -> Option<(Asker, GroupAnswer)> {
    Some(match then {
        Then::Committed { to, .. } => {
            let (to, codes) = to?;
            (to, GroupAnswer::Committed(with_failure(codes, Err(error))))
        }
        Then::Replaced { to, joined, .. } => {
            (to, GroupAnswer::Joined(Joined::refused(error, joined.member)))
        }
        Then::Deleted { to } => (to?, GroupAnswer::Done(error)),
        Then::Forgotten { to, .. } => {
            let (to, codes) = to?;
            (to, GroupAnswer::OffsetsDeleted(Ok(with_failure(codes, Err(error)))))
        }
        // Those who wait are members, and are told as such.
        Then::Assigned { .. } | Then::Emptied { .. } | Then::Snapshot => return None,
    })
}

/// The codes, with the failure of the write in the place of success.
pub(super) fn with_failure(
    mut codes: Vec<ErrorCode>,
    outcome: Result<(), ErrorCode>,
) -> Vec<ErrorCode> {
    if let Err(error) = outcome {
        let error = match error {
            ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => {
                ErrorCode::InvalidCommitOffsetSize
            }
            other => of_members(other),
        };
        codes.iter_mut().filter(|code| code.is_ok()).for_each(|code| *code = error);
    }
    codes
}

/// What a failed append means to a client of a group.
pub(super) fn of_members(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::NotLeaderOrFollower
        | ErrorCode::KafkaStorageError
        | ErrorCode::NotCoordinator => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge | ErrorCode::InvalidRecord => {
            ErrorCode::UnknownServerError
        }
        _ => ErrorCode::CoordinatorNotAvailable,
    }
}
