//! Who reigned over a partition from which offset on (Kafka's leader epoch cache).
//!
//! ```text
//!   epoch     3         5              9
//!   offset    0 ─────── 40 ─────────── 200 ───── log end
//! ```
//! A reign that ended without a record is forgotten when the next one begins: it left nothing that
//! two replicas could disagree on. The newest epoch ever opened is remembered all the same.

use crate::{Epoch, Offset};

/// See the module's description. Starts and epochs both rise strictly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EpochHistory {
    reigns: Vec<Reign>,
    opened: Option<Epoch>,
}

/// An epoch and the offset of its first record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reign {
    pub epoch: Epoch,
    pub start: Offset,
}

impl EpochHistory {
    /// A history as it was written down or sent. `None` if the reigns do not rise.
    #[must_use]
    pub fn restore(reigns: Vec<Reign>, opened: Option<Epoch>) -> Option<Self> {
        let rises = |pair: &[Reign]| pair[0].epoch < pair[1].epoch && pair[0].start < pair[1].start;
        let covered = reigns.last().map(|reign| reign.epoch) <= opened;
        (reigns.windows(2).all(rises) && covered).then_some(Self { reigns, opened })
    }

    #[must_use]
    pub fn reigns(&self) -> &[Reign] {
        &self.reigns
    }

    /// The newest epoch ever opened, even if what it wrote was truncated since.
    #[must_use]
    pub fn opened(&self) -> Option<Epoch> {
        self.opened
    }

    /// Begins a reign at `start`, the log end. Panics unless the epoch is newer than all before.
    pub fn open(&mut self, epoch: Epoch, start: Offset) {
        assert!(self.opened < Some(epoch), "epoch {epoch} opened after {:?}", self.opened);
        self.begin(Reign { epoch, start });
    }

    /// Takes over from another replica that a reign began at `start`, the log end here. Unlike
    /// [`EpochHistory::open`] it may be older than one that was opened here and lost its records.
    /// Panics unless the epoch is newer than that of the last reign.
    pub fn follow(&mut self, epoch: Epoch, start: Offset) {
        let last = self.reigns.last().map(|reign| reign.epoch);
        assert!(last < Some(epoch), "epoch {epoch} follows {last:?}");
        self.begin(Reign { epoch, start });
    }

    fn begin(&mut self, reign: Reign) {
        while self.reigns.last().is_some_and(|last| reign.start <= last.start) {
            self.reigns.pop();
        }
        self.reigns.push(reign);
        self.opened = self.opened.max(Some(reign.epoch));
    }

    /// The epoch in which `offset` was (or will be) written.
    #[must_use]
    pub fn at(&self, offset: Offset) -> Option<Epoch> {
        let after = self.reigns.partition_point(|reign| reign.start <= offset);
        after.checked_sub(1).map(|index| self.reigns[index].epoch)
    }

    /// The greatest known epoch not above `epoch`, and where it ended (Kafka's
    /// OffsetForLeaderEpoch). `None` if `epoch` is newer than all that is known.
    #[must_use]
    pub fn end_of(&self, epoch: Epoch, log_end: Offset) -> Option<(Epoch, Offset)> {
        let newest = self.reigns.last()?;
        if newest.epoch == epoch {
            return Some((epoch, log_end));
        }
        let after = self.reigns.partition_point(|reign| reign.epoch <= epoch);
        let end = self.reigns.get(after)?.start;
        let floor = after.checked_sub(1).map_or(epoch, |index| self.reigns[index].epoch);
        Some((floor, end))
    }

    /// The history of a log that lost all of its records: no epoch of the past is opened again.
    #[must_use]
    pub fn emptied(&self) -> Self {
        Self { reigns: Vec::new(), opened: self.opened }
    }

    /// Forgets what was written at `end` and behind it.
    pub fn truncate(&mut self, end: Offset) {
        self.reigns.retain(|reign| reign.start < end);
    }

