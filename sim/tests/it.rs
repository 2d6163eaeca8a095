//! The simulator's own promises: old failures stay fixed, seeds repeat themselves, and the checkers
//! can fail.

use std::collections::BTreeMap;

use sim::knobs::Profile;
use sim::plan::{Plan, WorldKind};
use sim::run::run;
use sim::violation::Checker;
use sim::{corpus, coverage, mutants};

/// A cluster's life takes as long as a hundred of a journal.
fn seeds_of(world: WorldKind, others: u64) -> u64 {
    if world == WorldKind::Cluster { 3 } else { others }
}

#[test]
fn the_corpus_holds_and_reaches_every_fault_and_row() {
    let plans = corpus::parse(include_str!("../corpus.txt")).unwrap();
    let mut counts = BTreeMap::new();
    for plan in plans {
        let report = run(&plan, false);
        assert_eq!(report.violation, None, "{}", plan.command());
        counts.extend(report.counts);
    }
    assert_eq!(coverage::missing(&counts), Vec::<&str>::new(), "no plan reaches it any more");
}

#[test]
fn a_seed_has_one_history() {
    for world in WorldKind::ALL {
        let plan = |seed| Plan::new(*world, Profile::Beyond, seed);
        let seeds = 1..seeds_of(*world, 6);
        let hashes: Vec<_> = seeds.clone().map(|seed| run(&plan(seed), false).hash).collect();
        let again: Vec<_> = seeds.map(|seed| run(&plan(seed), false).hash).collect();
        assert_eq!(hashes, again);
        assert_ne!(hashes[0], hashes[1], "different seeds tell different stories");
    }
}

#[test]
fn another_history_of_a_seed_is_seen() {
    let report = |seed| run(&Plan::new(WorldKind::Journal, Profile::Model, seed), false);
    assert_eq!(report(3).check_repeats(&report(3)), Ok(()));
    let differs = report(3).check_repeats(&report(4)).unwrap_err();
    assert_eq!(differs.checker, Checker::Determinism);
}

/// One mutant for each checker that a mutant of one node can trip.
#[test]
fn checkers_see_the_mutants_that_were_planted_for_them() {
    let seen = |mutant: &str| {
        let caught = mutants::catch(mutant, WorldKind::OF_ONE_NODE, 1, 0).unwrap();
        caught
            .unwrap_or_else(|| panic!("{mutant} escapes the plan that caught it"))
            .violation
            .checker
    };
    let known = [
        ("ack-before-durable", Checker::Durable),
        ("corrupt-as-end", Checker::Offsets),
        ("window-ignored", Checker::Bounds),
        ("reuse-tail-under-pin", Checker::Memory),
        ("forget-carried-state", Checker::Halt),
    ];
    for (mutant, checker) in known {
        assert_eq!(seen(mutant), checker, "{mutant}");
    }
}

#[test]
fn some_seeds_of_every_world_hold() {
    for world in WorldKind::ALL {
        for profile in [Profile::Model, Profile::Beyond] {
            for seed in 1..seeds_of(*world, 40) {
                let plan = Plan::new(*world, profile, seed);
                assert_eq!(run(&plan, false).violation, None, "{}", plan.command());
            }
        }
    }
}

/// The whole table is `cargo run -p sim -- --mutants`; this one is quick.
#[test]
fn a_planted_mutant_is_seen() {
    let caught = mutants::hunt("ack-before-durable", WorldKind::OF_ONE_NODE, 1, 200)
        .expect("the checkers can fail");
    let mut sound = caught.plan.clone();
    sound.mutant = None;
    assert_eq!(run(&sound, false).violation, None, "without the mutant the plan holds");
}
