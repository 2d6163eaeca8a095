//! What waits in a shard before anything is done about it.
//!
//! ```text
//!   append ──▶ held: no room in the journal ─────────────────────────────▶ appended
//!          └─▶ handed over: the partition goes to a successor ───────────▶ refused, who leads is known
//!   read ────▶ opening: a new leader does not know yet what is committed ▶ asked again
//! ```
//! A client that was refused while a partition changes hands would wait for much longer than the
//! change takes.

use std::collections::VecDeque;

use base::{Batch, Instant, Now, PartitionId};
use net::ErrorCode;

use crate::ask::{Answer, Ask};
use crate::committing::{DETECTION, Waiting};
use crate::mail::Asker;
use crate::pool::Pool;
use crate::shard::{Placed, Settled, Shard, Unplaced};

/// An append that waits.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) to: Asker,
    pub(crate) partition: PartitionId,
    pub(crate) batch: Vec<u8>,
    /// The producer wants a quorum.
    pub(crate) all: bool,
}

/// What waits for a change of leaders, each for one detection period at most.
#[derive(Debug, Default)]
pub(crate) struct Adjourned {
    appends: VecDeque<(Instant, Held)>,
    reads: VecDeque<(Instant, Asker, PartitionId, Ask)>,
}

impl Adjourned {
    pub(crate) fn len(&self) -> usize {
        self.appends.len() + self.reads.len()
    }

    pub(crate) fn next_end(&self) -> Option<Instant> {
        let append = self.appends.front().map(|(until, _)| *until);
        let read = self.reads.front().map(|(until, ..)| *until);
        append.into_iter().chain(read).min()
    }
}

impl Shard {
    pub(crate) fn hold_or_append(&mut self, now: Now, held: Held, pool: &mut Pool) -> Settled {
        if self.is_holding() {
            self.held.push_back(held);
            return Ok(None);
        }
        match self.append_held(now, held, pool) {
            Ok(None) => Ok(None),
            Ok(Some(held)) => {
                self.held.push_back(held);
                Ok(None)
            }
            Err(code) => Err(code),
        }
    }

    /// Appends what waited for room, as far as there is.
    pub(crate) fn retry_held(&mut self, now: Now, pool: &mut Pool) {
        for _ in 0..self.held.len() {
            let Some(held) = self.held.pop_front() else { return };
            let to = held.to;
            match self.append_held(now, held, pool) {
                Ok(None) => {}
                Ok(Some(held)) => return self.held.push_front(held),
                Err(code) => self.answers.push_back((to, Answer::Failed(code))),
            }
        }
    }

    /// Appends and gates the answer; gives the batch back if there is no room.
    fn append_held(
        &mut self,
        now: Now,
        held: Held,
        pool: &mut Pool,
    ) -> Result<Option<Held>, ErrorCode> {
        let batch = Batch::parse(&held.batch).map_err(|_| ErrorCode::CorruptMessage)?;
        match self.append_now(now, held.partition, batch, held.all) {
            Ok(placed) => {
                self.await_placed(now, held.partition, (held.to, held.all), placed);
                pool.give_bytes(held.batch);
                Ok(None)
            }
            Err(Unplaced::NoRoom) => Ok(Some(held)),
            Err(Unplaced::HandedOver) => {
                self.adjourned.appends.push_back((now.mono.plus(DETECTION), held));
                Ok(None)
            }
            Err(Unplaced::Refused(code)) => Err(code),
        }
    }

    /// Answers whoever appended when that is committed, or durable if that is enough.
    pub(crate) fn await_placed(
        &mut self,
        now: Now,
        id: PartitionId,
        (to, all): (Asker, bool),
        placed: Placed,
    ) {
        let Placed { seq, produced, replicated } = placed;
        match replicated.filter(|_| all) {
            Some((epoch, end)) => {
                let since = now.mono;
                self.await_quorum(id, Waiting { epoch, end, since, to, produced });
            }
            None => self.gate(seq, to, Answer::Produced(produced)),
        }
    }

    /// Goes on with appends whose partition is not being handed over any more, or for too long.
    pub(crate) fn take_up_appends(&mut self, now: Now, pool: &mut Pool) {
        for _ in 0..self.adjourned.appends.len() {
            let Some((until, held)) = self.adjourned.appends.pop_front() else { return };
            let (is_due, to) = (until <= now.mono, held.to);
            if !self.is_handing_over(held.partition) {
                if let Err(code) = self.hold_or_append(now, held, pool) {
                    self.answers.push_back((to, Answer::Failed(code)));
                }
            } else if is_due {
                self.answers.push_back((to, Answer::Failed(ErrorCode::NotLeaderOrFollower)));
            } else {
                self.adjourned.appends.push_back((until, held));
            }
        }
    }

    /// A read that comes before its leader knows what is committed.
    pub(crate) fn adjourn_read(&mut self, now: Now, to: Asker, id: PartitionId, ask: Ask) {
        self.adjourned.reads.push_back((now.mono.plus(DETECTION), to, id, ask));
    }

    /// Goes on with reads whose leader knows by now, or does not lead any more, or for too long.
    pub(crate) fn take_up_reads(&mut self, now: Now, pool: &mut Pool) {
        for _ in 0..self.adjourned.reads.len() {
            let Some((until, to, id, ask)) = self.adjourned.reads.pop_front() else { return };
            if !self.is_opening(id) {
                self.ask(now, to, id, ask, pool);
            } else if until <= now.mono {
                self.answers.push_back((to, Answer::Failed(ErrorCode::OffsetNotAvailable)));
            } else {
                self.adjourned.reads.push_back((until, to, id, ask));
            }
        }
    }
}
