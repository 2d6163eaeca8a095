//! The recovery table of `design/storage.md` §2, as data: what is found where frame n should stand,
//! what live frames behind it testify, and what follows.
//!
//! ```text
//!  seq    S ─────────────── n−1   n    n+1   m
//!        ┌─────┬─────┬─────┬─────┬─────┬─────┬─────┐
//!        │  ✓  │  ✓  │  ✓  │  ✓  │ bad │  ✓  │  ✓  │   bad n: durable once, or only in flight?
//!        └─────┴─────┴─────┴─────┴─────┴─────┴─────┘   D of the live frames behind it tells.
//! ```

/// The state of frame n where it should stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Valid, and its `prev_crc` is that of the frame before.
    Linked,
    /// Valid, but it follows another frame than the one before.
    Unlinked,
    /// A sound header with a bad body: the normal shape of a cut.
    HeaderOnly,
    /// Nothing of it: zero, stale, foreign or torn in its first block.
    Absent,
    /// The device refused to read where it may stand.
    Unreadable,
    /// Its only copy stands in the wrong place.
    Misdirected,
    /// Nothing of it, and a later incarnation links to the frame before.
    Skipped,
}

/// What live frames behind n say about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Testimony {
    /// Some m has D(m) ≥ n: n was durable, perhaps acked.
    Durable,
    /// There is a live m > n, but every D(m) < n: n was in flight when they were built.
    InFlight,
    /// No live m > n.
    None,
}

/// A row of the recovery table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Row {
    Accept,
    Skip,
    Fork,
    Corrupt,
    Suspect,
    Torn,
    TornLast,
    End,
    /// This and the following judge the log as a whole.
    LostTail,
    CorruptAll,
    Fresh,
    UnknownVersion,
}

/// A rule of the table: the first that matches decides.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    pub row: Row,
    pub found: &'static [Found],
    pub testimony: &'static [Testimony],
    pub because: &'static str,
}

const ANY: &[Testimony] = &[Testimony::Durable, Testimony::InFlight, Testimony::None];
const NOT_DURABLE: &[Testimony] = &[Testimony::InFlight, Testimony::None];

/// The table of `design/storage.md` §2 for one frame.
pub const TABLE: &[Rule] = &[
    Rule {
        row: Row::Accept,
        found: &[Found::Linked],
        testimony: ANY,
        because: "the frame is whole and follows the one before",
    },
    Rule {
        row: Row::Skip,
        found: &[Found::Skipped],
        testimony: ANY,
        because: "an operator accepted its loss, and the log went on behind it",
    },
    Rule {
        row: Row::Fork,
        found: &[Found::Unlinked],
        testimony: ANY,
        because: "two histories claim this sequence: nobody may guess which was acked",
    },
    Rule {
        row: Row::Corrupt,
        found: &[Found::HeaderOnly, Found::Absent, Found::Unreadable, Found::Misdirected],
        testimony: &[Testimony::Durable],
        because: "a later frame knew it to be durable, so it may have been acked",
    },
    Rule {
        row: Row::Suspect,
        found: &[Found::Unreadable, Found::Misdirected],
        testimony: NOT_DURABLE,
        because: "a power cut neither makes blocks unreadable nor moves them: the device lost it",
    },
    Rule {
        row: Row::Torn,
        found: &[Found::HeaderOnly, Found::Absent],
        testimony: &[Testimony::InFlight],
        because: "it was in flight with those behind it, none of which was acked",
    },
    Rule {
        row: Row::TornLast,
        found: &[Found::HeaderOnly],
        testimony: &[Testimony::None],
        because: "the last write was cut short before its ack",
    },
    Rule {
        row: Row::End,
        found: &[Found::Absent],
        testimony: &[Testimony::None],
        because: "nothing was written behind the frame before",
    },
];

/// The rule for a frame in this state. The table covers every state exactly once.
#[must_use]
pub fn rule(found: Found, testimony: Testimony) -> &'static Rule {
    TABLE
        .iter()
        .find(|rule| rule.found.contains(&found) && rule.testimony.contains(&testimony))
        .expect("the table covers every state")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOUND: [Found; 7] = [
        Found::Linked,
        Found::Unlinked,
        Found::HeaderOnly,
        Found::Absent,
        Found::Unreadable,
        Found::Misdirected,
        Found::Skipped,
    ];

    #[test]
    fn every_state_has_exactly_one_row() {
        for found in FOUND {
            for testimony in ANY {
                let matching = TABLE.iter().filter(|rule| {
                    rule.found.contains(&found) && rule.testimony.contains(testimony)
                });
                assert_eq!(matching.count(), 1, "{found:?}, {testimony:?}");
            }
        }
    }

    #[test]
    fn nothing_that_was_durable_is_ever_cut() {
        for found in FOUND {
            let row = rule(found, Testimony::Durable).row;
            assert!(matches!(row, Row::Accept | Row::Skip | Row::Fork | Row::Corrupt), "{found:?}");
        }
    }
}