    /// Forgets reigns that ended at or before `log_start`.
    pub fn trim(&mut self, log_start: Offset) {
        let keep = self.reigns.partition_point(|reign| reign.start <= log_start);
        self.reigns.drain(..keep.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(reigns: &[(u32, u64)]) -> EpochHistory {
        let mut history = EpochHistory::default();
        for (epoch, start) in reigns {
            history.open(Epoch(*epoch), Offset(*start));
        }
        history
    }

    #[test]
    fn answers_as_kafka_does() {
        let history = history(&[(3, 0), (5, 40), (9, 200)]);
        let end_of = |epoch| history.end_of(Epoch(epoch), Offset(250));
        assert_eq!(end_of(9), Some((Epoch(9), Offset(250))), "the newest ends at the log end");
        assert_eq!(end_of(10), None, "not known yet");
        assert_eq!(end_of(7), Some((Epoch(5), Offset(200))), "the one below, where it ended");
        assert_eq!(end_of(3), Some((Epoch(3), Offset(40))));
        assert_eq!(end_of(1), Some((Epoch(1), Offset(0))), "older than all: nothing of it is left");
        assert_eq!(history.at(Offset(39)), Some(Epoch(3)));
        assert_eq!(history.at(Offset(40)), Some(Epoch(5)));
        assert_eq!(EpochHistory::default().end_of(Epoch(0), Offset(0)), None);
    }

    #[test]
    fn a_reign_without_a_record_is_forgotten_but_never_resumed() {
        let mut history = history(&[(1, 0), (2, 10), (4, 10)]);
        assert_eq!(history.reigns().len(), 2);
        assert_eq!(history.end_of(Epoch(2), Offset(12)), Some((Epoch(1), Offset(10))));
        history.truncate(Offset(10));
        assert_eq!(history.reigns(), [Reign { epoch: Epoch(1), start: Offset(0) }]);
        assert_eq!(history.opened(), Some(Epoch(4)));
    }

    #[test]
    #[should_panic(expected = "epoch 4 opened after")]
    fn an_epoch_is_opened_once() {
        let mut history = history(&[(4, 0)]);
        history.truncate(Offset(0));
        history.open(Epoch(4), Offset(0));
    }

    #[test]
    fn a_truncated_reign_can_be_followed_again() {
        let mut history = history(&[(1, 0), (3, 10)]);
        history.truncate(Offset(5));
        history.follow(Epoch(2), Offset(8));
        history.follow(Epoch(3), Offset(10));
        assert_eq!(history.reigns().last(), Some(&Reign { epoch: Epoch(3), start: Offset(10) }));
        history.truncate(Offset(9));
        assert_eq!((history.reigns().len(), history.opened()), (2, Some(Epoch(3))));
    }

    #[test]
    fn a_follower_takes_over_reigns_older_than_one_that_it_lost() {
        let mut history = history(&[(3, 0), (8, 50)]);
        history.truncate(Offset(40));
        history.follow(Epoch(6), Offset(40));
        assert_eq!(history.opened(), Some(Epoch(8)), "never opened again");
        history.follow(Epoch(9), Offset(40));
        assert_eq!(history.reigns().last(), Some(&Reign { epoch: Epoch(9), start: Offset(40) }));
        assert_eq!((history.reigns().len(), history.opened()), (2, Some(Epoch(9))));
    }

    #[test]
    #[should_panic(expected = "epoch 3 follows")]
    fn reigns_are_followed_in_their_order() {
        history(&[(3, 0)]).follow(Epoch(3), Offset(9));
    }

    #[test]
    fn trimming_keeps_the_reign_that_holds_the_log_start() {
        let mut history = history(&[(1, 0), (2, 10), (3, 20)]);
        history.trim(Offset(15));
        assert_eq!(history.reigns()[0].epoch, Epoch(2));
        history.trim(Offset(20));
        assert_eq!(history.reigns()[0].epoch, Epoch(3));
    }

    #[test]
    fn only_a_rising_history_is_restored() {
        let reign = |epoch, start| Reign { epoch: Epoch(epoch), start: Offset(start) };
        assert!(EpochHistory::restore(vec![reign(1, 0), reign(2, 5)], Some(Epoch(2))).is_some());
        assert!(EpochHistory::restore(vec![reign(2, 0), reign(1, 5)], Some(Epoch(2))).is_none());
        assert!(EpochHistory::restore(vec![reign(2, 0)], Some(Epoch(1))).is_none());
        assert!(EpochHistory::restore(vec![reign(2, 0)], None).is_none());
    }
}
