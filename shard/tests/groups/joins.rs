//! Members: how they come, agree, are watched, and go.

use std::time::Duration;

use net::ErrorCode;
use shard::groups::ask::{GroupAnswer, GroupAsk, Identity, Leaver};
use shard::groups::mutant::Planted;

use crate::world::{GROUP, World, identity, join_of, sync_of};

fn world() -> World {
    World::new(Planted::default())
}

/// Two members of one generation; the first leads.
fn pair(world: &mut World) -> (Identity, Identity) {
    let first = world.settle_alone(join_of("a"));
    let second = world.ask(GroupAsk::Join(join_of("b")));
    assert_eq!(world.beat(&first), ErrorCode::RebalanceInProgress);
    let mut again = join_of("a");
    again.member.clone_from(&first.member);
    let first = world.ask(GroupAsk::Join(again));
    let (first, second) = (world.joined(first).unwrap(), world.joined(second).unwrap());
    assert_eq!(first.generation, second.generation);
    assert_eq!((first.members.len(), second.members.len()), (2, 0));
    assert_eq!((&first.leader, &second.leader), (&first.member, &first.member));
    let (one, other) = (identity(&first, None), identity(&second, None));
    let waiting = world.ask(GroupAsk::Sync(sync_of(&other, Vec::new())));
    let assignments = vec![(one.member.clone(), vec![1]), (other.member.clone(), vec![2])];
    let leading = world.ask(GroupAsk::Sync(sync_of(&one, assignments)));
    assert!(world.answer(waiting).is_none(), "nobody is assigned before that is committed");
    world.commit_all();
    assert_eq!(world.synced(leading).unwrap().assignment, [1]);
    assert_eq!(world.synced(waiting).unwrap().assignment, [2]);
    assert_eq!(world.state(), Some("Stable"));
    (one, other)
}

#[test]
fn two_members_share_a_generation() {
    let mut world = world();
    let (one, other) = pair(&mut world);
    assert_eq!(world.beat(&one), ErrorCode::None);
    assert_eq!(world.beat(&other), ErrorCode::None);
}

#[test]
fn a_new_member_is_told_its_id_first() {
    let mut world = world();
    let mut join = join_of("client");
    join.id_required = true;
    let number = world.ask(GroupAsk::Join(join.clone()));
    let told = world.joined(number).unwrap();
    assert_eq!(told.error, ErrorCode::MemberIdRequired);
    assert!(told.member.starts_with("client-"), "{}", told.member);
    join.member = told.member.to_string();
    let number = world.ask(GroupAsk::Join(join.clone()));
    assert_eq!(world.joined(number).unwrap().error, ErrorCode::None);
    join.member = "invented".into();
    let number = world.ask(GroupAsk::Join(join));
    assert_eq!(world.joined(number).unwrap().error, ErrorCode::UnknownMemberId);
}

#[test]
fn an_id_that_is_never_used_is_forgotten() {
    let mut world = world();
    let mut join = join_of("client");
    join.id_required = true;
    let number = world.ask(GroupAsk::Join(join.clone()));
    join.member = world.joined(number).unwrap().member.to_string();
    world.pass_slowly(11_000);
    let number = world.ask(GroupAsk::Join(join));
    assert_eq!(world.joined(number).unwrap().error, ErrorCode::UnknownMemberId);
}

#[test]
fn silence_ends_a_session_and_starts_a_rebalance() {
    let mut world = world();
    let (one, other) = pair(&mut world);
    for _ in 0..3 {
        world.pass_slowly(4_000);
        let code = world.beat(&one);
        assert!(matches!(code, ErrorCode::None | ErrorCode::RebalanceInProgress), "{code:?}");
    }
    assert_eq!(world.beat(&other), ErrorCode::UnknownMemberId);
    assert_eq!(world.beat(&one), ErrorCode::RebalanceInProgress);
}

#[test]
fn who_does_not_join_in_time_is_left_behind() {
    let mut world = world();
    let (one, other) = pair(&mut world);
    let third = world.ask(GroupAsk::Join(join_of("c")));
    let mut again = join_of("a");
    again.member.clone_from(&one.member);
    let first = world.ask(GroupAsk::Join(again));
    for _ in 0..15 {
        world.pass_slowly(4_000);
        world.beat(&other); // lives, and yet does not join
    }
    let (first, third) = (world.joined(first).unwrap(), world.joined(third).unwrap());
    assert_eq!((first.error, third.error), (ErrorCode::None, ErrorCode::None));
    assert_eq!(first.members.len(), 2);
    assert_eq!(world.beat(&other), ErrorCode::UnknownMemberId);
}

