//! A view of Kafka's RecordBatch v2, the one format from the producer's buffer to the consumer's.
//!
//! ```text
//!  0 base offset i64 ┐ set by the broker,
//!  8 length i32      │ (bytes behind this field)
//! 12 leader epoch i32┘ outside the checksum
//! 16 magic i8 = 2     17 crc32c u32 of bytes 21..end
//! 21 attributes i16   23 last offset delta i32
//! 27 base timestamp i64   35 largest timestamp i64
//! 43 producer id i64  51 producer epoch i16  53 base sequence i32
//! 57 record count i32     61 records, one blob if compressed
//! ```
//! Source: Kafka's `DefaultRecordBatch`. Integers are big-endian.

use core::fmt;

use crate::crc::{crc32c, crc32c_changed};
use crate::{Epoch, Offset};

/// A batch whose header was checked: lengths agree, magic is 2, counts are positive and dense.
#[derive(Clone, Copy)]
pub struct Batch<'a>(&'a [u8]);

/// What is wrong with bytes that should be a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchError {
    /// Fewer bytes than the batch says it has (or than any batch has).
    Truncated,
    /// Bytes behind the batch: a produce request carries exactly one per partition.
    Trailing,
    /// Not magic 2.
    Magic(u8),
    /// The checksum does not match.
    Checksum,
    /// The record count is not positive or does not match the last offset delta.
    Count,
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => write!(f, "the record batch is shorter than it claims"),
            Self::Trailing => write!(f, "more bytes than one record batch"),
            Self::Magic(magic) => write!(f, "record batch magic {magic}, only 2 is served"),
            Self::Checksum => write!(f, "the record batch fails its checksum"),
            Self::Count => write!(f, "record count and last offset delta disagree"),
        }
    }
}

impl std::error::Error for BatchError {}

macro_rules! be {
    ($bytes:expr, $at:expr, $int:ty) => {{
        const WIDTH: usize = size_of::<$int>();
        let mut raw = [0; WIDTH];
        raw.copy_from_slice(&$bytes[$at..$at + WIDTH]);
        <$int>::from_be_bytes(raw)
    }};
}

impl<'a> Batch<'a> {
    /// Bytes of the header, records excluded.
    pub const HEADER_BYTES: usize = 61;
    /// Bytes before and including the length field.
    pub const PREFIX_BYTES: usize = 12;
    /// First byte that the checksum covers.
    pub const CRC_FROM: usize = 21;

