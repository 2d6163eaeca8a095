//! Whether the simulator can be trusted: every planted mutant must be seen by some checker.

use engine::Mutant;

use crate::knobs::Profile;
use crate::plan::{Plan, WorldKind};
use crate::run::run;
use crate::violation::Violation;

/// How a mutant was caught.
#[derive(Clone, Debug)]
pub struct Caught {
    pub plan: Plan,
    /// Seeds of all worlds and profiles until then, this one included.
    pub seeds: u64,
    pub violation: Violation,
}

/// The names of all mutants that a world of ours can show: none has replicas yet, and those that
/// need them are hunted by the engine's model (`engine/tests/model`).
pub fn names() -> impl Iterator<Item = &'static str> {
    let ours = Mutant::ALL.iter().filter(|mutant| !mutant.needs_replicas());
    ours.map(|mutant| mutant.name())
}

/// Runs seeds, each in every world and profile, until `mutant` is seen; `None` after `seeds_max`.
#[must_use]
pub fn hunt(mutant: &str, first_seed: u64, seeds_max: u64) -> Option<Caught> {
    let courses: Vec<_> = WorldKind::ALL
        .iter()
        .flat_map(|world| [(*world, Profile::Model), (*world, Profile::Beyond)])
        .collect();
    for tried in 0..seeds_max {
        let (world, profile) = courses[tried as usize % courses.len()];
        let seed = first_seed + tried / courses.len() as u64;
        let mut plan = Plan::new(world, profile, seed);
        plan.mutant = Some(mutant.to_owned());
        if let Some(violation) = run(&plan, false).violation {
            return Some(Caught { plan, seeds: tried + 1, violation });
        }
    }
    None
}
