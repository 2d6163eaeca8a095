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

/// Reigns and end of a log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lineage<'a> {
    pub reigns: &'a [Reign],
    pub end: Offset,
}

impl Lineage<'_> {
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
        if follower.reigns.is_empty() {
            // No record, wherever its log begins.
            return Self { end: follower.end.min(leader.end), epoch: None };
        }
        // Nothing of the follower's own is in the leader's log.
        let starts = leader.reigns.first().into_iter().chain(follower.reigns.first());
        let end = starts.map(|reign| reign.start).fold(follower.end, Offset::min);
        Self { end, epoch: None }
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

    fn junction(
        leader: (&[(u32, u64)], u64),
        follower: (&[(u32, u64)], u64),
    ) -> (u64, Option<u32>, bool) {
        let (own, theirs) = (reigns(leader.0), reigns(follower.0));
        let follower = Lineage { reigns: &theirs, end: Offset(follower.1) };
        let junction = Junction::of(Lineage { reigns: &own, end: Offset(leader.1) }, follower);
        (junction.end.0, junction.epoch.map(|epoch| epoch.0), junction.cuts(follower))
    }

    #[test]
    fn logs_part_where_the_first_of_them_leaves_the_greatest_common_epoch() {
        let leader = (&[(3, 0), (5, 40), (9, 70)][..], 90);
        assert_eq!(junction(leader, (&[(3, 0), (5, 40), (6, 55)], 80)), (55, Some(5), true));
        assert_eq!(junction(leader, (&[(3, 0), (5, 40)], 80)), (70, Some(5), true));
        assert_eq!(junction(leader, (&[(3, 0), (5, 40)], 60)), (60, Some(5), false));
        assert_eq!(junction(leader, (&[(3, 0), (4, 20), (6, 55)], 80)), (20, Some(3), true));
        assert_eq!(junction(leader, (&[(3, 0), (5, 40), (9, 70)], 75)), (75, Some(9), false));
    }

    #[test]
    fn an_empty_reign_of_the_follower_goes_although_no_record_does() {
        assert_eq!(
            junction((&[(3, 0), (9, 70)], 90), (&[(3, 0), (5, 40)], 40)),
            (40, Some(3), true)
        );
    }

    #[test]
    fn without_a_common_epoch_the_follower_keeps_what_lies_before_both() {
        assert_eq!(junction((&[(3, 0), (9, 70)], 90), (&[], 0)), (0, None, false));
        assert_eq!(junction((&[(9, 70)], 90), (&[(3, 0)], 40)), (0, None, true));
        assert_eq!(junction((&[(9, 70)], 90), (&[], 80)), (80, None, false));
    }

    #[test]
    fn offsets_lie_in_reigns() {
        let own = reigns(&[(3, 0), (5, 40)]);
        let lineage = Lineage { reigns: &own, end: Offset(60) };
        assert_eq!(lineage.at(Offset(40)).map(|reign| reign.epoch), Some(Epoch(5)));
        assert_eq!(
            (lineage.end_at(Offset(39)), lineage.end_at(Offset(40))),
            (Offset(40), Offset(60))
        );
    }
}
