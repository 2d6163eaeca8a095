//! Proof that something is committed: no answer to a producer leaves without one.

use base::Seq;

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
