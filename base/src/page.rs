//! 4 KiB pages: the unit of direct I/O.

use core::fmt;
use core::ops::{Deref, DerefMut};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes in a [`Page`].
pub const PAGE_BYTES: usize = 4096;

/// A block that direct I/O accepts as it is.
#[derive(Clone, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(4096))]
pub struct Page(pub [u8; PAGE_BYTES]);

const _: () = assert!(size_of::<Page>() == PAGE_BYTES && align_of::<Page>() == PAGE_BYTES);

impl Page {
    pub const ZERO: Self = Self([0; PAGE_BYTES]);

    /// `count` zeroed pages on the heap.
    #[must_use]
    pub fn boxed(count: usize) -> Box<[Self]> {
        vec![Self::ZERO; count].into_boxed_slice()
    }

    /// The bytes of adjacent pages.
    #[must_use]
    pub fn bytes(pages: &[Self]) -> &[u8] {
        pages.as_bytes()
    }

    /// The bytes of adjacent pages, writable.
    #[must_use]
    pub fn bytes_mut(pages: &mut [Self]) -> &mut [u8] {
        pages.as_mut_bytes()
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Page({:02x?}..)", &self.0[..8])
    }
}

/// Where an arena's pages live: on the heap (tests, the simulator) or in a mapping that the ring
/// made on huge pages and keeps for the life of the process.
#[derive(Debug)]
pub enum PageMemory {
    Heap(Box<[Page]>),
    Mapped(&'static mut [Page]),
}

impl Deref for PageMemory {
    type Target = [Page];

    fn deref(&self) -> &[Page] {
        match self {
            Self::Heap(pages) => pages,
            Self::Mapped(pages) => pages,
        }
    }
}

impl DerefMut for PageMemory {
    fn deref_mut(&mut self) -> &mut [Page] {
        match self {
            Self::Heap(pages) => pages,
            Self::Mapped(pages) => pages,
        }
    }
}
