//! What producers were told, held against what the log says.
//!
//! The ledger lives outside the server and its disk. Producers are idempotent, so a record that was
//! sent appears at most once, acked or not; one that was acked appears at the offset it was told.

use core::fmt;
use std::collections::{BTreeSet, HashMap};

use crate::record::Stamp;

/// A promise: the record with this stamp and these bytes is at this offset, for good. The offset is
/// negative if the client was told only that the record is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    pub partition: i32,
    pub offset: i64,
    pub stamp: Stamp,
    pub digest: u64,
}

/// A record as a consumer saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    pub offset: i64,
    /// `None` if no producer of this run made it.
    pub stamp: Option<Stamp>,
    pub digest: u64,
}

/// Everything that producers were told.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    pub acks: Vec<Ack>,
    /// Sends that ended without an ack, each with the client's reason.
    pub refusals: Vec<(Stamp, String)>,
    /// What the client reported apart from single records, each kind once.
    pub complaints: BTreeSet<String>,
}

/// A broken promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Nothing, or another record, is where the acked one should be.
    Lost(Ack),
    /// The acked record is in its place with other bytes.
    Altered(Ack),
    /// A record that no producer sent.
    Foreign { partition: i32, offset: i64 },
    /// One record at two offsets.
    Duplicated { partition: i32, stamp: Stamp, first: i64, again: i64 },
    /// A producer's record behind one that it sent later.
    Reordered { partition: i32, stamp: Stamp, offset: i64, behind: u64 },
    /// Offsets that are not dense.
    Gap { partition: i32, expected: i64, found: i64 },
}

/// The outcome of an audit.
#[derive(Debug, Default)]
pub struct Verdict {
    pub acked: usize,
    /// Of those, how many without an offset.
    pub unplaced: usize,
    pub found: usize,
    pub violations: Vec<Violation>,
}

impl Ledger {
    /// Holds every ack against `log`, the whole of each partition in the order that it was read in.
    /// `digest_of` says what the record with a stamp must look like.
    #[must_use]
    pub fn audit(
        &self,
        log: &HashMap<i32, Vec<Found>>,
        digest_of: impl Fn(Stamp) -> u64,
    ) -> Verdict {
        let mut verdict = Verdict {
            acked: self.acks.len(),
            unplaced: self.acks.iter().filter(|ack| ack.offset < 0).count(),
            found: log.values().map(Vec::len).sum(),
            violations: Vec::new(),
        };
        for (partition, records) in log {
            check_density(*partition, records, &mut verdict.violations);
            check_contents(
                *partition,
                records,
                digest_of_if_sent(&digest_of),
                &mut verdict.violations,
            );
            check_order(*partition, records, &mut verdict.violations);
        }
        self.check_acks(log, &mut verdict.violations);
        verdict
    }

    fn check_acks(&self, log: &HashMap<i32, Vec<Found>>, violations: &mut Vec<Violation>) {
        let places: HashMap<(i32, i64), &Found> = log
            .iter()
            .flat_map(|(partition, records)| {
                records.iter().map(|found| ((*partition, found.offset), found))
            })
            .collect();
        let known = |ack: &&Ack| 0 <= ack.offset;
        for ack in self.acks.iter().filter(|ack| !known(ack)) {
            let records = log.get(&ack.partition).into_iter().flatten();
            let mut same = records.filter(|found| found.stamp == Some(ack.stamp));
            if same.all(|found| found.digest != ack.digest) {
                violations.push(Violation::Lost(*ack));
            }
        }
        for ack in self.acks.iter().filter(known) {
            match places.get(&(ack.partition, ack.offset)) {
                Some(found) if found.stamp != Some(ack.stamp) => {
                    violations.push(Violation::Lost(*ack));
                }
                Some(found) if found.digest != ack.digest => {
                    violations.push(Violation::Altered(*ack));
                }
                Some(_) => {}
                None => violations.push(Violation::Lost(*ack)),
            }
        }
    }
}

fn digest_of_if_sent(digest_of: &impl Fn(Stamp) -> u64) -> impl Fn(&Found) -> bool {
    move |found| found.stamp.is_some_and(|stamp| digest_of(stamp) == found.digest)
}

fn check_density(partition: i32, records: &[Found], violations: &mut Vec<Violation>) {
    let mut expected = 0;
    for found in records {
        if found.offset != expected {
            violations.push(Violation::Gap { partition, expected, found: found.offset });
        }
        expected = found.offset + 1;
    }
}

fn check_contents(
    partition: i32,
    records: &[Found],
    was_sent: impl Fn(&Found) -> bool,
    violations: &mut Vec<Violation>,
) {
    for found in records.iter().filter(|found| !was_sent(found)) {
        violations.push(Violation::Foreign { partition, offset: found.offset });
    }
}

fn check_order(partition: i32, records: &[Found], violations: &mut Vec<Violation>) {
    let mut places: HashMap<Stamp, i64> = HashMap::new();
    let mut latest: HashMap<u16, u64> = HashMap::new();
    for found in records {
        let Some(stamp) = found.stamp else { continue };
        if let Some(first) = places.insert(stamp, found.offset) {
            let again = found.offset;
            violations.push(Violation::Duplicated { partition, stamp, first, again });
            continue;
        }
        let behind = latest.entry(stamp.producer).or_insert(stamp.sequence);
        if stamp.sequence < *behind {
            let (offset, behind) = (found.offset, *behind);
            violations.push(Violation::Reordered { partition, stamp, offset, behind });
        }
        *behind = stamp.sequence.max(*behind);
    }
}

