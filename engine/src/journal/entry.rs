//! What a journal frame remembers: entries, of a kind, for a partition.

use base::{Epoch, Offset, PartitionId, Seq, Span};

/// What an entry says. Its payload is the business of whoever appends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// One RecordBatch v2, sequenced: base offset and epoch stand in the batch as in the entry.
    Batch,
    EpochOpen,
    Truncate,
    LogStart,
    PartitionCreated,
    PartitionDeleted,
    Producers,
    ExtentCommit,
    BinFree,
    BinSealed,
    /// A free bin is written again, under the next generation.
    BinOpened,
    /// All bins of the shard with state and generation.
    BinTable,
    /// Leaders of lower epochs are not listened to any more: many partitions in one payload.
    Promise,
    /// Everything said of the partition before is void; the payload is its state from here on.
    StartOver,
    /// State of whatever stands on the log (groups), 0–127.
    State(u8),
}

const KINDS: [EntryKind; 14] = [
    EntryKind::Batch,
    EntryKind::EpochOpen,
    EntryKind::Truncate,
    EntryKind::LogStart,
    EntryKind::PartitionCreated,
    EntryKind::PartitionDeleted,
    EntryKind::Producers,
    EntryKind::ExtentCommit,
    EntryKind::BinFree,
    EntryKind::BinSealed,
    EntryKind::BinOpened,
    EntryKind::BinTable,
    EntryKind::Promise,
    EntryKind::StartOver,
];

/// Kinds from here on are [`EntryKind::State`].
const FIRST_STATE: u8 = 128;

impl EntryKind {
    /// The kind's byte on disk. Kinds may be added to the format's version, never renumbered.
    #[must_use]
    pub fn to_u8(self) -> u8 {
        match self {
            Self::State(number) => {
                assert!(number < FIRST_STATE, "state kind {number} is above 127");
                FIRST_STATE + number
            }
            named => 1 + KINDS.iter().position(|kind| *kind == named).expect("listed") as u8,
        }
    }

    /// The inverse of [`EntryKind::to_u8`].
    #[must_use]
    pub fn from_u8(byte: u8) -> Option<Self> {
        match byte.checked_sub(FIRST_STATE) {
            Some(number) => Some(Self::State(number)),
            None => KINDS.get(usize::from(byte).checked_sub(1)?).copied(),
        }
    }
}

/// An entry to append, without its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewEntry {
    pub kind: EntryKind,
    /// Repeats an older entry so that the journal's start may pass it. Replay does not count it as
    /// a new append.
    pub carried: bool,
    pub partition: PartitionId,
    pub epoch: Epoch,
    pub base: Offset,
    /// Offsets covered: `base .. base + count`.
    pub count: u32,
}

impl NewEntry {
    /// Whether the entry may use the reserved segments: all but new batches, because carrying
    /// forward and committing extents is what empties a full journal.
    #[must_use]
    pub fn may_use_reserve(&self) -> bool {
        self.carried || self.kind != EntryKind::Batch
    }
}

/// Where an appended entry went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The frame to wait for.
    pub seq: Seq,
    /// The entry's index within that frame.
    pub entry: u32,
    /// The payload in the arena. Readable at once; on stable storage when `seq` is durable.
    pub span: Span,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_survive_their_byte() {
        for byte in 0..=u8::MAX {
            match EntryKind::from_u8(byte) {
                Some(kind) => assert_eq!(kind.to_u8(), byte),
                None => assert!(byte == 0 || (15..128).contains(&byte), "byte {byte}"),
            }
        }
    }

    #[test]
    fn only_new_batches_stay_out_of_the_reserve() {
        let batch = NewEntry {
            kind: EntryKind::Batch,
            carried: false,
            partition: PartitionId::default(),
            epoch: Epoch(0),
            base: Offset(0),
            count: 1,
        };
        assert!(!batch.may_use_reserve());
        assert!(NewEntry { carried: true, ..batch }.may_use_reserve());
        assert!(NewEntry { kind: EntryKind::ExtentCommit, ..batch }.may_use_reserve());
    }
}
