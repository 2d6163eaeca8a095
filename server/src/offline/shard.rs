//! An engine that runs to where it is wanted, one operation after the other.

use std::fmt;
use std::time::Duration;

use base::{Batch, IoError, Offset, PAGE_BYTES, Page, PageMemory, PartitionId, Span};
use engine::{Engine, EngineConfig, Phase, Read, ReadError, Refused};
use thiserror::Error;

use super::image::Image;
use crate::clock;

/// Bytes read at a time.
const READ_BYTES: u32 = 1 << 20;
/// How long to sleep while the engine waits for time to pass.
const NAP: Duration = Duration::from_micros(100);

/// See the module's description.
#[derive(Debug)]
pub(crate) struct OfflineShard {
    engine: Engine,
    image: Image,
    spans: Vec<Span>,
}

/// A shard's engine does not go on, for this reason.
#[derive(Debug, Error)]
#[error("{0}")]
pub(crate) struct OfflineStopped(String);

/// A stretch of a partition that the device refuses to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unreadable {
    pub(crate) partition: PartitionId,
    pub(crate) from: Offset,
    pub(crate) to: Offset,
    pub(crate) error: IoError,
}

impl OfflineShard {
    /// Recovers. The engine may then be poisoned, halted or failed: see its phase.
    pub(crate) fn open(config: EngineConfig, image: Image) -> Self {
        let pages = config.arena_bytes().div_ceil(PAGE_BYTES as u64);
        let memory = PageMemory::Heap(Page::boxed(pages as usize));
        let engine = Engine::open(config, memory, &image.existing());
        let mut shard = Self { engine, image, spans: Vec::new() };
        while *shard.engine.phase() == Phase::Recovering && shard.engine.missing_segment().is_none()
        {
            shard.step();
        }
        shard
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Writes off what is known to be lost of a partition. It is gone for good once
    /// [`OfflineShard::close`] has ended.
    pub(crate) fn accept_loss(&mut self, id: PartitionId) -> Result<(), OfflineStopped> {
        loop {
            self.check()?;
            match self.engine.accept_loss(clock::now(), id) {
                Ok(_) => return Ok(()),
                Err(Refused::Busy) => self.step(),
                Err(refused) => return Err(OfflineStopped(refused.to_string())),
            }
        }
    }

    /// Goes on until `is_done`.
    fn run_until(&mut self, is_done: impl Fn(&Engine) -> bool) -> Result<(), OfflineStopped> {
        while !is_done(&self.engine) {
            self.check()?;
            self.step();
        }
        Ok(())
    }

    /// Leaves a sealed log.
    pub(crate) fn close(mut self) -> Result<(), OfflineStopped> {
        self.engine.close();
        self.run_until(Engine::is_closed)?;
        self.check()
    }

    /// Shows every committed batch of a partition to `visit`, but for those that cannot be read. What
    /// turns out to be damaged is from then on part of [`Engine::loss`]; what the device refuses to
    /// read is returned.
    pub(crate) fn read(
        &mut self,
        id: PartitionId,
        visit: &mut dyn FnMut(Batch<'_>),
    ) -> Result<Vec<Unreadable>, OfflineStopped> {
        let mut unreadable = Vec::new();
        let Some(start) = self.engine.log_start(id) else { return Ok(unreadable) };
        let mut at = start.0;
        loop {
            match self.read_some(id, at, visit) {
                Ok(Some(next)) => at = next,
                Ok(None) => return Ok(unreadable),
                Err(ReadError::Halted(halt)) => match halt.to {
                    Some(to) if self.engine.halt(id) != Some(halt) => at = to,
                    _ => return Ok(unreadable),
                },
                Err(ReadError::Io(error)) => {
                    let extents = self.engine.extents();
                    let extent = extents.iter().find(|one| one.partition == id && at < one.end);
                    let to = extent.expect("only an extent is read from the disk").end;
                    unreadable.push(Unreadable { partition: id, from: at, to, error });
                    at = to;
                }
                Err(error) => {
                    self.check()?;
                    return Err(OfflineStopped(error.to_string()));
                }
            }
        }
    }

    /// Reads from offset `at` on; the offset behind what was read, or `None` at the end.
    fn read_some(
        &mut self,
        id: PartitionId,
        at: Offset,
        visit: &mut dyn FnMut(Batch<'_>),
    ) -> Result<Option<Offset>, ReadError> {
        self.spans.clear();
        match self.engine.read(id, at, READ_BYTES, true, &mut self.spans)? {
            Read::Empty => Ok(None),
            Read::Tail { .. } => {
                let arena = self.engine.arena();
                let bytes = self.spans.iter().map(|span| arena.get(*span).expect("just read"));
                Ok(bytes.map(|bytes| show(bytes, at, visit)).max())
            }
            Read::Disk(token) => loop {
                self.step();
                if let Some((ended, result)) = self.engine.poll_read() {
                    assert_eq!(ended, token, "one read at a time");
                    let read = result?;
                    let bytes = &Page::bytes(&read.pages)[read.from..read.from + read.len];
                    let next = show(bytes, at, visit);
                    self.engine.recycle(read.pages);
                    return Ok(Some(next));
                }
            },
        }
    }

    fn step(&mut self) {
        let mut worked = false;
        while let Some(op) = self.engine.poll_op() {
            let done = self.image.perform(op, self.engine.arena());
            self.engine.done(clock::now(), done);
            worked = true;
        }
        self.engine.turn(clock::now());
        if !worked {
            std::thread::sleep(NAP);
        }
    }

    fn check(&self) -> Result<(), OfflineStopped> {
        if let Some(missing) = self.engine.missing_segment() {
            return Err(OfflineStopped(self.image.no_room(missing).to_string()));
        }
        let stopped: &dyn fmt::Display = match self.engine.phase() {
            Phase::Recovering | Phase::Open => return Ok(()),
            Phase::Poisoned(cause) => cause,
            Phase::Halted(verdict) => verdict,
            Phase::Failed(error) => error,
        };
        Err(OfflineStopped(stopped.to_string()))
    }
}

/// Shows whole batches that lie at `at` or behind it; the offset behind them.
fn show(mut bytes: &[u8], at: Offset, visit: &mut dyn FnMut(Batch<'_>)) -> Offset {
    let mut next = at;
    while !bytes.is_empty() {
        let (batch, rest) = Batch::parse_prefix(bytes).expect("the engine reads whole batches");
        bytes = rest;
        if next < batch.end_offset() {
            next = batch.end_offset();
            visit(batch);
        }
    }
    next
}
