//! A shard's tail memory: a ring of pages that frames are built in, written from, read from and
//! destaged from.
//!
//! ```text
//!        tail                                   head
//!  ┌──────┬──────────┬────────┬────────┬─────────┬───────┐
//!  │ free │ region 7 │ 8, pin │   9    │  draft  │ free  │   lap = how often the ring went round
//!  └──────┴──────────┴────────┴────────┴─────────┴───────┘
//! ```
//!
//! Regions are handed out in order and given back in order. A [`Draft`] is writable and unique; once
//! sealed, a region is frozen until it is released *and* no [`Pin`] holds it. A [`Span`] names bytes
//! by position and lap, so one that outlived its region reads as `None`, never as foreign bytes.

use std::collections::VecDeque;

use zerocopy::IntoBytes;

use crate::{PAGE_BYTES, PageMemory};

/// See the module's description.
#[derive(Debug)]
pub struct Arena {
    memory: PageMemory,
    /// Regions not yet reclaimed, oldest first.
    regions: VecDeque<Region>,
    /// The number of `regions[0]`; numbers are dense and never reused.
    first_region: u64,
    /// Absolute page (lap × pages + index) that the next region starts at.
    head: u64,
    /// Regions before this absolute page are no longer wanted.
    released: u64,
    drafting: bool,
    /// By page, the bytes from its start behind which there are only zeros: padding overwrites no
    /// more than an older lap left there.
    stained: Box<[u16]>,
}

/// A region under construction: the only writable handle to its memory.
#[derive(Debug)]
pub struct Draft {
    page: u64,
    pages: u32,
    used: u32,
}

/// `len` bytes at byte `at` of an arena, in its `lap`-th round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub at: u32,
    pub len: u32,
    pub lap: u32,
}

/// Keeps one region from being reused. Not `Clone`: whoever holds it must give it back.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Pin(u64);

#[derive(Debug)]
struct Region {
    page: u64,
    pages: u32,
    pins: u32,
}

impl Draft {
    /// Bytes put so far.
    #[must_use]
    pub fn used(&self) -> u32 {
        self.used
    }

    /// Bytes that still fit.
    #[must_use]
    pub fn room(&self) -> u32 {
        self.pages * PAGE_BYTES as u32 - self.used
    }
}

impl Span {
    /// `len` bytes from byte `from` of this span. Panics if they do not lie within.
    #[must_use]
    pub fn slice(self, from: u32, len: u32) -> Self {
        let end = from.checked_add(len).expect("a slice ends below 4 GiB");
        assert!(end <= self.len, "slice {from}+{len} of a span of {} bytes", self.len);
        Self { at: self.at + from, len, lap: self.lap }
    }
}

impl Arena {
    /// An arena over `memory`, which holds zeros. Panics above 1 GiB, the most one registered buffer
    /// can hold.
    #[must_use]
    pub fn new(memory: PageMemory) -> Self {
        assert!(!memory.is_empty() && memory.len() * PAGE_BYTES <= 1 << 30);
        Self {
            stained: vec![0; memory.len()].into_boxed_slice(),
            memory,
            regions: VecDeque::with_capacity(1024),
            first_region: 0,
            head: 0,
            released: 0,
            drafting: false,
        }
    }

    #[must_use]
    pub fn capacity_bytes(&self) -> u64 {
        self.lap_pages() * PAGE_BYTES as u64
    }

