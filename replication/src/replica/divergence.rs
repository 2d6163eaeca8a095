//! Where two logs part.
//!
//! ```text
//!   leader    3: 0 ── 5: 40 ──────── 9: 70 ── end 90
//!   follower  3: 0 ── 5: 40 ── 6: 55 ──────── end 80     e* = 5: min(70, 55) = 55
//! ```
//! The greatest common epoch was written by one leader, so both logs agree up to where the first of
//! them leaves it. Asking only the leader's history, as Kafka did before KIP-279, keeps records of
//! the follower's own that the leader never had.

use base::{Epoch, Offset, Reign};

use super::log::LogView;

/// Reigns and ends of a log. What lies before its start was committed, and is like everybody's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lineage<'a> {
    pub reigns: &'a [Reign],
    pub start: Offset,
    pub end: Offset,
}

impl<'a> Lineage<'a> {
    pub(super) fn of(reigns: &'a [Reign], view: &LogView) -> Self {
        Self { reigns, start: view.log_start.0, end: view.log_end.0 }
    }

    /// The newest epoch of this log that stands in `other` too.
    fn common(&self, other: Lineage<'_>) -> Option<Epoch> {
        self.reigns
            .iter()
            .rev()
            .map(|reign| reign.epoch)
            .find(|epoch| other.index(*epoch).is_some())
    }

    fn index(&self, epoch: Epoch) -> Option<usize> {
        self.reigns.binary_search_by_key(&epoch, |reign| reign.epoch).ok()
    }

    /// Where `epoch`, which is one of the reigns, ends.
    fn end_of(&self, epoch: Epoch) -> Offset {
        let next = self.index(epoch).and_then(|index| self.reigns.get(index + 1));
        next.map_or(self.end, |next| next.start)
    }

    /// The reign that a record at `offset` would be of, if the log holds or is to hold one there.
    pub(super) fn at(&self, offset: Offset) -> Option<Reign> {
        let after = self.reigns.partition_point(|reign| reign.start <= offset);
        after.checked_sub(1).map(|index| self.reigns[index])
    }

    /// Where the reign that `offset` lies in ends.
    pub(super) fn end_at(&self, offset: Offset) -> Offset {
        let after = self.reigns.partition_point(|reign| reign.start <= offset);
        self.reigns.get(after).map_or(self.end, |next| next.start)
    }

    pub(super) fn last_epoch(&self) -> Option<Epoch> {
        self.reigns.last().map(|reign| reign.epoch)
    }
}

/// How far a follower's log is a beginning of its leader's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Junction {
    /// The follower's log joins there.
    pub end: Offset,
    /// The reign that it ends in. Later ones of the follower are to be dropped.
    pub epoch: Option<Epoch>,
}

impl Junction {
    pub(super) fn of(leader: Lineage<'_>, follower: Lineage<'_>) -> Self {
        if let Some(epoch) = follower.common(leader) {
            let end = leader.end_of(epoch).min(follower.end_of(epoch));
            return Self { end, epoch: Some(epoch) };
        }
        // Every record that the follower holds is its own.
        Self { end: follower.start.min(leader.end), epoch: None }
    }

    /// Whether `follower` holds something behind the junction.
    pub(super) fn cuts(&self, follower: Lineage<'_>) -> bool {
        self.end < follower.end || self.epoch < follower.last_epoch()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reigns(list: &[(u32, u64)]) -> Vec<Reign> {
        let reign =
            |(epoch, start): &(u32, u64)| Reign { epoch: Epoch(*epoch), start: Offset(*start) };
        list.iter().map(reign).collect()
    }

    type Log<'a> = (&'a [(u32, u64)], u64, u64);

    fn junction(leader: Log<'_>, follower: Log<'_>) -> (u64, Option<u32>, bool) {
        let (own, theirs) = (reigns(leader.0), reigns(follower.0));
        let lineage = |reigns, (_, start, end): Log<'_>| {
            let (start, end) = (Offset(start), Offset(end));
            Lineage { reigns, start, end }
        };
        let follower = lineage(&theirs, follower);
        let junction = Junction::of(lineage(&own, leader), follower);
        (junction.end.0, junction.epoch.map(|epoch| epoch.0), junction.cuts(follower))
    }

    #[test]
    fn logs_part_where_the_first_of_them_leaves_the_greatest_common_epoch() {
        let leader = (&[(3, 0), (5, 40), (9, 70)][..], 0, 90);
        assert_eq!(junction(leader, (&[(3, 0), (5, 40), (6, 55)], 0, 80)), (55, Some(5), true));
        assert_eq!(junction(leader, (&[(3, 0), (5, 40)], 0, 80)), (70, Some(5), true));
        assert_eq!(junction(leader, (&[(3, 0), (5, 40)], 0, 60)), (60, Some(5), false));
        assert_eq!(junction(leader, (&[(3, 0), (4, 20), (6, 55)], 0, 80)), (20, Some(3), true));
        assert_eq!(junction(leader, (&[(3, 0), (5, 40), (9, 70)], 0, 75)), (75, Some(9), false));
    }

    #[test]
    fn an_empty_reign_of_the_follower_goes_although_no_record_does() {
        let leader = (&[(3, 0), (9, 70)][..], 0, 90);
        assert_eq!(junction(leader, (&[(3, 0), (5, 40)], 0, 40)), (40, Some(3), true));
    }

    #[test]
    fn without_a_common_epoch_the_follower_keeps_what_was_committed_and_deleted() {
        assert_eq!(junction((&[(3, 0), (9, 70)], 0, 90), (&[], 0, 0)), (0, None, false));
        assert_eq!(junction((&[(9, 70)], 75, 90), (&[(3, 0)], 0, 40)), (0, None, true));
        assert_eq!(junction((&[(9, 70)], 70, 90), (&[], 80, 80)), (80, None, false));
        // Epoch 5 left no record in the leader's log, epoch 3 none in the follower's.
        assert_eq!(junction((&[(3, 0), (9, 70)], 0, 90), (&[(5, 70)], 70, 70)), (70, None, true));
    }

    #[test]
    fn offsets_lie_in_reigns() {
        let own = reigns(&[(3, 0), (5, 40)]);
        let lineage = Lineage { reigns: &own, start: Offset(0), end: Offset(60) };
        assert_eq!(lineage.at(Offset(40)).map(|reign| reign.epoch), Some(Epoch(5)));
        let ends = (lineage.end_at(Offset(39)), lineage.end_at(Offset(40)));
        assert_eq!(ends, (Offset(40), Offset(60)));
    }
}
