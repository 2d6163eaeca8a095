//! C14: what a night of runs must have seen at least once, or its silence means nothing.

use std::collections::BTreeMap;

/// Names of events that must occur, every row of recovery's table among them.
pub const EXPECTED: &[&str] = &[
    "KILL",
    "POWER CUT",
    "CLOSE",
    "STOPPED",
    "died between operations",
    "landed a zombie write",
    "landed a zombie write late",
    "a newer build wrote",
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
    "row Accept",
    "row Corrupt",
    "row CorruptAll",
    "row End",
    "row Fork",
    "row Fresh",
    "row LostTail",
    "row Skip",
    "row Suspect",
    "row Torn",
    "row TornLast",
    "row UnknownVersion",
];

/// What of [`EXPECTED`] is not among `counts`.
#[must_use]
pub fn missing(counts: &BTreeMap<&'static str, u64>) -> Vec<&'static str> {
    EXPECTED.iter().copied().filter(|what| !counts.contains_key(what)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_about_one_event_is_enough_to_fail() {
        let mut counts: BTreeMap<_, _> = EXPECTED.iter().map(|what| (*what, 1)).collect();
        assert!(missing(&counts).is_empty());
        counts.remove("row Suspect");
        assert_eq!(missing(&counts), ["row Suspect"]);
    }
}
