//! Memory that stays mapped for the life of the process, on huge pages where the host has them.
//!
//! The kernel reads an arena while a write is in flight, and fills receive buffers whenever bytes
//! arrive. Nothing can then be freed too early if nothing is ever freed: both are mapped once per
//! process and shard. [`Mapping`] is the proof that an address range is such memory.

use core::fmt;
use core::ptr::{self, NonNull};
use std::io;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use base::{PAGE_BYTES, Page, PageMemory};
use rustix::mm::{Advice, MapFlags, ProtFlags};

const HUGE_BYTES: usize = 2 << 20;
/// So much and more becomes resident in the background.
const BACKGROUND_BYTES: usize = 64 << 20;
/// How far the populating thread stands back behind those who serve (nice).
const PATIENCE: i32 = 4;

/// Where a [`PageMemory`] made by [`map_pages`] lies.
#[derive(Debug)]
pub struct Mapping {
    address: usize,
    bytes: usize,
    backing: Backing,
    populating: Option<JoinHandle<()>>,
    /// Who holds it wants the memory resident.
    wanted: Option<Wanted>,
}

/// The populating thread goes on as long as there is one.
type Wanted = Arc<()>;

/// What kind of pages a mapping asked for and got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// Reserved 2 MiB pages (`vm.nr_hugepages`).
    Reserved,
    /// Transparent huge pages, as far as the kernel finds them.
    Transparent,
    /// 4 KiB pages.
    Small,
}

/// There is no memory of that size.
#[derive(Debug)]
pub struct MapError {
    pub bytes: usize,
    pub source: io::Error,
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, source } = self;
        write!(f, "cannot map {bytes} bytes of memory ({source}): configure smaller arenas")
    }
}

impl std::error::Error for MapError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl fmt::Display for Backing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reserved => "reserved huge pages",
            Self::Transparent => "transparent huge pages",
            Self::Small => "4 KiB pages",
        })
    }
}

/// Bytes inside a [`Mapping`]: the address can be given to the kernel at any time, since it is
/// never unmapped. That the bytes do not change is the arena's promise, by its pin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lasting {
    address: *const u8,
    bytes: u32,
}

impl Lasting {
    pub(crate) fn address(self) -> *const u8 {
        self.address
    }

    pub(crate) fn bytes(self) -> u32 {
        self.bytes
    }
}

impl Mapping {
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    #[must_use]
    pub fn backing(&self) -> Backing {
        self.backing
    }

    /// Whether every page has been touched. Those that have not cost whoever comes first a fault.
    #[must_use]
    pub fn is_resident(&self) -> bool {
        self.populating.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Touches no more pages in the background: a process that ends would wait for that.
    pub(crate) fn stop_populating(&mut self) {
        self.wanted = None;
    }

    /// `bytes` with the proof that they are never unmapped; `None` if they lie elsewhere.
    pub(crate) fn lasting(&self, bytes: &[u8]) -> Option<Lasting> {
        let from = bytes.as_ptr().addr().checked_sub(self.address)?;
        let inside = from.checked_add(bytes.len())? <= self.bytes;
        inside.then_some(Lasting { address: bytes.as_ptr(), bytes: bytes.len() as u32 })
    }

    /// The whole mapping, as registration wants it.
    pub(crate) fn iovec(&self) -> libc::iovec {
        libc::iovec {
            iov_base: ptr::with_exposed_provenance_mut(self.address),
            iov_len: self.bytes,
        }
    }
}

/// At least `bytes` of zeroed pages for an arena, never unmapped. A multiple of 2 MiB wastes nothing.
/// Much memory becomes resident in the background: where a hypervisor has to find it first, that
/// takes seconds, and the memory is used from its start on.
pub fn map_pages(bytes: usize) -> Result<(PageMemory, Mapping), MapError> {
    let pages = bytes.div_ceil(PAGE_BYTES).max(1);
    let (start, backing) = map_advised(pages * PAGE_BYTES)?;
    let wanted = Wanted::default();
    let populating = populate(start, pages * PAGE_BYTES, &Arc::downgrade(&wanted));
    let pages = ptr::slice_from_raw_parts_mut(start.cast::<Page>().as_ptr(), pages);
    // SAFETY: the region is fresh, zeroed, page-aligned, that long, never unmapped, and nobody
    // else has its address.
    let memory: &'static mut [Page] = unsafe { &mut *pages };
    let mapping = Mapping {
        address: memory.as_mut_ptr().expose_provenance(),
        bytes: size_of_val(memory),
        backing,
        populating,
        wanted: Some(wanted),
    };
    Ok((PageMemory::Mapped(memory), mapping))
}

/// A fresh region of zeroed, resident memory, page-aligned, that is never unmapped.
pub(crate) fn map_region(bytes: usize) -> Result<NonNull<u8>, MapError> {
    let (start, _) = map_advised(bytes)?;
    // Pages touched now are not faulted in while a client waits; refusal only makes that later.
    let _ = advise(start.as_ptr(), bytes, Advice::LinuxPopulateWrite);
    Ok(start)
}

fn map_advised(bytes: usize) -> Result<(NonNull<u8>, Backing), MapError> {
    let explain = |source: rustix::io::Errno| MapError { bytes, source: source.into() };
    if HUGE_BYTES <= bytes {
        let whole = bytes.next_multiple_of(HUGE_BYTES);
        if let Ok(start) = map(whole, MapFlags::HUGETLB) {
            return Ok((start, Backing::Reserved));
        }
    }
    // Huge pages need aligned addresses; the slack is address space, not memory.
    let slack = if HUGE_BYTES <= bytes { HUGE_BYTES } else { 0 };
    let start = map(bytes + slack, MapFlags::empty()).map_err(explain)?;
    if slack == 0 {
        return Ok((start, Backing::Small));
    }
    let offset = start.as_ptr().align_offset(HUGE_BYTES);
    // SAFETY: the mapping has a slack of one huge page, and `offset` is below it.
    let start = unsafe { start.add(offset) };
    let huge = advise(start.as_ptr(), bytes, Advice::LinuxHugepage).is_ok();
    Ok((start, if huge { Backing::Transparent } else { Backing::Small }))
}

/// Touches every page: a little memory now, much in the background and as long as it is `wanted`, by
/// the thread returned.
///
/// One thread, and hardly below the others: it holds the lock of the address space, page by page, and
/// whoever allocates waits as long as it is kept from its CPU. Four at a low priority held a busy
/// machine's cores up for seconds.
fn populate(start: NonNull<u8>, bytes: usize, wanted: &Weak<()>) -> Option<JoinHandle<()>> {
    if bytes < BACKGROUND_BYTES {
        // Refusal only makes the faults later.
        let _ = advise(start.as_ptr(), bytes, Advice::LinuxPopulateWrite);
        return None;
    }
    let address = start.as_ptr().expose_provenance();
    let wanted = Weak::clone(wanted);
    let builder = std::thread::Builder::new().name("populate".to_owned());
    let thread = builder.spawn(move || {
        // At the wrong priority memory is touched all the same.
        let _ = rustix::process::nice(PATIENCE);
        for at in (0..bytes).step_by(HUGE_BYTES) {
            if Weak::strong_count(&wanted) == 0 {
                return;
            }
            let page = ptr::with_exposed_provenance_mut(address + at);
            let _ = advise(page, HUGE_BYTES.min(bytes - at), Advice::LinuxPopulateWrite);
        }
    });
    thread.ok()
}

fn map(bytes: usize, flags: MapFlags) -> rustix::io::Result<NonNull<u8>> {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    let flags = flags | MapFlags::PRIVATE;
    // SAFETY: the kernel chooses a free address, so nothing that exists is replaced.
    let start = unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), bytes, protection, flags) }?;
    Ok(NonNull::new(start.cast()).expect("the kernel maps nothing at address 0"))
}

