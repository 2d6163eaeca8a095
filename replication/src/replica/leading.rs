//! A partition that this shard leads: how far each follower is.

use base::{Epoch, Instant, LogEnd, Offset, Seq};

use super::message::StreamSeq;
use super::outbound::Lane;
use crate::Placement;

/// One reign of this shard over one partition. Never outlives the process (I10).
#[derive(Debug)]
pub(super) struct Leading {
    pub epoch: Epoch,
    /// When it began: its followers have had no time to answer before.
    pub since: Instant,
    /// The log end when it began.
    pub start: Offset,
    /// The frame of the epoch's opening.
    pub open_seq: Seq,
    /// A quorum has opened the epoch.
    pub is_open: bool,
    pub peers: Vec<Peer>,
    /// Acks at acks=all may go out for what lies before.
    pub answerable: Offset,
    pub hand_over: Option<HandOver>,
    /// A follower listens to a newer leader.
    pub superseded: bool,
}

/// The leader takes nothing any more, for good.
#[derive(Clone, Copy, Debug)]
pub(super) struct HandOver {
    pub to: Placement,
    /// `to` holds all; the log ends there.
    pub done: Option<LogEnd>,
}

/// A follower, as its leader sees it.
#[derive(Debug)]
pub(super) struct Peer {
    pub replica: Placement,
    pub stage: Stage,
    /// Names the conversation: answers to an earlier one count for nothing.
    pub generation: u64,
    /// The first message of the conversation.
    pub first_seq: StreamSeq,
    /// What is sent next.
    pub next: Offset,
    /// The last reign that the follower has when everything sent has arrived.
    pub last_epoch: Option<Epoch>,
    /// What the follower holds durably, in whatever epoch.
    pub held: Offset,
    /// What it acked in this leader's epoch, in this conversation or by its opening word: only
    /// this counts (I6).
    pub reached: Option<Offset>,
    /// The greatest that `reached` was, over all conversations.
    pub acked: Offset,
    pub proof: PeerProof,
    pub lane: Lane,
    pub queued: bool,
    /// The ticket of the read that is on its way.
    pub reading: Option<u64>,
    /// It knows the ends, or will by what was sent.
    pub told: bool,
    /// It stands among its stream's untold.
    pub listed: bool,
    pub level: Level,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// There is no stream, or it is to be asked where to go on, not before that time.
    Apart {
        until: Option<Instant>,
    },
    /// It was asked.
    Opening,
    Streaming,
}

/// Whether the follower's log holds all that it ever helped to commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PeerProof {
    Proven,
    /// It does once it reaches there in the own epoch: everything older that was committed lies
    /// before the epoch's start, and everything of the epoch itself before today's log end.
    From(Offset),
    /// It was told so.
    Vouched,
}

/// When the follower was last level with the log end (Kafka's lastCaughtUpTime).
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    pub at: Instant,
    mark: Offset,
    marked_at: Instant,
}

impl Peer {
    pub(super) fn new(now: Instant, replica: Placement) -> Self {
        Self {
            replica,
            stage: Stage::Apart { until: None },
            generation: 0,
            first_seq: StreamSeq(0),
            next: Offset::ZERO,
            last_epoch: None,
            held: Offset::ZERO,
            reached: None,
            acked: Offset::ZERO,
            proof: PeerProof::From(Offset(u64::MAX)),
            lane: Lane::Latency,
            queued: false,
            reading: None,
            told: true,
            listed: false,
            level: Level { at: Instant(0), mark: Offset(u64::MAX), marked_at: now },
        }
    }

    /// The stream is gone: nothing that was said on it goes on.
    pub(super) fn part(&mut self) {
        self.stage = Stage::Apart { until: None };
        self.reached = None;
        self.reading = None;
        self.queued = false;
        self.lane = Lane::Latency;
        (self.told, self.listed) = (true, false);
        self.proof = PeerProof::From(Offset(u64::MAX));
        self.generation = 0;
    }

    /// What counts for commits.
    pub(super) fn counted(&self) -> Option<Offset> {
        self.reached.filter(|_| self.proof == PeerProof::Proven)
    }

    /// The follower holds everything up to `end`, durably and in the own epoch.
    pub(super) fn reach(&mut self, now: Instant, end: Offset, log_end: LogEnd) {
        self.reached = self.reached.max(Some(end));
        self.acked = self.acked.max(end);
        self.hold(now, end, log_end);
    }

    /// The follower holds everything up to `end`, durably.
    pub(super) fn hold(&mut self, now: Instant, end: Offset, log_end: LogEnd) {
        self.held = end;
        let level = &mut self.level;
        if log_end.0 <= end {
            level.at = now;
        } else if level.mark <= end {
            level.at = level.at.max(level.marked_at);
        } else if level.mark != Offset(u64::MAX) {
            return;
        }
        (level.mark, level.marked_at) = (log_end.0, now);
    }

    /// Whether it is time to say that the log is whole again.
    pub(super) fn is_whole(&self) -> bool {
        match self.proof {
            PeerProof::From(end) => self.reached.is_some_and(|reached| end <= reached),
            PeerProof::Proven | PeerProof::Vouched => false,
        }
    }
}

impl Leading {
    pub(super) fn peer(&mut self, replica: Placement) -> Option<&mut Peer> {
        self.peers.iter_mut().find(|peer| peer.replica == replica)
    }
}
