//! C14: what a night of runs must have seen at least once, or its silence means nothing.

use std::collections::BTreeMap;

/// Names of events that must occur.
pub const EXPECTED: &[&str] = &[
    "KILL",
    "POWER CUT",
    "CLOSE",
    "STOPPED",
    "died between operations",
    "landed a zombie write",
    "cancelled a write",
    "kept a write",
    "dropped a write",
    "tore a write",
    "failed a write",
    "cut a write short",
    "failed a sync",
    "ran out of space",
    "rotted a bit",
    "misdirected",
    "lost a sector",
    "failed a read",
    "lied about a flush",
];

/// What of [`EXPECTED`] is not among `counts`.
#[must_use]
pub fn missing(counts: &BTreeMap<&'static str, u64>) -> Vec<&'static str> {
    EXPECTED.iter().copied().filter(|what| !counts.contains_key(what)).collect()
}
