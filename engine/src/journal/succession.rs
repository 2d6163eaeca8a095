//! Where the next incarnation of a journal begins, and which segments it may write over.
//!
//! A segment that the previous incarnation would not have reused yet is not reused now: the newest
//! S counts only if it stands in two frames of one incarnation. So one rotten frame never takes the
//! only word for what is still needed with it.

use base::{Incarnation, Seq};

use super::config::JournalConfig;
use super::frame::Body;
use super::segments::{Found, Full};
use super::verdict::{Decision, Sighting, Sightings};

/// Where an incarnation begins.
#[derive(Debug)]
pub(super) struct Beginning {
    pub(super) inc: Incarnation,
    /// The sequence of its first frame.
    pub(super) base: Seq,
    /// The last frame that was accepted: before `base`, or further back if a loss was accepted.
    pub(super) before: Seq,
    /// Frame CRC of the frame before `base`; 0 if there is none.
    pub(super) prev_crc: u32,
    pub(super) start: Seq,
    /// The newest frame holds entries that no later frame calls durable.
    pub(super) unwitnessed: bool,
    pub(super) found: Found,
}

pub(super) fn beginning(
    config: &JournalConfig,
    existing: &[(u16, u64)],
    seen: &Sightings,
    decision: &Decision,
) -> Beginning {
    let last = decision.accepted.last().map(|index| &seen.frames[*index]);
    let base = Seq(decision.cut.0.max(1));
    Beginning {
        inc: Incarnation(decision.newest_inc.0 + 1),
        base,
        before: Seq(base.0 - 1),
        prev_crc: decision.prev_crc.unwrap_or(0),
        start: decision.start,
        unwitnessed: last.is_some_and(|last| 0 < last.entries),
        found: found(config, existing, seen, decision),
    }
}

impl Beginning {
    /// Begins at `seq` instead, leaving a hole.
    pub(super) fn skip_to(&mut self, seq: Seq) {
        assert!(self.base <= seq, "{seq} was accepted");
        self.base = seq;
    }

    /// Begins at `seq`, and needs nothing before it.
    pub(super) fn start_at(&mut self, seq: Seq) {
        (self.base, self.start) = (seq, seq);
    }
}

fn found(
    config: &JournalConfig,
    existing: &[(u16, u64)],
    seen: &Sightings,
    decision: &Decision,
) -> Found {
    let live = || decision.live.iter().map(|index| &seen.frames[*index]);
    let needed_from = witnessed_start(live(), decision.cut).min(decision.start);
    let mut found = Found::default();
    let mut free = Vec::new();
    for (segment, bytes) in existing {
        let here = || live().filter(|frame| frame.found_at.segment == *segment);
        let needed = |frame: &&Sighting| (needed_from..decision.cut).contains(&frame.stamp.seq);
        let newest = here().map(|frame| frame.stamp.seq).max().unwrap_or_default();
        match here().filter(needed).map(|frame| frame.stamp.seq).max() {
            Some(last) => found.full.push(Full { segment: *segment, last }),
            None if *bytes == u64::from(config.segment_bytes) => free.push((newest, *segment)),
            // Half made by a process that was killed: made anew.
            None => {}
        }
    }
    found.full.sort_unstable_by_key(|full| full.last);
    free.sort_unstable();
    found.free = free.into_iter().map(|(_, segment)| segment).collect();
    found
}

/// The newest S that stands in two whole frames of one incarnation before the cut.
fn witnessed_start<'a>(live: impl Iterator<Item = &'a Sighting>, cut: Seq) -> Seq {
    let whole = live.filter(|frame| frame.body == Body::Intact && frame.stamp.seq < cut);
    let mut starts: Vec<_> = whole.map(|frame| (frame.stamp.inc, frame.stamp.start)).collect();
    starts.sort_unstable();
    let pairs = starts.windows(2).filter(|pair| pair[0].0 == pair[1].0);
    pairs.map(|pair| pair[0].1).max().unwrap_or_default()
}