    /// The batch that is all of `bytes`. Its checksum is not looked at: see
    /// [`Batch::verify_checksum`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BatchError> {
        let (batch, rest) = Self::parse_prefix(bytes)?;
        if rest.is_empty() { Ok(batch) } else { Err(BatchError::Trailing) }
    }

    /// The batch at the start of `bytes`, and what follows it.
    pub fn parse_prefix(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), BatchError> {
        let (batch, rest) = Self::parse_sparse_prefix(bytes)?;
        if batch.count_field() < 1 || batch.last_delta() != batch.count_field() - 1 {
            return Err(BatchError::Count);
        }
        Ok((batch, rest))
    }

    /// As [`Batch::parse_prefix`], for what other brokers serve: a compacted batch has fewer records
    /// than offsets, or none. Only [`Batch::sparse_end_offset`] tells where such a batch ends.
    pub fn parse_sparse_prefix(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), BatchError> {
        if bytes.len() < Self::HEADER_BYTES {
            return Err(BatchError::Truncated);
        }
        let length = usize::try_from(be!(bytes, 8, i32)).map_err(|_| BatchError::Truncated)?;
        let total = Self::PREFIX_BYTES + length;
        if total < Self::HEADER_BYTES || bytes.len() < total {
            return Err(BatchError::Truncated);
        }
        if bytes[16] != 2 {
            return Err(BatchError::Magic(bytes[16]));
        }
        let (own, rest) = bytes.split_at(total);
        let batch = Self(own);
        if batch.count_field() < 0 || batch.last_delta() < 0 {
            return Err(BatchError::Count);
        }
        Ok((batch, rest))
    }

    /// Bytes of the batch that starts at `bytes`, if its length field is there and positive.
    #[must_use]
    pub fn peek_len(bytes: &[u8]) -> Option<usize> {
        let prefix = bytes.get(..Self::PREFIX_BYTES)?;
        let length = usize::try_from(be!(prefix, 8, i32)).ok()?;
        (Self::HEADER_BYTES - Self::PREFIX_BYTES <= length).then(|| Self::PREFIX_BYTES + length)
    }

    /// Compares the stored checksum with the bytes: the one full pass over a record at ingress.
    pub fn verify_checksum(&self) -> Result<(), BatchError> {
        if crc32c(self.covered()) == self.crc() { Ok(()) } else { Err(BatchError::Checksum) }
    }

    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.0
    }

    /// What the checksum covers.
    #[must_use]
    pub fn covered(&self) -> &'a [u8] {
        &self.0[Self::CRC_FROM..]
    }

    /// The base offset field; meaningful only in a batch that a broker has sequenced.
    #[must_use]
    pub fn base_offset(&self) -> Offset {
        Offset(be!(self.0, 0, u64))
    }

    /// One past the offset of the last record.
    #[must_use]
    pub fn end_offset(&self) -> Offset {
        self.base_offset().plus(u64::from(self.record_count()))
    }

    /// One past the last offset that a sparse batch covers.
    #[must_use]
    pub fn sparse_end_offset(&self) -> Offset {
        self.base_offset().plus(self.last_delta() as u64 + 1)
    }

    #[must_use]
    pub fn epoch(&self) -> Epoch {
        Epoch(be!(self.0, 12, u32))
    }

    #[must_use]
    pub fn crc(&self) -> u32 {
        be!(self.0, 17, u32)
    }

    #[must_use]
    pub fn attributes(&self) -> u16 {
        be!(self.0, 21, u16)
    }

    /// 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd; 5–7 are undefined.
    #[must_use]
    pub fn codec(&self) -> u8 {
        (self.attributes() & 0x07) as u8
    }

    #[must_use]
    pub fn is_log_append_time(&self) -> bool {
        self.attributes() & 0x08 != 0
    }

    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.attributes() & 0x10 != 0
    }

    #[must_use]
    pub fn is_control(&self) -> bool {
        self.attributes() & 0x20 != 0
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn base_timestamp(&self) -> i64 {
        be!(self.0, 27, i64)
    }

    /// Milliseconds since 1970; the largest of the batch's records by the producer's word.
    #[must_use]
    pub fn max_timestamp(&self) -> i64 {
        be!(self.0, 35, i64)
    }

    /// −1: the producer is not idempotent.
    #[must_use]
    pub fn producer_id(&self) -> i64 {
        be!(self.0, 43, i64)
    }

    #[must_use]
    pub fn producer_epoch(&self) -> i16 {
        be!(self.0, 51, i16)
    }

    #[must_use]
    pub fn base_sequence(&self) -> i32 {
        be!(self.0, 53, i32)
    }

    #[must_use]
    pub fn record_count(&self) -> u32 {
        self.count_field() as u32
    }

    /// The records behind the header, compressed if [`Batch::codec`] is not 0.
    #[must_use]
    pub fn records(&self) -> &'a [u8] {
        &self.0[Self::HEADER_BYTES..]
    }

    fn last_delta(&self) -> i32 {
        be!(self.0, 23, i32)
    }

    fn count_field(&self) -> i32 {
        be!(self.0, 57, i32)
    }
}

impl fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Batch({}..{}, epoch {}, {} bytes)",
            self.base_offset(),
            self.end_offset(),
            self.epoch(),
            self.0.len()
        )
    }
}

/// The 12 bytes a broker sets: base offset and leader epoch, with the length between them kept.
#[must_use]
pub fn sequenced_prefix(batch: &Batch<'_>, base: Offset, epoch: Epoch) -> [u8; 16] {
    let mut prefix = [0; 16];
    prefix.copy_from_slice(&batch.bytes()[..16]);
    prefix[..8].copy_from_slice(&base.0.to_be_bytes());
    prefix[12..].copy_from_slice(&epoch.0.to_be_bytes());
    prefix
}

/// Up to here a pass over the bytes takes less than the arithmetic that spares it, about 1 µs.
const SMALL_BYTES: usize = 8 << 10;

