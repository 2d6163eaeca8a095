//! When something about a group is due.

use std::collections::BTreeSet;
use std::sync::Arc;

use base::Instant;

/// What is due.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// A member was silent for as long as it may be.
    Session(Arc<str>),
    /// A member id that was given out was never used.
    Unclaimed(Arc<str>),
    /// Members had their time to join.
    Join,
    /// Members had their time to sync.
    Sync,
}

/// What is due for which group, by time.
#[derive(Debug, Default)]
pub(super) struct Timers(BTreeSet<(Instant, Arc<str>, Due)>);

impl Timers {
    pub(super) fn add(&mut self, at: Instant, group: &Arc<str>, due: Due) {
        self.0.insert((at, Arc::clone(group), due));
    }

    pub(super) fn remove(&mut self, at: Instant, group: &Arc<str>, due: Due) {
        self.0.remove(&(at, Arc::clone(group), due));
    }

    pub(super) fn first(&self) -> Option<Instant> {
        self.0.first().map(|(at, ..)| *at)
    }

    /// The next that is due by `now`.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(Arc<str>, Due)> {
        if now < self.first()? {
            return None;
        }
        self.0.pop_first().map(|(_, group, due)| (group, due))
    }
}
