//! Reads every byte of every segment once and finds the frames in them.
//!
//! ```text
//!  sync all ──▶ first chunk of each ──▶ the rest, oldest segment first ──▶ done
//!               (tells their order)     several reads of 1 MiB in flight
//! ```
//! What a crashed process wrote may still sit in a volatile cache: it is made stable before a
//! decision rests on it.

use std::collections::VecDeque;

use base::{Done, IoError, Op, PAGE_BYTES, Page, Seq, Token};

use super::config::JournalConfig;
use super::image::{CHUNK_BLOCKS, SegmentImage};
use super::reader::{Chunk, Extent, Reader};
use super::verdict::{Sighting, Sightings};

/// The eighth byte of the token of a sync.
const SYNC_TAG: u64 = 0x53 << 56;
/// Reads in flight.
const DEPTH: usize = 8;

#[derive(Debug)]
pub(super) struct Scan {
    images: Vec<SegmentImage>,
    stage: Stage,
    syncs: VecDeque<Op>,
    reader: Reader,
    /// Images in the order in which their frames were written, as far as their heads tell.
    order: Vec<usize>,
    start: Seq,
    spare: Vec<Box<[Page]>>,
    scratch: Vec<u8>,
    seen: Sightings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Syncs that have not ended.
    Syncing(usize),
    /// The next image whose first chunk is to be read, and those not yet there.
    Heads {
        next: usize,
        missing: usize,
    },
    /// The next chunk to read of the `image`-th in order, and how many images were surveyed.
    Bodies {
        image: usize,
        chunk: usize,
        surveyed: usize,
    },
    Failed(SyncFailed),
    Finished,
}

/// A segment could not be made stable: nothing read from it may be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SyncFailed {
    pub(super) segment: u16,
    pub(super) error: IoError,
}

impl Scan {
    /// A scan of `existing` segments and their bytes.
    pub(super) fn new(config: &JournalConfig, existing: &[(u16, u64)], sync: bool) -> Self {
        let image = |(segment, bytes): &(u16, u64)| {
            SegmentImage::new(*segment, (bytes / PAGE_BYTES as u64) as u32)
        };
        let images: Vec<_> = existing.iter().map(image).filter(|image| 0 < image.blocks).collect();
        let mut scan = Self {
            stage: Stage::Heads { next: 0, missing: images.len() },
            images,
            syncs: VecDeque::new(),
            reader: Reader::new(),
            order: Vec::new(),
            start: Seq(0),
            spare: Vec::new(),
            scratch: Vec::new(),
            seen: Sightings::default(),
        };
        if sync && !scan.images.is_empty() {
            scan.stage = Stage::Syncing(scan.images.len());
            scan.syncs.extend(scan.images.iter().map(|image| Op::Sync {
                tok: Token(SYNC_TAG | u64::from(image.segment)),
                file: config.file(image.segment),
            }));
        }
        scan.advance(config, &mut |_, _| {});
        scan
    }

    pub(super) fn poll_op(&mut self) -> Option<Op> {
        self.syncs.pop_front().or_else(|| self.reader.poll_op())
    }

    pub(super) fn is_finished(&self) -> bool {
        self.stage == Stage::Finished
    }

    pub(super) fn failed(&self) -> Option<SyncFailed> {
        match self.stage {
            Stage::Failed(failed) => Some(failed),
            _ => None,
        }
    }

    pub(super) fn seen(&self) -> &Sightings {
        &self.seen
    }

    /// A sequence that S is known to have passed, from the heads of segments.
    pub(super) fn start(&self) -> Seq {
        self.start
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.reader.bytes_read()
    }

    /// Takes a completion, or gives it back if it belongs to someone else. Shows every frame that
    /// is found to `visit`, in the order of writing unless heads are damaged.
    pub(super) fn done(
        &mut self,
        config: &JournalConfig,
        done: Done,
        visit: &mut dyn FnMut(&Sighting, &[u8]),
    ) -> Result<(), Done> {
        match done {
            Done::Synced { tok, res } if tok.0 >> 56 == SYNC_TAG >> 56 => {
                self.synced((tok.0 ^ SYNC_TAG) as u16, res);
            }
            other => {
                if let Some(chunk) = self.reader.done(config, other)? {
                    self.fill(chunk);
                }
            }
        }
        self.advance(config, visit);
        Ok(())
    }