    /// Bytes between the oldest region still held and the head.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        (self.head - self.tail()) * PAGE_BYTES as u64
    }

    /// A new region with room for `max` bytes; `None` means back-pressure. Panics if another draft
    /// is open.
    pub fn draft(&mut self, max: u32) -> Option<Draft> {
        assert!(!self.drafting, "one draft at a time");
        let pages = max.div_ceil(PAGE_BYTES as u32).max(1);
        let lap_pages = self.lap_pages();
        let left_in_lap = lap_pages - self.head % lap_pages;
        let page = if left_in_lap < u64::from(pages) { self.head + left_in_lap } else { self.head };
        if page + u64::from(pages) - self.tail() > lap_pages {
            return None;
        }
        if self.regions.is_empty() {
            self.released = self.released.min(page);
        }
        self.head = page + u64::from(pages);
        self.regions.push_back(Region { page, pages, pins: 0 });
        self.drafting = true;
        Some(Draft { page, pages, used: 0 })
    }

    /// Makes the draft `max` bytes large; `false`, and no change, if the memory behind it is taken
    /// or the lap ends.
    pub fn grow(&mut self, draft: &mut Draft, max: u32) -> bool {
        let pages = max.div_ceil(PAGE_BYTES as u32);
        if pages <= draft.pages {
            return true;
        }
        let lap_pages = self.lap_pages();
        let end = draft.page + u64::from(pages);
        if lap_pages < draft.page % lap_pages + u64::from(pages) || lap_pages < end - self.tail() {
            return false;
        }
        let region = self.regions.back_mut().expect("a draft is the newest region");
        assert_eq!(region.page, draft.page);
        region.pages = pages;
        draft.pages = pages;
        self.head = end;
        true
    }

    /// Copies `bytes` to the end of the draft; `None` if they do not fit.
    pub fn put(&mut self, draft: &mut Draft, bytes: &[u8]) -> Option<Span> {
        let len = u32::try_from(bytes.len()).ok()?;
        if draft.room() < len {
            return None;
        }
        let span = self.span(draft.page, draft.used, len);
        let at = span.at as usize;
        self.memory.as_mut_bytes()[at..at + bytes.len()].copy_from_slice(bytes);
        draft.used += len;
        Some(span)
    }

    /// The bytes put so far.
    #[must_use]
    pub fn drafted(&self, draft: &Draft) -> &[u8] {
        let start = self.span(draft.page, 0, 0).at as usize;
        &self.memory.as_bytes()[start..start + draft.used as usize]
    }

    /// Overwrites bytes already put, `at` bytes into the draft. Panics if they were not put.
    pub fn patch(&mut self, draft: &mut Draft, at: u32, bytes: &[u8]) {
        assert!(at as usize + bytes.len() <= draft.used as usize, "patched bytes were put before");
        let start = self.span(draft.page, at, 0).at as usize;
        self.memory.as_mut_bytes()[start..start + bytes.len()].copy_from_slice(bytes);
    }

    /// Freezes the draft: pads to a page with zeros and returns the pages it did not use.
    pub fn seal(&mut self, draft: Draft) -> Span {
        let pages = draft.used.div_ceil(PAGE_BYTES as u32).max(1);
        let span = self.span(draft.page, 0, pages * PAGE_BYTES as u32);
        if let Some(last) = self.stain(&draft) {
            let page = &mut self.memory[last].0;
            let used = draft.used as usize % PAGE_BYTES;
            let stained = core::mem::replace(&mut self.stained[last], used as u16);
            page[used..used.max(usize::from(stained))].fill(0);
        }
        let region = self.regions.back_mut().expect("a draft is the newest region");
        assert_eq!(region.page, draft.page);
        region.pages = pages;
        self.head = draft.page + u64::from(pages);
        self.drafting = false;
        span
    }

    /// Gives an unwanted draft back whole.
    pub fn discard(&mut self, draft: Draft) {
        if let Some(last) = self.stain(&draft) {
            let used = (draft.used as usize % PAGE_BYTES) as u16;
            self.stained[last] = self.stained[last].max(used);
        }
        let region = self.regions.pop_back().expect("a draft is the newest region");
        assert_eq!(region.page, draft.page);
        self.head = draft.page;
        self.drafting = false;
    }

    /// The bytes of `span`, or `None` once its region has been reclaimed.
    #[must_use]
    pub fn get(&self, span: Span) -> Option<&[u8]> {
        self.region_of(span)?;
        let at = span.at as usize;
        self.memory.as_bytes().get(at..at + span.len as usize)
    }

    /// Holds the region of `span`. Panics if it has been reclaimed: check with [`Arena::get`].
    pub fn pin(&mut self, span: Span) -> Pin {
        let index = self.region_of(span).expect("only memory that is still held can be pinned");
        self.regions[index].pins += 1;
        Pin(self.first_region + index as u64)
    }

    /// Gives a hold back.
    pub fn unpin(&mut self, pin: Pin) {
        let index = pin.0.checked_sub(self.first_region).expect("a pinned region is not reclaimed");
        let region = &mut self.regions[index as usize];
        region.pins = region.pins.checked_sub(1).expect("a pin is given back once");
        self.reclaim();
    }

    /// Says that nothing before `span` is wanted any more. Pinned regions stay until unpinned, and
    /// so does everything behind the first of them.
    pub fn release_before(&mut self, span: Span) {
        let page = self.absolute(span) / PAGE_BYTES as u64;
        self.released = self.released.max(page.min(self.head));
        self.reclaim();
    }

    /// Says that no sealed region is wanted any more.
    pub fn release_all(&mut self) {
        let newest = self.regions.back();
        self.released = match newest {
            Some(draft) if self.drafting => draft.page,
            _ => self.head,
        };
        self.reclaim();
    }

    /// Releases everything and begins at the start of the memory again, so that regions which fill
    /// it to the last page fit: no lap ends among them. Panics while something is pinned.
    pub fn restart(&mut self) {
        self.release_all();
        assert!(self.regions.is_empty(), "no region is pinned or drafted: {:?}", self.regions);
        self.head = self.head.next_multiple_of(self.lap_pages());
    }

    /// Where the arena's memory is, for registration with the kernel.
    #[must_use]
    pub fn memory(&self) -> &[u8] {
        self.memory.as_bytes()
    }

    /// Notes the pages that the draft filled; returns the one that it did not, if there is one.
    fn stain(&mut self, draft: &Draft) -> Option<usize> {
        let first = (draft.page % self.lap_pages()) as usize;
        let full = draft.used as usize / PAGE_BYTES;
        self.stained[first..first + full].fill(PAGE_BYTES as u16);
        let is_whole = 0 < draft.used && (draft.used as usize).is_multiple_of(PAGE_BYTES);
        (!is_whole).then_some(first + full)
    }

    fn reclaim(&mut self) {
        while let Some(region) = self.regions.front() {
            let wanted = self.released < region.page + u64::from(region.pages);
            if wanted || 0 < region.pins {
                return;
            }
            self.regions.pop_front();
            self.first_region += 1;
        }
    }

    fn tail(&self) -> u64 {
        self.regions.front().map_or(self.head, |region| region.page)
    }

    fn lap_pages(&self) -> u64 {
        self.memory.len() as u64
    }

    fn absolute(&self, span: Span) -> u64 {
        u64::from(span.lap) * self.capacity_bytes() + u64::from(span.at)
    }

    fn span(&self, page: u64, at: u32, len: u32) -> Span {
        let lap = page / self.lap_pages();
        let first = page % self.lap_pages() * PAGE_BYTES as u64;
        Span { at: first as u32 + at, len, lap: lap as u32 }
    }

    fn region_of(&self, span: Span) -> Option<usize> {
        let start = self.absolute(span);
        let end = start + u64::from(span.len);
        let page = start / PAGE_BYTES as u64;
        let index = self.regions.partition_point(|region| region.page <= page).checked_sub(1)?;
        let region = &self.regions[index];
        let region_end = (region.page + u64::from(region.pages)) * PAGE_BYTES as u64;
        (end <= region_end).then_some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Page;

    fn arena(pages: usize) -> Arena {
        Arena::new(PageMemory::Heap(Page::boxed(pages)))
    }

    fn sealed(arena: &mut Arena, bytes: &[u8]) -> Span {
        let mut draft = arena.draft(bytes.len() as u32).unwrap();
        arena.put(&mut draft, bytes).unwrap();
        arena.seal(draft)
    }

    #[test]
    fn sealing_pads_with_zeros_and_returns_unused_pages() {
        let mut arena = arena(4);
        let mut draft = arena.draft(3 * 4096).unwrap();
        let put = arena.put(&mut draft, b"abc").unwrap();
        arena.patch(&mut draft, 1, b"X");
        assert_eq!(arena.drafted(&draft), b"aXc");
        let span = arena.seal(draft);
        assert_eq!(span.len, 4096);
        assert_eq!(arena.get(put), Some(&b"aXc"[..]));
        assert!(arena.get(span).unwrap()[3..].iter().all(|byte| *byte == 0));
        assert_eq!(arena.used_bytes(), 4096);
    }

    #[test]
    fn padding_covers_what_older_laps_left_in_any_order() {
        let mut arena = arena(4);
        for lengths in [[5000, 3000], [10, 4096], [8192, 0], [4095, 1], [7000, 200], [20, 30]] {
            for length in lengths {
                arena.release_all();
                let mut discarded = arena.draft(1).unwrap();
                arena.put(&mut discarded, &[9; 600]).unwrap();
                arena.discard(discarded);
                let span = sealed(&mut arena, &vec![7; length]);
                let (put, padding) = arena.get(span).unwrap().split_at(length);
                assert!(put.iter().all(|byte| *byte == 7));
                assert!(padding.iter().all(|byte| *byte == 0), "{length} bytes in {lengths:?}");
            }
        }
    }

    #[test]
    fn a_span_of_a_reclaimed_region_reads_as_none() {
        let mut arena = arena(2);
        let old = sealed(&mut arena, b"old");
        let new = sealed(&mut arena, b"new");
        assert!(arena.draft(1).is_none(), "full until something is released");
        arena.release_before(new);
        assert_eq!(arena.get(old), None);
        let newest = sealed(&mut arena, b"newest");
        assert_eq!((newest.at, newest.lap), (0, 1));
        assert_eq!(arena.get(old), None, "same place, another lap");
    }

    #[test]
    fn a_pinned_region_and_those_behind_it_stay() {
        let mut arena = arena(3);
        let first = sealed(&mut arena, b"1");
        sealed(&mut arena, b"2");
        let third = sealed(&mut arena, b"3");
        let pin = arena.pin(first);
        arena.release_before(third);
        assert!(arena.draft(1).is_none());
        assert_eq!(&arena.get(first).unwrap()[..1], b"1");
        arena.unpin(pin);
        assert_eq!(arena.get(first), None);
        let draft = arena.draft(2 * 4096).expect("two pages are free again");
        arena.discard(draft);
        assert_eq!(arena.used_bytes(), 4096);
    }

    #[test]
    fn a_draft_grows_until_memory_or_lap_ends() {
        let mut arena = arena(4);
        let first = sealed(&mut arena, b"1");
        let mut draft = arena.draft(1).unwrap();
        assert!(arena.grow(&mut draft, 3 * 4096));
        assert_eq!(draft.room(), 3 * 4096);
        assert!(!arena.grow(&mut draft, 3 * 4096 + 1), "the lap ends");
        arena.put(&mut draft, &[7; 2 * 4096]).unwrap();
        let second = arena.seal(draft);
        arena.release_before(second);
        assert_eq!(arena.get(first), None);
        let wrapped = arena.draft(4096).unwrap();
        arena.discard(wrapped);
        sealed(&mut arena, b"3");
        let mut wrapped = arena.draft(4096).unwrap();
        assert!(!arena.grow(&mut wrapped, 2 * 4096), "the second region is still wanted");
    }

    #[test]
    fn regions_that_fill_all_memory_fit_after_a_restart() {
        let mut arena = arena(3);
        sealed(&mut arena, &[1; 2 * 4096]);
        arena.restart();
        let first = sealed(&mut arena, &[2; 2 * 4096]);
        let last = sealed(&mut arena, &[3; 4096]);
        assert_eq!((first.at, first.lap), (0, 1));
        assert!(arena.get(first).is_some() && arena.get(last).is_some());
    }

    #[test]
    fn a_region_never_straddles_the_end() {
        let mut arena = arena(3);
        let first = sealed(&mut arena, &[1; 2 * 4096]);
        arena.release_all();
        assert_eq!(arena.get(first), None);
        let second = sealed(&mut arena, &[2; 2 * 4096]);
        assert_eq!((second.at, second.lap), (0, 1));
    }
}
