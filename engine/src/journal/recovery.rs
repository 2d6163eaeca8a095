//! From the bytes of a journal to its entries, a verdict, and the next incarnation.
//!
//! ```text
//!  sync ─▶ scan ─▶ decide ─┬──────────▶ confirm ─▶ entries from S in the arena, verdict, Journal
//!          loads on the way └─▶ reload ──┘ ↑ the frames that no other testifies for
//!                               if heads are damaged
//! ```
//! No byte on the disk changes: a crash in here repeats the verdict. The next incarnation opens a
//! fresh segment with its first frame, and that frame says where it began.

use core::fmt;

use base::{Arena, Done, FileId, FileKind, IoError, Op, Seq, Span};

use super::config::JournalConfig;
use super::confirm::Confirm;
use super::frame::Place;
use super::loader::Loader;
use super::recovered::{Recovered, RecoveryReport};
use super::reload::Reload;
use super::scan::{Scan, SyncFailed};
use super::succession;
use super::verdict::{Decision, Evidence, Sighting, decide};
use crate::Mutant;

/// See the module's description.
#[derive(Debug)]
pub struct Recovery {
    config: JournalConfig,
    evidence: Evidence,
    existing: Vec<(u16, u64)>,
    scan: Scan,
    loader: Loader,
    stage: Stage,
    bytes_read: u64,
}

#[derive(Debug)]
enum Stage {
    Scanning,
    Reloading(Decision, Reload),
    Confirming(Decision, Vec<Span>, Confirm),
    Finished(Decision, Vec<Span>),
    Failed(RecoveryError),
}

/// Why recovery could not even decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoveryError {
    /// A segment could not be synced: what is read from it may not be what the disk holds.
    Sync { segment: u16, error: IoError },
    /// A frame that may only be in a volatile cache could not be written again.
    Confirm { seq: Seq, error: IoError },
    /// The frames that are needed do not fit into memory.
    ArenaTooSmall { needed: u64, arena: u64 },
    /// Two reads of one frame differ.
    Unstable { place: Place },
}

impl fmt::Display for RecoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sync { segment, error } => {
                write!(f, "journal segment {segment} could not be synced before reading: {error}")
            }
            Self::Confirm { seq, error } => {
                write!(f, "journal frame {seq} could not be made stable: {error}")
            }
            Self::ArenaTooSmall { needed, arena } => write!(
                f,
                "{needed} bytes of journal must be in memory, but the tail has only {arena}: give \
                 it at least as much as before"
            ),
            Self::Unstable { place } => write!(
                f,
                "journal segment {} read differently twice at byte {}: replace the device",
                place.segment, place.position
            ),
        }
    }
}

impl std::error::Error for RecoveryError {}

impl Recovery {
    /// Starts to recover from the segment files among `existing` (with their bytes). Finished at
    /// once if there are none.
    #[must_use]
    pub fn new(config: JournalConfig, existing: &[(FileId, u64)], evidence: Evidence) -> Self {
        assert_eq!(config.check(), Ok(()));
        let existing = segments_of(existing);
        let sync = !config.planted.is(Mutant::NoPreScanSync);
        let mut recovery = Self {
            scan: Scan::new(&config, &existing, sync),
            config,
            evidence,
            existing,
            loader: Loader::default(),
            stage: Stage::Scanning,
            bytes_read: 0,
        };
        if recovery.scan.is_finished() {
            let decision = recovery.decide();
            recovery.stage = Stage::Finished(decision, Vec::new());
        }
        recovery
    }

    /// The next operation to perform.
    pub fn poll_op(&mut self) -> Option<Op> {
        match &mut self.stage {
            Stage::Scanning => self.scan.poll_op(),
            Stage::Reloading(_, reload) => reload.poll_op(),
            Stage::Confirming(_, _, confirm) => confirm.poll_op(),
            Stage::Finished(..) | Stage::Failed(_) => None,
        }
    }

    /// Takes a completion; gives it back if the operation was not recovery's.
    pub fn done(&mut self, arena: &mut Arena, done: Done) -> Result<(), Done> {
        match &mut self.stage {
            Stage::Reloading(_, reload) => {
                if let Err(error) = reload.done(&self.config, arena, done)? {
                    self.stage = Stage::Failed(error);
                }
            }
            Stage::Confirming(_, _, confirm) => confirm.done(arena, done)?,
            _ => {
                let loader = &mut self.loader;
                loader.pass(self.scan.start());
                let mut visit = |frame: &Sighting, bytes: &[u8]| loader.visit(arena, frame, bytes);
                self.scan.done(&self.config, done, &mut visit)?;
            }
        }
        self.settle(arena);
        Ok(())
    }

