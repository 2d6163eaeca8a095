//! The engine as the log that replication asks for.

use base::{Committed, Epoch, LogStart, Now, Offset, PartitionId, Reign, Seq};
use engine::{AppendError, Engine, Refused};
use replication::replica::{Log, LogView, Proof, Refusal};

/// See the module's description.
#[derive(Debug)]
pub(crate) struct EngineLog<'a> {
    pub(crate) engine: &'a mut Engine,
    /// Partitions whose committed end moved are added here.
    pub(crate) moved: &'a mut Vec<PartitionId>,
}

impl Log for EngineLog<'_> {
    fn view(&self, id: PartitionId) -> Option<LogView> {
        let view = self.engine.replica(id)?;
        Some(LogView {
            log_start: view.log_start,
            log_end: view.log_end,
            durable: view.durable,
            committed: view.committed,
            promised: view.promised,
            opened: view.opened,
            proof: match view.proof {
                engine::Proof::Clean => Proof::Clean,
                engine::Proof::Torn => Proof::Torn,
                engine::Proof::Suspect => Proof::Suspect,
                engine::Proof::Rebuilding => Proof::Rebuilding,
            },
        })
    }

    fn reigns(&self, id: PartitionId) -> &[Reign] {
        self.engine.epochs(id).map_or(&[], |history| history.reigns())
    }

    fn first_batch(&self, id: PartitionId, view: &LogView) -> Offset {
        self.engine.first_batch(id).unwrap_or(view.log_start.0)
    }

    fn newest_seq(&self) -> Seq {
        self.engine.newest_seq()
    }

    fn durable_seq(&self) -> Seq {
        self.engine.durable_seq()
    }

    fn open_epoch(&mut self, now: Now, id: PartitionId, epoch: Epoch) -> Result<Seq, Refusal> {
        if self.engine.reign(id) == Some(epoch) {
            // Opened by this very process while the partition had no other replica.
            return Ok(self.engine.newest_seq());
        }
        self.engine.open_epoch(now, id, epoch).map_err(refusal)
    }

    fn follow_epoch(
        &mut self,
        now: Now,
        id: PartitionId,
        leader: Epoch,
        reign: Reign,
    ) -> Result<Seq, Refusal> {
        self.engine.follow_epoch(now, id, leader, reign).map_err(refusal)
    }

    fn append_replica(
        &mut self,
        now: Now,
        id: PartitionId,
        leader: Epoch,
        batches: &[u8],
    ) -> Result<Seq, Refusal> {
        self.engine.append_replica(now, id, leader, batches).map_err(|error| match error {
            AppendError::Busy | AppendError::DiskFull | AppendError::Recovering => Refusal::Busy,
            AppendError::Fenced { .. } => Refusal::Stale,
            AppendError::Gap { .. } => Refusal::Gap,
            AppendError::NoPartition => Refusal::NoPartition,
            // What its leader took and this log never will: it stands still, and says so.
            AppendError::Poisoned
            | AppendError::Halted
            | AppendError::EpochNotOpen
            | AppendError::TooLarge { .. }
            | AppendError::InvalidTimestamp
            | AppendError::Producer(_)
            | AppendError::Batch(_) => Refusal::Halted,
        })
    }

    fn truncate(&mut self, now: Now, id: PartitionId, end: Offset) -> Result<Seq, Refusal> {
        self.engine.truncate(now, id, end).map_err(refusal)
    }

    fn start_over(
        &mut self,
        now: Now,
        id: PartitionId,
        at: Offset,
        keep_proof: bool,
    ) -> Result<Seq, Refusal> {
        self.engine.start_over(now, id, at, keep_proof).map_err(refusal)
    }

    fn vouch(&mut self, now: Now, id: PartitionId) -> Result<Seq, Refusal> {
        self.engine.vouch(now, id).map_err(refusal)
    }

    fn promise(&mut self, now: Now, promises: &[(PartitionId, Epoch)]) -> Result<Seq, Refusal> {
        self.engine.promise(now, promises).map_err(refusal)
    }

    fn move_log_start(&mut self, now: Now, id: PartitionId, to: LogStart) -> Result<Seq, Refusal> {
        self.engine.delete_records(now, id, to.0).map_err(refusal)
    }

    fn commit(&mut self, id: PartitionId, committed: Committed) {
        if self.engine.committed(id).is_some_and(|known| known < committed) {
            self.engine.commit(id, committed);
            self.moved.push(id);
        }
    }
}

fn refusal(refused: Refused) -> Refusal {
    match refused {
        Refused::Busy | Refused::Recovering => Refusal::Busy,
        Refused::StaleEpoch { .. } | Refused::Fenced { .. } => Refusal::Stale,
        Refused::Gap { .. } => Refusal::Gap,
        Refused::NoPartition => Refusal::NoPartition,
        Refused::Poisoned
        | Refused::Halted
        | Refused::BeyondCommitted { .. }
        | Refused::NothingLost => Refusal::Halted,
    }
}
