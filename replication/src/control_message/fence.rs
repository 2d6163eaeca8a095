//! Fences and their answers: the first round of an election.

use base::{Committed, Durable, Epoch, LogEnd, LogStart, Offset, PartitionId, ShardId};

use crate::fields::{Fields, put_flag, put_list, put_u8, put_u16, put_u32, put_u64};
use crate::leadership::{
    put_boot, put_partition, put_placement, take_boot, take_partition, take_placement,
};
use crate::node::Boot;
use crate::replica::{FenceAnswer, LogView, Proof};
use crate::{DecodeError, LogIndex, Placement, Term};

/// The most partitions of one fence, so that its answer fits a message.
pub const FENCE_PARTITIONS_MAX: usize = 8_192;

/// "Listen to nobody who led before these epochs, and say what you hold."
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// Of the control leader that asks.
    pub term: Term,
    /// The state that it read the epochs in: committed.
    pub index: LogIndex,
    /// The shard of the receiving node that is asked.
    pub shard: ShardId,
    /// Whose reigns end, for those who explain.
    pub fenced: Vec<(Placement, Boot)>,
    /// In the order of partitions.
    pub promises: Vec<(PartitionId, Epoch)>,
}

/// What a shard held when its promise became durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FenceAnswers {
    /// Of the fence.
    pub term: Term,
    pub shard: ShardId,
    pub boot: Boot,
    /// Partitions that the shard does not hold are left out.
    pub answers: Vec<FenceAnswer>,
}

const PROOFS: [Proof; 4] = [Proof::Clean, Proof::Torn, Proof::Suspect, Proof::Rebuilding];

impl Fence {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_u32(out, self.term.0);
        put_u64(out, self.index.0);
        put_u16(out, self.shard.0);
        put_list(out, &self.fenced, |out, (placement, boot)| {
            put_placement(out, placement);
            put_boot(out, *boot);
        });
        put_list(out, &self.promises, |out, (partition, epoch)| {
            put_partition(out, *partition);
            put_u32(out, epoch.0);
        });
    }

    pub(super) fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            term: Term(fields.u32()?),
            index: LogIndex(fields.u64()?),
            shard: ShardId(fields.u16()?),
            fenced: fields.list(16, |fields| Ok((take_placement(fields)?, take_boot(fields)?)))?,
            promises: fields
                .list(12, |fields| Ok((take_partition(fields)?, Epoch(fields.u32()?))))?,
        })
    }
}

impl FenceAnswers {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_u32(out, self.term.0);
        put_u16(out, self.shard.0);
        put_boot(out, self.boot);
        put_list(out, &self.answers, put_answer);
    }

    pub(super) fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            term: Term(fields.u32()?),
            shard: ShardId(fields.u16()?),
            boot: take_boot(fields)?,
            answers: fields.list(47, take_answer)?,
        })
    }
}

fn put_answer(out: &mut Vec<u8>, answer: &FenceAnswer) {
    let view = &answer.view;
    put_partition(out, answer.partition);
    put_epoch(out, answer.last_epoch);
    for offset in [view.log_start.0, view.log_end.0, view.durable.0, view.committed.0] {
        put_u64(out, offset.0);
    }
    put_u32(out, view.promised.0);
    put_epoch(out, view.opened);
    let proof = PROOFS.iter().position(|proof| *proof == view.proof);
    put_u8(out, proof.expect("every proof stands in the table") as u8);
}

fn take_answer(fields: &mut Fields<'_>) -> Result<FenceAnswer, DecodeError> {
    let partition = take_partition(fields)?;
    let last_epoch = take_epoch(fields)?;
    let view = LogView {
        log_start: LogStart(take_offset(fields)?),
        log_end: LogEnd(take_offset(fields)?),
        durable: Durable(take_offset(fields)?),
        committed: Committed(take_offset(fields)?),
        promised: Epoch(fields.u32()?),
        opened: take_epoch(fields)?,
        proof: take_proof(fields)?,
    };
    Ok(FenceAnswer { partition, last_epoch, view })
}

fn take_proof(fields: &mut Fields<'_>) -> Result<Proof, DecodeError> {
    let number = fields.u8()?;
    PROOFS.get(usize::from(number)).copied().ok_or(DecodeError::UnknownKind(number))
}

fn put_epoch(out: &mut Vec<u8>, epoch: Option<Epoch>) {
    put_flag(out, epoch.is_some());
    if let Some(epoch) = epoch {
        put_u32(out, epoch.0);
    }
}

fn take_epoch(fields: &mut Fields<'_>) -> Result<Option<Epoch>, DecodeError> {
    if fields.flag()? { Ok(Some(Epoch(fields.u32()?))) } else { Ok(None) }
}

fn take_offset(fields: &mut Fields<'_>) -> Result<Offset, DecodeError> {
    let offset = fields.u64()?;
    if i64::MAX as u64 <= offset { Err(DecodeError::Offset) } else { Ok(Offset(offset)) }
}