    /// Whether [`Recovery::finish`] may be called.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        matches!(self.stage, Stage::Finished(..) | Stage::Failed(_))
    }

    /// The outcome. Memory of frames that turned out not to be needed is released.
    ///
    /// Panics before [`Recovery::is_finished`].
    pub fn finish(self, arena: &mut Arena) -> Result<Recovered, RecoveryError> {
        let (decision, spans) = match self.stage {
            Stage::Finished(decision, spans) => (decision, spans),
            Stage::Failed(error) => return Err(error),
            Stage::Scanning | Stage::Reloading(..) | Stage::Confirming(..) => {
                panic!("recovery is not finished")
            }
        };
        match spans.first() {
            Some(first) => arena.release_before(*first),
            None => arena.release_all(),
        }
        let seen = self.scan.seen();
        let accepted = decision.accepted.iter().map(|index| seen.frames[*index]);
        let frames: Vec<_> = accepted.zip(spans).collect();
        let report = RecoveryReport::new(&self.config, arena, seen, &decision, &frames);
        let report = RecoveryReport { bytes_read: self.bytes_read, ..report };
        let beginning = succession::beginning(&self.config, &self.existing, seen, &decision);
        Ok(Recovered::new(self.config, report, decision, beginning, frames))
    }

    /// Goes on as far as what has come allows.
    fn settle(&mut self, arena: &mut Arena) {
        let stage = match &mut self.stage {
            Stage::Scanning if self.scan.is_finished() => {
                self.bytes_read = self.scan.bytes_read();
                self.decided(arena)
            }
            Stage::Scanning => match self.scan.failed() {
                Some(SyncFailed { segment, error }) => {
                    Stage::Failed(RecoveryError::Sync { segment, error })
                }
                None => return,
            },
            Stage::Reloading(decision, reload) => {
                let Some(spans) = reload.finished() else { return };
                let (decision, spans) = (decision.clone(), spans.to_vec());
                self.bytes_read += reload.bytes_read();
                self.loaded(arena, decision, spans)
            }
            Stage::Confirming(decision, spans, confirm) => match confirm.result() {
                None => return,
                Some(Ok(())) => Stage::Finished(decision.clone(), core::mem::take(spans)),
                Some(Err(error)) => Stage::Failed(error),
            },
            Stage::Finished(..) | Stage::Failed(_) => return,
        };
        self.stage = stage;
    }

    fn decided(&self, arena: &mut Arena) -> Stage {
        let decision = self.decide();
        if let Some(spans) = self.loader.spans_of(&decision.accepted) {
            return self.loaded(arena, decision, spans);
        }
        let seen = self.scan.seen();
        let frames = decision.accepted.iter().map(|index| seen.frames[*index]).collect();
        Stage::Reloading(decision, Reload::new(&self.config, frames))
    }

    fn decide(&self) -> Decision {
        decide(self.scan.seen(), self.evidence, self.config.planted)
    }

    /// All accepted frames are in memory.
    fn loaded(&self, arena: &mut Arena, decision: Decision, spans: Vec<Span>) -> Stage {
        if decision.verdict.halts() || self.config.planted.is(Mutant::NoPreScanSync) {
            return Stage::Finished(decision, spans);
        }
        let seen = self.scan.seen();
        let frames = decision.accepted.iter().map(|index| &seen.frames[*index]);
        let frames = frames.zip(spans.iter().copied());
        let confirm = Confirm::new(&self.config, arena, frames, decision.durable);
        if confirm.result().is_some() {
            return Stage::Finished(decision, spans);
        }
        Stage::Confirming(decision, spans, confirm)
    }
}

/// The journal segments among a shard's files.
pub(super) fn segments_of(existing: &[(FileId, u64)]) -> Vec<(u16, u64)> {
    let segment = |(file, bytes): &(FileId, u64)| match file.kind {
        FileKind::Segment(number) => Some((number, *bytes)),
        FileKind::Bin(_) => None,
    };
    existing.iter().filter_map(segment).collect()
}
