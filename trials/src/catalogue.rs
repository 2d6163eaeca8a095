//! The trials by name.

mod disks;

use crate::{Context, Outcome};

/// One trial: a promise that the real kernel, disks and clients put to the test.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    pub name: &'static str,
    /// The promise, in one sentence.
    pub promise: &'static str,
    /// The runner ends the trial after so many seconds.
    pub limit_s: u64,
    pub run: fn(&Context) -> Outcome,
}

/// Every trial, in the order in which they run.
pub const TRIALS: &[Trial] = &[Trial {
    name: "disks-lose-what-was-not-flushed",
    promise: "the trials' own disks keep what was synced and lose the rest",
    limit_s: 120,
    run: disks::lose_what_was_not_flushed,
}];
