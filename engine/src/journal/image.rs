//! The bytes of one segment as they were read, and the frames in them.
//!
//! ```text
//!  block  0      1      2      3      4      5
//!        ┌──────┬────────────────────┬──────┬──────┐
//!        │ torn │ whole: skip inside │ old, │ head │  a torn header hides the next frame, so every
//!        └──────┴────────────────────┴─body─┴─lost─┘  block not inside a whole frame is looked at
//! ```

use base::{PAGE_BYTES, Page};

use super::frame::{Body, Head, Place, Probe};
use super::verdict::{Sighting, Sightings};

/// Blocks of a chunk: reads of 1 MiB.
pub(super) const CHUNK_BLOCKS: u32 = 256;

/// One segment in chunks.
#[derive(Debug)]
pub(super) struct SegmentImage {
    pub(super) segment: u16,
    pub(super) blocks: u32,
    chunks: Vec<Option<Box<[Page]>>>,
    missing: usize,
    /// Blocks that the device refused, ascending within a chunk.
    unreadable: Vec<u32>,
}

impl SegmentImage {
    pub(super) fn new(segment: u16, blocks: u32) -> Self {
        let missing = blocks.div_ceil(CHUNK_BLOCKS) as usize;
        let chunks = (0..missing).map(|_| None).collect();
        Self { segment, blocks, chunks, missing, unreadable: Vec::new() }
    }

    pub(super) fn chunk_count(&self) -> usize {
        self.chunks.len()
    }

    /// Blocks of chunk `index`: all of them full but the last.
    pub(super) fn chunk_blocks(&self, index: usize) -> u32 {
        CHUNK_BLOCKS.min(self.blocks - index as u32 * CHUNK_BLOCKS)
    }

    pub(super) fn is_complete(&self) -> bool {
        self.missing == 0
    }

    /// Puts a chunk into its place. `unreadable` are its bad blocks.
    pub(super) fn fill(&mut self, index: usize, pages: Box<[Page]>, unreadable: &[u32]) {
        let first = index as u32 * CHUNK_BLOCKS;
        self.unreadable.extend(unreadable.iter().map(|block| first + block));
        let before = self.chunks[index].replace(pages);
        assert!(before.is_none(), "chunk {index} of segment {} came twice", self.segment);
        self.missing -= 1;
    }

    /// The header in the first block, once that was read.
    pub(super) fn first_head(&self, journal: u64) -> Option<Head> {
        match Head::probe(self.block(0)?, journal) {
            Probe::Head(head) => Some(head),
            Probe::Nothing | Probe::Version(_) => None,
        }
    }

    /// Gives the memory back, for the next segment.
    pub(super) fn take_chunks(&mut self) -> impl Iterator<Item = Box<[Page]>> {
        self.chunks.drain(..).flatten()
    }

    /// Adds every frame to `seen`, and shows it with its bytes (none if it leaves the segment).
    pub(super) fn survey(
        &self,
        journal: u64,
        scratch: &mut Vec<u8>,
        seen: &mut Sightings,
        visit: &mut dyn FnMut(&Sighting, &[u8]),
    ) {
        seen.unreadable.extend(self.unreadable.iter().map(|block| self.place(*block)));
        let mut block = 0;
        while block < self.blocks {
            block += match Head::probe(self.block(block).unwrap_or_default(), journal) {
                Probe::Nothing => 1,
                Probe::Version(version) => {
                    seen.unknown_version = seen.unknown_version.max(Some(version));
                    1
                }
                Probe::Head(head) => {
                    let frame = self.bytes(block, head.frame_bytes, scratch);
                    let sighting = self.sighting(block, &head, frame);
                    visit(&sighting, frame);
                    seen.frames.push(sighting);
                    let whole = sighting.body == Body::Intact && !sighting.is_misdirected();
                    if whole { head.frame_bytes / PAGE_BYTES as u32 } else { 1 }
                }
            };
        }
    }

    fn sighting(&self, block: u32, head: &Head, frame: &[u8]) -> Sighting {
        let end = block + head.frame_bytes / PAGE_BYTES as u32;
        Sighting {
            stamp: head.stamp,
            found_at: self.place(block),
            frame_bytes: head.frame_bytes,
            crc: head.frame_crc,
            entries: head.entries,
            body: head.body(frame),
            unreadable: self.unreadable.iter().any(|bad| (block..end).contains(bad)),
        }
    }

    fn place(&self, block: u32) -> Place {
        Place { segment: self.segment, position: u64::from(block) * PAGE_BYTES as u64 }
    }

    fn block(&self, block: u32) -> Option<&[u8]> {
        let pages = self.chunks.get((block / CHUNK_BLOCKS) as usize)?.as_ref()?;
        pages.get((block % CHUNK_BLOCKS) as usize).map(|page| &page.0[..])
    }

    /// `len` bytes from a block on: where they lie if in one chunk, else gathered in `scratch`.
    /// Empty if they leave the segment.
    fn bytes<'a>(&'a self, block: u32, len: u32, scratch: &'a mut Vec<u8>) -> &'a [u8] {
        let count = len / PAGE_BYTES as u32;
        if self.blocks - block < count {
            return &[];
        }
        let from = (block % CHUNK_BLOCKS) as usize;
        if let Some(Some(pages)) = self.chunks.get((block / CHUNK_BLOCKS) as usize)
            && let Some(pages) = pages.get(from..from + count as usize)
        {
            return Page::bytes(pages);
        }
        scratch.clear();
        for block in block..block + count {
            scratch.extend_from_slice(self.block(block).unwrap_or_default());
        }
        scratch
    }
}
