//! A stream from this shard, as a leader, to one follower's shard: numbering, bytes in flight, lanes.
//!
//! ```text
//!   latency lane ▶ partitions whose follower keeps up      ─┐  window of bytes
//!   bulk lane    ▶ partitions that catch up, when the other ─┴▶ sent … acked
//!                  has nothing to say, and throttled
//! ```

use std::collections::{BTreeSet, VecDeque};

use base::{Instant, Now, Offset};

use super::message::{StreamId, StreamSeq};
use super::settings::Settings;
use crate::node::Boot;

/// See the module's description. Lives as long as its connection.
#[derive(Debug)]
pub(super) struct Outbound {
    pub id: StreamId,
    /// Of the follower.
    pub boot: Boot,
    next: StreamSeq,
    sent: VecDeque<Sent>,
    /// Sent and not acked, and ordered from the log.
    window: Flight,
    bulk: Flight,
    /// What the bulk lane may still send in this stretch of time.
    bulk_credit_bytes: u64,
    bulk_credited_at: Instant,
    lanes: [VecDeque<usize>; 2],
    /// Replicas whose watermarks the follower has yet to be told.
    pub untold: Vec<usize>,
    pub retries: BTreeSet<(Instant, usize)>,
    pub sent_at: Instant,
    /// The last heartbeat that told watermarks.
    pub told_at: Instant,
    /// The last word of the follower.
    pub heard_at: Instant,
}

/// Partitions take turns within a lane; the first lane goes before the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    Latency,
    Bulk,
}

/// A message that awaits its ack.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub seq: StreamSeq,
    pub slot: usize,
    /// Of the conversation that it belongs to.
    pub generation: u64,
    pub what: SentKind,
    pub lane: Lane,
    pub bytes: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SentKind {
    /// The follower's log ends there, in the own epoch: the first record of the epoch comes next.
    OwnEpoch(Offset),
    /// The follower's log reaches there.
    Reaches(Offset),
    Vouch,
}

#[derive(Clone, Copy, Debug, Default)]
struct Flight {
    bytes: u64,
}

/// What a message other than an append is counted as, in bytes.
pub(super) const MESSAGE_BYTES: u32 = 128;

impl Outbound {
    pub(super) fn new(now: Now, id: StreamId, boot: Boot) -> Self {
        Self {
            id,
            boot,
            next: StreamSeq(1),
            sent: VecDeque::new(),
            window: Flight::default(),
            bulk: Flight::default(),
            bulk_credit_bytes: 0,
            bulk_credited_at: Instant(0),
            lanes: [VecDeque::new(), VecDeque::new()],
            untold: Vec::new(),
            retries: BTreeSet::new(),
            sent_at: now.mono,
            told_at: now.mono,
            heard_at: now.mono,
        }
    }

    /// The number of the message that is sent next.
    pub(super) fn next_seq(&self) -> StreamSeq {
        self.next
    }

    pub(super) fn last_seq(&self) -> StreamSeq {
        StreamSeq(self.next.0 - 1)
    }

    pub(super) fn push(&mut self, now: Now, mut sent: Sent) -> StreamSeq {
        sent.seq = self.next;
        self.next = self.next.next();
        self.reserve(sent.lane, sent.bytes);
        self.sent.push_back(sent);
        self.sent_at = now.mono;
        sent.seq
    }

    /// The oldest message that `seq` acks.
    pub(super) fn pop_acked(&mut self, seq: StreamSeq) -> Option<Sent> {
        let sent = *self.sent.front().filter(|sent| sent.seq <= seq)?;
        self.sent.pop_front();
        self.release(sent.lane, sent.bytes);
        Some(sent)
    }

    pub(super) fn enqueue(&mut self, slot: usize, lane: Lane) {
        self.lanes[lane as usize].push_back(slot);
    }

    /// Whose turn it is, if the window has room.
    pub(super) fn dequeue(&mut self, now: Now, settings: &Settings) -> Option<(usize, Lane)> {
        if settings.window_bytes <= self.window.bytes {
            return None;
        }
        if let Some(slot) = self.lanes[Lane::Latency as usize].pop_front() {
            return Some((slot, Lane::Latency));
        }
        self.credit(now, settings);
        if self.bulk_credit_bytes == 0 || settings.bulk_window_bytes <= self.bulk.bytes {
            return None;
        }
        let slot = self.lanes[Lane::Bulk as usize].pop_front()?;
        Some((slot, Lane::Bulk))
    }

    /// Bytes ordered from the log, or sent.
    pub(super) fn reserve(&mut self, lane: Lane, bytes: u32) {
        self.window.bytes += u64::from(bytes);
        if lane == Lane::Bulk {
            self.bulk.bytes += u64::from(bytes);
        }
    }

    pub(super) fn release(&mut self, lane: Lane, bytes: u32) {
        self.window.bytes -= u64::from(bytes);
        if lane == Lane::Bulk {
            self.bulk.bytes -= u64::from(bytes);
        }
    }

    /// Counts bulk bytes against the throttle.
    pub(super) fn spend(&mut self, bytes: u32) {
        self.bulk_credit_bytes = self.bulk_credit_bytes.saturating_sub(u64::from(bytes));
    }

    /// When something is to be said or tried again, whatever happens.
    pub(super) fn next_timeout(&self, settings: &Settings) -> Instant {
        let mut next = self.sent_at.plus(settings.heartbeat);
        if !self.untold.is_empty() {
            next = next.min(self.told_at.plus(settings.heartbeat));
        }
        if let Some((at, _)) = self.retries.first() {
            next = next.min(*at);
        }
        if self.bulk_credit_bytes == 0 && !self.lanes[Lane::Bulk as usize].is_empty() {
            next = next.min(self.bulk_credited_at.plus(settings.bulk_stretch()));
        }
        next
    }

    /// One stretch's worth at a time: what was not used is not saved up.
    fn credit(&mut self, now: Now, settings: &Settings) {
        if self.bulk_credit_bytes == 0
            && self.bulk_credited_at.plus(settings.bulk_stretch()) <= now.mono
        {
            self.bulk_credit_bytes = settings.bulk_stretch_bytes();
            self.bulk_credited_at = now.mono;
        }
    }
}
