//! The bytes of a frame: one group commit.
//!
//! ```text
//!  0        96              descriptors_at                    frame_bytes (× 4096)
//!  ┌────────┬───────────────┬───────────────────────────┬──────┐
//!  │ header │ payloads      │ descriptors, 40 B each    │ zero │
//!  └────────┴───────────────┴───────────────────────────┴──────┘
//!   frame crc:  seed, header, descriptors         seed = journal id, segment, position
//!   header crc: seed, header, frame crc
//!   descriptor: crc of its payload
//! ```
//! Descriptors stand behind the payloads, so that a payload is copied once, to its final place,
//! before anyone knows how many entries the frame will hold. One pass per byte, and damage is
//! blamed on a partition. The seed makes a frame that stands anywhere else invalid. All integers
//! are little-endian.
//!
//! A batch brings its own CRC-32C for bytes 21.., and its first 21 bytes follow from the descriptor
//! (base offset, length, epoch, magic 2, that CRC), so that they are checked by comparing.
//!
//! The header's own checksum lets a torn frame still testify: its incarnation, durable prefix and
//! start were true when it was written, whatever became of its body.

use base::crc::{crc32c, crc32c_append};
use base::{Batch, Epoch, Incarnation, Offset, PAGE_BYTES, PartitionId, Seq};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::entry::{EntryKind, NewEntry};

/// The first bytes of every frame.
pub(super) const MAGIC: [u8; 8] = *b"chiplog\x01";
/// The version of frame and entries. A reader refuses any other.
pub(super) const VERSION: u16 = 1;

const HEADER_BYTES: usize = size_of::<FrameHeader>();
const DESCRIPTOR_BYTES: usize = size_of::<Descriptor>();
/// Header bytes in front of the checksums.
const COVERED_BYTES: usize = 88;
/// Descriptor flag: the entry repeats an older one.
const CARRIED: u8 = 1;

const _: () = assert!(HEADER_BYTES == 96 && DESCRIPTOR_BYTES == 40);
const _: () = assert!(COVERED_BYTES == core::mem::offset_of!(FrameHeader, frame_crc));

/// A frame's header as it stands on disk.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct FrameHeader {
    magic: [u8; 8],
    journal: U64,
    seq: U64,
    durable: U64,
    start: U64,
    inc_base: U64,
    position: U64,
    inc: U32,
    prev_crc: U32,
    frame_bytes: U32,
    descriptors_at: U32,
    entries: U32,
    segment: U16,
    version: U16,
    reserved: [u8; 8],
    frame_crc: U32,
    header_crc: U32,
}

/// One entry of a frame as it stands on disk.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Descriptor {
    partition: U64,
    base: U64,
    payload_at: U32,
    payload_len: U32,
    epoch: U32,
    count: U32,
    payload_crc: U32,
    kind: u8,
    flags: u8,
    reserved: [u8; 2],
}

/// Where a frame stands: the byte `position` of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub segment: u16,
    pub position: u64,
}

/// What a frame says beside its entries, filled in when it is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub place: Place,
    pub seq: Seq,
    /// D: every frame up to here was durable when this one was sealed. 0: none.
    pub durable: Seq,
    /// S: the oldest sequence that recovery still needs.
    pub start: Seq,
    pub inc: Incarnation,
    /// The sequence at which the incarnation began.
    pub inc_base: Seq,
    /// The frame CRC of the frame before. 0 for the first.
    pub prev_crc: u32,
}

/// A header that passed its checksum at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub stamp: Stamp,
    /// Whole frame, padding included: a multiple of 4096.
    pub frame_bytes: u32,
    pub entries: u32,
    descriptors_at: u32,
    pub frame_crc: u32,
    /// Checksum of seed and header, which the frame CRC continues.
    seeded_crc: u32,
}

/// An entry as a frame's descriptors tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub entry: NewEntry,
    /// First byte of the payload within the frame.
    pub payload_at: u32,
    pub payload_len: u32,
    payload_crc: u32,
}

/// What a block says that could be the start of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// No header of this journal.
    Nothing,
    /// The header checks out, for this place or another ([`Stamp::place`]).
    Head(Head),
    /// A sound header of a format this build does not know.
    Version(u16),
}

/// How much of a frame behind its sound header can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Everything.
    Intact,
    /// The descriptors, but not this many payloads.
    Damaged(u32),
    /// Not even the descriptors.
    Lost,
}

/// Bytes of a frame with `payload_bytes` in `entries` entries, padding included.
pub(super) fn frame_bytes(payload_bytes: u32, entries: u32) -> u32 {
    let bytes = HEADER_BYTES as u32 + payload_bytes + entries * DESCRIPTOR_BYTES as u32;
    bytes.next_multiple_of(PAGE_BYTES as u32)
}

