//! What recovery decides, from what the scan saw: a pure function over the rows of [`super::table`].
//!
//! A frame is *dead* if a later incarnation began at or before its sequence: an earlier recovery
//! cut it off. All others are *live*. A sound header testifies (incarnation, D, S) even if its body
//! is torn or it stands in the wrong place: what it says was true when it was written.

use core::fmt;

use base::{Incarnation, Seq};

use super::frame::{Body, Place, Stamp};
use super::table::{Found, Row, Testimony, rule};
use crate::{Mutant, Planted};

/// A sound header that the scan came across.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Says where the frame should stand.
    pub stamp: Stamp,
    /// Where it does stand.
    pub found_at: Place,
    pub frame_bytes: u32,
    pub crc: u32,
    pub entries: u32,
    pub body: Body,
    /// The device refused to read some of it.
    pub unreadable: bool,
}

/// Everything the scan saw.
#[derive(Clone, Debug, Default)]
pub struct Sightings {
    pub frames: Vec<Sighting>,
    /// Blocks that the device refused to read.
    pub unreadable: Vec<Place>,
    /// The newest version of a sound header that this build does not know.
    pub unknown_version: Option<u16>,
}

/// What other places remember about this journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The journal has acked something once: an empty one is not a fresh one.
    pub activated: bool,
    /// The newest sequence that an extent in a bin, or a peer, knows to have been durable.
    pub newest_stamp: Option<Seq>,
}

/// What recovery decided about the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Never used.
    Fresh,
    /// Every frame up to the cut is whole, and none stands behind it.
    Clean,
    /// Frames that were in flight, and so never acked, are cut off.
    Torn,
    /// Durable frames are damaged, the first of them `first`.
    Corrupt { first: Seq },
    /// The device lost something at the cut that may have been acked.
    Suspect,
    /// An extent or a peer remembers `stamp` as durable: the drive lied about a flush.
    LostTail { stamp: Seq },
    /// Two histories meet at `at`.
    Fork { at: Seq },
    /// Not one frame is left of a journal that has been used, up to `stamp` at least.
    CorruptAll { stamp: Option<Seq> },
    /// Written by a build newer than this one.
    UnknownVersion { version: u16 },
}

impl Verdict {
    /// Whether a single node must not go on writing.
    #[must_use]
    pub fn halts(self) -> bool {
        !matches!(self, Self::Fresh | Self::Clean | Self::Torn | Self::Corrupt { .. })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fresh => write!(f, "the journal is new"),
            Self::Clean => write!(f, "the journal is whole"),
            Self::Torn => {
                write!(f, "the journal is whole; a write that was never acked is cut off")
            }
            Self::Corrupt { first } => {
                write!(f, "journal frame {first} was durable and is damaged")
            }
            Self::Suspect => {
                write!(f, "the device lost journal bytes at the end that may have been acked")
            }
            Self::LostTail { stamp } => {
                write!(f, "the journal ends before frame {stamp}, which the device had confirmed")
            }
            Self::Fork { at } => write!(f, "two histories of the journal meet at frame {at}"),
            Self::CorruptAll { .. } => {
                write!(f, "not one frame is left of a journal that has been used")
            }
            Self::UnknownVersion { version } => {
                write!(f, "the journal was written in format {version} by a newer build")
            }
        }
    }
}

/// The decision and its grounds.
#[derive(Clone, Debug)]
pub struct Decision {
    pub verdict: Verdict,
    /// S: the first sequence that is needed.
    pub start: Seq,
    /// The first sequence that is not accepted; the next incarnation begins here.
    pub cut: Seq,
    /// The largest D of a live frame: what is accepted beyond it nobody testifies for.
    pub durable: Seq,
    /// Indexes of the accepted frames among the sightings, in order. Those of damaged frames whose
    /// descriptors can be believed are among them.
    pub accepted: Vec<usize>,
    /// Indexes of all live frames, by sequence.
    pub live: Vec<usize>,
    /// Sequences below the cut that were durable and are damaged.
    pub damaged: Vec<Seq>,
    /// The newest incarnation seen; 0 if none.
    pub newest_inc: Incarnation,
    /// Frame CRC of the frame before the cut, if any is known.
    pub prev_crc: Option<u32>,
    /// The rows that were used.
    pub rows: Vec<Row>,
}

/// Decides. `planted` can make it wrong, for the simulator to notice.
#[must_use]
pub fn decide(seen: &Sightings, evidence: Evidence, planted: Planted) -> Decision {
    let mut walk = Walk::new(seen, planted);
    let verdict = if let Some(version) = seen.unknown_version {
        walk.rows.push(Row::UnknownVersion);
        Verdict::UnknownVersion { version }
    } else if seen.frames.is_empty() {
        walk.judge_nothing(evidence)
    } else {
        walk.run()
    };
    let mut decision = walk.into_decision(verdict);
    if let Some(stamp) = evidence.newest_stamp {
        decision.heed_stamp(stamp);
    }
    decision
}

