//! What commands about leaders and replicas say of one partition, and its bytes.

use base::{Epoch, Incarnation, NodeId, PartitionId, ShardId, TopicNumber};

use crate::fields::{Fields, put_u8, put_u16, put_u32, put_u64};
use crate::node::Boot;
use crate::partition::Leader;
use crate::{DecodeError, Placement, Replicas};

/// Who leads a partition in an epoch, under which config.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    pub partition: PartitionId,
    pub epoch: Epoch,
    pub leader: Leader,
    pub config_version: u32,
}

/// An epoch of a partition that was opened at a quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    pub partition: PartitionId,
    pub epoch: Epoch,
}

/// A learner that holds everything that the leader of this epoch held when it said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaughtUp {
    pub partition: PartitionId,
    pub epoch: Epoch,
    pub replica: Placement,
    pub boot: Boot,
}

/// A wish that the leader of this epoch hands over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandOver {
    pub partition: PartitionId,
    pub epoch: Epoch,
    pub to: Placement,
}

/// Where the replicas of a partition shall be, preferred leader first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    pub partition: PartitionId,
    pub target: Replicas,
}

/// An item of a command's list. A list names each partition once, in order.
pub(crate) trait Item: Sized {
    const BYTES_MIN: usize;
    fn partition(&self) -> PartitionId;
    fn put(&self, out: &mut Vec<u8>);
    fn take(fields: &mut Fields<'_>) -> Result<Self, DecodeError>;
}

impl Item for Chosen {
    const BYTES_MIN: usize = 32;

    fn partition(&self) -> PartitionId {
        self.partition
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_partition(out, self.partition);
        put_u32(out, self.epoch.0);
        put_placement(out, &self.leader.placement);
        put_boot(out, self.leader.boot);
        put_u32(out, self.config_version);
    }

    fn take(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            partition: take_partition(fields)?,
            epoch: Epoch(fields.u32()?),
            leader: Leader { placement: take_placement(fields)?, boot: take_boot(fields)? },
            config_version: fields.u32()?,
        })
    }
}

impl Item for Opened {
    const BYTES_MIN: usize = 12;

    fn partition(&self) -> PartitionId {
        self.partition
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_partition(out, self.partition);
        put_u32(out, self.epoch.0);
    }

    fn take(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self { partition: take_partition(fields)?, epoch: Epoch(fields.u32()?) })
    }
}

impl Item for CaughtUp {
    const BYTES_MIN: usize = 28;

    fn partition(&self) -> PartitionId {
        self.partition
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_partition(out, self.partition);
        put_u32(out, self.epoch.0);
        put_placement(out, &self.replica);
        put_boot(out, self.boot);
    }

    fn take(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            partition: take_partition(fields)?,
            epoch: Epoch(fields.u32()?),
            replica: take_placement(fields)?,
            boot: take_boot(fields)?,
        })
    }
}

impl Item for HandOver {
    const BYTES_MIN: usize = 16;

    fn partition(&self) -> PartitionId {
        self.partition
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_partition(out, self.partition);
        put_u32(out, self.epoch.0);
        put_placement(out, &self.to);
    }

    fn take(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            partition: take_partition(fields)?,
            epoch: Epoch(fields.u32()?),
            to: take_placement(fields)?,
        })
    }
}

impl Item for Move {
    const BYTES_MIN: usize = 9;

    fn partition(&self) -> PartitionId {
        self.partition
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_partition(out, self.partition);
        put_replicas(out, &self.target);
    }

    fn take(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self { partition: take_partition(fields)?, target: take_replicas(fields)? })
    }
}

impl Item for PartitionId {
    const BYTES_MIN: usize = 8;

    fn partition(&self) -> PartitionId {
        *self
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_partition(out, *self);
    }

    fn take(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        take_partition(fields)
    }
}

pub(crate) fn put_partition(out: &mut Vec<u8>, partition: PartitionId) {
    put_u32(out, partition.topic.0);
    put_u32(out, partition.index);
}

pub(crate) fn take_partition(fields: &mut Fields<'_>) -> Result<PartitionId, DecodeError> {
    Ok(PartitionId::new(TopicNumber(fields.u32()?), fields.u32()?))
}

pub(crate) fn put_placement(out: &mut Vec<u8>, placement: &Placement) {
    put_u16(out, placement.node.0);
    put_u16(out, placement.shard.0);
}

pub(crate) fn take_placement(fields: &mut Fields<'_>) -> Result<Placement, DecodeError> {
    Ok(Placement { node: NodeId(fields.u16()?), shard: ShardId(fields.u16()?) })
}

pub(crate) fn put_boot(out: &mut Vec<u8>, boot: Boot) {
    put_u64(out, boot.journal);
    put_u32(out, boot.boot.0);
}

pub(crate) fn take_boot(fields: &mut Fields<'_>) -> Result<Boot, DecodeError> {
    Ok(Boot { journal: fields.u64()?, boot: Incarnation(fields.u32()?) })
}

pub(crate) fn put_replicas(out: &mut Vec<u8>, replicas: &Replicas) {
    put_u8(out, replicas.len() as u8);
    for placement in replicas.iter() {
        put_placement(out, placement);
    }
}

pub(crate) fn take_replicas(fields: &mut Fields<'_>) -> Result<Replicas, DecodeError> {
    let count = fields.u8()?;
    let mut replicas = Replicas::EMPTY;
    for _ in 0..count {
        if !replicas.add(take_placement(fields)?) {
            return Err(DecodeError::Replicas { count });
        }
    }
    Ok(replicas)
}
