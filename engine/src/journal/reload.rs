//! Reads the accepted frames once more, in order: only when damaged heads of segments hid the order
//! from the scan, or memory was too small for its bets.

use base::{Arena, Done, Op, PAGE_BYTES, Page, Span};

use super::config::JournalConfig;
use super::frame::{Head, Probe};
use super::image::CHUNK_BLOCKS;
use super::loader::load;
use super::reader::{Chunk, Extent, Reader};
use super::recovery::RecoveryError;
use super::verdict::Sighting;

#[derive(Debug)]
pub(super) struct Reload {
    reader: Reader,
    frames: Vec<Sighting>,
    /// One per frame that is back in memory.
    spans: Vec<Span>,
    /// Frames of the read in flight.
    run: usize,
}

impl Reload {
    pub(super) fn new(config: &JournalConfig, frames: Vec<Sighting>) -> Self {
        let spans = Vec::with_capacity(frames.len());
        let mut reload = Self { reader: Reader::new(), frames, spans, run: 0 };
        reload.read_next(config);
        reload
    }

    pub(super) fn poll_op(&mut self) -> Option<Op> {
        self.reader.poll_op()
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.reader.bytes_read()
    }

    /// The spans of all frames, once all are there.
    pub(super) fn finished(&self) -> Option<&[Span]> {
        (self.spans.len() == self.frames.len()).then_some(&self.spans)
    }

    /// Takes a completion, or gives it back if it belongs to someone else.
    pub(super) fn done(
        &mut self,
        config: &JournalConfig,
        arena: &mut Arena,
        done: Done,
    ) -> Result<Result<(), RecoveryError>, Done> {
        let Some(chunk) = self.reader.done(config, done)? else { return Ok(Ok(())) };
        if self.spans.is_empty() {
            // Frames that lay in a full tail before fit only without the gap that a lap's end makes.
            arena.restart();
        }
        let loaded = self.load_run(config.id, arena, &chunk);
        self.read_next(config);
        Ok(loaded)
    }

    fn load_run(
        &mut self,
        journal: u64,
        arena: &mut Arena,
        chunk: &Chunk,
    ) -> Result<(), RecoveryError> {
        let mut bytes = Page::bytes(&chunk.pages);
        for _ in 0..self.run {
            let seen = self.frames[self.spans.len()];
            let (frame, rest) = bytes.split_at(seen.frame_bytes as usize);
            bytes = rest;
            let same = match Head::probe(frame, journal) {
                Probe::Head(head) => head.stamp == seen.stamp && head.body(frame) == seen.body,
                Probe::Nothing | Probe::Version(_) => false,
            };
            if !same {
                return Err(RecoveryError::Unstable { place: seen.found_at });
            }
            let span = load(arena, frame).ok_or_else(|| self.too_large_for(arena))?;
            self.spans.push(span);
        }
        Ok(())
    }

    fn too_large_for(&self, arena: &Arena) -> RecoveryError {
        let needed = self.frames.iter().map(|frame| u64::from(frame.frame_bytes)).sum();
        RecoveryError::ArenaTooSmall { needed, arena: arena.capacity_bytes() }
    }

    /// Reads as many adjacent frames as a chunk holds, at least one.
    fn read_next(&mut self, config: &JournalConfig) {
        let ahead = &self.frames[self.spans.len()..];
        let Some(first) = ahead.first() else { return };
        let mut bytes = 0;
        let adjoins = |frame: &&Sighting| {
            let at = first.found_at.position + u64::from(bytes);
            let adjacent = frame.found_at.segment == first.found_at.segment
                && frame.found_at.position == at
                && (bytes == 0 || bytes + frame.frame_bytes <= CHUNK_BLOCKS * PAGE_BYTES as u32);
            if adjacent {
                bytes += frame.frame_bytes;
            }
            adjacent
        };
        self.run = ahead.iter().take_while(adjoins).count();
        let first_block = (first.found_at.position / PAGE_BYTES as u64) as u32;
        let extent = Extent { segment: first.found_at.segment, first_block };
        self.reader.read(config, extent, Page::boxed(bytes as usize / PAGE_BYTES));
    }
}