impl Decision {
    /// Takes into account that sequence `stamp` is known elsewhere to have been durable.
    pub fn heed_stamp(&mut self, stamp: Seq) {
        match self.verdict {
            Verdict::Fresh => {
                self.verdict = Verdict::CorruptAll { stamp: Some(stamp) };
                self.rows.push(Row::CorruptAll);
            }
            Verdict::CorruptAll { stamp: known } => {
                self.verdict = Verdict::CorruptAll { stamp: known.max(Some(stamp)) };
            }
            Verdict::LostTail { stamp: known } => {
                self.verdict = Verdict::LostTail { stamp: known.max(stamp) };
            }
            verdict if !verdict.halts() && self.cut <= stamp => {
                self.verdict = Verdict::LostTail { stamp };
                self.rows.push(Row::LostTail);
            }
            _ => {}
        }
    }
}

/// The walk from S to the cut.
struct Walk<'a> {
    seen: &'a Sightings,
    planted: Planted,
    /// Indexes of live sightings, by sequence. Several may share one.
    live: Vec<usize>,
    /// The largest D of a live frame.
    durable: Seq,
    start: Seq,
    at: Seq,
    /// Where the frame behind the last one stands, if its length is known.
    behind: Option<Place>,
    prev_crc: Option<u32>,
    accepted: Vec<usize>,
    damaged: Vec<Seq>,
    rows: Vec<Row>,
}

impl<'a> Walk<'a> {
    fn new(seen: &'a Sightings, planted: Planted) -> Self {
        let bases = Bases::of(&seen.frames);
        let is_live = |index: &usize| {
            planted.is(Mutant::NoIncBase) || !bases.is_dead(&seen.frames[*index].stamp)
        };
        let mut live: Vec<usize> = (0..seen.frames.len()).filter(is_live).collect();
        live.sort_by_key(|index| seen.frames[*index].stamp.seq);
        let stamps = || live.iter().map(|index| &seen.frames[*index].stamp);
        let start = stamps().map(|stamp| stamp.start).max().unwrap_or(Seq(1));
        Self {
            durable: stamps().map(|stamp| stamp.durable).max().unwrap_or_default(),
            start,
            at: start,
            behind: None,
            prev_crc: None,
            accepted: Vec::new(),
            damaged: Vec::new(),
            rows: Vec::new(),
            seen,
            planted,
            live,
        }
    }

    fn judge_nothing(&mut self, evidence: Evidence) -> Verdict {
        let (row, verdict) = if evidence.activated || evidence.newest_stamp.is_some() {
            (Row::CorruptAll, Verdict::CorruptAll { stamp: evidence.newest_stamp })
        } else if !self.seen.unreadable.is_empty() {
            (Row::Suspect, Verdict::Suspect)
        } else {
            (Row::Fresh, Verdict::Fresh)
        };
        self.rows.push(row);
        verdict
    }

    fn run(&mut self) -> Verdict {
        loop {
            let (found, frame) = self.find();
            let row = self.row(found);
            if !self.rows.contains(&row) {
                self.rows.push(row);
            }
            match row {
                Row::Accept => {}
                Row::Corrupt => self.damaged.push(self.at),
                Row::Skip => {
                    self.at = frame.map_or(self.at, |index| self.frame(index).stamp.seq);
                    continue;
                }
                Row::Fork => return Verdict::Fork { at: self.at },
                Row::Suspect => return Verdict::Suspect,
                ended => return self.end(ended),
            }
            self.step_over(frame);
        }
    }

    fn end(&self, row: Row) -> Verdict {
        match (self.damaged.first(), row) {
            (Some(first), _) => Verdict::Corrupt { first: *first },
            (None, Row::End) => Verdict::Clean,
            (None, _) => Verdict::Torn,
        }
    }

    fn row(&self, found: Found) -> Row {
        let testimony = if self.at <= self.durable {
            Testimony::Durable
        } else if self.live.last().is_some_and(|last| self.at < self.frame(*last).stamp.seq) {
            Testimony::InFlight
        } else {
            Testimony::None
        };
        match rule(found, testimony).row {
            Row::Corrupt if self.planted.is(Mutant::CorruptAsEnd) => Row::End,
            row => row,
        }
    }

    /// The state of frame `at`, and the sighting of it whose entries can be believed.
    fn find(&self) -> (Found, Option<usize>) {
        let Some(best) = self.sightings_of(self.at).max_by_key(|one| self.rank(self.frame(*one)))
        else {
            return match self.find_beyond_loss() {
                Some(index) => (Found::Skipped, Some(index)),
                None if self.may_be_unreadable() => (Found::Unreadable, None),
                None => (Found::Absent, None),
            };
        };
        let frame = self.frame(best);
        let found = match frame.body {
            _ if frame.is_misdirected() => return (Found::Misdirected, None),
            Body::Intact if self.is_linked(frame) => return (Found::Linked, Some(best)),
            Body::Intact => Found::Unlinked,
            Body::Damaged(_) | Body::Lost if frame.unreadable => Found::Unreadable,
            Body::Damaged(_) | Body::Lost => Found::HeaderOnly,
        };
        (found, self.is_confirmed(frame).then_some(best))
    }

