//! A pool of receive buffers that one multishot request per connection draws from.
//!
//! ```text
//!   give ──▶ ┌───┬───┬───┬───┐ ──▶ kernel fills one, posts its number
//!            │ 3 │ 0 │ 7 │ … │     claim: it is ours to read
//!            └───┴───┴───┴───┘     give: it is the kernel's again
//! ```
//! A buffer is either the kernel's or ours. It is read only while it is ours.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU16, Ordering};
use std::io;

use io_uring::types::BufRingEntry;

use crate::memory::map_region;
use crate::uring::Uring;

/// The only group of buffers on a ring.
pub(crate) const GROUP: u16 = 0;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct BufferRing {
    entries: NonNull<BufRingEntry>,
    mask: u16,
    tail: u16,
    buffers: NonNull<u8>,
    buffer_bytes: u32,
    ours: Vec<bool>,
    given: u16,
}

impl BufferRing {
    /// Registers `count` buffers (a power of two up to 32,768) of `buffer_bytes` each and gives
    /// them all to the kernel.
    pub(crate) fn new(uring: &Uring, count: u16, buffer_bytes: u32) -> io::Result<Self> {
        assert!(count.is_power_of_two(), "{count} receive buffers, not a power of two");
        let bytes = usize::from(count) * size_of::<BufRingEntry>();
        let entries = map_region(bytes).map_err(|error| error.source)?;
        let bytes = usize::from(count) * buffer_bytes as usize;
        let buffers = map_region(bytes).map_err(|error| error.source)?;
        let address = entries.as_ptr().expose_provenance() as u64;
        // SAFETY: the region is page-aligned, has room for the entries and is never unmapped.
        unsafe { uring.register_buffer_ring(address, count, GROUP) }?;
        let mut ring = Self {
            entries: entries.cast(),
            mask: count - 1,
            tail: 0,
            buffers,
            buffer_bytes,
            ours: vec![true; usize::from(count)],
            given: 0,
        };
        (0..count).for_each(|number| ring.give(number));
        Ok(ring)
    }

    /// Takes a buffer that a completion named.
    pub(crate) fn claim(&mut self, number: u16) {
        let ours = &mut self.ours[usize::from(number)];
        assert!(!*ours, "buffer {number} was posted twice without being given back");
        *ours = true;
        self.given -= 1;
    }

    /// The first `len` bytes of a claimed buffer.
    pub(crate) fn bytes(&self, number: u16, len: u32) -> &[u8] {
        assert!(self.ours[usize::from(number)], "buffer {number} is the kernel's");
        assert!(len <= self.buffer_bytes, "{len} bytes in a buffer of {}", self.buffer_bytes);
        let start = self.start(number);
        // SAFETY: the buffer lies in the mapped, initialised region, and the kernel does not write
        // to it before `give`, which needs `&mut self`.
        unsafe { core::slice::from_raw_parts(start.as_ptr(), len as usize) }
    }

    /// Gives a claimed buffer to the kernel.
    pub(crate) fn give(&mut self, number: u16) {
        let ours = &mut self.ours[usize::from(number)];
        assert!(*ours, "buffer {number} was given twice");
        *ours = false;
        let address = self.start(number).as_ptr().expose_provenance() as u64;
        let place = usize::from(self.tail & self.mask);
        // SAFETY: `place` is below the number of entries that were mapped.
        let mut entry = unsafe { self.entries.add(place) };
        // SAFETY: the kernel reads an entry only once the tail has passed it, so this one is ours,
        // and no other reference to it exists.
        let entry = unsafe { entry.as_mut() };
        entry.set_addr(address);
        entry.set_len(self.buffer_bytes);
        entry.set_bid(number);
        self.tail = self.tail.wrapping_add(1);
        self.given += 1;
        self.publish();
    }

    /// Whether the kernel has a buffer to fill.
    pub(crate) fn has_given(&self) -> bool {
        0 < self.given
    }

    fn publish(&self) {
        // SAFETY: the first entry's spare bytes hold the tail, by the kernel's layout.
        let tail = unsafe { BufRingEntry::tail(self.entries.as_ptr()) };
        // SAFETY: aligned, mapped for ever, and accessed by the kernel atomically as well.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    fn start(&self, number: u16) -> NonNull<u8> {
        let offset = usize::from(number) * self.buffer_bytes as usize;
        // SAFETY: `number` indexes `ours`, so the offset lies in the region mapped for all of them.
        unsafe { self.buffers.add(offset) }
    }
}
