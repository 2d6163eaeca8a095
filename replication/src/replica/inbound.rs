//! A stream from a leader's shard to this one, as a follower: what is owed for what arrived.
//!
//! ```text
//!   arrived   1  2  3  4  5  6        each waits for the frame of its journal entry
//!   durable   ────────┘               Ack 3: everything up to it, whatever the partition
//! ```

use std::collections::VecDeque;

use base::{Instant, Seq};

use super::message::{Nack, StreamId, StreamSeq};
use crate::node::Boot;

/// See the module's description. Lives as long as its connection.
#[derive(Debug)]
pub(super) struct Inbound {
    pub id: StreamId,
    /// Of the leader's shard.
    pub boot: Boot,
    arrived: StreamSeq,
    owed: VecDeque<Owed>,
    acked: StreamSeq,
    /// An ack is due although nothing new is durable.
    pub alive_due: bool,
    pub heard_at: Instant,
}

/// An answer that waits for the journal.
#[derive(Debug)]
struct Owed {
    seq: StreamSeq,
    frame: Seq,
    nack: Option<Nack>,
}

/// Whether a message is the next of its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    Next,
    Again,
    /// Something before it is missing: the connection lies.
    Gap,
}

impl Inbound {
    pub(super) fn new(now: Instant, boot: Boot, id: StreamId) -> Self {
        Self {
            id,
            boot,
            arrived: StreamSeq(0),
            owed: VecDeque::new(),
            acked: StreamSeq(0),
            alive_due: true,
            heard_at: now,
        }
    }

    pub(super) fn arrive(&mut self, seq: StreamSeq) -> Arrival {
        if seq <= self.arrived {
            return Arrival::Again;
        }
        if seq != self.arrived.next() {
            return Arrival::Gap;
        }
        self.arrived = seq;
        Arrival::Next
    }

    /// Whether a message up to `seq` should have arrived and has not.
    pub(super) fn misses(&self, seq: StreamSeq) -> bool {
        self.arrived < seq
    }

    /// The newest message, once frame `frame` is durable: it was refused if there is a `nack`.
    pub(super) fn owe(&mut self, frame: Seq, nack: Option<Nack>) {
        let seq = self.arrived;
        match self.owed.back_mut() {
            Some(last) if nack.is_none() && last.nack.is_none() && last.frame == frame => {
                last.seq = seq;
            }
            _ => self.owed.push_back(Owed { seq, frame, nack }),
        }
    }

    /// The next refusal that is due. Answers go out in the order of what they answer.
    pub(super) fn pop_due(&mut self, durable: Seq) -> Option<Nack> {
        while self.owed.front().is_some_and(|owed| owed.frame <= durable) {
            let owed = self.owed.pop_front()?;
            self.acked = owed.seq;
            self.alive_due = true;
            if owed.nack.is_some() {
                return owed.nack;
            }
        }
        None
    }

    /// The number to ack, if an ack is due.
    pub(super) fn take_ack(&mut self) -> Option<StreamSeq> {
        core::mem::take(&mut self.alive_due).then_some(self.acked)
    }
}