    fn synced(&mut self, segment: u16, res: Result<(), IoError>) {
        match (self.stage, res) {
            (Stage::Syncing(left), Ok(())) => self.stage = Stage::Syncing(left - 1),
            (Stage::Syncing(_), Err(error)) => {
                self.stage = Stage::Failed(SyncFailed { segment, error });
            }
            _ => {}
        }
    }

    fn fill(&mut self, chunk: Chunk) {
        let segment = chunk.extent.segment;
        let image = self.images.iter_mut().find(|image| image.segment == segment);
        let index = (chunk.extent.first_block / CHUNK_BLOCKS) as usize;
        image.expect("a chunk has its segment").fill(index, chunk.pages, &chunk.unreadable);
        if let Stage::Heads { missing, .. } = &mut self.stage {
            *missing -= 1;
        }
    }

    /// Goes on as far as what was read allows.
    fn advance(&mut self, config: &JournalConfig, visit: &mut dyn FnMut(&Sighting, &[u8])) {
        if self.stage == Stage::Syncing(0) {
            self.stage = Stage::Heads { next: 0, missing: self.images.len() };
        }
        if let Stage::Heads { missing: 0, .. } = self.stage {
            self.order_by_head(config.id);
            self.stage = Stage::Bodies { image: 0, chunk: 1, surveyed: 0 };
        }
        self.survey_complete(config.id, visit);
        while self.reader.in_flight() < DEPTH && self.request_next(config) {}
    }

    fn order_by_head(&mut self, journal: u64) {
        let heads = self.images.iter().map(|image| image.first_head(journal));
        let stamps: Vec<_> = heads.map(|head| head.map(|head| head.stamp)).collect();
        self.start = stamps.iter().flatten().map(|stamp| stamp.start).max().unwrap_or_default();
        self.order = (0..self.images.len()).collect();
        self.order.sort_by_key(|index| stamps[*index].map(|stamp| (stamp.inc, stamp.seq)));
    }

    fn survey_complete(&mut self, journal: u64, visit: &mut dyn FnMut(&Sighting, &[u8])) {
        let Stage::Bodies { surveyed, .. } = &mut self.stage else { return };
        while let Some(index) = self.order.get(*surveyed) {
            let image = &mut self.images[*index];
            if !image.is_complete() {
                return;
            }
            image.survey(journal, &mut self.scratch, &mut self.seen, visit);
            let chunks = image.take_chunks();
            self.spare.extend(chunks.filter(|pages| pages.len() == CHUNK_BLOCKS as usize));
            *surveyed += 1;
        }
        self.stage = Stage::Finished;
    }

    /// Asks for the next chunk; `false` if there is none to ask for.
    fn request_next(&mut self, config: &JournalConfig) -> bool {
        match &mut self.stage {
            Stage::Heads { next, .. } if *next < self.images.len() => {
                *next += 1;
                let index = *next - 1;
                self.request(config, index, 0);
            }
            Stage::Bodies { image, chunk, .. } => {
                while self
                    .order
                    .get(*image)
                    .is_some_and(|index| self.images[*index].chunk_count() <= *chunk)
                {
                    *image += 1;
                    *chunk = 1;
                }
                let Some(index) = self.order.get(*image).copied() else { return false };
                *chunk += 1;
                let wanted = *chunk - 1;
                self.request(config, index, wanted);
            }
            _ => return false,
        }
        true
    }

    fn request(&mut self, config: &JournalConfig, image: usize, chunk: usize) {
        let image = &self.images[image];
        let blocks = image.chunk_blocks(chunk);
        let extent = Extent { segment: image.segment, first_block: chunk as u32 * CHUNK_BLOCKS };
        let spare = if blocks == CHUNK_BLOCKS { self.spare.pop() } else { None };
        let into = spare.unwrap_or_else(|| Page::boxed(blocks as usize));
        self.reader.read(config, extent, into);
    }
}
