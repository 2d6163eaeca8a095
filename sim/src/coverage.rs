//! C14: what a night of runs must have seen at least once, or its silence means nothing.

use std::collections::BTreeMap;

/// Names of events that must occur. Of the rows of recovery's table three are not among them: `Skip`
/// and `UnknownVersion` take an operator and another build, and `Fork` what no fault here does.
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
    "row Accept",
    "row Corrupt",
    "row CorruptAll",
    "row End",
    "row Fresh",
    "row LostTail",
    "row Suspect",
    "row Torn",
    "row TornLast",
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
