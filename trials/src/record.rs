//! Records that say who made them, and whose bytes follow from that.
//!
//! ```text
//!   value:  run u64 │ producer u16 │ sequence u64 │ body drawn from the three
//!   key:    "producer/number"      one of 16 per producer, each at home in one partition
//! ```

use std::hash::{DefaultHasher, Hash, Hasher};

const STAMP_BYTES: usize = 18;
const KEYS: u64 = 16;

/// Names one record of a run: no two carry the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    pub producer: u16,
    /// Counts the records of the producer, from 0.
    pub sequence: u64,
}

/// What is sent.
#[derive(Debug)]
pub struct Record {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    /// Picks the partition: records of one key share it.
    pub lane: u64,
}

impl Stamp {
    /// The stamp in `value`, if a record of this `run` carries it and is whole.
    #[must_use]
    pub fn read(run: u64, value: &[u8]) -> Option<Self> {
        let head: &[u8; STAMP_BYTES] = value.first_chunk()?;
        let (of, rest) = head.split_first_chunk::<8>()?;
        let (producer, sequence) = rest.split_first_chunk::<2>()?;
        let sequence: &[u8; 8] = sequence.try_into().ok()?;
        (u64::from_le_bytes(*of) == run).then_some(Self {
            producer: u16::from_le_bytes(*producer),
            sequence: u64::from_le_bytes(*sequence),
        })
    }

    /// The record that carries this stamp, `body_bytes_max` and fewer behind it.
    #[must_use]
    pub fn record(self, run: u64, body_bytes_max: usize) -> Record {
        let key_number = self.sequence % KEYS;
        let mut dice = fastrand::Rng::with_seed(digest(&run.to_le_bytes(), &self.to_bytes()));
        let body_bytes = dice.usize(..=body_bytes_max);
        let mut value = Vec::with_capacity(STAMP_BYTES + body_bytes);
        value.extend_from_slice(&run.to_le_bytes());
        value.extend_from_slice(&self.to_bytes());
        value.extend(std::iter::repeat_with(|| dice.u8(..)).take(body_bytes));
        let key = format!("{}/{key_number}", self.producer).into_bytes();
        Record { key, value, lane: u64::from(self.producer) + key_number }
    }

    fn to_bytes(self) -> [u8; 10] {
        let mut bytes = [0; 10];
        bytes[..2].copy_from_slice(&self.producer.to_le_bytes());
        bytes[2..].copy_from_slice(&self.sequence.to_le_bytes());
        bytes
    }
}

/// Tells contents apart.
#[must_use]
pub fn digest(key: &[u8], value: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_carries_its_stamp_and_follows_from_it() {
        let stamp = Stamp { producer: 3, sequence: 77 };
        let record = stamp.record(9, 100);
        assert_eq!(Stamp::read(9, &record.value), Some(stamp));
        assert_eq!(Stamp::read(8, &record.value), None, "of another run");
        assert_eq!(Stamp::read(9, &record.value[..17]), None, "cut short");
        assert_eq!(stamp.record(9, 100).value, record.value);
        assert_ne!(Stamp { sequence: 78, ..stamp }.record(9, 100).value, record.value);
    }
}
