//! A simulated consumer: reads anywhere, holds the memory that a send would, and looks again when
//! the send ends.

use std::time::Duration;

use base::{Instant, Offset, Page, PartitionId, Pin, Span};
use engine::{DiskBytes, Engine, Read, ReadError, ReadToken};

use super::Scene;
use crate::knobs::Knobs;
use crate::random::Random;
use crate::violation::{Checker, Violation};

/// Sends that a consumer may have in flight.
const SENDS_MAX: usize = 4;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Consumer {
    /// Where it would read on.
    at: Option<(PartitionId, Offset)>,
    /// A read that waits for the disk.
    waits: Option<(ReadToken, PartitionId, Offset)>,
    sends: Vec<Send>,
}

/// A send whose memory is pinned.
#[derive(Debug)]
struct Send {
    until: Instant,
    pieces: Vec<(Span, Pin)>,
    /// The bytes as they were read.
    bytes: Vec<u8>,
}

impl Consumer {
    /// Reads on, or somewhere in `partition`.
    pub(super) fn read(
        &mut self,
        scene: &mut Scene<'_>,
        partition: PartitionId,
        knobs: &Knobs,
        random: &mut Random,
    ) -> Result<(), Violation> {
        if let Some((token, ..)) = self.waits {
            // Its connection may close while the disk is busy.
            if random.chance(50_000) {
                scene.engine.cancel_read(token);
                self.waits = None;
            }
            return Ok(());
        }
        if SENDS_MAX <= self.sends.len() {
            return Ok(());
        }
        let on = self.at.filter(|_| random.chance(800_000));
        let Some((partition, from)) = on.or_else(|| somewhere(scene.engine, partition, random))
        else {
            return Ok(());
        };
        let max_bytes = random.pick(&[1, 1_000, 20_000, 1_000_000]) as u32;
        let mut spans = Vec::new();
        match scene.engine.read(partition, from, max_bytes, true, &mut spans) {
            Ok(Read::Tail { .. }) => {
                let lasts = Duration::from_nanos(random.exponential(knobs.send_us * 1_000));
                self.send(scene, (partition, from), spans, lasts)
            }
            Ok(Read::Disk(token)) => {
                scene.host.say("waits for the disk", format_args!("{partition} at {from}"));
                self.waits = Some((token, partition, from));
                Ok(())
            }
            Ok(Read::Empty) => Ok(()),
            Err(error) => {
                scene.host.say("read refused", format_args!("{partition} from {from}: {error}"));
                self.at = None;
                judge(partition, from, error, scene.beyond)
            }
        }
    }

    /// The disk has answered read `token`, if this consumer asked for it.
    pub(super) fn arrived(
        &mut self,
        scene: &mut Scene<'_>,
        token: ReadToken,
        answer: &Result<DiskBytes, ReadError>,
    ) -> Result<(), Violation> {
        let Some((_, partition, from)) = self.waits.take_if(|(waits, ..)| *waits == token) else {
            return Ok(());
        };
        match answer {
            Ok(disk) => {
                let next = scene.ledger.saw(partition, from, disk_bytes(disk))?;
                scene.host.say("read from disk", format_args!("{partition} from {from} to {next}"));
                self.at = Some((partition, next));
                Ok(())
            }
            Err(error) => {
                self.at = None;
                judge(partition, from, *error, scene.beyond)
            }
        }
    }

    /// Ends the sends that are over.
    pub(super) fn observe(&mut self, now: Instant, engine: &mut Engine) -> Result<(), Violation> {
        let sends = std::mem::take(&mut self.sends);
        let (over, on): (Vec<_>, Vec<_>) = sends.into_iter().partition(|send| send.until <= now);
        self.sends = on;
        over.into_iter().try_for_each(|send| send.end(engine))
    }

    fn send(
        &mut self,
        scene: &mut Scene<'_>,
        (partition, from): (PartitionId, Offset),
        spans: Vec<Span>,
        lasts: Duration,
    ) -> Result<(), Violation> {
        let mut bytes = Vec::new();
        for span in &spans {
            let held = scene.engine.arena().get(*span);
            bytes.extend_from_slice(held.ok_or_else(|| reused(*span))?);
        }
        let next = scene.ledger.saw(partition, from, &bytes)?;
        scene.host.say("read", format_args!("{partition} from {from} to {next}"));
        self.at = Some((partition, next));
        let pieces = spans.into_iter().map(|span| (span, scene.engine.pin(span))).collect();
        self.sends.push(Send { until: scene.host.now().mono.plus(lasts), pieces, bytes });
        Ok(())
    }
}

impl Send {
    /// The kernel has taken the bytes: they must be what they were.
    fn end(self, engine: &mut Engine) -> Result<(), Violation> {
        let mut at = 0;
        for (span, pin) in self.pieces {
            let len = span.len as usize;
            if engine.arena().get(span) != Some(&self.bytes[at..at + len]) {
                return Err(reused(span));
            }
            at += len;
            engine.unpin(pin);
        }
        Ok(())
    }
}

/// The batches that were read.
pub(super) fn disk_bytes(disk: &DiskBytes) -> &[u8] {
    &Page::bytes(&disk.pages)[disk.from..disk.from + disk.len]
}

fn somewhere(
    engine: &Engine,
    partition: PartitionId,
    random: &mut Random,
) -> Option<(PartitionId, Offset)> {
    let start = engine.log_start(partition)?.0.0;
    let end = engine.committed(partition)?.0.0;
    Some((partition, Offset(random.within(start..=end.max(start)))))
}

fn reused(span: Span) -> Violation {
    Violation::new(Checker::Memory, format!("{span:?} was reused under a reader"))
}

fn judge(
    partition: PartitionId,
    from: Offset,
    error: ReadError,
    beyond: bool,
) -> Result<(), Violation> {
    match error {
        ReadError::NoPartition
        | ReadError::OutOfRange { .. }
        | ReadError::Busy
        | ReadError::Gone => Ok(()),
        ReadError::Halted(_) | ReadError::Io(_) if beyond => Ok(()),
        error => {
            let what = format!("{partition} cannot be read from {from}: {error}");
            Err(Violation::new(Checker::Halt, what))
        }
    }
}
