//! Random histories. `REPLICA_SEED=n` replays one, with its trace; `REPLICA_HISTORIES=n` runs as
//! many.

use replication::replica::Log;
use replication::{Mutant, Planted};

use crate::actions::{ACTIONS, FAULTS, PROFILES, act, calm};
use crate::control::Flaw;
use crate::random::Random;
use crate::world::{Disk, World};

pub struct Outcome {
    pub world: World,
    pub steps: u32,
}

/// Runs the history of `seed`: faults first, then, if `heals`, a world in which everything pending
/// must end.
pub fn run(seed: u64, planted: Planted, flaw: Option<Flaw>, traced: bool) -> Outcome {
    let mut random = Random::new(seed);
    let (shapes, emphasis) = PROFILES[seed as usize % PROFILES.len()];
    let mut world = World::new(random.pick(shapes).unwrap(), planted, flaw);
    world.trace = traced.then(Vec::new);
    let percent = |name: &str| emphasis.iter().find(|own| own.0 == name).map_or(100, |own| own.1);
    let weights: Vec<u32> = ACTIONS
        .iter()
        .map(|(name, weight)| match FAULTS.contains(name) && random.one_in(3) {
            true => 0,
            false => weight * percent(name) * (1 + random.below(4) as u32),
        })
        .collect();
    // Of a hundred disks that a node starts with.
    let damages = [0, 0, 10, 30][random.below(4)].max(percent("disk") % 100);
    let all = world.ids.clone();
    world.elect(&all);
    let steps_max = 300 + random.below(500) as u32;
    let mut steps = 0;
    while steps < steps_max && world.ledger.violation.is_none() {
        let action = ACTIONS[random.weighted(&weights).unwrap()].0;
        act(&mut world, &mut random, action, damages);
        steps += 1;
    }
    if world.ledger.violation.is_none() {
        heal(&mut world, &mut random);
    }
    Outcome { world, steps }
}

/// Everybody is up, with the disks as they are, and nothing is lost any more: unless too many logs
/// cannot be proven, everything that leaders hold becomes committed, everywhere.
fn heal(world: &mut World, random: &mut Random) {
    for node in world.down() {
        world.start(node, Disk::Kept);
    }
    for round in 0..400 {
        calm(world, random);
        if world.ledger.violation.is_some() || (round % 16 == 15 && is_settled(world)) {
            return;
        }
        if round % 32 == 31 {
            elect_leaderless(world);
        }
        for id in world.ids.clone() {
            if world.control.parts[&id].target.is_some() {
                world.control.reassign(&mut world.ledger, id, Vec::new());
            }
        }
    }
    if let Some(id) = world.ids.clone().into_iter().find(|id| !is_done(world, *id)) {
        let views: Vec<_> = world.nodes.iter().map(|own| own.log.view(id)).collect();
        let what = format!("{id} is not done: {:?} {views:?}", world.control.parts[&id]);
        world.ledger.fail("liveness", &what);
    }
}

fn is_settled(world: &World) -> bool {
    world.ids.iter().all(|id| is_done(world, *id))
}

/// Whether the leader's log is committed and every member holds it, or nobody can be elected.
fn is_done(world: &World, id: base::PartitionId) -> bool {
    let part = &world.control.parts[&id];
    let proven = |member: replication::Placement| {
        let log = &world.nodes[usize::from(member.node.0)].log;
        log.view(id).filter(|view| view.proof.holds()).map(|_| ())
    };
    let Some((leader, _)) = world.control.leader(id) else {
        return part.config.quorum_of(1, proven).is_none();
    };
    let log = &world.nodes[usize::from(leader.node.0)].log;
    let Some(view) = log.view(id) else { return false };
    let level = |member: &replication::Placement| {
        let own = &world.nodes[usize::from(member.node.0)].log;
        own.view(id).is_some_and(|own| {
            // A leader that was deposed may have deleted more than it could tell.
            (own.log_end, own.committed) == (view.log_end, view.committed)
                && view.log_start <= own.log_start
        })
    };
    view.committed.0 == view.log_end.0
        && part.config.learners.is_empty()
        && part.config.members().iter().all(level)
}

