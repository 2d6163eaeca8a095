//! The bytes of an extent: a stretch of one partition's batches in a bin.
//!
//! ```text
//!  0            96                              96 + len          × 4096
//!  ┌────────────┬──────────────────────────────┬──────────────────┐
//!  │ record     │ batches, as they came        │ zero             │
//!  └────────────┴──────────────────────────────┴──────────────────┘
//!
//!  record  0 partition u64   8 base u64    16 end u64     24 stamp u64    32 max timestamp i64
//!         40 written ms i64 48 headers crc u32  52 len u32  56 page u32   60 bin u32
//!         64 generation u64 72 journal u64 80 magic "extent\x01\0"        88 crc u32   92 zero
//! ```
//! The same record stands before the batches, in the journal's `ExtentCommit` and in the bin's
//! footer. A batch's own CRC-32C leaves out its first 21 bytes; `headers crc` covers those of all
//! batches. An extent is what one read fetches, so it ends at 256 KiB, or with the one batch that is
//! larger. `stamp` is the youngest journal frame that was durable when the extent was written: a
//! journal that ends before it has lost its tail. All integers are little-endian.

use base::crc::{crc32c, crc32c_append};
use base::{Batch, Offset, PAGE_BYTES, PartitionId, Seq};
use zerocopy::little_endian::{I64, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::tail::walk;

/// Batches of an extent end here, unless one run alone is larger. A bin holds four at least.
pub(crate) const EXTENT_BYTES: u32 = 256 * 1024 - RECORD_BYTES as u32;
pub(crate) const RECORD_BYTES: usize = size_of::<ExtentRecord>();
const MAGIC: [u8; 8] = *b"extent\x01\0";
const COVERED_BYTES: usize = 88;

const _: () = assert!(RECORD_BYTES == 96);
const _: () = assert!(COVERED_BYTES == core::mem::offset_of!(ExtentRecord, crc));

/// An extent's record as it stands on disk.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct ExtentRecord {
    partition: U64,
    base: U64,
    end: U64,
    stamp: U64,
    max_timestamp: I64,
    written_ms: I64,
    headers_crc: U32,
    len: U32,
    page: U32,
    bin: U32,
    generation: U64,
    journal: U64,
    magic: [u8; 8],
    crc: U32,
    reserved: [u8; 4],
}

/// Where some of a partition's batches stand in the bins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub base: Offset,
    pub end: Offset,
    /// The youngest frame that was durable when it was written; of two extents with the same
    /// offsets the younger counts.
    pub stamp: Seq,
    /// Milliseconds, by the producers' word.
    pub max_timestamp: i64,
    /// When the broker first wrote it to a bin, ms.
    pub written_ms: i64,
    /// Bytes of the batches.
    pub len: u32,
    /// First page within the bin.
    pub page: u32,
    pub bin: u32,
    pub headers_crc: u32,
}

/// What an extent belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub journal: u64,
    /// How often the bin had been written before.
    pub generation: u64,
}

/// Whole pages that a record and `len` bytes of batches take.
pub(crate) fn pages_for(len: u32) -> u32 {
    (RECORD_BYTES as u32 + len).div_ceil(PAGE_BYTES as u32)
}

impl Extent {
    pub(crate) fn pages(&self) -> u32 {
        pages_for(self.len)
    }

    /// When the extent's age begins for retention: by the producers' word, but no later than the
    /// broker saw it, so that a timestamp from the future does not keep it for ever.
    pub(crate) fn retention_from_ms(&self) -> i64 {
        if self.max_timestamp < 0 {
            return self.written_ms;
        }
        self.max_timestamp.min(self.written_ms)
    }

    pub(crate) fn to_record(self, partition: PartitionId, owner: Owner) -> ExtentRecord {
        let mut record = ExtentRecord {
            partition: partition.to_u64().into(),
            base: self.base.0.into(),
            end: self.end.0.into(),
            stamp: self.stamp.0.into(),
            max_timestamp: self.max_timestamp.into(),
            written_ms: self.written_ms.into(),
            headers_crc: self.headers_crc.into(),
            len: self.len.into(),
            page: self.page.into(),
            bin: self.bin.into(),
            generation: owner.generation.into(),
            journal: owner.journal.into(),
            magic: MAGIC,
            crc: U32::ZERO,
            reserved: [0; 4],
        };
        record.crc = crc32c(&record.as_bytes()[..COVERED_BYTES]).into();
        record
    }
}

