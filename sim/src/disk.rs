//! A disk that may do whatever real ones have been seen to do.
//!
//! ```text
//!   submit ──▶ in flight ──time──▶ complete: bytes are read from the arena now
//!                 │                   │
//!               kill ──▶ zombies      ├─ synced: on stable storage
//!                 │                   └─ else:   in the volatile cache ─ sync ─▶ stable
//!             cut power ─▶ kept, dropped or torn, each write for itself
//! ```
//! A write's bytes are taken when it completes, and must be those it was submitted with: memory
//! that changes under a write in flight is a violation, not bad luck.

mod crash;
mod effects;
mod platter;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use base::crc::crc32c;
use base::{Arena, Done, FileId, FileKind, Instant, Op, PAGE_BYTES, Page, ShardId, Span, Token};

use self::effects::Landing;
use self::platter::Platter;
use crate::knobs::Knobs;
use crate::random::{MILLION, Random};
use crate::trace::Trace;
use crate::violation::{Checker, Violation};

/// Where the spans of operations lie: an arena for each shard.
pub trait Memory {
    fn arena(&self, shard: ShardId) -> &Arena;
}

impl Memory for Arena {
    fn arena(&self, _: ShardId) -> &Arena {
        self
    }
}

/// Most operations that may be in flight: the engine's own limits lie below.
const IN_FLIGHT_MAX: usize = 256;

/// See the module's description.
#[derive(Debug)]
pub struct Disk {
    knobs: Knobs,
    random: Random,
    files: BTreeMap<FileId, Platter>,
    /// By the time of their completion; the second number breaks ties.
    in_flight: BTreeMap<(Instant, u64), Flight>,
    submitted: u64,
    /// Writes completed so far: the number of the next.
    writes: u64,
    /// Places written lately: where rot is most telling.
    recent: VecDeque<(FileId, usize)>,
    injected: Injected,
    /// What the last failed write to each place would have left there, by its checksum.
    refused: BTreeMap<(FileId, usize), u32>,
    /// Writes of the process before that are still under way.
    late: Vec<Landing>,
    /// Where something was struck that had been written, and what was not written where it belongs.
    strikes: Vec<Strike>,
    /// Pages that files may have together.
    pages_max: Option<u64>,
    full: bool,
}

/// Which faults have struck.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Injected {
    /// Failures that the engine was told of.
    pub errors: u64,
    /// Damage, misdirection, lies: what the model excludes.
    pub beyond: u64,
}

/// A place whose bytes are not, or may not be, what was written there last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strike {
    pub file: FileId,
    pub bytes: Range<usize>,
}

#[derive(Debug)]
struct Flight {
    op: Op,
    /// Of a write: the checksum of its bytes when it was submitted.
    submitted_crc: u32,
    /// Of a sync: the first write that it need not cover.
    until: u64,
}

impl Disk {
    #[must_use]
    pub fn new(knobs: &Knobs, random: Random) -> Self {
        Self {
            knobs: knobs.clone(),
            random,
            files: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            submitted: 0,
            writes: 0,
            recent: VecDeque::new(),
            injected: Injected::default(),
            refused: BTreeMap::new(),
            late: Vec::new(),
            strikes: Vec::new(),
            pages_max: None,
            full: false,
        }
    }

    /// The files and their sizes, as a process finds them when it starts.
    #[must_use]
    pub fn files(&self) -> Vec<(FileId, u64)> {
        self.files.iter().map(|(id, platter)| (*id, platter.len() as u64)).collect()
    }

    #[must_use]
    pub fn injected(&self) -> Injected {
        self.injected
    }

    /// The places struck since the last call.
    pub fn take_strikes(&mut self) -> Vec<Strike> {
        std::mem::take(&mut self.strikes)
    }

    /// Gives the disk so many pages and no more.
    pub fn limit(&mut self, pages: u64) {
        self.pages_max = Some(pages);
    }

    /// Lets faults strike as `knobs` say.
    pub fn trouble(&mut self, knobs: &Knobs) {
        self.knobs = knobs.clone();
    }

    /// Stops all faults but those that are on the disk already.
    pub fn heal(&mut self) {
        let knobs = &mut self.knobs;
        (knobs.write_error, knobs.write_short, knobs.sync_error) = (0, 0, 0);
        (knobs.read_error, knobs.misdirect, knobs.lying_flush) = (0, 0, 0);
        knobs.stall = 0;
        (self.pages_max, self.full) = (None, false);
    }