#[test]
fn who_does_not_sync_in_time_is_left_behind() {
    let mut world = world();
    let number = world.ask(GroupAsk::Join(join_of("a")));
    let who = identity(&world.joined(number).unwrap(), None);
    for _ in 0..16 {
        world.pass_slowly(4_000);
        world.beat(&who);
    }
    assert_eq!(world.beat(&who), ErrorCode::UnknownMemberId);
    assert_eq!(world.state(), Some("Empty"));
}

#[test]
fn leaving_is_at_once_and_reaches_unused_ids_too() {
    let mut world = world();
    let (one, other) = pair(&mut world);
    let leave = |member: &str, instance: Option<&str>| GroupAsk::Leave {
        group: GROUP.into(),
        members: vec![Leaver { member: member.into(), instance: instance.map(str::to_owned) }],
    };
    let code = |answer| match answer {
        Some(GroupAnswer::Left(codes)) => codes[0],
        other => panic!("{other:?}"),
    };
    assert_eq!(code(world.call(leave("nobody", None))), ErrorCode::UnknownMemberId);
    assert_eq!(code(world.call(leave(&other.member, None))), ErrorCode::None);
    assert_eq!(world.beat(&other), ErrorCode::UnknownMemberId);
    assert_eq!(world.beat(&one), ErrorCode::RebalanceInProgress);
    assert_eq!(code(world.call(leave(&one.member, None))), ErrorCode::None);
    assert_eq!(world.state(), Some("Empty"));
}

#[test]
fn protocols_are_those_that_all_support() {
    let mut world = world();
    let mut join = join_of("a");
    let protocols = |names: &[&str]| -> Vec<(String, Vec<u8>)> {
        names.iter().map(|name| ((*name).to_owned(), Vec::new())).collect()
    };
    join.protocols = protocols(&["sticky", "range"]);
    let first = world.settle_alone(join.clone());
    let mut other = join_of("b");
    for (kind, names) in
        [("connect", &["range"][..]), ("consumer", &["roundrobin"]), ("consumer", &[])]
    {
        other.protocol_type = kind.into();
        other.protocols = protocols(names);
        let number = world.ask(GroupAsk::Join(other.clone()));
        let error = world.joined(number).unwrap().error;
        assert_eq!(error, ErrorCode::InconsistentGroupProtocol, "{kind} {names:?}");
    }
    other.protocols = protocols(&["roundrobin", "range"]);
    let second = world.ask(GroupAsk::Join(other));
    join.member = first.member;
    let first = world.ask(GroupAsk::Join(join));
    assert_eq!(world.joined(first).unwrap().protocol.as_deref(), Some("range"));
    assert_eq!(world.joined(second).unwrap().protocol.as_deref(), Some("range"));
}

#[test]
fn the_first_rebalance_waits_for_others_and_longer_if_they_come() {
    let mut world = world();
    world.settings.initial_rebalance_delay = Duration::from_secs(3);
    let first = world.ask(GroupAsk::Join(join_of("a")));
    world.pass_slowly(2_000);
    let second = world.ask(GroupAsk::Join(join_of("b")));
    world.pass_slowly(2_000);
    assert!(world.joined(first).is_none(), "someone came: three seconds more");
    world.pass_slowly(2_500);
    let (first, second) = (world.joined(first).unwrap(), world.joined(second).unwrap());
    assert_eq!((first.generation, second.generation), (1, 1));
}

#[test]
fn a_lost_answer_is_told_again_without_a_rebalance() {
    let mut world = world();
    let (one, other) = pair(&mut world);
    let mut again = join_of("b");
    again.member.clone_from(&other.member);
    let number = world.ask(GroupAsk::Join(again));
    assert_eq!(world.joined(number).unwrap().generation, other.generation);
    let number = world.ask(GroupAsk::Sync(sync_of(&other, Vec::new())));
    assert_eq!(world.synced(number).unwrap().assignment, [2]);
    assert_eq!(world.beat(&one), ErrorCode::None);
    let mut leading = join_of("a");
    leading.member.clone_from(&one.member);
    let number = world.ask(GroupAsk::Join(leading));
    assert!(world.joined(number).is_none(), "a leader that joins again wants a rebalance");
    assert_eq!(world.beat(&other), ErrorCode::RebalanceInProgress);
}

