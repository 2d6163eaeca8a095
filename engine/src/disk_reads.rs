//! Reads of extents: at most so many in flight, the others wait as tokens.
//!
//! One read fetches one extent, whole: it is checked as a whole before anyone sees a byte of it.

use std::collections::VecDeque;

use base::{Done, Instant, IoError, LatencyHistogram, Op, PAGE_BYTES, Page, Token};

use crate::bins::Bins;
use crate::extent::{Extent, ExtentRecord, RECORD_BYTES, is_intact};
use crate::page_pool::PagePool;
use crate::partitions::Slot;

/// The eighth byte of every token of a read.
pub(crate) const TOKEN_TAG: u64 = 0x52 << 56;
/// Where the batches begin in the bytes of an extent.
pub(crate) const BATCHES_AT: usize = RECORD_BYTES;
/// Reads that may wait.
const WAITING_MAX: usize = 65_536;

/// Names a read that waits for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReadToken {
    index: u32,
    generation: u32,
}

/// See the module's description. `P` is what the bytes are for.
#[derive(Debug)]
pub(crate) struct DiskReads<P> {
    requests: Vec<Request<P>>,
    free: Vec<u32>,
    waiting: VecDeque<u32>,
    in_flight: usize,
    pub(crate) reads: u64,
    pub(crate) bytes: u64,
    pub(crate) times: LatencyHistogram,
}

#[derive(Debug)]
struct Request<P> {
    generation: u32,
    wanted: Option<Wanted<P>>,
    in_flight: bool,
    started: Instant,
    cancelled: bool,
}

/// An extent to read, and what for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<P> {
    pub slot: Slot,
    pub extent: Extent,
    pub purpose: P,
}

/// A read that ended. Its token lives on until [`DiskReads::finish`], or goes on with
/// [`DiskReads::again`].
#[derive(Debug)]
pub(crate) struct Ended<P> {
    pub token: ReadToken,
    pub wanted: Wanted<P>,
    pub pages: Box<[Page]>,
    pub result: Result<(), ExtentError>,
}

/// Why an extent cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExtentError {
    Io(IoError),
    /// The bytes are not what was written.
    Damaged,
}

impl<P: Copy> DiskReads<P> {
    pub(crate) fn new() -> Self {
        Self {
            requests: Vec::new(),
            free: Vec::new(),
            waiting: VecDeque::new(),
            in_flight: 0,
            reads: 0,
            bytes: 0,
            times: LatencyHistogram::default(),
        }
    }

    /// Reads that wait for others to end.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Asks for an extent; `None` if too many wait.
    pub(crate) fn request(&mut self, bins: &mut Bins, wanted: Wanted<P>) -> Option<ReadToken> {
        if WAITING_MAX <= self.waiting.len() {
            return None;
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.requests.push(Request::vacant());
            self.requests.len() as u32 - 1
        });
        let token = ReadToken { index, generation: self.requests[index as usize].generation };
        self.again(bins, token, wanted);
        Some(token)
    }

    /// Asks for a further extent in the name of a read that ended.
    pub(crate) fn again(&mut self, bins: &mut Bins, token: ReadToken, wanted: Wanted<P>) {
        bins.get_mut(wanted.extent.bin).readers += 1;
        self.requests[token.index as usize].wanted = Some(wanted);
        self.waiting.push_back(token.index);
    }

    /// The token of a read that ended is used no more.
    pub(crate) fn finish(&mut self, token: ReadToken) {
        let request = &mut self.requests[token.index as usize];
        (request.generation, request.cancelled) = (request.generation + 1, false);
        self.free.push(token.index);
    }

    /// Nobody wants the read any more.
    pub(crate) fn cancel(&mut self, bins: &mut Bins, token: ReadToken) {
        let Some(request) = self.requests.get_mut(token.index as usize) else { return };
        if request.generation != token.generation {
            return;
        }
        if request.in_flight {
            request.cancelled = true;
        } else if let Some(wanted) = request.wanted.take() {
            bins.get_mut(wanted.extent.bin).readers -= 1;
            self.waiting.retain(|index| *index != token.index);
            self.finish(token);
        }
    }

    /// Starts reads that wait, up to `limit` in flight.
    pub(crate) fn start(
        &mut self,
        now: Instant,
        bins: &Bins,
        pool: &mut PagePool,
        limit: usize,
        ops: &mut VecDeque<Op>,
    ) {
        while self.in_flight < limit
            && let Some(index) = self.waiting.pop_front()
        {
            let request = &mut self.requests[index as usize];
            (request.in_flight, request.started) = (true, now);
            let extent = request.wanted.as_ref().expect("it waits").extent;
            self.in_flight += 1;
            self.reads += 1;
            self.bytes += u64::from(extent.pages()) * PAGE_BYTES as u64;
            ops.push_back(Op::Read {
                tok: Token(TOKEN_TAG | u64::from(index)),
                file: bins.file(extent.bin),
                pos: u64::from(extent.page) * PAGE_BYTES as u64,
                into: pool.take(extent.pages() as usize),
            });
        }
    }

    /// Takes a completion. `None` if nobody wants it any more.
    pub(crate) fn done(
        &mut self,
        now: Instant,
        bins: &mut Bins,
        pool: &mut PagePool,
        journal: u64,
        done: Done,
    ) -> Option<Ended<P>> {
        let Done::Filled { tok, buf: pages, res } = done else {
            unreachable!("a read is only filled: {done:?}");
        };
        let index = (tok.0 & !TOKEN_TAG) as u32;
        let request = &mut self.requests[index as usize];
        let wanted = request.wanted.take().expect("a read in flight is wanted or cancelled");
        request.in_flight = false;
        self.times.record(now.since(request.started), 1);
        self.in_flight -= 1;
        bins.get_mut(wanted.extent.bin).readers -= 1;
        let token = ReadToken { index, generation: request.generation };
        if request.cancelled {
            pool.give(pages);
            self.finish(token);
            return None;
        }
        let result = match res {
            Err(error) => Err(ExtentError::Io(error)),
            Ok(()) => check(&wanted.extent, Page::bytes(&pages), journal),
        };
        Some(Ended { token, wanted, pages, result })
    }
}

impl<P> Request<P> {
    fn vacant() -> Self {
        let started = Instant::default();
        Self { generation: 0, wanted: None, in_flight: false, started, cancelled: false }
    }
}

/// The batches of an extent that was read.
pub(crate) fn batches<'a>(extent: &Extent, pages: &'a [Page]) -> &'a [u8] {
    &Page::bytes(pages)[RECORD_BYTES..RECORD_BYTES + extent.len as usize]
}

fn check(extent: &Extent, bytes: &[u8], journal: u64) -> Result<(), ExtentError> {
    let batches = &bytes[RECORD_BYTES..RECORD_BYTES + extent.len as usize];
    let sound = ExtentRecord::read(bytes, journal).is_some_and(|record| record.extent() == *extent)
        && is_intact(extent, batches);
    if sound { Ok(()) } else { Err(ExtentError::Damaged) }
}
