//! The log in memory: every entry as it stands in the journal.

use crate::cluster_log::message::Position;
use crate::{Entry, LogIndex, Term};

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Entries {
    encoded: Vec<Box<[u8]>>,
    /// Bytes of all entries up to and with each one.
    bytes_to: Vec<u64>,
}

impl Entries {
    pub(super) fn last(&self) -> LogIndex {
        LogIndex(self.encoded.len() as u64)
    }

    pub(super) fn last_position(&self) -> Position {
        let index = self.last();
        Position { index, term: self.term(index).expect("the last entry is there") }
    }

    /// The term of the entry; 0 before the first.
    pub(super) fn term(&self, index: LogIndex) -> Option<Term> {
        if index == LogIndex(0) {
            return Some(Term(0));
        }
        self.encoded.get(place(index)).map(|bytes| Entry::term_of(bytes))
    }

    /// Panics if there is none.
    pub(super) fn get(&self, index: LogIndex) -> Entry {
        Entry::decode(self.encoded(index)).expect("decoded before it was taken in")
    }

    /// Panics if there is none.
    pub(super) fn encoded(&self, index: LogIndex) -> &[u8] {
        &self.encoded[place(index)]
    }

    pub(super) fn push(&mut self, entry: &[u8]) {
        let before = self.bytes_to.last().copied().unwrap_or_default();
        self.encoded.push(entry.into());
        self.bytes_to.push(before + entry.len() as u64);
    }

    /// Drops the entry at `from` and all behind it.
    pub(super) fn truncate(&mut self, from: LogIndex) {
        self.encoded.truncate(place(from));
        self.bytes_to.truncate(place(from));
    }

    /// Bytes of the entries behind `after` up to and with `to`.
    pub(super) fn bytes_between(&self, after: LogIndex, to: LogIndex) -> u64 {
        let bytes_to = |index: LogIndex| match index.0 {
            0 => 0,
            _ => self.bytes_to[place(index)],
        };
        bytes_to(to) - bytes_to(after)
    }

    /// Entries from `from` on: as many as fit in `bytes_max`, and one at least if there is one.
    pub(super) fn batch(&self, from: LogIndex, bytes_max: usize) -> Vec<Vec<u8>> {
        let mut room = bytes_max;
        let mut batch = Vec::new();
        for entry in &self.encoded[place(from)..] {
            if room < entry.len() && !batch.is_empty() {
                break;
            }
            room = room.saturating_sub(entry.len());
            batch.push(entry.to_vec());
        }
        batch
    }

    /// The first index of the run of entries of one term that `index` stands in.
    pub(super) fn first_of_run(&self, mut index: LogIndex) -> LogIndex {
        let term = self.term(index);
        while 1 < index.0 && self.term(LogIndex(index.0 - 1)) == term {
            index.0 -= 1;
        }
        index
    }
}

fn place(index: LogIndex) -> usize {
    index.0.checked_sub(1).expect("entries are counted from 1") as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Command;

    fn entries(terms: &[u32]) -> Entries {
        let mut entries = Entries::default();
        for (at, term) in terms.iter().enumerate() {
            let (term, index) = (Term(*term), LogIndex(at as u64 + 1));
            let command = Command::FeatureLevelRaised { level: 1 };
            entries.push(&Entry { term, index, command }.encode());
        }
        entries
    }

    #[test]
    fn a_batch_is_bounded_and_never_empty_while_there_is_an_entry() {
        let entries = entries(&[1, 1, 2]);
        let bytes = entries.encoded(LogIndex(1)).len();
        assert_eq!(entries.batch(LogIndex(1), 0).len(), 1);
        assert_eq!(entries.batch(LogIndex(1), 2 * bytes + 1).len(), 2);
        assert_eq!(entries.batch(LogIndex(2), usize::MAX).len(), 2);
        assert!(entries.batch(LogIndex(4), usize::MAX).is_empty());
        assert_eq!(entries.bytes_between(LogIndex(0), LogIndex(3)), 3 * bytes as u64);
    }

    #[test]
    fn a_run_begins_where_its_term_does() {
        let mut entries = entries(&[1, 1, 3, 3, 3]);
        assert_eq!(entries.first_of_run(LogIndex(5)), LogIndex(3));
        assert_eq!(entries.first_of_run(LogIndex(2)), LogIndex(1));
        entries.truncate(LogIndex(2));
        assert_eq!(entries.last_position(), Position { index: LogIndex(1), term: Term(1) });
        assert_eq!(entries.term(LogIndex(2)), None);
        assert_eq!(entries.term(LogIndex(0)), Some(Term(0)));
    }
}