fn elect_leaderless(world: &mut World) {
    for id in world.ids.clone() {
        let leads = world
            .control
            .leader(id)
            .is_some_and(|(leader, _)| world.leaders(id).contains(&usize::from(leader.node.0)));
        if !leads {
            world.elect(&[id]);
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

fn replay(seed: u64, planted: Planted, flaw: Option<Flaw>) {
    let world = run(seed, planted, flaw, true).world;
    let trace = world.trace.unwrap();
    trace.iter().for_each(|line| println!("{line}"));
    println!("seed {seed}: {:?}", world.ledger.violation);
}

#[test]
fn no_history_breaks_an_invariant() {
    if let Some(seed) = number("REPLICA_SEED") {
        replay(seed, Planted::default(), None);
    }
    let first = number("REPLICA_SEED").unwrap_or(1);
    let histories = match number("REPLICA_SEED") {
        Some(_) => 1,
        None => number("REPLICA_HISTORIES").unwrap_or(2_000),
    };
    let mut marks = std::collections::BTreeMap::new();
    for seed in first..first + histories {
        let Outcome { world, steps } = run(seed, Planted::default(), None, false);
        if let Some(violation) = world.ledger.violation {
            panic!("REPLICA_SEED={seed}, after {steps} steps: {violation}");
        }
        world
            .ledger
            .marks
            .iter()
            .for_each(|(what, times)| *marks.entry(*what).or_insert(0) += times);
        let committed = |id| world.ledger.committed_end(id).0;
        *marks.entry("committed").or_insert(0) +=
            world.ids.iter().map(|id| committed(*id)).sum::<u64>();
    }
    println!("{histories} histories: {marks:?}");
    if 1_000 <= histories {
        let seen = [
            "committed",
            "elections",
            "truncated",
            "started over",
            "caught up",
            "hand-overs",
            "config changes",
            "records deleted",
            "broken by the receiver",
        ];
        let missing: Vec<_> = seen.iter().filter(|what| !marks.contains_key(*what)).collect();
        assert!(missing.is_empty(), "never seen: {missing:?}");
    }
}

/// The seed that shows a mistake, and what the checkers said.
fn catch(planted: Planted, flaw: Option<Flaw>) -> Option<(u64, String)> {
    let seeds = number("REPLICA_MUTANT_SEEDS").unwrap_or(1_500);
    (1..=seeds).find_map(|seed| {
        let violation = run(seed, planted, flaw, false).world.ledger.violation?;
        // To get stuck is not what these mistakes are about.
        (!violation.starts_with("liveness")).then_some((seed, violation))
    })
}

/// Mistakes that cost nothing until a long chain of events, which random histories hardly ever meet:
/// `cases.rs` walks it.
const RARE: &[Mutant] = &[Mutant::CountUnproven, Mutant::VouchAtOnce];
/// Mistakes of the elector, whose place the modelled control plane takes here.
const ELECTORS: &[Mutant] = &[
    Mutant::ElectByLastRecord,
    Mutant::ElectLongest,
    Mutant::ElectUnproven,
    Mutant::ForgetIncarnation,
    Mutant::ElectByNewConfig,
];
/// Mistakes of the cluster log, which has lives of its own.
const CLUSTER_LOGS: &[Mutant] = &[
    Mutant::VoteBeforeDurable,
    Mutant::LogAckBeforeDurable,
    Mutant::CommitOlderTerm,
    Mutant::NewJournalVotes,
    Mutant::VoteForShorterLog,
    Mutant::AppendWithoutJoin,
    Mutant::CutWhatMatches,
    Mutant::NoTrialVote,
    Mutant::NoCheckQuorum,
    Mutant::FoundWithoutAll,
];
const RARE_FLAWS: &[Flaw] = &[Flaw::ElectByLastRecord];

#[test]
fn every_common_mutant_is_caught() {
    let mut survivors = Vec::new();
    let elsewhere = [RARE, ELECTORS, CLUSTER_LOGS].concat();
    let common = |mutant: &&Mutant| !elsewhere.contains(mutant);
    for mutant in Mutant::ALL.iter().filter(common) {
        match catch(Planted::one(*mutant), None) {
            Some((seed, violation)) => println!("{:24} seed {seed:5}  {violation}", mutant.name()),
            None => survivors.push(mutant.name().to_owned()),
        }
    }
    for flaw in Flaw::ALL.iter().filter(|flaw| !RARE_FLAWS.contains(flaw)) {
        match catch(Planted::default(), Some(*flaw)) {
            Some((seed, violation)) => {
                println!("{:24} seed {seed:5}  {violation}", format!("{flaw:?}"))
            }
            None => survivors.push(format!("{flaw:?}")),
        }
    }
    assert!(survivors.is_empty(), "{survivors:?} survive");
}

#[test]
fn the_same_seed_is_the_same_history() {
    for seed in [3, 77, 1_234] {
        let traces = [(); 2].map(|()| run(seed, Planted::default(), None, true).world.trace);
        assert_eq!(traces[0], traces[1]);
        assert!(traces[0].as_ref().is_some_and(|trace| 50 < trace.len()));
    }
}