impl Verdict {
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    /// Acked records that are not where they should be.
    #[must_use]
    pub fn lost(&self) -> usize {
        self.count(|violation| matches!(violation, Violation::Lost(_)))
    }

    fn count(&self, kind: impl Fn(&Violation) -> bool) -> usize {
        self.violations.iter().filter(|violation| kind(violation)).count()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} acked ({} without an offset), {} found: {} lost, {} altered, {} foreign, {} duplicated, {} reordered, \
             {} gaps",
            self.acked,
            self.unplaced,
            self.found,
            self.lost(),
            self.count(|violation| matches!(violation, Violation::Altered(_))),
            self.count(|violation| matches!(violation, Violation::Foreign { .. })),
            self.count(|violation| matches!(violation, Violation::Duplicated { .. })),
            self.count(|violation| matches!(violation, Violation::Reordered { .. })),
            self.count(|violation| matches!(violation, Violation::Gap { .. })),
        )?;
        match self.violations.first() {
            Some(first) => write!(f, "; first: {first:?}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(sequence: u64) -> Stamp {
        Stamp { producer: 1, sequence }
    }

    fn digest_of(stamp: Stamp) -> u64 {
        stamp.sequence * 1000
    }

    /// Records 0..count of one producer in partition 0, all acked.
    fn story(count: u64) -> (Ledger, Vec<Found>) {
        let acks = (0..count).map(|n| Ack {
            partition: 0,
            offset: n as i64,
            stamp: stamp(n),
            digest: digest_of(stamp(n)),
        });
        let found = (0..count).map(|n| Found {
            offset: n as i64,
            stamp: Some(stamp(n)),
            digest: digest_of(stamp(n)),
        });
        (Ledger { acks: acks.collect(), ..Ledger::default() }, found.collect())
    }

    fn violations(ledger: &Ledger, found: Vec<Found>) -> Vec<Violation> {
        ledger.audit(&HashMap::from([(0, found)]), digest_of).violations
    }

    #[test]
    fn a_log_that_holds_every_ack_is_clean() {
        let (mut ledger, found) = story(10);
        assert_eq!(violations(&ledger, found.clone()), []);
        ledger.acks.pop();
        assert_eq!(violations(&ledger, found), [], "an unacked record may be there");
    }

    #[test]
    fn an_ack_without_an_offset_wants_its_record_somewhere() {
        let (mut ledger, mut found) = story(3);
        ledger.acks[2].offset = -1001;
        assert_eq!(violations(&ledger, found.clone()), []);
        found[2].stamp = Some(stamp(9));
        found[2].digest = digest_of(stamp(9));
        assert_eq!(violations(&ledger, found), [Violation::Lost(ledger.acks[2])]);
    }

    #[test]
    fn a_lost_tail_is_lost() {
        let (ledger, mut found) = story(10);
        found.pop();
        assert_eq!(violations(&ledger, found), [Violation::Lost(ledger.acks[9])]);
    }

    #[test]
    fn a_record_lost_in_the_middle_leaves_a_gap() {
        let (ledger, mut found) = story(10);
        found.remove(4);
        let gap = Violation::Gap { partition: 0, expected: 4, found: 5 };
        assert_eq!(violations(&ledger, found), [gap, Violation::Lost(ledger.acks[4])]);
    }

    #[test]
    fn a_missing_partition_is_lost() {
        let (ledger, _) = story(2);
        let verdict = ledger.audit(&HashMap::new(), digest_of);
        assert_eq!(verdict.lost(), 2);
    }

    #[test]
    fn another_record_at_an_acked_offset_loses_the_acked_one() {
        let (ledger, mut found) = story(3);
        (found[2].stamp, found[2].digest) = (Some(stamp(7)), digest_of(stamp(7)));
        assert_eq!(violations(&ledger, found), [Violation::Lost(ledger.acks[2])]);
    }

    #[test]
    fn other_bytes_are_altered_and_were_never_sent() {
        let (ledger, mut found) = story(3);
        found[1].digest += 1;
        let foreign = Violation::Foreign { partition: 0, offset: 1 };
        assert_eq!(violations(&ledger, found), [foreign, Violation::Altered(ledger.acks[1])]);
    }

    #[test]
    fn a_record_that_appears_twice_is_duplicated() {
        let (ledger, mut found) = story(3);
        found.push(Found { offset: 3, ..found[2] });
        let twice = Violation::Duplicated { partition: 0, stamp: stamp(2), first: 2, again: 3 };
        assert_eq!(violations(&ledger, found), [twice]);
    }

    #[test]
    fn a_record_behind_a_later_one_is_reordered() {
        let (_, mut found) = story(3);
        found.swap(1, 2);
        (found[1].offset, found[2].offset) = (1, 2);
        let late = Violation::Reordered { partition: 0, stamp: stamp(1), offset: 2, behind: 2 };
        assert_eq!(violations(&Ledger::default(), found), [late]);
    }

    #[test]
    fn a_log_that_does_not_begin_at_zero_has_a_gap() {
        let (_, found) = story(3);
        let gap = Violation::Gap { partition: 0, expected: 0, found: 1 };
        assert_eq!(violations(&Ledger::default(), found[1..].to_vec()), [gap]);
    }
}
