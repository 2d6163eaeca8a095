//! Offsets: who may commit, what is remembered, what is forgotten and when.

use net::ErrorCode;
use shard::groups::ask::{GroupAnswer, GroupAsk, Identity};
use shard::groups::mutant::Planted;

use crate::world::{GROUP, TOPIC, World, commit_of, join_of, nobody};

fn world() -> World {
    World::new(Planted::default())
}

#[test]
fn an_offset_comes_back_with_its_metadata_also_after_a_crash() {
    let mut world = world();
    assert_eq!(world.commit(&nobody(), 3, 42), ErrorCode::None);
    for _ in 0..2 {
        let found = world.fetch(3);
        assert_eq!((found.offset, found.leader_epoch, &*found.metadata), (42, 3, "note"));
        assert_eq!(world.fetch(4).offset, -1);
        world.crash();
    }
}

#[test]
fn members_keep_others_from_committing() {
    let mut world = world();
    let who = world.settle_alone(join_of("a"));
    assert_eq!(world.commit(&who, 0, 1), ErrorCode::None);
    assert_eq!(world.commit(&nobody(), 0, 9), ErrorCode::UnknownMemberId);
    let stranger = Identity { member: "x".into(), ..who.clone() };
    assert_eq!(world.commit(&stranger, 0, 9), ErrorCode::UnknownMemberId);
    let later = Identity { generation: who.generation + 1, ..who.clone() };
    assert_eq!(world.commit(&later, 0, 9), ErrorCode::IllegalGeneration);
    assert_eq!(world.fetch(0).offset, 1);
}

#[test]
fn a_commit_between_join_and_sync_is_told_of_the_rebalance() {
    let mut world = world();
    let number = world.ask(GroupAsk::Join(join_of("a")));
    let joined = world.joined(number).unwrap();
    let who = crate::world::identity(&joined, None);
    assert_eq!(world.commit(&who, 0, 1), ErrorCode::RebalanceInProgress);
}

#[test]
fn a_group_that_nobody_knows_has_no_generation() {
    let mut world = world();
    let stranger = Identity { generation: 3, member: "x".into(), ..nobody() };
    assert_eq!(world.commit(&stranger, 0, 1), ErrorCode::IllegalGeneration);
    assert_eq!(world.state(), None, "and comes into being by nobody's asking");
}

#[test]
fn too_much_metadata_and_unknown_partitions_are_refused_one_by_one() {
    let mut world = world();
    let mut commit = commit_of(&nobody(), 0, 1);
    let good = commit.partitions[0].clone();
    commit.partitions[0].metadata = "x".repeat(4097);
    let mut unknown = good.clone();
    unknown.refused = Some(ErrorCode::UnknownTopicOrPartition);
    commit.partitions.extend([unknown, good]);
    let Some(GroupAnswer::Committed(codes)) = world.call(GroupAsk::Commit(commit)) else {
        panic!("a commit is answered");
    };
    let expected =
        [ErrorCode::OffsetMetadataTooLarge, ErrorCode::UnknownTopicOrPartition, ErrorCode::None];
    assert_eq!(codes, expected);
}

#[test]
fn a_refused_append_is_told_and_changes_nothing() {
    let mut world = world();
    world.commit(&nobody(), 0, 1);
    for (code, told) in [
        (ErrorCode::MessageTooLarge, ErrorCode::InvalidCommitOffsetSize),
        (ErrorCode::KafkaStorageError, ErrorCode::NotCoordinator),
    ] {
        let number = world.ask(GroupAsk::Commit(commit_of(&nobody(), 0, 2)));
        world.refuse_one(code);
        let Some(GroupAnswer::Committed(codes)) = world.answer(number) else {
            panic!("a commit is answered");
        };
        assert_eq!(codes, [told]);
        assert_eq!(world.fetch(0).offset, 1);
    }
}

#[test]
fn offsets_of_subscribed_topics_are_not_deleted() {
    let mut world = world();
    let mut join = join_of("a");
    // Version 0, one topic: t.
    join.protocols = vec![("range".into(), [&[0, 0, 0, 0, 0, 1, 0, 1][..], b"t"].concat())];
    let who = world.settle_alone(join);
    world.commit(&who, 0, 1);
    let delete = || GroupAsk::DeleteOffsets {
        group: GROUP.into(),
        partitions: vec![(TOPIC.into(), 0), ("other".into(), 0)],
    };
    let Some(GroupAnswer::OffsetsDeleted(Ok(codes))) = world.call(delete()) else {
        panic!("an answer for each partition");
    };
    assert_eq!(codes, [ErrorCode::GroupSubscribedToTopic, ErrorCode::None]);
    world.pass_slowly(20_000);
    assert_eq!(world.state(), Some("Empty"), "its session is over");
    let Some(GroupAnswer::OffsetsDeleted(Ok(codes))) = world.call(delete()) else {
        panic!("an answer for each partition");
    };
    assert_eq!(codes, [ErrorCode::None; 2]);
    assert_eq!(world.fetch(0).offset, -1);
    world.crash();
    assert_eq!(world.fetch(0).offset, -1);
}

#[test]
fn groups_are_deleted_when_they_are_empty_and_stay_so() {
    let mut world = world();
    let who = world.settle_alone(join_of("a"));
    world.commit(&who, 0, 1);
    let delete = || GroupAsk::Delete { group: GROUP.into() };
    let code = |answer| match answer {
        Some(GroupAnswer::Done(code)) => code,
        other => panic!("{other:?}"),
    };
    assert_eq!(code(world.call(delete())), ErrorCode::NonEmptyGroup);
    world.pass_slowly(20_000);
    let number = world.ask(delete());
    assert!(world.answer(number).is_none(), "not before that is committed");
    let join = world.ask(GroupAsk::Join(join_of("b")));
    assert_eq!(world.joined(join).unwrap().error, ErrorCode::CoordinatorNotAvailable);
    world.commit_all();
    assert_eq!(code(world.answer(number)), ErrorCode::None);
    assert_eq!(code(world.call(delete())), ErrorCode::GroupIdNotFound);
    world.crash();
    assert_eq!((world.state(), world.fetch(0).offset), (None, -1));
}

#[test]
fn offsets_expire_a_week_after_the_last_member_left() {
    const DAY_MS: u64 = 24 * 60 * 60 * 1000;
    let mut world = world();
    let who = world.settle_alone(join_of("a"));
    world.commit(&who, 0, 1);
    world.pass_slowly(20_000);
    world.pass_slowly(6 * DAY_MS);
    world.commit_all();
    assert_eq!(world.fetch(0).offset, 1, "six days");
    world.pass_slowly(2 * DAY_MS);
    world.commit_all();
    assert_eq!((world.state(), world.fetch(0).offset), (None, -1), "eight days");
    world.crash();
    assert_eq!(world.fetch(0).offset, -1);
}
