//! The end of a sealed bin: which extents it holds.
//!
//! ```text
//!  ┌──────────┬──────────┬─ ─ ─┬ free ┬──────────────────────────────────────┐
//!  │ extent 0 │ extent 1 │     │      │ record 0, 1, 2 … │ zero │ trailer    │
//!  └──────────┴──────────┴─ ─ ─┴──────┴──────────────────────────────────────┘
//!                                     └ × 4096                    last 64 B ─┘
//!  trailer  0 magic "footer\x01\0"  8 journal u64  16 generation u64  24 bin u32  28 records u32
//!          32 records crc u32      36 zero                                       60 crc u32
//! ```
//! The records are those of [`crate::extent`]: offset index and time index in one. The trailer is the
//! last thing in the file, so that it is found without knowing anything. Little-endian.

use base::crc::crc32c;
use base::{PAGE_BYTES, Page};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::extent::{ExtentRecord, Owner, RECORD_BYTES};

const MAGIC: [u8; 8] = *b"footer\x01\0";
const TRAILER_BYTES: usize = size_of::<Trailer>();

const _: () = assert!(TRAILER_BYTES == 64);

/// The last 64 bytes of a sealed bin.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Trailer {
    magic: [u8; 8],
    journal: U64,
    generation: U64,
    bin: U32,
    records: U32,
    records_crc: U32,
    reserved: [u8; 24],
    crc: U32,
}

/// Why bytes are not the footer that was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FooterError {
    /// No trailer of this journal, bin and generation.
    Trailer,
    /// The trailer is sound, its records are not all in the bytes: this many pages hold them.
    Short { pages: u32 },
    /// The records fail their checksum.
    Records,
}

/// Pages of a footer with so many records.
pub(crate) fn footer_pages(records: usize) -> u32 {
    (records * RECORD_BYTES + TRAILER_BYTES).div_ceil(PAGE_BYTES) as u32
}

/// Writes the footer into the last [`footer_pages`] of `pages`; the others are zeroed.
pub(crate) fn write(pages: &mut [Page], bin: u32, owner: Owner, records: &[ExtentRecord]) {
    let bytes = Page::bytes_mut(pages);
    bytes.fill(0);
    let from = bytes.len() - footer_pages(records.len()) as usize * PAGE_BYTES;
    let footer = &mut bytes[from..];
    footer[..records.as_bytes().len()].copy_from_slice(records.as_bytes());
    let mut trailer = Trailer {
        magic: MAGIC,
        journal: owner.journal.into(),
        generation: owner.generation.into(),
        bin: bin.into(),
        records: (records.len() as u32).into(),
        records_crc: crc32c(records.as_bytes()).into(),
        reserved: [0; 24],
        crc: U32::ZERO,
    };
    trailer.crc = trailer.checksum().into();
    let at = footer.len() - TRAILER_BYTES;
    footer[at..].copy_from_slice(trailer.as_bytes());
}

/// The records of a bin whose last bytes are `bytes`.
pub(crate) fn read(bytes: &[u8], bin: u32, owner: Owner) -> Result<&[ExtentRecord], FooterError> {
    let (_, trailer) = Trailer::ref_from_suffix(bytes).map_err(|_| FooterError::Trailer)?;
    let ours = trailer.magic == MAGIC
        && trailer.journal.get() == owner.journal
        && trailer.generation.get() == owner.generation
        && trailer.bin.get() == bin
        && trailer.crc.get() == trailer.checksum();
    if !ours {
        return Err(FooterError::Trailer);
    }
    let count = trailer.records.get() as usize;
    let pages = footer_pages(count);
    let from = bytes.len().checked_sub(pages as usize * PAGE_BYTES);
    let footer = &bytes[from.ok_or(FooterError::Short { pages })?..];
    let (records, _) = <[ExtentRecord]>::ref_from_prefix_with_elems(footer, count)
        .map_err(|_| FooterError::Records)?;
    if crc32c(records.as_bytes()) != trailer.records_crc.get() {
        return Err(FooterError::Records);
    }
    Ok(records)
}

impl Trailer {
    fn checksum(&self) -> u32 {
        crc32c(&self.as_bytes()[..TRAILER_BYTES - 4])
    }
}

#[cfg(test)]
mod tests {
    use base::{Offset, PartitionId, Seq};

    use super::*;
    use crate::extent::Extent;

    const OWNER: Owner = Owner { journal: 5, generation: 6 };

    fn records(count: u64) -> Vec<ExtentRecord> {
        let extent = |base| Extent {
            base: Offset(base),
            end: Offset(base + 1),
            stamp: Seq(1),
            max_timestamp: 0,
            written_ms: 0,
            len: 100,
            page: base as u32,
            bin: 3,
            headers_crc: 0,
        };
        (0..count).map(|base| extent(base).to_record(PartitionId::default(), OWNER)).collect()
    }

    #[test]
    fn a_footer_is_found_from_the_end() {
        for count in [0, 1, 42, 43, 200] {
            let records = records(count);
            let mut pages = Page::boxed(8);
            write(&mut pages, 3, OWNER, &records);
            let bytes = Page::bytes(&pages);
            assert_eq!(read(bytes, 3, OWNER).unwrap().as_bytes(), records.as_bytes());
            let needed = footer_pages(count as usize);
            let exact = &bytes[(8 - needed as usize) * PAGE_BYTES..];
            assert_eq!(read(exact, 3, OWNER).unwrap().len(), count as usize);
            if 1 < needed {
                let short = read(&exact[PAGE_BYTES..], 3, OWNER).unwrap_err();
                assert_eq!(short, FooterError::Short { pages: needed });
            }
        }
    }

    #[test]
    fn another_bins_footer_or_a_damaged_one_is_refused() {
        let mut pages = Page::boxed(1);
        write(&mut pages, 3, OWNER, &records(2));
        let good = Page::bytes(&pages).to_vec();
        assert_eq!(read(&good, 4, OWNER).unwrap_err(), FooterError::Trailer);
        let other = Owner { generation: 7, ..OWNER };
        assert_eq!(read(&good, 3, other).unwrap_err(), FooterError::Trailer);
        let other = Owner { journal: 7, ..OWNER };
        assert_eq!(read(&good, 3, other).unwrap_err(), FooterError::Trailer);
        let mut bad = good.clone();
        bad[100] ^= 1;
        assert_eq!(read(&bad, 3, OWNER).unwrap_err(), FooterError::Records);
        let mut bad = good;
        *bad.last_mut().unwrap() ^= 1;
        assert_eq!(read(&bad, 3, OWNER).unwrap_err(), FooterError::Trailer);
    }
}
