//! What replication needs of a shard's log. The engine is one; tests have one in memory.
//!
//! Every verb that returns a [`Seq`] wrote a journal entry: its effect is visible at once, and may be
//! told to others only when the frame `Seq` is durable (I3).

use base::{Committed, Durable, Epoch, LogEnd, LogStart, Now, Offset, PartitionId, Reign, Seq};

/// The log of every replicated partition of one shard, on one journal.
pub trait Log {
    /// `None` if the shard does not hold the partition.
    fn view(&self, id: PartitionId) -> Option<LogView>;

    /// Who wrote what, as far as the log reaches: rising epochs and starts. The last one may be
    /// empty. Empty if there is no such partition.
    fn reigns(&self, id: PartitionId) -> &[Reign];

    /// The log start, or a batch's start before it from which on the log can still be copied: where
    /// deletion ended within a batch.
    fn first_batch(&self, _: PartitionId, view: &LogView) -> Offset {
        view.log_start.0
    }

    /// The frame that holds the newest entry of any partition: if it is durable, all is.
    fn newest_seq(&self) -> Seq;

    /// The longest durable prefix of the journal.
    fn durable_seq(&self) -> Seq;

    /// Opens an epoch at the log end and gives the right to append in it. Refused as `Stale` unless
    /// `epoch` is newer than all that were ever opened here, and at least what was promised.
    fn open_epoch(&mut self, now: Now, id: PartitionId, epoch: Epoch) -> Result<Seq, Refusal>;

    /// Takes over from the leader of `leader` that `reign` begins at the log end. Gives no right to
    /// append. Refused as `Stale` if `leader` is below what was promised, as `Gap` unless the log
    /// ends at `reign.start` (I5) and the last reign is older than `reign`.
    fn follow_epoch(
        &mut self,
        now: Now,
        id: PartitionId,
        leader: Epoch,
        reign: Reign,
    ) -> Result<Seq, Refusal>;

    /// Appends whole batches, checked and contiguous, all of the log's last reign. Refused as
    /// `Stale` if `leader`, the epoch of who sent them, is below what was promised; `Gap` if they do
    /// not begin at the log end. The epoch in the batches may be older than the promise: a replica
    /// that was fenced catches up on old records from its new leader.
    fn append_replica(
        &mut self,
        now: Now,
        id: PartitionId,
        leader: Epoch,
        batches: &[u8],
    ) -> Result<Seq, Refusal>;

    /// Forgets what stands at `end` or behind it, and the reigns that begin there. The caller has
    /// checked that nothing committed goes (I9).
    fn truncate(&mut self, now: Now, id: PartitionId, end: Offset) -> Result<Seq, Refusal>;

    /// Forgets every record and every reign; the log is empty and begins at `at`. From then on, and
    /// after a restart too, it is [`Proof::Rebuilding`] until [`Log::vouch`], unless `keep_proof`:
    /// what was dropped lay below a replicated log start.
    fn start_over(
        &mut self,
        now: Now,
        id: PartitionId,
        at: Offset,
        keep_proof: bool,
    ) -> Result<Seq, Refusal>;

    /// The log is whole again: it holds all that it ever helped to commit.
    fn vouch(&mut self, now: Now, id: PartitionId) -> Result<Seq, Refusal>;

    /// Refuses from now on what leaders of lower epochs send, and the own appends in lower epochs
    /// (I4). One entry for all; promises never fall; unknown partitions are skipped.
    fn promise(&mut self, now: Now, promises: &[(PartitionId, Epoch)]) -> Result<Seq, Refusal>;

    /// Moves the log start up. The caller has checked that it is committed (I13).
    fn move_log_start(&mut self, now: Now, id: PartitionId, to: LogStart) -> Result<Seq, Refusal>;

    /// Says what is committed; never beyond the log end. A lower value than before changes nothing.
    fn commit(&mut self, id: PartitionId, committed: Committed);
}

/// One partition's log at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogView {
    pub log_start: LogStart,
    pub log_end: LogEnd,
    /// What the own journal holds durably.
    pub durable: Durable,
    /// What is known to be committed: after a restart less than what was, never more.
    pub committed: Committed,
    /// No leader of a lower epoch is listened to.
    pub promised: Epoch,
    /// The newest epoch ever opened here, even if what it wrote was truncated since.
    pub opened: Option<Epoch>,
    pub proof: Proof,
}

/// Whether a log can prove that it holds all that it ever acked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It does.
    Clean,
    /// It does if the device told the truth: the last frames, never acked, are torn.
    Torn,
    /// It may have lost something: nothing of it counts, and it is to be built anew. Also a log that
    /// was made on a journal which recovery found damaged, for a partition that the cluster had
    /// known before: its creation may be what was lost.
    Suspect,
    /// It was built anew from a leader's log and does not reach far enough yet.
    Rebuilding,
}

impl Proof {
    /// Whether acks and answers of this log may count.
    #[must_use]
    pub fn holds(self) -> bool {
        matches!(self, Self::Clean | Self::Torn)
    }
}

/// Why a log refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No room at this moment: try again after a completion.
    Busy,
    /// The epoch is too old.
    Stale,
    /// What is to follow the log does not join it.
    Gap,
    /// The partition is halted, or the shard's journal failed.
    Halted,
    /// No such partition.
    NoPartition,
}
