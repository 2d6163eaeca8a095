//! Random lives of a cluster log: crashes, lost journals, a network that loses, doubles, delays and
//! cuts. One leader per term, and what was committed stays, whatever happens.

#![allow(clippy::unwrap_used, reason = "a test: clippy exempts only functions marked so")]

mod checks;
mod figure_eight;
mod knobs;
mod random;
mod world;

use replication::{Mutant, Planted};

use crate::figure_eight::figure_eight;
use crate::world::World;

fn live(seed: u64, planted: Planted) -> Result<(u32, u32), String> {
    let mut world = World::new(seed, planted);
    world.live().map_err(|error| format!("seed {seed}: {error}"))?;
    Ok((world.elections, world.wiped))
}

#[test]
fn no_life_breaks_the_log() {
    lives(0..SEEDS);
}

#[test]
fn an_older_entry_is_not_committed_by_counting() {
    figure_eight(Planted::default()).unwrap();
    let seen = figure_eight(Planted::one(Mutant::CommitOlderTerm)).unwrap_err();
    assert!(seen.contains("without committed entry"), "{seen}");
}

#[test]
#[ignore = "minutes: for whoever changes the log"]
fn no_life_of_many_breaks_the_log() {
    lives(1_000..30_000);
}

fn lives(seeds: std::ops::Range<u64>) {
    let (mut elections, mut wiped) = (0, 0);
    let count = seeds.end - seeds.start;
    for seed in seeds {
        let life = live(seed, Planted::default()).unwrap_or_else(|error| panic!("{error}"));
        elections += life.0;
        wiped += life.1;
    }
    assert!(count < u64::from(elections), "{elections} elections in {count} lives");
    assert!(count / 10 < u64::from(wiped), "{wiped} journals lost in {count} lives");
}

/// Lives until one shows the mutant: by a checker, or by the log's own assertions.
fn kill(mutant: Mutant, seeds: u64) -> Option<(u64, String)> {
    (0..seeds).find_map(|seed| {
        let planted = Planted::one(mutant);
        match std::panic::catch_unwind(|| live(seed, planted)) {
            Ok(Ok(_)) => None,
            // That an election fails is not what these mutants are about.
            Ok(Err(error)) if error.contains("no leader that all follow") => None,
            Ok(Err(error)) => Some((seed, error)),
            Err(_) => Some((seed, "an assertion of the log".to_owned())),
        }
    })
}

#[test]
#[ignore = "one life, named by SEED"]
fn one_life() {
    let seed = std::env::var("SEED").unwrap().parse().unwrap();
    live(seed, Planted::default()).unwrap();
}

#[test]
fn every_mutant_is_seen() {
    let mut survivors = Vec::new();
    for mutant in MUTANTS {
        match kill(*mutant, 5 * SEEDS) {
            Some((seed, error)) => {
                println!("{}: seed {seed}: {:.150}", mutant.name(), error.replace('\n', " "));
            }
            None => survivors.push(mutant.name()),
        }
    }
    assert!(survivors.is_empty(), "{survivors:?} were not seen");
}

/// Lives in which no honest log breaks and every mutant is seen.
const SEEDS: u64 = 300;

const MUTANTS: &[Mutant] = &[
    Mutant::VoteBeforeDurable,
    Mutant::LogAckBeforeDurable,
    Mutant::NewJournalVotes,
    Mutant::VoteForShorterLog,
    Mutant::AppendWithoutJoin,
    Mutant::CutWhatMatches,
    Mutant::NoTrialVote,
    Mutant::NoCheckQuorum,
    Mutant::FoundWithoutAll,
];
