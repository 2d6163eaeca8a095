//! Step by step, the case that shows each known-wrong behaviour, and that the real one is right.

use net::ErrorCode;
use shard::groups::ask::{GroupAnswer, GroupAsk};
use shard::groups::mutant::{Mutant, Planted};

use crate::world::{World, commit_of, join_of, nobody};

type Case = fn(&mut World) -> Result<(), String>;

#[test]
fn each_mutant_is_caught_by_its_case_and_the_real_code_by_none() {
    let cases: [(Mutant, Case); 5] = [
        (Mutant::CommitAnyGeneration, a_commit_of_an_older_generation_is_refused),
        (Mutant::OffsetsBeforeDurable, an_acked_offset_survives_a_crash),
        (Mutant::ExpiryByWallClock, a_step_of_the_wall_clock_ends_no_session),
        (Mutant::StaticNotFenced, a_replaced_static_member_is_fenced),
        (Mutant::SnapshotForgetsEmpty, a_snapshot_keeps_groups_without_members),
    ];
    assert_eq!(cases.len(), Mutant::ALL.len());
    for (mutant, case) in cases {
        case(&mut World::new(Planted::default())).unwrap();
        let caught = case(&mut World::new(Planted::one(mutant)));
        assert!(caught.is_err(), "{} is not caught", mutant.name());
    }
}

fn check(holds: bool, sentence: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(sentence.to_owned()) }
}

fn a_commit_of_an_older_generation_is_refused(world: &mut World) -> Result<(), String> {
    let who = world.settle_alone(join_of("a"));
    let mut again = join_of("a");
    again.member.clone_from(&who.member);
    let fresh = world.settle_alone(again);
    assert_eq!(fresh.generation, who.generation + 1);
    world.commit(&fresh, 0, 100);
    let code = world.commit(&who, 0, 7);
    check(code == ErrorCode::IllegalGeneration, "an old generation was answered")?;
    check(world.fetch(0).offset == 100, "an old generation moved the offset back")
}

fn an_acked_offset_survives_a_crash(world: &mut World) -> Result<(), String> {
    let number = world.ask(GroupAsk::Commit(commit_of(&nobody(), 0, 5)));
    let before = world.fetch_now(0);
    let acked = world.answer(number);
    check(acked.is_none(), "a commit was answered before its record was committed")?;
    check(before == -1, "an offset was served before its record was committed")?;
    world.crash();
    check(world.fetch(0).offset == -1, "what was lost came back")
}

fn a_step_of_the_wall_clock_ends_no_session(world: &mut World) -> Result<(), String> {
    let who = world.settle_alone(join_of("a"));
    world.now.wall.0 += 3_600_000;
    world.pass(1);
    check(world.beat(&who) == ErrorCode::None, "a step of the wall clock ended a session")
}

fn a_replaced_static_member_is_fenced(world: &mut World) -> Result<(), String> {
    let mut join = join_of("a");
    join.instance = Some("i".into());
    let old = world.settle_alone(join.clone());
    let number = world.ask(GroupAsk::Join(join));
    world.commit_all();
    let joined = world.joined(number).unwrap();
    assert_eq!((joined.error, joined.generation), (ErrorCode::None, old.generation));
    assert_ne!(*joined.member, *old.member);
    check(world.beat(&old) == ErrorCode::FencedInstanceId, "the replaced member still lives")?;
    let code = world.commit(&old, 0, 1);
    check(code == ErrorCode::FencedInstanceId, "the replaced member still commits")
}

fn a_snapshot_keeps_groups_without_members(world: &mut World) -> Result<(), String> {
    world.settings.snapshot_bytes = 2_000;
    assert_eq!(world.commit(&nobody(), 7, 70), ErrorCode::None);
    for offset in 0..200 {
        assert_eq!(world.commit(&nobody(), 0, offset), ErrorCode::None);
    }
    check(world.log_records() < 100, "the log is never trimmed")?;
    world.crash();
    check(world.fetch(7).offset == 70, "a snapshot lost an offset")?;
    check(world.fetch(0).offset == 199, "a snapshot lost the newest offset")
}

impl World {
    /// The offset that is served while commits are under way.
    fn fetch_now(&mut self, partition: i32) -> i64 {
        let topics = Some(vec![(crate::world::TOPIC.to_owned(), vec![partition])]);
        let group = crate::world::GROUP.to_owned();
        let number = self.ask(GroupAsk::FetchOffsets { group, topics });
        match self.answer(number) {
            Some(GroupAnswer::Offsets(topics)) => topics[0].1[0].1.offset,
            other => panic!("{other:?}"),
        }
    }
}