/// A header's bytes before they are known.
pub(super) const BLANK_HEADER: [u8; HEADER_BYTES] = [0; HEADER_BYTES];

impl Descriptor {
    /// The descriptor of `entry`, whose payload starts `payload_at` bytes into the frame.
    ///
    /// Panics if a batch's header contradicts the entry: it would be unreadable after a restart.
    pub(super) fn new(entry: &NewEntry, payload_at: u32, payload: &[u8]) -> Self {
        let payload_crc = match entry.kind {
            EntryKind::Batch => sequenced_batch_crc(entry, payload),
            _ => crc32c(payload),
        };
        Self {
            partition: entry.partition.to_u64().into(),
            base: entry.base.0.into(),
            payload_at: payload_at.into(),
            payload_len: (payload.len() as u32).into(),
            epoch: entry.epoch.0.into(),
            count: entry.count.into(),
            payload_crc: payload_crc.into(),
            kind: entry.kind.to_u8(),
            flags: if entry.carried { CARRIED } else { 0 },
            reserved: [0; 2],
        }
    }

    fn decode(&self) -> Option<Entry> {
        let entry = NewEntry {
            kind: EntryKind::from_u8(self.kind)?,
            carried: self.flags & CARRIED != 0,
            partition: PartitionId::from_u64(self.partition.get()),
            epoch: Epoch(self.epoch.get()),
            base: Offset(self.base.get()),
            count: self.count.get(),
        };
        Some(Entry {
            entry,
            payload_at: self.payload_at.get(),
            payload_len: self.payload_len.get(),
            payload_crc: self.payload_crc.get(),
        })
    }
}

/// The checksum that a batch brings. Panics unless the bytes it leaves out are those of `entry`.
fn sequenced_batch_crc(entry: &NewEntry, batch: &[u8]) -> u32 {
    let prefix = batch.first_chunk::<{ Batch::CRC_FROM }>().expect("a batch has a header");
    let crc = u32::from_be_bytes([prefix[17], prefix[18], prefix[19], prefix[20]]);
    let expected = batch_prefix(entry.base, batch.len() as u32, entry.epoch, crc);
    assert_eq!(prefix, &expected, "{entry:?} and its batch disagree");
    crc
}

/// The header of a frame with these descriptors, and its frame CRC.
pub(super) fn header(
    journal: u64,
    stamp: &Stamp,
    payload_bytes: u32,
    descriptors: &[Descriptor],
) -> (FrameHeader, u32) {
    let entries = descriptors.len() as u32;
    let mut header = FrameHeader {
        magic: MAGIC,
        journal: journal.into(),
        seq: stamp.seq.0.into(),
        durable: stamp.durable.0.into(),
        start: stamp.start.0.into(),
        inc_base: stamp.inc_base.0.into(),
        position: stamp.place.position.into(),
        inc: stamp.inc.0.into(),
        prev_crc: stamp.prev_crc.into(),
        frame_bytes: frame_bytes(payload_bytes, entries).into(),
        descriptors_at: (HEADER_BYTES as u32 + payload_bytes).into(),
        entries: entries.into(),
        segment: stamp.place.segment.into(),
        version: VERSION.into(),
        reserved: [0; 8],
        frame_crc: U32::ZERO,
        header_crc: U32::ZERO,
    };
    let seeded_crc = header.seeded_crc();
    let frame_crc = crc32c_append(seeded_crc, descriptors.as_bytes());
    header.frame_crc = frame_crc.into();
    header.header_crc = crc32c_append(seeded_crc, header.frame_crc.as_bytes()).into();
    (header, frame_crc)
}

impl FrameHeader {
    /// Checksum of the seed, for the place that the header itself names, and of the header.
    fn seeded_crc(&self) -> u32 {
        let mut seed = [0; 18];
        seed[..8].copy_from_slice(self.journal.as_bytes());
        seed[8..10].copy_from_slice(self.segment.as_bytes());
        seed[10..].copy_from_slice(self.position.as_bytes());
        crc32c_append(crc32c(&seed), &self.as_bytes()[..COVERED_BYTES])
    }

    fn decode(&self, seeded_crc: u32) -> Head {
        Head {
            stamp: Stamp {
                place: Place { segment: self.segment.get(), position: self.position.get() },
                seq: Seq(self.seq.get()),
                durable: Seq(self.durable.get()),
                start: Seq(self.start.get()),
                inc: Incarnation(self.inc.get()),
                inc_base: Seq(self.inc_base.get()),
                prev_crc: self.prev_crc.get(),
            },
            frame_bytes: self.frame_bytes.get(),
            entries: self.entries.get(),
            descriptors_at: self.descriptors_at.get(),
            frame_crc: self.frame_crc.get(),
            seeded_crc,
        }
    }
}