impl ExtentRecord {
    /// The record at the start of `bytes`, if there is one of `journal` with a sound checksum.
    pub(crate) fn read(bytes: &[u8], journal: u64) -> Option<&Self> {
        let (record, _) = Self::ref_from_prefix(bytes).ok()?;
        let sound = record.magic == MAGIC
            && record.journal.get() == journal
            && record.crc.get() == crc32c(&record.as_bytes()[..COVERED_BYTES])
            && record.base.get() < record.end.get();
        sound.then_some(record)
    }

    pub(crate) fn partition(&self) -> PartitionId {
        PartitionId::from_u64(self.partition.get())
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.get()
    }

    pub(crate) fn extent(&self) -> Extent {
        Extent {
            base: Offset(self.base.get()),
            end: Offset(self.end.get()),
            stamp: Seq(self.stamp.get()),
            max_timestamp: self.max_timestamp.get(),
            written_ms: self.written_ms.get(),
            len: self.len.get(),
            page: self.page.get(),
            bin: self.bin.get(),
            headers_crc: self.headers_crc.get(),
        }
    }
}

/// Extends a checksum over the bytes that the checksum of `batch` leaves out.
pub(crate) fn headers_crc(crc: u32, batch: &Batch<'_>) -> u32 {
    crc32c_append(crc, &batch.bytes()[..Batch::CRC_FROM])
}

/// Whether `bytes` are all the batches of `extent`, unharmed.
pub(crate) fn is_intact(extent: &Extent, bytes: &[u8]) -> bool {
    let mut crc = 0;
    let mut len = 0;
    let mut next = extent.base;
    for (_, batch) in walk(bytes) {
        if batch.base_offset() < next || batch.verify_checksum().is_err() {
            return false;
        }
        crc = headers_crc(crc, &batch);
        len += batch.bytes().len();
        next = batch.end_offset();
    }
    len == extent.len as usize && next == extent.end && crc == extent.headers_crc
}

#[cfg(test)]
mod tests {
    use base::TopicNumber;
    use base::batch::BatchBuilder;

    use super::*;

    fn extent(bytes: &[u8]) -> Extent {
        let batch = Batch::parse(bytes).unwrap();
        Extent {
            base: batch.base_offset(),
            end: batch.end_offset(),
            stamp: Seq(9),
            max_timestamp: 1_000,
            written_ms: 500,
            len: bytes.len() as u32,
            page: 3,
            bin: 4,
            headers_crc: headers_crc(0, &batch),
        }
    }

    fn batch() -> Vec<u8> {
        let mut builder = BatchBuilder::new(1_000);
        builder.push(1_000, None, Some(b"value"), &[]);
        builder.build()
    }

    #[test]
    fn a_record_survives_the_disk_and_a_flipped_bit_does_not() {
        let extent = extent(&batch());
        let id = PartitionId::new(TopicNumber(1), 2);
        let record = extent.to_record(id, Owner { journal: 7, generation: 8 });
        let mut bytes = record.as_bytes().to_vec();
        let read = ExtentRecord::read(&bytes, 7).unwrap();
        assert_eq!((read.extent(), read.partition(), read.generation()), (extent, id, 8));
        assert!(ExtentRecord::read(&bytes, 6).is_none(), "of another journal");
        for at in 0..COVERED_BYTES {
            bytes[at] ^= 1;
            assert!(ExtentRecord::read(&bytes, 7).is_none(), "byte {at}");
            bytes[at] ^= 1;
        }
    }

    #[test]
    fn no_byte_of_the_batches_can_change_unnoticed() {
        let mut bytes = batch();
        let extent = extent(&bytes);
        assert!(is_intact(&extent, &bytes));
        for at in 0..bytes.len() {
            bytes[at] ^= 0x10;
            assert!(!is_intact(&extent, &bytes), "byte {at}");
            bytes[at] ^= 0x10;
        }
    }

    #[test]
    fn retention_never_waits_for_the_future() {
        let mut extent = extent(&batch());
        assert_eq!(extent.retention_from_ms(), 500, "1,000 lies ahead of the broker's 500");
        extent.max_timestamp = 400;
        assert_eq!(extent.retention_from_ms(), 400);
        extent.max_timestamp = -1;
        assert_eq!(extent.retention_from_ms(), 500, "no timestamp at all");
    }
}
