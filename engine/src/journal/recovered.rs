//! What recovery hands on: a report, the entries of the accepted frames, the next incarnation.

use base::{Arena, PartitionId, Seq, Span};

use super::Journal;
use super::config::JournalConfig;
use super::entry::NewEntry;
use super::frame::{Body, Entry, Head, Place, Probe};
use super::succession::Beginning;
use super::table::Row;
use super::verdict::{Decision, Sighting, Sightings, Verdict};

/// A finished recovery.
#[derive(Debug)]
pub struct Recovered {
    config: JournalConfig,
    report: RecoveryReport,
    decision: Decision,
    beginning: Beginning,
    /// Accepted frames in the arena, oldest first.
    frames: Vec<(Sighting, Span)>,
}

/// What recovery found, for people and for metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveryReport {
    pub verdict: Verdict,
    /// The first sequence that was needed.
    pub start: Seq,
    /// The first sequence that was not accepted.
    pub cut: Seq,
    /// The log ends in an empty frame: a clean stop, or a rest before the crash.
    pub sealed: bool,
    pub frames_seen: u64,
    pub frames_accepted: u64,
    pub bytes_read: u64,
    pub unreadable_blocks: u64,
    /// Where valid frames stand that belong elsewhere: the device misdirects writes.
    pub misdirected: Vec<Place>,
    /// Durable frames that are damaged, oldest first.
    pub damage: Vec<Damage>,
    /// The rows of the table that decided.
    pub rows: Vec<Row>,
}

/// Durable frames `first ..= last` are damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub first: Seq,
    pub last: Seq,
    pub touched: Touched,
}

/// Whose entries are lost, or may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Touched {
    /// The descriptors are lost too: any partition of the shard may have had entries there.
    All,
    /// These, ascending.
    Partitions(Vec<PartitionId>),
}

/// An entry of an accepted frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveredEntry {
    pub seq: Seq,
    /// Its index within the frame.
    pub index: u32,
    pub entry: NewEntry,
    /// The payload in the arena.
    pub span: Span,
    /// `false`: the payload is not what was appended.
    pub intact: bool,
}

impl RecoveryReport {
    pub(super) fn new(
        config: &JournalConfig,
        arena: &Arena,
        seen: &Sightings,
        decision: &Decision,
        frames: &[(Sighting, Span)],
    ) -> Self {
        let misdirected = seen.frames.iter().filter(|frame| frame.is_misdirected());
        let ends_empty = frames.last().is_some_and(|(frame, _)| frame.entries == 0);
        Self {
            verdict: decision.verdict,
            start: decision.start,
            cut: decision.cut,
            sealed: decision.verdict == Verdict::Clean && ends_empty,
            frames_seen: seen.frames.len() as u64,
            frames_accepted: frames.len() as u64,
            bytes_read: 0,
            unreadable_blocks: seen.unreadable.len() as u64,
            misdirected: misdirected.map(|frame| frame.found_at).collect(),
            damage: damage(config.id, arena, decision, frames),
            rows: decision.rows.clone(),
        }
    }
}

impl Recovered {
    pub(super) fn new(
        config: JournalConfig,
        report: RecoveryReport,
        decision: Decision,
        beginning: Beginning,
        frames: Vec<(Sighting, Span)>,
    ) -> Self {
        Self { config, report, decision, beginning, frames }
    }

    #[must_use]
    pub fn report(&self) -> &RecoveryReport {
        &self.report
    }

    /// The entries of accepted frames from S on, in the order in which they were appended.
    pub fn entries<'a>(&'a self, arena: &'a Arena) -> impl Iterator<Item = RecoveredEntry> + 'a {
        self.frames.iter().flat_map(|(frame, span)| {
            let bytes = arena.get(*span).expect("accepted frames are held until they are released");
            entries(self.config.id, bytes).enumerate().map(|(index, entry)| RecoveredEntry {
                seq: frame.stamp.seq,
                index: index as u32,
                entry: entry.entry,
                span: span.slice(entry.payload_at, entry.payload_len),
                intact: frame.body == Body::Intact || entry.is_intact(bytes),
            })
        })
    }

    /// Accepted frames and where they lie in the arena, oldest first.
    pub fn frames(&self) -> impl ExactSizeIterator<Item = (Seq, Span)> + '_ {
        self.frames.iter().map(|(frame, span)| (frame.stamp.seq, *span))
    }

    /// Takes into account that sequence `stamp` is known to have been durable: a bin, read after
    /// the journal, holds an extent with it. May turn the verdict into `LostTail` or `CorruptAll`.
    pub fn heed_stamp(&mut self, stamp: Seq) {
        self.decision.heed_stamp(stamp);
        self.report.verdict = self.decision.verdict;
        self.report.rows.clone_from(&self.decision.rows);
        self.report.sealed &= self.report.verdict == Verdict::Clean;
    }

    /// The next incarnation's journal, or all of this back if the verdict halts.
    pub fn into_journal(self) -> Result<Journal, Box<Self>> {
        if self.report.verdict.halts() {
            return Err(Box::new(self));
        }
        Ok(Journal::begin(self.config, self.beginning))
    }

    /// The next incarnation's journal although acked data may be lost: an operator said so. Refuses
    /// only what this build cannot read.
    pub fn accept_loss(mut self) -> Result<Journal, Box<Self>> {
        match self.report.verdict {
            Verdict::UnknownVersion { .. } => return Err(Box::new(self)),
            Verdict::LostTail { stamp } => self.beginning.skip_to(stamp.next()),
            Verdict::CorruptAll { stamp } => {
                self.beginning.start_at(stamp.unwrap_or_default().next())
            }
            _ => {}
        }
        Ok(Journal::begin(self.config, self.beginning))
    }
}

/// The entries of a frame that was accepted.
fn entries(journal: u64, frame: &[u8]) -> impl Iterator<Item = Entry> + use<'_> {
    let Probe::Head(head) = Head::probe(frame, journal) else {
        panic!("an accepted frame has a sound header");
    };
    head.entries_in(frame)
}

fn damage(
    journal: u64,
    arena: &Arena,
    decision: &Decision,
    frames: &[(Sighting, Span)],
) -> Vec<Damage> {
    let mut damage: Vec<Damage> = Vec::new();
    for seq in &decision.damaged {
        let found = frames.binary_search_by_key(seq, |(frame, _)| frame.stamp.seq);
        let touched = match found {
            Ok(index) => {
                let bytes = arena.get(frames[index].1).expect("accepted frames are held");
                Touched::Partitions(blamed(journal, bytes))
            }
            Err(_) => Touched::All,
        };
        match damage.last_mut() {
            Some(last) if last.last.next() == *seq && last.touched == touched => last.last = *seq,
            _ => damage.push(Damage { first: *seq, last: *seq, touched }),
        }
    }
    damage
}

/// The partitions whose payloads in a frame are damaged.
fn blamed(journal: u64, frame: &[u8]) -> Vec<PartitionId> {
    let damaged = entries(journal, frame).filter(|entry| !entry.is_intact(frame));
    let mut partitions: Vec<_> = damaged.map(|entry| entry.entry.partition).collect();
    partitions.sort_unstable();
    partitions.dedup();
    partitions
}
