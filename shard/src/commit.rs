//! Proof that something is committed: no answer to a producer leaves without one.

use base::{Epoch, Offset, Seq};

/// Says that a frame is on stable storage at a quorum. Neither `Clone` nor constructible outside
/// this module: an answer consumes the proof it was given.
#[derive(Debug)]
#[must_use]
pub(crate) struct CommitProof(());

/// How far the journal of a shard is durable, asked once per turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DurableSeq(Seq);

impl DurableSeq {
    /// With one replica its own stable storage is the quorum.
    pub(crate) fn of_single_replica(durable: Seq) -> Self {
        Self(durable)
    }

    /// Proves that the frame is committed, if it is.
    pub(crate) fn prove(self, seq: Seq) -> Option<CommitProof> {
        (seq <= self.0).then_some(CommitProof(()))
    }
}

/// How far a replicated partition is committed widely enough to be answered, in one leader's epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AnswerableEnd {
    epoch: Epoch,
    end: Offset,
}

impl AnswerableEnd {
    /// What replication counted: durable on a quorum by acks of this epoch.
    pub(crate) fn of_quorum(epoch: Epoch, end: Offset) -> Self {
        Self { epoch, end }
    }

    pub(crate) fn epoch(self) -> Epoch {
        self.epoch
    }

    /// Proves that what was appended in this epoch and ends at `end` is committed, if it is.
    pub(crate) fn prove(self, end: Offset) -> Option<CommitProof> {
        (end <= self.end).then_some(CommitProof(()))
    }
}