#[test]
fn a_static_member_comes_back_to_its_assignment() {
    let mut world = world();
    let mut join = join_of("a");
    join.instance = Some("i".into());
    let old = world.settle_alone(join.clone());
    world.crash();
    let number = world.ask(GroupAsk::Join(join.clone()));
    world.commit_all();
    let joined = world.joined(number).unwrap();
    assert_eq!((joined.error, joined.generation), (ErrorCode::None, old.generation));
    assert!(joined.skip_assignment, "it leads, and has nothing to assign");
    let who = identity(&joined, Some("i"));
    let number = world.ask(GroupAsk::Sync(sync_of(&who, Vec::new())));
    assert_eq!(world.synced(number).unwrap().assignment, b"all");
    join.member = old.member;
    let number = world.ask(GroupAsk::Join(join));
    assert_eq!(world.joined(number).unwrap().error, ErrorCode::FencedInstanceId);
    world.crash();
    assert_eq!(world.beat(&who), ErrorCode::None, "the new id is written down");
}

#[test]
fn a_generation_survives_a_crash_and_its_members_have_a_session_more() {
    let mut world = world();
    let (one, other) = pair(&mut world);
    world.crash();
    assert_eq!(world.state(), Some("Stable"));
    assert_eq!(world.beat(&one), ErrorCode::None);
    world.pass_slowly(9_000);
    assert_eq!(world.beat(&other), ErrorCode::None);
    world.pass_slowly(2_000);
    assert_eq!(world.beat(&one), ErrorCode::UnknownMemberId);
}

#[test]
fn an_assignment_that_cannot_be_written_is_made_anew() {
    let mut world = world();
    let number = world.ask(GroupAsk::Join(join_of("a")));
    let who = identity(&world.joined(number).unwrap(), None);
    let number = world.ask(GroupAsk::Sync(sync_of(&who, vec![(who.member.clone(), vec![1])])));
    world.refuse_one(ErrorCode::KafkaStorageError);
    assert_eq!(world.synced(number).unwrap().error, ErrorCode::NotCoordinator);
    assert_eq!(world.beat(&who), ErrorCode::RebalanceInProgress);
}

#[test]
fn bounds_are_told_and_nothing_of_those_refused_is_kept() {
    let mut world = world();
    world.settings.members_max = 2;
    let (one, _) = pair(&mut world);
    let number = world.ask(GroupAsk::Join(join_of("c")));
    assert_eq!(world.joined(number).unwrap().error, ErrorCode::GroupMaxSizeReached);
    assert_eq!(world.beat(&one), ErrorCode::None);
    for seconds in [5, 1801] {
        let mut join = join_of("d");
        join.session_timeout = Duration::from_secs(seconds);
        let number = world.ask(GroupAsk::Join(join));
        assert_eq!(world.joined(number).unwrap().error, ErrorCode::InvalidSessionTimeout);
    }
    let mut join = join_of("e");
    join.group = String::new();
    let number = world.ask(GroupAsk::Join(join));
    assert_eq!(world.joined(number).unwrap().error, ErrorCode::InvalidGroupId);
}

/// What DescribeGroups shows, by state.
#[test]
fn a_group_is_described_with_its_members() {
    let mut world = world();
    let (one, _) = pair(&mut world);
    let describe = || GroupAsk::Describe { group: GROUP.into() };
    let Some(GroupAnswer::Described(stable)) = world.call(describe()) else { panic!("an answer") };
    assert_eq!(
        (stable.state, &*stable.protocol_type, &*stable.protocol),
        ("Stable", "consumer", "range")
    );
    let member = stable.members.iter().find(|member| *member.id == *one.member).unwrap();
    assert_eq!(
        (&*member.client_id, &*member.metadata, &*member.assignment),
        ("a", &b"subscription"[..], &[1][..])
    );
    world.ask(GroupAsk::Join(join_of("c")));
    let Some(GroupAnswer::Described(moving)) = world.call(describe()) else { panic!("an answer") };
    assert_eq!((moving.state, moving.members.len()), ("PreparingRebalance", 3));
    assert!(moving.members.iter().all(|member| member.assignment.is_empty()));
    let unknown = GroupAsk::Describe { group: "unknown".into() };
    let Some(GroupAnswer::Described(unknown)) = world.call(unknown) else { panic!("an answer") };
    assert_eq!((unknown.error, unknown.state), (ErrorCode::GroupIdNotFound, "Dead"));
}

/// A client that joins and vanishes, again and again, leaves nothing behind.
#[test]
fn a_thousand_members_join_at_once() {
    let mut world = world();
    world.settings.initial_rebalance_delay = Duration::from_secs(3);
    let numbers: Vec<u32> =
        (0..1000).map(|n| world.ask(GroupAsk::Join(join_of(&format!("c{n}"))))).collect();
    world.pass_slowly(60_000);
    let joined: Vec<_> = numbers.iter().map(|number| world.joined(*number).unwrap()).collect();
    assert!(joined.iter().all(|joined| joined.generation == 1));
    assert_eq!(joined.iter().filter(|joined| joined.members.len() == 1000).count(), 1);
}
