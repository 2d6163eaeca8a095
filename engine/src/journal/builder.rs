//! The open frame: payloads go straight to their final place in the arena, descriptors wait beside
//! it until the frame is sealed.

use base::{Arena, Draft, Instant, Span};
use zerocopy::IntoBytes;

use super::entry::NewEntry;
use super::frame::{self, Descriptor, Stamp};

/// What an open frame reserves at first; it grows as entries come.
const FIRST_DRAFT_BYTES: u32 = 256 << 10;

#[derive(Debug)]
pub(super) struct FrameBuilder {
    open: Option<Open>,
    /// Kept from frame to frame, so that a steady journal allocates nothing.
    descriptors: Vec<Descriptor>,
    max_bytes: u32,
}

#[derive(Debug)]
struct Open {
    draft: Draft,
    payload_bytes: u32,
    oldest_at: Instant,
}

/// A frame whose bytes are final.
#[derive(Clone, Copy, Debug)]
pub(super) struct SealedFrame {
    pub(super) span: Span,
    pub(super) crc: u32,
    pub(super) entries: u32,
}

impl FrameBuilder {
    pub(super) fn new(max_bytes: u32) -> Self {
        Self { open: None, descriptors: Vec::with_capacity(1024), max_bytes }
    }

    /// Entries of the open frame.
    pub(super) fn entries(&self) -> u32 {
        self.descriptors.len() as u32
    }

    /// When the oldest entry of the open frame came.
    pub(super) fn oldest_at(&self) -> Option<Instant> {
        self.open.as_ref().map(|open| open.oldest_at)
    }

    /// Header, payloads and descriptors so far, without padding.
    pub(super) fn used_bytes(&self) -> u32 {
        let descriptors = self.entries() * size_of::<Descriptor>() as u32;
        self.open.as_ref().map_or(0, |open| open.draft.used() + descriptors)
    }

    /// Bytes of the frame on disk if it were sealed with one more entry of `payload` bytes, or
    /// `None` if that is more than a frame may have.
    pub(super) fn bytes_with(&self, payload: u32) -> Option<u32> {
        let before = self.open.as_ref().map_or(0, |open| open.payload_bytes);
        let bytes = frame::frame_bytes(before.checked_add(payload)?, self.entries() + 1);
        (bytes <= self.max_bytes).then_some(bytes)
    }

    /// Bytes of the frame on disk if it were sealed now.
    pub(super) fn bytes(&self) -> u32 {
        frame::frame_bytes(self.open.as_ref().map_or(0, |open| open.payload_bytes), self.entries())
    }

    /// Makes sure that a frame is open with memory for `bytes`; `false` if there is none.
    pub(super) fn make_room(&mut self, arena: &mut Arena, now: Instant, bytes: u32) -> bool {
        if let Some(open) = &mut self.open {
            let generous = bytes.next_power_of_two().min(self.max_bytes);
            return arena.grow(&mut open.draft, generous) || arena.grow(&mut open.draft, bytes);
        }
        let first = FIRST_DRAFT_BYTES.clamp(bytes, self.max_bytes.max(bytes));
        let Some(mut draft) = arena.draft(first).or_else(|| arena.draft(bytes)) else {
            return false;
        };
        arena.put(&mut draft, &frame::BLANK_HEADER).expect("a draft holds a header");
        self.open = Some(Open { draft, payload_bytes: 0, oldest_at: now });
        true
    }

    /// Adds an entry, gathering its payload. The room was made before.
    pub(super) fn push(&mut self, arena: &mut Arena, entry: &NewEntry, payload: &[&[u8]]) -> Span {
        let open = self.open.as_mut().expect("a frame is open");
        let at = open.draft.used();
        let mut whole = arena.put(&mut open.draft, &[]).expect("nothing fits everywhere");
        for part in payload {
            whole.len += arena.put(&mut open.draft, part).expect("room was made").len;
        }
        open.payload_bytes += whole.len;
        let bytes = &arena.drafted(&open.draft)[at as usize..];
        self.descriptors.push(Descriptor::new(entry, at, bytes));
        whole
    }

    /// Closes the open frame.
    pub(super) fn seal(&mut self, arena: &mut Arena, journal: u64, stamp: &Stamp) -> SealedFrame {
        let mut open = self.open.take().expect("a frame is open");
        let (header, crc) = frame::header(journal, stamp, open.payload_bytes, &self.descriptors);
        arena.put(&mut open.draft, self.descriptors.as_bytes()).expect("room was made");
        arena.patch(&mut open.draft, 0, header.as_bytes());
        let entries = self.entries();
        self.descriptors.clear();
        SealedFrame { span: arena.seal(open.draft), crc, entries }
    }

    /// Gives the memory of an open frame without entries back.
    pub(super) fn discard_empty(&mut self, arena: &mut Arena) {
        assert!(self.descriptors.is_empty(), "entries are never thrown away");
        if let Some(open) = self.open.take() {
            arena.discard(open.draft);
        }
    }

    /// Closes an open frame that will never be written. Its entries stay readable.
    pub(super) fn abandon(&mut self, arena: &mut Arena) {
        if let Some(open) = self.open.take() {
            arena.seal(open.draft);
        }
        self.descriptors.clear();
    }
}