fn advise(start: *mut u8, bytes: usize, advice: Advice) -> rustix::io::Result<()> {
    // SAFETY: both kinds of advice that are given leave the contents of the region as they are.
    unsafe { rustix::mm::madvise(start.cast(), bytes, advice) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn only_bytes_inside_the_mapping_are_lasting() {
        let (memory, mapping) = map_pages(3 * PAGE_BYTES).unwrap();
        assert_eq!(memory.len(), 3);
        let bytes = Page::bytes(&memory);
        assert!(bytes.iter().all(|byte| *byte == 0));
        assert!(mapping.lasting(bytes).is_some());
        assert!(mapping.lasting(&bytes[4096..]).is_some());
        assert!(mapping.lasting(&[0; 8]).is_none());
        let other = map_pages(PAGE_BYTES).unwrap();
        assert!(mapping.lasting(Page::bytes(&other.0)).is_none());
    }

    #[test]
    fn much_memory_becomes_resident_by_and_by() {
        let (memory, mapping) = map_pages(BACKGROUND_BYTES + PAGE_BYTES).unwrap();
        while !mapping.is_resident() {
            std::thread::yield_now();
        }
        assert!(Page::bytes(&memory).iter().all(|byte| *byte == 0));
        assert!(map_pages(HUGE_BYTES).unwrap().1.is_resident());
    }

    #[test]
    fn memory_that_nobody_wants_any_more_is_not_touched() {
        let (start, _) = map_advised(BACKGROUND_BYTES).unwrap();
        let gone = Wanted::default();
        let unwanted = Arc::downgrade(&gone);
        drop(gone);
        populate(start, BACKGROUND_BYTES, &unwanted).unwrap().join().unwrap();
        // One word per page; see Documentation/admin-guide/mm/pagemap.rst.
        let map = std::fs::File::open("/proc/self/pagemap").unwrap();
        for at in (0..BACKGROUND_BYTES).step_by(HUGE_BYTES) {
            let page = (start.as_ptr().addr() + at) / PAGE_BYTES;
            let mut word = [0; 8];
            map.read_exact_at(&mut word, page as u64 * 8).unwrap();
            assert_eq!(u64::from_ne_bytes(word) >> 63, 0, "the page at {at} is present");
        }
    }

    #[test]
    fn large_mappings_are_aligned_for_huge_pages() {
        let (memory, mapping) = map_pages(HUGE_BYTES).unwrap();
        assert_eq!(memory.as_ptr().addr() % HUGE_BYTES, 0);
        assert_eq!(mapping.bytes(), HUGE_BYTES);
    }
}
