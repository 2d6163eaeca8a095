//! Reads of segment files that survive bad blocks: what cannot be read at once is read block by
//! block, and the blocks the device refuses are named.

use std::collections::VecDeque;

use base::{Done, IoError, Op, PAGE_BYTES, Page, Token};

use super::config::JournalConfig;

/// The eighth byte of every token of a reader.
const TOKEN_TAG: u64 = 0x52 << 56;

/// Reads in flight and their progress.
#[derive(Debug)]
pub(super) struct Reader {
    /// By token; slots are reused.
    slots: Vec<Option<Reading>>,
    ops: VecDeque<Op>,
    bytes_read: u64,
}

/// What to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) segment: u16,
    pub(super) first_block: u32,
}

/// What was read.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) extent: Extent,
    /// Unreadable blocks are zero.
    pub(super) pages: Box<[Page]>,
    /// Indexes into `pages`.
    pub(super) unreadable: Vec<u32>,
}

#[derive(Debug)]
struct Reading {
    extent: Extent,
    /// The large read failed: pages are gathered here, one by one.
    gathered: Option<Gathered>,
}

#[derive(Debug)]
struct Gathered {
    pages: Box<[Page]>,
    next: u32,
    unreadable: Vec<u32>,
}

impl Reader {
    pub(super) fn new() -> Self {
        Self { slots: Vec::new(), ops: VecDeque::new(), bytes_read: 0 }
    }

    /// Bytes asked of the device, blocks that were read twice counted twice.
    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    pub(super) fn in_flight(&self) -> usize {
        self.slots.iter().flatten().count()
    }

    /// Starts to read as many blocks as `into` has.
    pub(super) fn read(&mut self, config: &JournalConfig, extent: Extent, into: Box<[Page]>) {
        let free = self.slots.iter().position(Option::is_none);
        let slot = free.unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(Reading { extent, gathered: None });
        self.push_op(config, slot, extent.first_block, into);
    }

    pub(super) fn poll_op(&mut self) -> Option<Op> {
        self.ops.pop_front()
    }

    /// Takes a completion; gives it back if it belongs to someone else. `Ok(None)`: more to come.
    pub(super) fn done(
        &mut self,
        config: &JournalConfig,
        done: Done,
    ) -> Result<Option<Chunk>, Done> {
        match done {
            Done::Filled { tok, buf, res } if tok.0 >> 56 == TOKEN_TAG >> 56 => {
                Ok(self.filled(config, (tok.0 ^ TOKEN_TAG) as usize, buf, res))
            }
            other => Err(other),
        }
    }

    fn filled(
        &mut self,
        config: &JournalConfig,
        slot: usize,
        buf: Box<[Page]>,
        res: Result<(), IoError>,
    ) -> Option<Chunk> {
        let reading = self.slots[slot].as_mut().expect("a read in flight has a slot");
        let extent = reading.extent;
        match (&mut reading.gathered, res) {
            (None, Ok(())) => {
                self.slots[slot] = None;
                return Some(Chunk { extent, pages: buf, unreadable: Vec::new() });
            }
            (None, Err(_)) => {
                reading.gathered = Some(Gathered { pages: buf, next: 0, unreadable: Vec::new() });
            }
            (Some(gathered), res) => gathered.add(buf, res),
        }
        self.gather_on(config, slot)
    }

    fn gather_on(&mut self, config: &JournalConfig, slot: usize) -> Option<Chunk> {
        let reading = self.slots[slot].as_mut()?;
        let extent = reading.extent;
        let gathered = reading.gathered.as_ref()?;
        if (gathered.next as usize) < gathered.pages.len() {
            let block = extent.first_block + gathered.next;
            self.push_op(config, slot, block, Page::boxed(1));
            return None;
        }
        let Gathered { pages, unreadable, .. } = self.slots[slot].take()?.gathered?;
        Some(Chunk { extent, pages, unreadable })
    }

    fn push_op(&mut self, config: &JournalConfig, slot: usize, block: u32, into: Box<[Page]>) {
        self.bytes_read += (into.len() * PAGE_BYTES) as u64;
        let segment = self.slots[slot].as_ref().expect("in flight").extent.segment;
        self.ops.push_back(Op::Read {
            tok: Token(TOKEN_TAG | slot as u64),
            file: config.file(segment),
            pos: u64::from(block) * PAGE_BYTES as u64,
            into,
        });
    }
}

impl Gathered {
    fn add(&mut self, block: Box<[Page]>, res: Result<(), IoError>) {
        let page = &mut self.pages[self.next as usize];
        match res {
            Ok(()) => page.0.copy_from_slice(Page::bytes(&block)),
            Err(_) => {
                page.0.fill(0);
                self.unreadable.push(self.next);
            }
        }
        self.next += 1;
    }
}
