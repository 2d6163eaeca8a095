//! The bytes of [`Message`]. Every count is held against the bytes that remain.

use base::{
    Committed, Epoch, Incarnation, LogEnd, LogStart, NodeId, Offset, PartitionId, Reign, ShardId,
};

use super::message::{
    AppendHeader, EpochOpen, FRAME_BYTES_MAX, Hello, LENGTH_BYTES, Message, Nack, NackCause,
    Opening, StreamId, StreamSeq, Versions, Watermark,
};
use crate::fields::{Fields, put_list, put_u8, put_u16, put_u32, put_u64};
use crate::node::Boot;
use crate::{DecodeError, LogIndex, Placement, Uuid};

const HELLO: u8 = 1;
const PROOF: u8 = 2;
const EPOCH_OPEN: u8 = 3;
const APPEND: u8 = 4;
const HEARTBEAT: u8 = 5;
const VOUCH: u8 = 6;
const ACK: u8 = 7;
const NACK: u8 = 8;

const REIGN_BYTES: usize = 12;
const WATERMARK_BYTES: usize = 28;

/// A whole frame, cut off the front of received bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// For [`Message::decode`].
    pub body: &'a [u8],
    /// What follows the frame.
    pub rest: &'a [u8],
}

/// The frame at the start of `bytes`; `None` if more bytes must come.
pub fn split_frame(bytes: &[u8]) -> Result<Option<Frame<'_>>, DecodeError> {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length) as usize;
    if FRAME_BYTES_MAX < length {
        return Err(DecodeError::TooLong { bytes: length });
    }
    Ok(rest.split_at_checked(length).map(|(body, rest)| Frame { body, rest }))
}

impl<'a> Message<'a> {
    /// Appends the frame to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let at = out.len();
        out.extend_from_slice(&[0; LENGTH_BYTES]);
        match self {
            Self::Hello(hello) => hello.encode(out),
            Self::Proof { response } => {
                put_u8(out, PROOF);
                out.extend_from_slice(response);
            }
            Self::EpochOpen(open) => open.encode(out),
            Self::Append { header, batches } => {
                header.encode_fields(out);
                out.extend_from_slice(batches);
            }
            Self::Heartbeat { stream, last, watermarks } => {
                put_u8(out, HEARTBEAT);
                put_u64(out, stream.0);
                put_u64(out, last.0);
                put_list(out, watermarks, |out, watermark| watermark.encode(out));
            }
            Self::Vouch { stream, seq, partition, epoch } => {
                put_u8(out, VOUCH);
                put_u64(out, stream.0);
                put_u64(out, seq.0);
                put_u64(out, partition.to_u64());
                put_u32(out, epoch.0);
            }
            Self::Ack { stream, boot, seq } => {
                put_u8(out, ACK);
                put_u64(out, stream.0);
                put_boot(out, *boot);
                put_u64(out, seq.0);
            }
            Self::Nack(nack) => nack.encode(out),
        }
        let length = (out.len() - at - LENGTH_BYTES) as u32;
        out[at..at + LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
    }

    /// Takes all of `body`, a frame without its length field, or says what is wrong with it.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(body);
        let message = match fields.u8()? {
            HELLO => Self::Hello(Hello::decode(&mut fields)?),
            PROOF => Self::Proof { response: fields.array()? },
            EPOCH_OPEN => Self::EpochOpen(EpochOpen::decode(&mut fields)?),
            APPEND => {
                let header = AppendHeader::decode(&mut fields)?;
                return Ok(Self::Append { header, batches: fields.rest() });
            }
            HEARTBEAT => Self::Heartbeat {
                stream: StreamId(fields.u64()?),
                last: StreamSeq(fields.u64()?),
                watermarks: fields.list(WATERMARK_BYTES, Watermark::decode)?,
            },
            VOUCH => Self::Vouch {
                stream: StreamId(fields.u64()?),
                seq: StreamSeq(fields.u64()?),
                partition: PartitionId::from_u64(fields.u64()?),
                epoch: Epoch(fields.u32()?),
            },
            ACK => Self::Ack {
                stream: StreamId(fields.u64()?),
                boot: boot(&mut fields)?,
                seq: StreamSeq(fields.u64()?),
            },
            NACK => Self::Nack(Nack::decode(&mut fields)?),
            kind => return Err(DecodeError::UnknownKind(kind)),
        };
        fields.end()?;
        Ok(message)
    }
}

impl Hello {
    fn encode(&self, out: &mut Vec<u8>) {
        put_u8(out, HELLO);
        put_u16(out, self.versions.min);
        put_u16(out, self.versions.max);
        out.extend_from_slice(&self.cluster.0);
        put_placement(out, self.from);
        put_placement(out, self.to);
        put_boot(out, self.boot);
        put_u64(out, self.stream.0);
        put_u64(out, self.cluster_index.0);
        out.extend_from_slice(&self.challenge);
    }

    fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            versions: Versions { min: fields.u16()?, max: fields.u16()? },
            cluster: Uuid(fields.array()?),
            from: placement(fields)?,
            to: placement(fields)?,
            boot: boot(fields)?,
            stream: StreamId(fields.u64()?),
            cluster_index: LogIndex(fields.u64()?),
            challenge: fields.array()?,
        })
    }
}

impl EpochOpen {
    fn encode(&self, out: &mut Vec<u8>) {
        put_u8(out, EPOCH_OPEN);
        put_u64(out, self.stream.0);
        put_u64(out, self.seq.0);
        put_u64(out, self.partition.to_u64());
        put_u32(out, self.epoch.0);
        put_reign(out, &self.reign);
        put_u32(out, self.config_version);
        put_u64(out, self.cluster_index.0);
        put_u64(out, self.log_start.0.0);
        put_u64(out, self.committed.0.0);
        put_u64(out, self.acked.0);
        put_u8(out, u8::from(self.opening.is_some()));
        if let Some(opening) = &self.opening {
            put_u64(out, opening.log_end.0.0);
            put_list(out, &opening.history, put_reign);
        }
    }

    fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            stream: StreamId(fields.u64()?),
            seq: StreamSeq(fields.u64()?),
            partition: PartitionId::from_u64(fields.u64()?),
            epoch: Epoch(fields.u32()?),
            reign: reign(fields)?,
            config_version: fields.u32()?,
            cluster_index: LogIndex(fields.u64()?),
            log_start: LogStart(offset(fields)?),
            committed: Committed(offset(fields)?),
            acked: offset(fields)?,
            opening: if fields.flag()? { Some(Opening::decode(fields)?) } else { None },
        })
    }
}

impl Opening {
    fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        let log_end = LogEnd(offset(fields)?);
        Ok(Self { log_end, history: history(fields)? })
    }
}

impl AppendHeader {
    /// Appends to `out` the frame's start; `batches_bytes` bytes of batches complete it.
    pub fn encode(&self, batches_bytes: u32, out: &mut Vec<u8>) {
        let at = out.len();
        out.extend_from_slice(&[0; LENGTH_BYTES]);
        self.encode_fields(out);
        let length = (out.len() - at - LENGTH_BYTES) as u32 + batches_bytes;
        out[at..at + LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
    }

    fn encode_fields(&self, out: &mut Vec<u8>) {
        put_u8(out, APPEND);
        put_u64(out, self.stream.0);
        put_u64(out, self.seq.0);
        put_u64(out, self.partition.to_u64());
        put_u32(out, self.epoch.0);
        put_u32(out, self.previous.0.0);
        put_u64(out, self.previous.1.0);
        put_u64(out, self.committed.0.0);
        put_u64(out, self.log_start.0.0);
    }

    fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            stream: StreamId(fields.u64()?),
            seq: StreamSeq(fields.u64()?),
            partition: PartitionId::from_u64(fields.u64()?),
            epoch: Epoch(fields.u32()?),
            previous: (Epoch(fields.u32()?), offset(fields)?),
            committed: Committed(offset(fields)?),
            log_start: LogStart(offset(fields)?),
        })
    }
}

impl Watermark {
    fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.partition.to_u64());
        put_u32(out, self.epoch.0);
        put_u64(out, self.committed.0.0);
        put_u64(out, self.log_start.0.0);
    }

    fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            partition: PartitionId::from_u64(fields.u64()?),
            epoch: Epoch(fields.u32()?),
            committed: Committed(offset(fields)?),
            log_start: LogStart(offset(fields)?),
        })
    }
}

impl Nack {
    fn encode(&self, out: &mut Vec<u8>) {
        put_u8(out, NACK);
        put_u64(out, self.stream.0);
        put_boot(out, self.boot);
        put_u64(out, self.seq.0);
        put_u64(out, self.partition.to_u64());
        put_u8(out, self.cause as u8);
        put_u32(out, self.promised.0);
        put_u64(out, self.log_end.0.0);
        put_u8(out, u8::from(self.proven));
        put_list(out, &self.history, put_reign);
    }

    fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            stream: StreamId(fields.u64()?),
            boot: boot(fields)?,
            seq: StreamSeq(fields.u64()?),
            partition: PartitionId::from_u64(fields.u64()?),
            cause: NackCause::decode(fields.u8()?)?,
            promised: Epoch(fields.u32()?),
            log_end: LogEnd(offset(fields)?),
            proven: fields.flag()?,
            history: history(fields)?,
        })
    }
}

impl NackCause {
    const ALL: [Self; 5] = [Self::Position, Self::Busy, Self::Deposed, Self::Halted, Self::Unknown];

    fn decode(byte: u8) -> Result<Self, DecodeError> {
        Self::ALL.get(usize::from(byte)).copied().ok_or(DecodeError::UnknownKind(byte))
    }
}

/// Offsets stay below `i64::MAX`, so that sums of two do not overflow.
fn offset(fields: &mut Fields<'_>) -> Result<Offset, DecodeError> {
    let offset = fields.u64()?;
    if i64::try_from(offset).is_ok() { Ok(Offset(offset)) } else { Err(DecodeError::Offset) }
}

fn reign(fields: &mut Fields<'_>) -> Result<Reign, DecodeError> {
    Ok(Reign { epoch: Epoch(fields.u32()?), start: offset(fields)? })
}

/// Epochs and starts rise.
fn history(fields: &mut Fields<'_>) -> Result<Vec<Reign>, DecodeError> {
    let history = fields.list(REIGN_BYTES, reign)?;
    let rises = |pair: &[Reign]| pair[0].epoch < pair[1].epoch && pair[0].start < pair[1].start;
    if history.windows(2).all(rises) { Ok(history) } else { Err(DecodeError::History) }
}

fn placement(fields: &mut Fields<'_>) -> Result<Placement, DecodeError> {
    Ok(Placement { node: NodeId(fields.u16()?), shard: ShardId(fields.u16()?) })
}

fn boot(fields: &mut Fields<'_>) -> Result<Boot, DecodeError> {
    Ok(Boot { journal: fields.u64()?, boot: Incarnation(fields.u32()?) })
}

fn put_reign(out: &mut Vec<u8>, reign: &Reign) {
    put_u32(out, reign.epoch.0);
    put_u64(out, reign.start.0);
}

fn put_placement(out: &mut Vec<u8>, placement: Placement) {
    put_u16(out, placement.node.0);
    put_u16(out, placement.shard.0);
}

fn put_boot(out: &mut Vec<u8>, boot: Boot) {
    put_u64(out, boot.journal);
    put_u32(out, boot.boot.0);
}
