//! Makes a failing plan simpler: turns faults off and load down, one knob at a time, and keeps what
//! still fails in the eyes of the same checker.

use crate::knobs::Knobs;
use crate::plan::Plan;
use crate::run::run;
use crate::violation::Checker;

/// The simplest plan found that `checker` still sees fail, and how many runs that took.
#[must_use]
pub fn shrink(plan: &Plan, checker: Checker) -> (Plan, u64) {
    let mut best = plan.clone();
    let mut runs = 0;
    loop {
        let before = best.set.clone();
        for name in Knobs::NAMES {
            for value in simpler(&best, name) {
                let mut candidate = best.clone();
                candidate.set.retain(|(set, _)| set != name);
                candidate.set.push(((*name).to_owned(), value));
                runs += 1;
                if run(&candidate, false).violation.is_some_and(|seen| seen.checker == checker) {
                    best = candidate;
                    break;
                }
            }
        }
        if best.set == before {
            return (best, runs);
        }
    }
}

/// Values of a knob that make a plainer world, plainest first.
fn simpler(plan: &Plan, name: &str) -> Vec<u64> {
    let mut knobs = plan.draw().0;
    let now = *knobs.knob(name).expect("names are those of the knobs");
    let plain: &[u64] = match name {
        "segment_pages" | "bin_pages" | "arena_spare_pages" | "disk_pages" => return Vec::new(),
        "window" | "partitions" | "producers" | "pipeline" | "batch_records" => &[1, 2],
        "segments" => &[4],
        "lives" => &[1, 2, 3],
        "life_steps" => &[5, 20, 100],
        "value_bytes" => &[20, 200],
        "think_us" | "write_us" | "read_us" | "sync_us" | "create_us" | "idle_seal_us" => {
            return Vec::new();
        }
        _ => &[0],
    };
    plain.iter().copied().filter(|value| *value < now).collect()
}
