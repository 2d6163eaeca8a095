//! A client's end of a connection: questions out, answers back in order.

use std::collections::VecDeque;

use base::{Instant, Listener, Now};
use net::{Framer, Outgoing, ReplyTo, RequestBody};

use super::machine::NodeMachine;
use super::wire::{Plug, Wire};
use crate::violation::{Checker, Violation};

const FRAME_BYTES_MAX: u32 = 64 << 20;

/// See the module's description. `Q` is what the client remembers of a question.
#[derive(Debug)]
pub(super) struct Line<Q> {
    plug: Option<Plug>,
    framer: Framer,
    pending: VecDeque<(i32, Instant, Q)>,
    next_correlation: i32,
}

impl<Q> Default for Line<Q> {
    fn default() -> Self {
        Self {
            plug: None,
            framer: Framer::new(FRAME_BYTES_MAX),
            pending: VecDeque::new(),
            next_correlation: 1,
        }
    }
}

impl<Q> Line<Q> {
    pub(super) fn is_connected(&self, wire: &Wire) -> bool {
        self.plug.is_some_and(|plug| wire.is_open(plug))
    }

    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// When the oldest question was asked.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        self.pending.front().map(|(_, since, _)| *since)
    }

    pub(super) fn connect(
        &mut self,
        now: Now,
        node: &mut NodeMachine,
        wire: &mut Wire,
        (core, listener): (usize, Listener),
    ) {
        self.hang_up(now, node, wire);
        self.plug = Some(wire.connect(now, node, core, listener));
    }

    /// Closes the connection, if there is one, and forgets what was asked on it.
    pub(super) fn hang_up(&mut self, now: Now, node: &mut NodeMachine, wire: &mut Wire) {
        if let Some(plug) = self.plug.take() {
            wire.reset(now, node, plug);
        }
        self.pending.clear();
        self.framer = Framer::new(FRAME_BYTES_MAX);
    }

    pub(super) fn ask<B: RequestBody>(
        &mut self,
        now: Now,
        wire: &mut Wire,
        version: i16,
        body: B,
        question: Q,
    ) {
        let Some(plug) = self.plug else { return };
        let to = ReplyTo { version, correlation_id: self.next_correlation };
        let mut out = Outgoing::default();
        out.request(to, Some("sim"), body);
        wire.write(now, plug, out.bytes());
        self.pending.push_back((self.next_correlation, now.mono, question));
        self.next_correlation += 1;
    }

    /// The answers that have come, whole, with their questions.
    pub(super) fn answers(&mut self, wire: &mut Wire) -> Result<Vec<(Q, Vec<u8>)>, Violation> {
        let Some(plug) = self.plug else { return Ok(Vec::new()) };
        let received = wire.take_answers(plug);
        let mut rest = &received[..];
        let mut answers = Vec::new();
        while let Some(frame) = self.framer.next(&mut rest).map_err(garbled)? {
            let Some((correlation, _, question)) = self.pending.pop_front() else {
                return Err(talk("an answer to nothing".to_owned()));
            };
            let answered = frame.first_chunk().map(|bytes| i32::from_be_bytes(*bytes));
            if answered != Some(correlation) {
                return Err(talk(format!("{answered:?} was answered before {correlation}")));
            }
            answers.push((question, frame.to_vec()));
        }
        Ok(answers)
    }
}

/// Bytes that are no answer.
pub(super) fn garbled(error: impl std::fmt::Display) -> Violation {
    talk(format!("an answer does not decode: {error}"))
}

fn talk(what: String) -> Violation {
    Violation::new(Checker::Protocol, what)
}
