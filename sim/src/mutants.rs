//! Whether the simulator can be trusted: every planted mutant must be seen by some checker.
//!
//! A mutant is tried on the plans that caught it before (`sim/mutants.txt`), and only if none does
//! any more, since the code has changed, on seeds that nobody has seen.

use engine::Mutant;

use crate::corpus;
use crate::knobs::Profile;
use crate::plan::{Plan, WorldKind};
use crate::run::run;
use crate::violation::Violation;

/// One a line: a mutant, and a plan that catches it.
const KNOWN: &str = include_str!("../mutants.txt");

/// How a mutant was caught.
#[derive(Clone, Debug)]
pub struct Caught {
    pub plan: Plan,
    /// Seeds of all worlds and profiles until then, this one included; `None`: by a known plan.
    pub seeds: Option<u64>,
    pub violation: Violation,
}

/// The names of all mutants that a single node can show.
pub fn names() -> impl Iterator<Item = &'static str> {
    let ours = Mutant::ALL.iter().filter(|mutant| !mutant.needs_replicas());
    ours.map(|mutant| mutant.name())
}

/// The names of all others: without replicas nobody could tell. The tests of their crates catch each
/// of them too (`engine/tests/model`, `replication/tests`).
pub fn names_in_clusters() -> impl Iterator<Item = &'static str> {
    let of_engines = Mutant::ALL.iter().filter(|mutant| mutant.needs_replicas());
    let of_replication = replication::Mutant::ALL.iter().map(|mutant| mutant.name());
    of_engines.map(|mutant| mutant.name()).chain(of_replication)
}

/// Tries `mutant` on the plans known to catch it, then hunts it in `worlds`.
pub fn catch(
    mutant: &str,
    worlds: &[WorldKind],
    first_seed: u64,
    seeds_max: u64,
) -> Result<Option<Caught>, String> {
    for plan in known(mutant)?.into_iter().filter(|plan| worlds.contains(&plan.world)) {
        if let Some(violation) = run(&plan, false).violation {
            return Ok(Some(Caught { plan, seeds: None, violation }));
        }
    }
    Ok(hunt(mutant, worlds, first_seed, seeds_max))
}

/// Runs seeds, each in every one of `worlds` and every profile, until `mutant` is seen; `None` after
/// `seeds_max`.
#[must_use]
pub fn hunt(mutant: &str, worlds: &[WorldKind], first_seed: u64, seeds_max: u64) -> Option<Caught> {
    let courses: Vec<_> = worlds
        .iter()
        .flat_map(|world| [(*world, Profile::Model), (*world, Profile::Beyond)])
        .collect();
    for tried in 0..seeds_max {
        let (world, profile) = courses[tried as usize % courses.len()];
        let seed = first_seed + tried / courses.len() as u64;
        let plan = planted(Plan::new(world, profile, seed), mutant);
        if let Some(violation) = run(&plan, false).violation {
            return Some(Caught { plan, seeds: Some(tried + 1), violation });
        }
    }
    None
}

/// The plans that are known to catch `mutant`.
pub fn known(mutant: &str) -> Result<Vec<Plan>, String> {
    let mut plans = Vec::new();
    for line in corpus::lines(KNOWN) {
        let (name, plan) =
            line.split_once(' ').ok_or_else(|| format!("{line:?} lacks its plan"))?;
        if name == mutant {
            plans.push(planted(plan.parse()?, mutant));
        }
    }
    Ok(plans)
}

fn planted(plan: Plan, mutant: &str) -> Plan {
    Plan { mutant: Some(mutant.to_owned()), ..plan }
}
