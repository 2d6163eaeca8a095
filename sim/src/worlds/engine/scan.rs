//! The last look: every partition, read from its start to its end.

use std::collections::VecDeque;

use base::{Offset, PartitionId};
use engine::{DiskBytes, Engine, Read, ReadError, ReadToken};

use super::consumer::disk_bytes;
use crate::ledger::Ledger;
use crate::violation::{Checker, Violation};

/// How far the last look is.
#[derive(Debug)]
pub(super) struct Scan {
    left: VecDeque<PartitionId>,
    at: Offset,
    waits: Option<ReadToken>,
}

impl Scan {
    pub(super) fn new(partitions: Vec<PartitionId>) -> Self {
        Self { left: partitions.into(), at: Offset::ZERO, waits: None }
    }

    /// Reads on as far as it can without the disk; true at the end.
    pub(super) fn advance(
        &mut self,
        engine: &mut Engine,
        ledger: &mut Ledger,
        beyond: bool,
    ) -> Result<bool, Violation> {
        while self.waits.is_none() {
            let Some(partition) = self.left.front().copied() else { return Ok(true) };
            let Some(start) = engine.log_start(partition) else {
                let what = format!("{partition} does not exist");
                return Err(Violation::new(Checker::Durable, what));
            };
            self.at = self.at.max(start.0);
            let mut spans = Vec::new();
            match engine.read(partition, self.at, 64 << 10, true, &mut spans) {
                Ok(Read::Tail { .. }) => {
                    let arena = engine.arena();
                    let pieces = spans.iter().map(|span| arena.get(*span).unwrap_or_default());
                    let bytes: Vec<u8> = pieces.flatten().copied().collect();
                    self.at = ledger.saw(partition, self.at, &bytes)?;
                }
                Ok(Read::Disk(token)) => self.waits = Some(token),
                Ok(Read::Empty) => {
                    ledger.saw_end(partition, self.at)?;
                    self.turn_to_next();
                }
                Err(error) => self.failed(partition, error, beyond)?,
            }
        }
        Ok(false)
    }

    /// The disk has answered read `token`, if it was asked for here.
    pub(super) fn arrived(
        &mut self,
        token: ReadToken,
        answer: &Result<DiskBytes, ReadError>,
        ledger: &mut Ledger,
        beyond: bool,
    ) -> Result<(), Violation> {
        if self.waits.take_if(|waits| *waits == token).is_none() {
            return Ok(());
        }
        let partition = *self.left.front().expect("a partition is being read");
        match answer {
            Ok(disk) => {
                self.at = ledger.saw(partition, self.at, disk_bytes(disk))?;
                Ok(())
            }
            // Retention may have overtaken the read.
            Err(ReadError::Gone) => Ok(()),
            Err(error) => self.failed(partition, *error, beyond),
        }
    }

    fn failed(
        &mut self,
        partition: PartitionId,
        error: ReadError,
        beyond: bool,
    ) -> Result<(), Violation> {
        if beyond {
            self.turn_to_next();
            return Ok(());
        }
        let what = format!("{partition} cannot be read from {}: {error}", self.at);
        Err(Violation::new(Checker::Halt, what))
    }

    fn turn_to_next(&mut self) {
        self.left.pop_front();
        self.at = Offset::ZERO;
    }
}
