//! What a checker saw that must never be.

use std::fmt;

/// Who saw it. The numbers are those of `research/reliability.md` §4.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Checker {
    /// C1: an acked or seen record is gone, or not what it was.
    Durable,
    /// C3: offsets that are not dense, unique and fixed.
    Offsets,
    /// C4: a producer's records out of their order.
    Order,
    /// C5: an idempotent producer's batch twice.
    Once,
    /// C7: two leaders of one epoch, or one that lacks what is committed.
    Leaders,
    /// C9: data removed that neither retention nor anyone asked to remove.
    Retention,
    /// C11: work that never ends although nothing is wrong any more.
    Liveness,
    /// C12: a queue or table beyond its limit.
    Bounds,
    /// C13: one seed, two histories.
    Determinism,
    /// Memory that was reused or changed while someone still read it.
    Memory,
    /// An operation that no disk could do.
    Disk,
    /// An answer that no client could make sense of, or that contradicts another.
    Protocol,
    /// A halt that no fault explains.
    Halt,
    /// An assertion of the code itself.
    Panic,
}

/// See the module's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub checker: Checker,
    pub what: String,
}

impl Violation {
    #[must_use]
    pub fn new(checker: Checker, what: String) -> Self {
        Self { checker, what }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.checker, self.what)
    }
}