/// Rewrites a batch for a topic with LogAppendTime: type bit, largest timestamp, checksum.
/// The producer's checksum must have been verified before: of a large batch the new one follows from
/// it, without a second pass over the records.
pub fn stamp_append_time(batch: &mut [u8], append_time_ms: i64) {
    const CHANGED: core::ops::Range<usize> = Batch::CRC_FROM..43;
    let mut after = [0; CHANGED.end - CHANGED.start];
    after.copy_from_slice(&batch[CHANGED]);
    let attributes = be!(batch, 21, u16) | 0x08;
    after[..2].copy_from_slice(&attributes.to_be_bytes());
    after[14..].copy_from_slice(&append_time_ms.to_be_bytes());
    let behind = batch.len() - CHANGED.end;
    let old = be!(batch, 17, u32);
    let of_large =
        (SMALL_BYTES < behind).then(|| crc32c_changed(old, &batch[CHANGED], &after, behind));
    batch[CHANGED].copy_from_slice(&after);
    let crc = of_large.unwrap_or_else(|| crc32c(&batch[Batch::CRC_FROM..]));
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// Builds uncompressed batches: for tests, the cluster log and our own clients.
#[derive(Debug)]
pub struct BatchBuilder {
    bytes: Vec<u8>,
    count: u32,
    base_timestamp: i64,
    max_timestamp: i64,
}

/// One header of a record.
pub type Header<'a> = (&'a str, Option<&'a [u8]>);

impl BatchBuilder {
    /// An empty batch; record timestamps are kept relative to `base_timestamp` (ms).
    #[must_use]
    pub fn new(base_timestamp: i64) -> Self {
        let bytes = vec![0; Batch::HEADER_BYTES];
        Self { bytes, count: 0, base_timestamp, max_timestamp: base_timestamp }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes so far, header included.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Adds a record.
    pub fn push(
        &mut self,
        at: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) {
        let mut body = Vec::with_capacity(value.map_or(0, <[u8]>::len) + 32);
        body.push(0);
        put_varint(&mut body, at - self.base_timestamp);
        put_varint(&mut body, i64::from(self.count));
        put_bytes(&mut body, key);
        put_bytes(&mut body, value);
        put_varint(&mut body, headers.len() as i64);
        for (name, value) in headers {
            put_bytes(&mut body, Some(name.as_bytes()));
            put_bytes(&mut body, *value);
        }
        put_varint(&mut self.bytes, body.len() as i64);
        self.bytes.extend_from_slice(&body);
        self.count += 1;
        self.max_timestamp = self.max_timestamp.max(at);
    }

    /// The batch of a producer that is not idempotent. Panics if it is empty.
    #[must_use]
    pub fn build(self) -> Vec<u8> {
        self.build_with(0, -1, -1, -1)
    }

    /// The batch with attributes and an idempotent producer's id, epoch and base sequence.
    #[must_use]
    pub fn build_with(self, attributes: u16, producer: i64, epoch: i16, sequence: i32) -> Vec<u8> {
        assert!(0 < self.count, "a batch holds at least one record");
        let mut bytes = self.bytes;
        let length = (bytes.len() - Batch::PREFIX_BYTES) as i32;
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes[16] = 2;
        bytes[21..23].copy_from_slice(&attributes.to_be_bytes());
        bytes[23..27].copy_from_slice(&(self.count - 1).to_be_bytes());
        bytes[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        bytes[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        bytes[43..51].copy_from_slice(&producer.to_be_bytes());
        bytes[51..53].copy_from_slice(&epoch.to_be_bytes());
        bytes[53..57].copy_from_slice(&sequence.to_be_bytes());
        bytes[57..61].copy_from_slice(&self.count.to_be_bytes());
        let crc = crc32c(&bytes[Batch::CRC_FROM..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        bytes
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varint(out, -1),
        Some(bytes) => {
            put_varint(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
    }
}

/// Zig-zag varint, as in protocol buffers.
fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while 0x80 <= rest {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// One record of an uncompressed batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Relative to the batch's base offset.
    pub offset_delta: u32,
    /// Relative to the batch's base timestamp, ms.
    pub timestamp_delta: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    header_count: u32,
    headers: &'a [u8],
}

impl<'a> Record<'a> {
    /// The record's headers, in order; stops at the first malformed one.
    pub fn headers(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let mut rest = self.headers;
        (0..self.header_count).map_while(move |_| {
            let name = take_bytes(&mut rest)??;
            Some((name, take_bytes(&mut rest)?))
        })
    }
}

/// Walks the records of `bytes` (decompressed). Stops, with `None`, at the first malformed record.
pub fn records(bytes: &[u8]) -> impl Iterator<Item = Record<'_>> {
    let mut rest = bytes;
    core::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let len = usize::try_from(take_varint(&mut rest)?).ok()?;
        let mut body = rest.get(..len)?;
        rest = &rest[len..];
        body = body.get(1..)?;
        let timestamp_delta = take_varint(&mut body)?;
        let offset_delta = u32::try_from(take_varint(&mut body)?).ok()?;
        let key = take_bytes(&mut body)?;
        let value = take_bytes(&mut body)?;
        let header_count = u32::try_from(take_varint(&mut body)?).ok()?;
        Some(Record { offset_delta, timestamp_delta, key, value, header_count, headers: body })
    })
}

fn take_varint(rest: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

/// `Some(None)` is a null, `None` is malformed.
#[allow(clippy::option_option, reason = "null and malformed are different things on the wire")]
fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let len = take_varint(rest)?;
    if len == -1 {
        return Some(None);
    }
    let len = usize::try_from(len).ok()?;
    let bytes = rest.get(..len)?;
    *rest = &rest[len..];
    Some(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_records() -> Vec<u8> {
        let mut builder = BatchBuilder::new(1_000);
        builder.push(1_000, Some(b"k"), Some(b"v"), &[("h", Some(b"x")), ("n", None)]);
        builder.push(1_005, None, None, &[]);
        builder.build()
    }

    #[test]
    fn a_built_batch_parses_and_verifies() {
        let bytes = two_records();
        let batch = Batch::parse(&bytes).unwrap();
        batch.verify_checksum().unwrap();
        assert_eq!(
            (batch.record_count(), batch.max_timestamp(), batch.producer_id()),
            (2, 1_005, -1)
        );
        let all: Vec<_> = records(batch.records()).collect();
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].key, all[0].value), (Some(&b"k"[..]), Some(&b"v"[..])));
        let headers: Vec<_> = all[0].headers().collect();
        assert_eq!(headers, [(&b"h"[..], Some(&b"x"[..])), (&b"n"[..], None)]);
        assert_eq!((all[1].offset_delta, all[1].timestamp_delta, all[1].value), (1, 5, None));
    }

    #[test]
    fn a_compacted_batch_is_sparse_and_ends_where_it_did() {
        let mut bytes = two_records();
        bytes[57..61].copy_from_slice(&1u32.to_be_bytes());
        assert_eq!(Batch::parse(&bytes).unwrap_err(), BatchError::Count);
        let (batch, rest) = Batch::parse_sparse_prefix(&bytes).unwrap();
        assert_eq!((batch.record_count(), batch.sparse_end_offset()), (1, Offset(2)));
        assert!(rest.is_empty());
        bytes[23] = 0x80;
        assert_eq!(Batch::parse_sparse_prefix(&bytes).unwrap_err(), BatchError::Count);
    }

    #[test]
    fn sequencing_leaves_the_checksum_valid() {
        let mut bytes = two_records();
        let prefix = sequenced_prefix(&Batch::parse(&bytes).unwrap(), Offset(40), Epoch(7));
        bytes[..16].copy_from_slice(&prefix);
        let batch = Batch::parse(&bytes).unwrap();
        batch.verify_checksum().unwrap();
        assert_eq!(
            (batch.base_offset(), batch.end_offset(), batch.epoch()),
            (Offset(40), Offset(42), Epoch(7))
        );
    }

    #[test]
    fn append_time_sets_bit_timestamp_and_checksum() {
        let mut large = BatchBuilder::new(5);
        large.push(5, None, Some(&vec![3; 2 * SMALL_BYTES]), &[]);
        for mut bytes in [two_records(), large.build()] {
            stamp_append_time(&mut bytes, 9_999);
            let batch = Batch::parse(&bytes).unwrap();
            batch.verify_checksum().unwrap();
            assert!(batch.is_log_append_time());
            assert_eq!(batch.max_timestamp(), 9_999);
        }
    }

    #[test]
    fn every_flaw_has_its_name() {
        let good = two_records();
        assert_eq!(Batch::parse(&good[..60]).unwrap_err(), BatchError::Truncated);
        assert_eq!(Batch::parse(&good[..good.len() - 1]).unwrap_err(), BatchError::Truncated);
        let mut bad = good.clone();
        bad.push(0);
        assert_eq!(Batch::parse(&bad).unwrap_err(), BatchError::Trailing);
        let mut bad = good.clone();
        bad[16] = 1;
        assert_eq!(Batch::parse(&bad).unwrap_err(), BatchError::Magic(1));
        let mut bad = good.clone();
        bad[60] = 3;
        assert_eq!(Batch::parse(&bad).unwrap_err(), BatchError::Count);
        let mut bad = good.clone();
        bad[8] = 0xff;
        assert_eq!(Batch::parse(&bad).unwrap_err(), BatchError::Truncated);
        let mut bad = good;
        *bad.last_mut().unwrap() ^= 1;
        assert_eq!(Batch::parse(&bad).unwrap().verify_checksum(), Err(BatchError::Checksum));
    }
}