impl Head {
    /// Looks for a header of `journal` at the start of `block`.
    #[must_use]
    pub fn probe(block: &[u8], journal: u64) -> Probe {
        let Ok((header, _)) = FrameHeader::ref_from_prefix(block) else { return Probe::Nothing };
        if header.magic != MAGIC || header.journal.get() != journal {
            return Probe::Nothing;
        }
        let seeded_crc = header.seeded_crc();
        if crc32c_append(seeded_crc, header.frame_crc.as_bytes()) != header.header_crc.get() {
            return Probe::Nothing;
        }
        if header.version.get() != VERSION {
            return Probe::Version(header.version.get());
        }
        let head = header.decode(seeded_crc);
        if head.is_plausible() { Probe::Head(head) } else { Probe::Nothing }
    }

    fn is_plausible(&self) -> bool {
        let stamp = &self.stamp;
        let end =
            u64::from(self.descriptors_at) + u64::from(self.entries) * DESCRIPTOR_BYTES as u64;
        self.frame_bytes.is_multiple_of(PAGE_BYTES as u32)
            && HEADER_BYTES as u32 <= self.descriptors_at
            && end <= u64::from(self.frame_bytes)
            && stamp.durable < stamp.seq
            && stamp.start <= stamp.seq
            && stamp.inc_base <= stamp.seq
            && stamp.inc != Incarnation(0)
    }

    /// Checks the whole frame, of which `frame` holds all bytes.
    #[must_use]
    pub fn body(&self, frame: &[u8]) -> Body {
        let Some(descriptors) = self.descriptors(frame) else { return Body::Lost };
        if crc32c_append(self.seeded_crc, descriptors.as_bytes()) != self.frame_crc {
            return Body::Lost;
        }
        let intact = |one: &Descriptor| one.decode().is_some_and(|entry| entry.is_intact(frame));
        match descriptors.iter().filter(|one| !intact(one)).count() {
            0 => Body::Intact,
            damaged => Body::Damaged(damaged as u32),
        }
    }

    /// The entries of a frame whose [`Head::body`] was not lost.
    pub fn entries_in<'a>(&self, frame: &'a [u8]) -> impl Iterator<Item = Entry> + use<'a> {
        self.descriptors(frame).unwrap_or_default().iter().filter_map(Descriptor::decode)
    }

    fn descriptors<'a>(&self, frame: &'a [u8]) -> Option<&'a [Descriptor]> {
        let bytes = frame.get(self.descriptors_at as usize..)?;
        let entries = self.entries as usize;
        let (descriptors, _) = <[Descriptor]>::ref_from_prefix_with_elems(bytes, entries).ok()?;
        Some(descriptors)
    }
}

impl Entry {
    /// Whether the payload is what was appended.
    #[must_use]
    pub fn is_intact(&self, frame: &[u8]) -> bool {
        let Some(payload) = self.payload_in(frame) else { return false };
        if self.entry.kind != EntryKind::Batch {
            return crc32c(payload) == self.payload_crc;
        }
        let prefix =
            batch_prefix(self.entry.base, self.payload_len, self.entry.epoch, self.payload_crc);
        payload.starts_with(&prefix) && crc32c(&payload[Batch::CRC_FROM..]) == self.payload_crc
    }

    /// The payload's bytes; `None` if the descriptor points outside the frame.
    #[must_use]
    pub fn payload_in<'a>(&self, frame: &'a [u8]) -> Option<&'a [u8]> {
        let from = self.payload_at as usize;
        frame.get(from..from.checked_add(self.payload_len as usize)?)
    }
}

/// The 21 bytes of a batch that its own checksum `crc` leaves out.
fn batch_prefix(base: Offset, len: u32, epoch: Epoch, crc: u32) -> [u8; Batch::CRC_FROM] {
    let mut prefix = [0; Batch::CRC_FROM];
    let length = len.wrapping_sub(Batch::PREFIX_BYTES as u32);
    prefix[..8].copy_from_slice(&base.0.to_be_bytes());
    prefix[8..12].copy_from_slice(&length.to_be_bytes());
    prefix[12..16].copy_from_slice(&epoch.0.to_be_bytes());
    prefix[16] = 2;
    prefix[17..].copy_from_slice(&crc.to_be_bytes());
    prefix
}
