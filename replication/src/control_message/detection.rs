//! Who is alive: heartbeats, suspicions, deaths, and what leaders want the cluster log to know.

use base::ShardId;

use crate::DecodeError;
use crate::Placement;
use crate::fields::{Fields, put_flag, put_list, put_u16, put_u32, put_u64};
use crate::leadership::{
    CaughtUp, HandOver, Item, Opened, put_boot, put_placement, take_boot, take_placement,
};
use crate::node::Boot;

/// The most shards of a node, as far as messages go.
const SHARDS_MAX: usize = 1_000;
/// The most items in each list of one [`Reports`].
pub const REPORTS_MAX: usize = 8_192;

/// "My shards live": to the control leader, every [`crate::detector::HEARTBEAT`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    pub beats: Vec<Beat>,
    /// The node is about to stop: others shall lead what its shards lead.
    pub leaves: bool,
}

/// A sign of life of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    pub shard: ShardId,
    pub boot: Boot,
    /// Milliseconds since its core did something, and it could still write its journal.
    pub silent_ms: u32,
    pub slow: Slow,
}

/// What is slow about a shard, as its own node sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Slow {
    pub disk: bool,
    pub net: bool,
}

/// "I suspect this boot of a shard. Have you heard from it?"
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreFence {
    pub suspect: Placement,
    pub boot: Boot,
    /// Names the question.
    pub round: u64,
}

/// The answer to a [`PreFence`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreFenceAnswer {
    pub suspect: Placement,
    pub round: u64,
    /// Milliseconds since a shard of the answering node heard from that boot; `None`: never.
    pub heard_ms: Option<u32>,
}

/// What leaders report, until the cluster log has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reports {
    pub opened: Vec<Opened>,
    pub caught_up: Vec<CaughtUp>,
    /// Leaders that stopped: their successors hold all they held.
    pub handed_over: Vec<HandOver>,
}

impl Heartbeat {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        assert!(self.beats.len() <= SHARDS_MAX, "a node has {} shards", self.beats.len());
        put_list(out, &self.beats, |out, beat| {
            put_u16(out, beat.shard.0);
            put_boot(out, beat.boot);
            put_u32(out, beat.silent_ms);
            put_flag(out, beat.slow.disk);
            put_flag(out, beat.slow.net);
        });
        put_flag(out, self.leaves);
    }

    pub(super) fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        let beat = |fields: &mut Fields<'_>| {
            Ok(Beat {
                shard: ShardId(fields.u16()?),
                boot: take_boot(fields)?,
                silent_ms: fields.u32()?,
                slow: Slow { disk: fields.flag()?, net: fields.flag()? },
            })
        };
        Ok(Self { beats: fields.list(20, beat)?, leaves: fields.flag()? })
    }
}

impl PreFence {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_placement(out, &self.suspect);
        put_boot(out, self.boot);
        put_u64(out, self.round);
    }

    pub(super) fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        let (suspect, boot) = (take_placement(fields)?, take_boot(fields)?);
        Ok(Self { suspect, boot, round: fields.u64()? })
    }
}

impl PreFenceAnswer {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_placement(out, &self.suspect);
        put_u64(out, self.round);
        put_flag(out, self.heard_ms.is_some());
        if let Some(heard_ms) = self.heard_ms {
            put_u32(out, heard_ms);
        }
    }

    pub(super) fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        let (suspect, round) = (take_placement(fields)?, fields.u64()?);
        let heard_ms = if fields.flag()? { Some(fields.u32()?) } else { None };
        Ok(Self { suspect, round, heard_ms })
    }
}

impl Reports {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.opened.is_empty() && self.caught_up.is_empty() && self.handed_over.is_empty()
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_list(out, &self.opened, |out, item| item.put(out));
        put_list(out, &self.caught_up, |out, item| item.put(out));
        put_list(out, &self.handed_over, |out, item| item.put(out));
    }

    pub(super) fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            opened: fields.list(Opened::BYTES_MIN, Opened::take)?,
            caught_up: fields.list(CaughtUp::BYTES_MIN, CaughtUp::take)?,
            handed_over: fields.list(HandOver::BYTES_MIN, HandOver::take)?,
        })
    }
}

/// A shard and the boot that died, as the supervisor of its node saw.
pub(super) fn put_dead(out: &mut Vec<u8>, (shard, boot): &(ShardId, Boot)) {
    put_u16(out, shard.0);
    put_boot(out, *boot);
}

pub(super) fn take_dead(fields: &mut Fields<'_>) -> Result<(ShardId, Boot), DecodeError> {
    Ok((ShardId(fields.u16()?), take_boot(fields)?))
}
