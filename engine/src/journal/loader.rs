//! Brings frames into the arena as recovery meets them, so that the tail in memory mirrors the
//! journal again.
//!
//! While scanning nobody knows yet which frames will be accepted. The loader bets: it takes every
//! whole frame that is newer than the one before, and lets go of those before the newest S when
//! memory runs out. The bet fails only if heads of segments are damaged; then the accepted frames
//! are read once more.

use base::{Arena, Incarnation, Seq, Span};

use super::frame::Body;
use super::verdict::Sighting;

#[derive(Debug, Default)]
pub(super) struct Loader {
    /// By index of sighting, ascending, as are the spans.
    loaded: Vec<(usize, Seq, Span)>,
    sightings: usize,
    newest: (Incarnation, Seq),
    start: Seq,
    out_of_memory: bool,
}

impl Loader {
    /// Nothing before `start` is needed.
    pub(super) fn pass(&mut self, start: Seq) {
        self.start = self.start.max(start);
    }

    /// Loads a frame of the scan if it may be needed.
    pub(super) fn visit(&mut self, arena: &mut Arena, frame: &Sighting, bytes: &[u8]) {
        let index = self.sightings;
        self.sightings += 1;
        self.pass(frame.stamp.start);
        let age = (frame.stamp.inc, frame.stamp.seq);
        let stands = frame.body != Body::Lost && !frame.is_misdirected();
        if !stands || age <= self.newest || frame.stamp.seq < self.start || self.out_of_memory {
            return;
        }
        match load(arena, bytes).or_else(|| self.load_in_freed(arena, bytes)) {
            Some(span) => {
                self.loaded.push((index, frame.stamp.seq, span));
                self.newest = age;
            }
            None => self.out_of_memory = true,
        }
    }

    /// The spans of the `accepted` sightings, or `None` if not all were loaded in order.
    pub(super) fn spans_of(&self, accepted: &[usize]) -> Option<Vec<Span>> {
        if !accepted.is_sorted() {
            return None;
        }
        let find = |index: &usize| {
            let found = self.loaded.binary_search_by_key(index, |(index, ..)| *index).ok()?;
            Some(self.loaded[found].2)
        };
        accepted.iter().map(find).collect()
    }

    /// Lets go of frames that the newest S has passed, and tries again.
    fn load_in_freed(&mut self, arena: &mut Arena, bytes: &[u8]) -> Option<Span> {
        let needed = self.loaded.iter().find(|(_, seq, _)| self.start <= *seq);
        match needed {
            Some((_, _, span)) => arena.release_before(*span),
            None => arena.release_all(),
        }
        self.loaded.retain(|(_, _, span)| arena.get(*span).is_some());
        load(arena, bytes)
    }
}

/// Copies a frame into a region of its own.
pub(super) fn load(arena: &mut Arena, frame: &[u8]) -> Option<Span> {
    let mut draft = arena.draft(frame.len() as u32)?;
    arena.put(&mut draft, frame).expect("a draft of its size");
    Some(arena.seal(draft))
}
