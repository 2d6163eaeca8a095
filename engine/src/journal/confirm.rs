//! Writes once more what recovery accepts on nobody's word.
//!
//! A frame that no younger one testifies for may only sit in a volatile cache, put there by a process
//! that died before its write ended. Syncing is not enough: a sync that failed in the start before this
//! one may have left a cache that calls itself clean. At most K frames are in doubt. They are written
//! where they stand, with the bytes they have: a crash in the middle changes nothing.

use std::collections::VecDeque;

use base::{Arena, Done, IoError, Op, Seq, Span, Token};

use super::config::JournalConfig;
use super::recovery::RecoveryError;
use super::verdict::Sighting;

/// The eighth byte of the token of such a write.
const TOKEN_TAG: u64 = 0x43 << 56;

#[derive(Debug, Default)]
pub(super) struct Confirm {
    ops: VecDeque<Op>,
    in_flight: usize,
    failed: Option<(Seq, IoError)>,
}

impl Confirm {
    /// Asks for the writes of those `frames` that stand behind `durable`.
    pub(super) fn new<'a>(
        config: &JournalConfig,
        arena: &mut Arena,
        frames: impl Iterator<Item = (&'a Sighting, Span)>,
        durable: Seq,
    ) -> Self {
        let in_doubt = frames.filter(|(frame, _)| durable < frame.stamp.seq);
        let ops: VecDeque<_> = in_doubt
            .map(|(frame, span)| Op::Write {
                tok: Token(TOKEN_TAG | frame.stamp.seq.0),
                file: config.file(frame.found_at.segment),
                pos: frame.found_at.position,
                span,
                pin: arena.pin(span),
                sync: true,
            })
            .collect();
        Self { in_flight: ops.len(), ops, failed: None }
    }

    pub(super) fn poll_op(&mut self) -> Option<Op> {
        self.ops.pop_front()
    }

    /// Takes a completion, or gives it back if it belongs to someone else.
    pub(super) fn done(&mut self, arena: &mut Arena, done: Done) -> Result<(), Done> {
        match done {
            Done::Wrote { tok, pin, res } if tok.0 >> 56 == TOKEN_TAG >> 56 => {
                arena.unpin(pin);
                self.in_flight -= 1;
                if let Err(error) = res {
                    self.failed = Some((Seq(tok.0 ^ TOKEN_TAG), error));
                }
                Ok(())
            }
            other => Err(other),
        }
    }

    /// How it ended, once all writes have.
    pub(super) fn result(&self) -> Option<Result<(), RecoveryError>> {
        if 0 < self.in_flight {
            return None;
        }
        Some(match self.failed {
            None => Ok(()),
            Some((seq, error)) => Err(RecoveryError::Confirm { seq, error }),
        })
    }
}
