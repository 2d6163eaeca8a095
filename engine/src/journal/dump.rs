//! A look at a stopped journal: every frame, and what recovery would decide. Writes nothing, syncs
//! nothing, needs no arena.

use base::{Batch, Done, FileId, Op};

use super::config::JournalConfig;
use super::entry::{EntryKind, NewEntry};
use super::frame::{Body, Head, Probe};
use super::recovery::segments_of;
use super::scan::Scan;
use super::verdict::{Decision, Evidence, Sighting, decide};

/// A look in progress: perform its reads until [`Dump::is_finished`].
#[derive(Debug)]
pub struct Dump {
    config: JournalConfig,
    scan: Scan,
    /// By sighting.
    entries: Vec<Vec<DumpedEntry>>,
}

/// What a journal holds.
#[derive(Debug)]
pub struct Dumped {
    pub decision: Decision,
    /// In the order of the scan: oldest segment first, then by position.
    pub frames: Vec<DumpedFrame>,
    pub unreadable_blocks: u64,
    pub bytes_read: u64,
}

/// A frame with a sound header.
#[derive(Debug)]
pub struct DumpedFrame {
    pub seen: Sighting,
    pub fate: Fate,
    /// None if the descriptors are lost.
    pub entries: Vec<DumpedEntry>,
}

/// What recovery would do with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Replay it.
    Accepted,
    /// It was durable and is damaged: replay what is intact of it.
    Damaged,
    /// Cut it off: never acked, or behind a halt.
    CutOff,
    /// An earlier recovery cut it off.
    Dead,
    /// S has passed it: its place may be written over.
    Passed,
    /// It stands where another belongs.
    Misdirected,
}

/// An entry as it stands on disk.
#[derive(Clone, Debug)]
pub struct DumpedEntry {
    pub entry: NewEntry,
    pub payload_bytes: u32,
    pub intact: bool,
    /// The payload; of a batch its header only.
    pub head: Vec<u8>,
}

impl Dump {
    /// Starts to read the segment files among `existing` (with their bytes).
    #[must_use]
    pub fn new(config: JournalConfig, existing: &[(FileId, u64)]) -> Self {
        let scan = Scan::new(&config, &segments_of(existing), false);
        Self { config, scan, entries: Vec::new() }
    }

    /// The next read to perform.
    pub fn poll_op(&mut self) -> Option<Op> {
        self.scan.poll_op()
    }

    /// Takes a completion; gives it back if the operation was another's.
    pub fn done(&mut self, done: Done) -> Result<(), Done> {
        let journal = self.config.id;
        let all = &mut self.entries;
        self.scan.done(&self.config, done, &mut |frame, bytes| {
            all.push(entries(journal, frame, bytes));
        })
    }

    /// Whether [`Dump::finish`] may be called.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.scan.is_finished()
    }

    /// What was found. Panics before [`Dump::is_finished`].
    #[must_use]
    pub fn finish(self, evidence: Evidence) -> Dumped {
        assert!(self.is_finished());
        let seen = self.scan.seen();
        let decision = decide(seen, evidence, self.config.planted);
        let live = membership(&decision.live, seen.frames.len());
        let accepted = membership(&decision.accepted, seen.frames.len());
        let frames = seen.frames.iter().zip(self.entries).enumerate();
        let frames = frames.map(|(index, (frame, entries))| DumpedFrame {
            seen: *frame,
            fate: fate(&decision, frame, live[index], accepted[index]),
            entries,
        });
        Dumped {
            frames: frames.collect(),
            unreadable_blocks: seen.unreadable.len() as u64,
            bytes_read: self.scan.bytes_read(),
            decision,
        }
    }
}

fn fate(decision: &Decision, frame: &Sighting, live: bool, accepted: bool) -> Fate {
    let seq = frame.stamp.seq;
    match frame.body {
        _ if frame.is_misdirected() => Fate::Misdirected,
        _ if !live => Fate::Dead,
        _ if seq < decision.start => Fate::Passed,
        Body::Intact if accepted => Fate::Accepted,
        _ if seq < decision.cut => Fate::Damaged,
        _ => Fate::CutOff,
    }
}

/// Which of `0..len` stand in `indexes`.
fn membership(indexes: &[usize], len: usize) -> Vec<bool> {
    let mut members = vec![false; len];
    indexes.iter().for_each(|index| members[*index] = true);
    members
}

fn entries(journal: u64, frame: &Sighting, bytes: &[u8]) -> Vec<DumpedEntry> {
    let (Probe::Head(head), true) = (Head::probe(bytes, journal), frame.body != Body::Lost) else {
        return Vec::new();
    };
    let dumped = head.entries_in(bytes).map(|entry| {
        let payload = entry.payload_in(bytes).unwrap_or_default();
        let shown = match entry.entry.kind {
            EntryKind::Batch => payload.len().min(Batch::HEADER_BYTES),
            _ => payload.len(),
        };
        DumpedEntry {
            entry: entry.entry,
            payload_bytes: entry.payload_len,
            intact: entry.is_intact(bytes),
            head: payload[..shown].to_vec(),
        }
    });
    dumped.collect()
}
