//! From an open engine to a log that takes part: partitions are made, ballots and entries read.

use base::batch::{self, Batch};
use base::{Epoch, Now, Offset, Page, PartitionId};
use engine::{Engine, PartitionSettings, Phase, Read, ReadError, Refused};
use replication::cluster_log::Ballot;
use replication::{Boot, ClusterLog, LogIndex};

use super::{BALLOTS, CLUSTER_LOG, ControlShard, Stage};

/// Bytes of a partition read at a time.
const REPLAY_BYTES: u32 = 256 << 10;

impl ControlShard {
    pub(super) fn advance_stage(&mut self, now: Now) {
        match self.engine.phase() {
            Phase::Recovering => {}
            Phase::Poisoned(cause) => self.stage = Stage::Failed(cause.to_string()),
            Phase::Halted(verdict) => self.stage = Stage::Failed(verdict.to_string()),
            Phase::Failed(error) => self.stage = Stage::Failed(error.to_string()),
            Phase::Open => {
                if let Stage::Recovering = self.stage {
                    self.open_partitions(now);
                }
            }
        }
        while let Stage::Replaying { partition, next } = self.stage {
            match self.replay(partition, next) {
                Ok(false) => return,
                Ok(true) => self.go_on_behind(now, partition),
                Err(reason) => {
                    self.stage = Stage::Failed(format!("the cluster log: {reason}"));
                }
            }
        }
    }

    /// Makes the partitions ready: created once, their epoch the number of this start.
    fn open_partitions(&mut self, now: Now) {
        let epoch = Epoch(self.engine.incarnation().0);
        let ballots = (!self.settings.peers.is_empty()).then_some(BALLOTS);
        for partition in ballots.into_iter().chain([CLUSTER_LOG]) {
            let opened = self
                .engine
                .create_partition(now, partition, PartitionSettings::default())
                .and_then(|_| self.engine.open_epoch(now, partition, epoch));
            match opened {
                Ok(_) => {}
                Err(Refused::Busy) => return,
                Err(refused) => {
                    self.stage = Stage::Failed(format!("the cluster log: {refused}"));
                    return;
                }
            }
        }
        self.engine.end_roll_call();
        let partition = ballots.unwrap_or(CLUSTER_LOG);
        self.stage = Stage::Replaying { partition, next: Offset::ZERO };
    }

    fn go_on_behind(&mut self, now: Now, partition: PartitionId) {
        if partition == BALLOTS {
            self.stage = Stage::Replaying { partition: CLUSTER_LOG, next: Offset::ZERO };
            return;
        }
        self.stage = Stage::Running;
        let (journal, boot) = (self.engine.journal_id(), self.engine.incarnation());
        self.log.start(now.mono, Boot { journal, boot }, LogIndex(0));
    }

    /// Reads `partition` from `next` on; whether all of it was seen.
    fn replay(&mut self, partition: PartitionId, mut next: Offset) -> Result<bool, String> {
        if self.reading.is_some() {
            let Some((_, read)) = self.engine.poll_read() else { return Ok(false) };
            self.reading = None;
            let read = read.map_err(|error| error.to_string())?;
            let bytes = &Page::bytes(&read.pages)[read.from..read.from + read.len];
            next = take_batches(&mut self.log, partition, bytes, next)?;
            self.engine.recycle(read.pages);
        }
        let mut spans = Vec::new();
        loop {
            self.stage = Stage::Replaying { partition, next };
            spans.clear();
            match self.engine.read(partition, next, REPLAY_BYTES, true, &mut spans) {
                Ok(Read::Tail { .. }) => next = self.take_spans(partition, &spans, next)?,
                Ok(Read::Disk(token)) => {
                    self.reading = Some(token);
                    return Ok(false);
                }
                Ok(Read::Empty) => return Ok(true),
                Err(ReadError::Busy) => return Ok(false),
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    fn take_spans(
        &mut self,
        partition: PartitionId,
        spans: &[base::Span],
        mut next: Offset,
    ) -> Result<Offset, String> {
        let Self { engine, log, .. } = self;
        for span in spans {
            let bytes = Engine::arena(engine).get(*span).expect("read in this turn");
            next = take_batches(log, partition, bytes, next)?;
        }
        Ok(next)
    }
}

/// Replays the entries of whole batches from offset `next` on; the offset behind them.
pub fn replay_batches(log: &mut ClusterLog, bytes: &[u8], next: Offset) -> Result<Offset, String> {
    take_batches(log, CLUSTER_LOG, bytes, next)
}

fn take_batches(
    log: &mut ClusterLog,
    partition: PartitionId,
    mut bytes: &[u8],
    mut next: Offset,
) -> Result<Offset, String> {
    while !bytes.is_empty() {
        let (batch, rest) = Batch::parse_prefix(bytes).map_err(|error| error.to_string())?;
        bytes = rest;
        if batch.base_offset() < next {
            continue;
        }
        for record in batch::records(batch.records()) {
            let value = record.value.ok_or("a record without a value")?;
            if partition == BALLOTS {
                log.replay_ballot(Ballot::decode(value).map_err(|error| error.to_string())?);
            } else {
                log.replay(value).map_err(|error| error.to_string())?;
            }
        }
        next = batch.end_offset();
    }
    Ok(next)
}