    /// Whether a creation has failed for lack of space.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full
    }

    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// When the next operation completes.
    #[must_use]
    pub fn next_completion(&self) -> Option<Instant> {
        self.in_flight.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes an operation on. `memory` is what its spans name.
    pub fn submit(
        &mut self,
        now: Instant,
        op: Op,
        memory: &impl Memory,
        trace: &mut Trace,
    ) -> Result<(), Violation> {
        let (what, pos) = describe(&op);
        let (token, file) = (op.token(), op.file());
        let len = self.check_bounds(&op)?;
        let name = name_of(file);
        trace.say(now, what, format_args!("#{:x} {name} at {pos}, {len} bytes", token.0));
        let bytes = match &op {
            Op::Write { span, .. } => {
                Some(memory.arena(file.shard).get(*span).ok_or_else(|| gone(&op))?)
            }
            Op::WritePages { pages, .. } => Some(Page::bytes(pages)),
            Op::Read { .. } | Op::Sync { .. } | Op::Create { .. } => None,
        };
        let submitted_crc = bytes.map_or(0, crc32c);
        let at = now.plus(std::time::Duration::from_nanos(self.latency_ns(&op)));
        self.submitted += 1;
        let flight = Flight { op, submitted_crc, until: self.writes };
        self.in_flight.insert((at, self.submitted), flight);
        self.check_limits(file.shard)
    }

    /// Whether no more is in flight than may be: of everything, and of one journal's frames.
    fn check_limits(&self, shard: ShardId) -> Result<(), Violation> {
        let is_frame = |flight: &&Flight| {
            matches!(flight.op, Op::Write { file, .. }
                if file.shard == shard && matches!(file.kind, FileKind::Segment(_)))
        };
        let frames = self.in_flight.values().filter(is_frame).count() as u64;
        let what = if IN_FLIGHT_MAX < self.in_flight.len() {
            format!("{} operations in flight", self.in_flight.len())
        } else if self.knobs.window < frames {
            format!("{frames} frames of shard {shard} in flight, K is {}", self.knobs.window)
        } else {
            return Ok(());
        };
        Err(Violation::new(Checker::Bounds, what))
    }

    /// Ends the operation that is due first, if one is due; says whose it was.
    pub fn complete(
        &mut self,
        now: Instant,
        memory: &impl Memory,
        trace: &mut Trace,
    ) -> Result<Option<(ShardId, Done)>, Violation> {
        let Some(first) = self.in_flight.first_entry().filter(|first| first.key().0 <= now) else {
            return Ok(None);
        };
        let Flight { op, submitted_crc, until } = first.remove();
        let shard = op.file().shard;
        let done = match op {
            Op::Write { tok, file, pos, span, pin, sync } => {
                let bytes = memory.arena(shard).get(span).ok_or_else(|| vanished(tok, span))?;
                check_frozen(tok, bytes, submitted_crc)?;
                let landing = Landing { file, at: pos as usize, bytes: bytes.to_vec() };
                let res = self.write(now, landing, sync, trace);
                Done::Wrote { tok, pin, res }
            }
            Op::WritePages { tok, file, pos, pages, sync } => {
                let bytes = Page::bytes(&pages).to_vec();
                let landing = Landing { file, at: pos as usize, bytes };
                let res = self.write(now, landing, sync, trace);
                Done::WrotePages { tok, pages, res }
            }
            Op::Read { tok, file, pos, into } => {
                let mut buf = into;
                let res = self.read(now, file, pos, Page::bytes_mut(&mut buf), trace);
                Done::Filled { tok, buf, res }
            }
            Op::Sync { tok, file } => Done::Synced { tok, res: self.sync(now, file, until, trace) },
            Op::Create { tok, file, bytes } => {
                Done::Created { tok, res: self.create(now, file, bytes, trace) }
            }
        };
        Ok(Some((shard, done)))
    }

    fn latency_ns(&mut self, op: &Op) -> u64 {
        let mean_us = match op {
            Op::Write { .. } | Op::WritePages { .. } => self.knobs.write_us,
            Op::Read { .. } => self.knobs.read_us,
            Op::Sync { .. } => self.knobs.sync_us,
            Op::Create { .. } => self.knobs.create_us,
        };
        let base = mean_us * 1_000;
        let stall = if self.random.chance(self.knobs.stall) {
            self.random.within(200..=2_000) * MILLION
        } else {
            0
        };
        base / 2 + self.random.exponential(base / 2) + stall
    }

    fn check_bounds(&self, op: &Op) -> Result<usize, Violation> {
        let (pos, len) = match op {
            Op::Write { pos, span, .. } => (*pos, span.len as usize),
            Op::WritePages { pos, pages, .. } => (*pos, pages.len() * PAGE_BYTES),
            Op::Read { pos, into, .. } => (*pos, into.len() * PAGE_BYTES),
            Op::Sync { .. } => (0, 0),
            Op::Create { bytes, .. } => return Ok(*bytes as usize),
        };
        let size = self.files.get(&op.file()).map(Platter::len);
        let aligned = pos % PAGE_BYTES as u64 == 0 && len % PAGE_BYTES == 0;
        if aligned && size.is_some_and(|size| pos as usize + len <= size) {
            return Ok(len);
        }
        let what = format!("{op:?} on a file of {size:?} bytes");
        Err(Violation::new(Checker::Disk, what))
    }

    fn platter(&mut self, file: FileId) -> &mut Platter {
        self.files.get_mut(&file).expect("bounds were checked at submission")
    }
}

fn describe(op: &Op) -> (&'static str, u64) {
    match op {
        Op::Write { pos, sync: true, .. } => ("write synced", *pos),
        Op::Write { pos, .. } => ("write", *pos),
        Op::WritePages { pos, .. } => ("write pages", *pos),
        Op::Read { pos, .. } => ("read", *pos),
        Op::Sync { .. } => ("sync", 0),
        Op::Create { .. } => ("create", 0),
    }
}

fn name_of(file: FileId) -> String {
    let shard = file.shard;
    match file.kind {
        FileKind::Segment(number) => format!("shard {shard} segment {number}"),
        FileKind::Bin(number) => format!("shard {shard} bin {number}"),
    }
}

fn gone(op: &Op) -> Violation {
    Violation::new(Checker::Memory, format!("{op:?} names memory that is not held"))
}

fn vanished(token: Token, span: Span) -> Violation {
    let what = format!("{span:?} was reused while write #{} was in flight", token.0);
    Violation::new(Checker::Memory, what)
}

fn check_frozen(token: Token, bytes: &[u8], submitted_crc: u32) -> Result<(), Violation> {
    if crc32c(bytes) == submitted_crc {
        return Ok(());
    }
    let what = format!("the bytes of write #{} changed while it was in flight", token.0);
    Err(Violation::new(Checker::Memory, what))
}

#[cfg(test)]
mod tests;
