//! A connection's answers, in the order of its requests.
//!
//! ```text
//!   request order ──▶  [ready] [frame 812] [job 5:1] [ready]
//!                       sent     │ leaves once frame 812 is durable
//!                                           │ leaves once the job is done
//! ```
//!
//! Kafka clients match answers to requests by order alone, so an answer waits for all before it.

use std::collections::VecDeque;

use base::{Piece, Seq, ShardId};

use crate::commit::CommitProof;
use crate::mail::Ticket;

/// What an answer still waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    Open,
    /// The shard's journal must be durable up to this frame.
    Durable {
        shard: ShardId,
        seq: Seq,
    },
    /// The job must deliver the body.
    Job(Ticket),
}

/// One answer: bytes of our own and record pieces between them.
#[derive(Debug)]
struct Reply {
    gate: Gate,
    body: Vec<Piece>,
}

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct ReplyQueue {
    replies: VecDeque<Reply>,
}

impl ReplyQueue {
    pub(crate) fn len(&self) -> usize {
        self.replies.len()
    }

    pub(crate) fn push(&mut self, gate: Gate, body: Vec<Piece>) {
        self.replies.push_back(Reply { gate, body });
    }

    /// Delivers a job's body, which may still wait for `gate`; `Err` gives it back if nobody waits
    /// for that job here.
    pub(crate) fn fulfil(
        &mut self,
        ticket: Ticket,
        gate: Gate,
        body: Vec<Piece>,
    ) -> Result<(), Vec<Piece>> {
        let waiting = self.replies.iter_mut().find(|reply| reply.gate == Gate::Job(ticket));
        let Some(reply) = waiting else { return Err(body) };
        reply.gate = gate;
        reply.body = body;
        Ok(())
    }

    /// Takes the next answer if nothing holds it back; one that waits for a frame needs the proof.
    pub(crate) fn pop(
        &mut self,
        prove: impl Fn(ShardId, Seq) -> Option<CommitProof>,
    ) -> Option<Vec<Piece>> {
        match self.replies.front()?.gate {
            Gate::Open => {}
            Gate::Durable { shard, seq } => drop(prove(shard, seq)?),
            Gate::Job(_) => return None,
        }
        self.replies.pop_front().map(|reply| reply.body)
    }

    /// Gives up: the pieces of all answers, and the tickets still waited for.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (Option<Ticket>, Vec<Piece>)> {
        self.replies.drain(..).map(|reply| match reply.gate {
            Gate::Job(ticket) => (Some(ticket), reply.body),
            Gate::Open | Gate::Durable { .. } => (None, reply.body),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::DurableSeq;

    fn durable_to(durable: u64) -> impl Fn(ShardId, Seq) -> Option<CommitProof> {
        move |_, seq| DurableSeq::of_single_replica(Seq(durable)).prove(seq)
    }

    fn body(byte: u8) -> Vec<Piece> {
        vec![Piece::Bytes { bytes: vec![byte], from: 0 }]
    }

    fn first_byte(pieces: &[Piece]) -> u8 {
        match &pieces[0] {
            Piece::Bytes { bytes, .. } => bytes[0],
            Piece::Tail { .. } | Piece::Pages { .. } => panic!("only bytes were pushed"),
        }
    }

    #[test]
    fn an_answer_waits_for_its_frame_and_for_all_before_it() {
        let ticket = Ticket { slot: 3, generation: 1 };
        let mut queue = ReplyQueue::default();
        queue.push(Gate::Durable { shard: ShardId(0), seq: Seq(5) }, body(1));
        queue.push(Gate::Open, body(2));
        queue.push(Gate::Job(ticket), Vec::new());
        queue.push(Gate::Open, body(4));
        assert!(queue.pop(durable_to(4)).is_none());
        assert_eq!(first_byte(&queue.pop(durable_to(5)).unwrap()), 1);
        assert_eq!(first_byte(&queue.pop(durable_to(0)).unwrap()), 2);
        assert!(queue.pop(durable_to(9)).is_none(), "the job is not done");
        queue.fulfil(ticket, Gate::Open, body(3)).unwrap();
        assert!(queue.fulfil(ticket, Gate::Open, body(9)).is_err(), "a job is fulfilled once");
        assert_eq!(first_byte(&queue.pop(durable_to(0)).unwrap()), 3);
        assert_eq!(first_byte(&queue.pop(durable_to(0)).unwrap()), 4);
        assert_eq!(queue.len(), 0);
    }
}
