//! Random histories hold; each planted mutant is caught.

use replication::{Mutant, Planted};

use crate::world::{Broken, World};

fn run(seed: u64, planted: Planted) -> (Option<Broken>, usize) {
    let mut world = World::new(seed, planted);
    for _ in 0..1_000 {
        world.step();
        if world.broken.is_some() {
            return (world.broken, world.elected);
        }
    }
    world.heal();
    (world.broken, world.elected)
}

#[test]
fn elections_keep_every_committed_record() {
    let mut elected = 0;
    for seed in 0..600 {
        let (broken, count) = run(seed, Planted::default());
        assert_eq!(broken, None, "seed {seed}");
        elected += count;
    }
    assert!(1_500 < elected, "only {elected} leaders were chosen");
}

#[test]
fn every_mutant_of_the_elector_is_caught() {
    let mutants = [
        (Mutant::ElectByLastRecord, "H1"),
        (Mutant::ElectLongest, "H1"),
        (Mutant::ElectUnproven, "H4"),
        (Mutant::ForgetIncarnation, "H3, H7"),
        (Mutant::ElectByNewConfig, "H6"),
    ];
    for (mutant, case) in mutants {
        let caught = (0..5_000).find_map(|seed| Some((seed, run(seed, Planted::one(mutant)).0?)));
        let (seed, Broken(rule, what)) =
            caught.unwrap_or_else(|| panic!("{} ({case}) survives", mutant.name()));
        println!("{:22} {case:7} {:5} seeds  {rule}: {what}", mutant.name(), seed + 1);
    }
}