    fn sightings_of(&self, seq: Seq) -> impl Iterator<Item = usize> + use<'_> {
        let first = self.live.partition_point(|index| self.frame(*index).stamp.seq < seq);
        let rest = self.live[first..].iter().copied();
        rest.take_while(move |index| self.frame(*index).stamp.seq == seq)
    }

    /// Whether the frames before and behind a damaged one link to it. Without that it may be
    /// another of the same sequence: one that an earlier recovery cut off as torn, and whose
    /// successor is what really is damaged.
    fn is_confirmed(&self, frame: &Sighting) -> bool {
        let next = frame.stamp.seq.next();
        let mut behind = self.sightings_of(next).map(|index| self.frame(index));
        matches!(frame.body, Body::Damaged(_))
            && self.is_linked(frame)
            && behind.any(|next| next.stamp.prev_crc == frame.crc && !next.is_misdirected())
    }

    /// The first frame of an incarnation that began further on, behind the same frame before: an
    /// operator accepted the loss of those between.
    fn find_beyond_loss(&self) -> Option<usize> {
        let prev = self.prev_crc?;
        self.live.iter().copied().find(|index| {
            let frame = self.frame(*index);
            let begins = frame.stamp.inc_base == frame.stamp.seq && self.at < frame.stamp.seq;
            begins && frame.stamp.prev_crc == prev && !frame.is_misdirected()
        })
    }

    /// Which of several sightings of one sequence to believe.
    fn rank(&self, frame: &Sighting) -> (bool, bool, bool) {
        let intact = frame.body == Body::Intact;
        (!frame.is_misdirected(), intact || self.is_confirmed(frame), self.is_linked(frame))
    }

    fn is_linked(&self, frame: &Sighting) -> bool {
        self.prev_crc.is_none_or(|crc| crc == frame.stamp.prev_crc)
    }

    fn step_over(&mut self, frame: Option<usize>) {
        let seen = frame.map(|index| (index, self.frame(index)));
        self.behind = seen.map(|(_, frame)| frame.behind());
        self.prev_crc = seen.map(|(_, frame)| frame.crc);
        self.accepted.extend(frame);
        self.at = self.at.next();
    }

    /// Whether frame `at` may stand where the device refuses to read: behind the one before, or at
    /// the start of a segment that the log has not reached.
    fn may_be_unreadable(&self) -> bool {
        let Some(behind) = self.behind else { return !self.seen.unreadable.is_empty() };
        self.seen.unreadable.iter().any(|place| {
            *place == behind || place.position == 0 && !self.has_reached(place.segment)
        })
    }

    fn has_reached(&self, segment: u16) -> bool {
        self.accepted.iter().any(|index| self.frame(*index).found_at.segment == segment)
    }

    fn frame(&self, index: usize) -> &'a Sighting {
        &self.seen.frames[index]
    }

    fn into_decision(self, verdict: Verdict) -> Decision {
        let incs = self.seen.frames.iter().map(|frame| frame.stamp.inc);
        Decision {
            verdict,
            start: self.start,
            cut: self.at,
            durable: self.durable,
            accepted: self.accepted,
            live: self.live,
            damaged: self.damaged,
            newest_inc: incs.max().unwrap_or_default(),
            prev_crc: self.prev_crc,
            rows: self.rows,
        }
    }
}

impl Sighting {
    /// A valid frame in the wrong place.
    #[must_use]
    pub fn is_misdirected(&self) -> bool {
        self.found_at != self.stamp.place
    }

    fn behind(&self) -> Place {
        let Place { segment, position } = self.found_at;
        Place { segment, position: position + u64::from(self.frame_bytes) }
    }
}

/// Where incarnations began.
struct Bases(Vec<(Incarnation, Seq)>);

impl Bases {
    /// For each incarnation, the least base of those from it on.
    fn of(frames: &[Sighting]) -> Self {
        let stamps = frames.iter().map(|frame| (frame.stamp.inc, frame.stamp.inc_base));
        let mut bases: Vec<_> = stamps.collect();
        bases.sort_unstable();
        bases.dedup();
        let mut least = Seq(u64::MAX);
        for (_, base) in bases.iter_mut().rev() {
            least = least.min(*base);
            *base = least;
        }
        Self(bases)
    }

    fn is_dead(&self, stamp: &Stamp) -> bool {
        let later = self.0.partition_point(|(inc, _)| *inc <= stamp.inc);
        self.0.get(later).is_some_and(|(_, base)| *base <= stamp.seq)
    }
}
