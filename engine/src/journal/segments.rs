//! The ring of segment files: which one frames go to, which ones recovery still needs, which ones
//! may be written over.
//!
//! ```text
//!   absent ─▶ creating ─▶ free ─▶ current ─▶ full ─┐
//!                          ▲                       │  its last frame < an S that stands in
//!                          └───────────────────────┘  two durable frames of this incarnation
//! ```
//! Reuse writes nothing: old frames are recognised by incarnation, sequence and place.

use std::collections::VecDeque;

use base::{IoError, Seq};

use super::config::JournalConfig;
use super::frame::Place;

#[derive(Clone, Debug)]
pub(super) struct Segments {
    segment_bytes: u32,
    /// Segments that data leaves to control entries.
    reserved_segments: usize,
    /// Segments that data may fill once all exist.
    data_segments: usize,
    current: Option<Current>,
    /// Oldest first.
    full: VecDeque<Full>,
    free: VecDeque<u16>,
    /// Segments without a file, the next to create first.
    absent: VecDeque<u16>,
    creating: Option<u16>,
    /// Why the last creation failed, until one succeeds.
    refused: Option<IoError>,
}

#[derive(Clone, Debug)]
struct Current {
    segment: u16,
    used: u32,
    last: Seq,
}

/// A segment that is written to its end, or as far as it will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full {
    pub(super) segment: u16,
    /// Its newest frame.
    pub(super) last: Seq,
}

/// What a new incarnation finds.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Oldest first.
    pub(super) full: Vec<Full>,
    pub(super) free: Vec<u16>,
}

/// A segment whose file could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissingSegment {
    /// Size of the file.
    pub bytes: u32,
    pub error: IoError,
}

/// How full the journal is. Percentages of the design are of `total_bytes`; the reserve comes on
/// top.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Occupancy {
    /// Bytes that may not be written over yet, ends of segments left empty included.
    pub used_bytes: u64,
    /// Bytes that data may fill.
    pub total_bytes: u64,
    /// Segments ready to be written.
    pub free_segments: u16,
    /// Segments whose files are still to be made.
    pub missing_segments: u16,
}

impl Occupancy {
    /// Used bytes in percent of the total. Above 100 when control entries fill the reserve.
    #[must_use]
    pub fn percent(&self) -> u32 {
        (self.used_bytes * 100 / self.total_bytes.max(1)) as u32
    }
}

impl Segments {
    /// The segments of a new incarnation. One more than configured is asked for if none is free:
    /// an incarnation begins in a fresh segment, and a crash loop must not run out of them.
    pub(super) fn new(config: &JournalConfig, found: Found) -> Self {
        let taken = |segment: &u16| {
            found.free.contains(segment) || found.full.iter().any(|full| full.segment == *segment)
        };
        let mut absent: VecDeque<u16> =
            (0..config.all_segments()).filter(|one| !taken(one)).collect();
        if absent.is_empty() && found.free.is_empty() {
            absent.extend((0..u16::MAX).find(|one| !taken(one)));
        }
        Self {
            segment_bytes: config.segment_bytes,
            reserved_segments: usize::from(config.reserved_segments),
            data_segments: usize::from(config.segments),
            current: None,
            full: found.full.into(),
            free: found.free.into(),
            absent,
            creating: None,
            refused: None,
        }
    }

    /// Whether a frame of `bytes` has a place. `reserve`: control entries may go on when data
    /// may not.
    pub(super) fn has_place(&self, bytes: u32, reserve: bool) -> bool {
        let fits = self.current.as_ref().is_some_and(|current| self.fits(current, bytes));
        let used_after = self.full.len() + usize::from(self.current.is_some()) + usize::from(!fits);
        (fits || !self.free.is_empty())
            && (reserve || (used_after <= self.data_limit() && self.leaves_room(bytes)))
    }

    /// Takes the place of frame `seq`; there must be one.
    pub(super) fn place(&mut self, bytes: u32, seq: Seq) -> Place {
        let fitting = self.current.take_if(|current| current.used + bytes <= self.segment_bytes);
        let current = fitting.unwrap_or_else(|| self.open_next());
        let place = Place { segment: current.segment, position: u64::from(current.used) };
        self.current = Some(Current { used: current.used + bytes, last: seq, ..current });
        place
    }

    /// Frees every full segment whose last frame lies before `start`.
    pub(super) fn recycle(&mut self, start: Seq) {
        while let Some(full) = self.full.front().filter(|full| full.last < start) {
            self.free.push_back(full.segment);
            self.full.pop_front();
        }
    }

    /// Whether [`Segments::recycle`] would free anything.
    pub(super) fn has_dead(&self, start: Seq) -> bool {
        self.full.front().is_some_and(|full| full.last < start)
    }

    /// The segment to create next. One at a time: creation shares the device with the journal.
    pub(super) fn start_creating(&mut self) -> Option<u16> {
        if self.creating.is_none() {
            self.creating = self.absent.pop_front();
            return self.creating;
        }
        None
    }

    /// The creation in progress ended.
    pub(super) fn created(&mut self, res: Result<(), IoError>) {
        let segment = self.creating.take().expect("a creation is in progress");
        self.refused = res.err();
        if res.is_ok() {
            self.free.push_back(segment);
        } else {
            self.absent.push_front(segment);
        }
    }

    /// The segment whose creation failed last, if none succeeded since.
    pub(super) fn missing(&self) -> Option<MissingSegment> {
        self.refused.map(|error| MissingSegment { bytes: self.segment_bytes, error })
    }

    pub(super) fn occupancy(&self) -> Occupancy {
        let segment = u64::from(self.segment_bytes);
        let current = self.current.as_ref().map_or(0, |current| u64::from(current.used));
        Occupancy {
            used_bytes: self.full.len() as u64 * segment + current,
            total_bytes: self.data_limit() as u64 * segment,
            free_segments: self.free.len() as u16,
            missing_segments: (self.absent.len() + usize::from(self.creating.is_some())) as u16,
        }
    }

    /// How many segments data may fill now. While files are missing, and they may stay so on a full
    /// disk, those that exist are shared with control entries: without a place for the frames that
    /// make a new S stand, no segment would ever be free again.
    fn data_limit(&self) -> usize {
        let existing = self.full.len() + usize::from(self.current.is_some()) + self.free.len();
        let reserve = self.reserved_segments.min(existing.saturating_sub(1));
        (existing - reserve).min(self.data_segments)
    }

    /// Whether control entries find a place behind `bytes` of data: another segment, or a quarter
    /// of the only one.
    fn leaves_room(&self, bytes: u32) -> bool {
        let used = self.current.as_ref().map_or(0, |current| current.used);
        !self.free.is_empty() || used + bytes <= self.segment_bytes / 4 * 3
    }

    fn fits(&self, current: &Current, bytes: u32) -> bool {
        current.used + bytes <= self.segment_bytes
    }

    fn open_next(&mut self) -> Current {
        if let Some(Current { segment, last, .. }) = self.current.take() {
            self.full.push_back(Full { segment, last });
        }
        let segment = self.free.pop_front().expect("a place was promised");
        Current { segment, used: 0, last: Seq(0) }
    }
}
