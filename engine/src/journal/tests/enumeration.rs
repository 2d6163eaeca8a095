//! Every short history of a journal, without exception: seals, completions in any order, moves of
//! the start, crashes with every outcome for every frame in flight, one rotten frame anywhere. The
//! real window, segments, table and succession run on a disk of one-block frames; an oracle that
//! watched the history judges the verdict.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::super::segments::Segments;
use super::super::succession::beginning;
use super::super::verdict::{Decision, Sighting, Sightings, decide};
use super::super::window::{InFlight, Window};
use super::super::*;
use super::config;
use crate::Planted;
use base::Span;

const BLOCK: u32 = 4096;
const BLOCKS: u64 = 2;

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    Zero,
    /// Bytes that are no header.
    Garbage,
    Frame(Sighting),
}

/// How large the histories get.
#[derive(Clone, Copy)]
struct Limits {
    frames: u64,
    crashes: u32,
    rot: bool,
}

#[derive(Clone)]
struct World {
    config: JournalConfig,
    limits: Limits,
    cells: BTreeMap<Place, Cell>,
    // The journal, as `Journal` keeps it.
    inc: Incarnation,
    inc_base: Seq,
    next_seq: Seq,
    prev_crc: u32,
    start: Seq,
    window: Window,
    segments: Segments,
    // The oracle.
    /// How often the process was started; incarnation numbers may repeat if no frame got out.
    life: u32,
    flying: BTreeMap<Seq, Sighting>,
    /// The frames of the log that are not cut off, by sequence.
    log: BTreeMap<Seq, Sighting>,
    acked: Seq,
    crashes: u32,
    sealed_frames: u64,
    rotten: Option<Seq>,
}

#[derive(Default)]
struct Census {
    seen: HashSet<u64>,
    verdicts: BTreeSet<String>,
    crashes: u64,
    flaws: Vec<String>,
}

impl World {
    fn new(segments: u16, window: u8, limits: Limits, planted: Planted) -> Self {
        let config = JournalConfig {
            segment_bytes: BLOCKS as u32 * BLOCK,
            segments,
            reserved_segments: 0,
            window,
            planted,
            ..config()
        };
        let found = Found { full: Vec::new(), free: (0..segments).collect() };
        let places = (0..segments)
            .flat_map(|segment| (0..BLOCKS).map(move |block| place(segment, block)))
            .map(|place| (place, Cell::Zero));
        Self {
            limits,
            cells: places.collect(),
            inc: Incarnation(1),
            inc_base: Seq(1),
            next_seq: Seq(1),
            prev_crc: 0,
            start: Seq(1),
            window: Window::new(window, Seq(0)),
            segments: Segments::new(&config, found),
            life: 1,
            flying: BTreeMap::new(),
            log: BTreeMap::new(),
            acked: Seq(0),
            crashes: 0,
            sealed_frames: 0,
            rotten: None,
            config,
        }
    }

    /// Tries everything that can happen next, and everything after that.
    fn explore(&self, census: &mut Census) {
        if !census.seen.insert(self.key()) || !census.flaws.is_empty() {
            return;
        }
        if self.sealed_frames < self.limits.frames
            && self.window.admits(self.next_seq)
            && self.segments.has_place(BLOCK, true)
        {
            self.sealed().explore(census);
        }
        for seq in self.flying.keys() {
            self.completed(*seq).explore(census);
        }
        if self.start < self.window.durable() {
            let mut moved = self.clone();
            moved.start = self.window.durable();
            moved.explore(census);
        }
        if self.crashes < self.limits.crashes {
            self.crash(census);
        }
    }

    fn sealed(&self) -> Self {
        let mut next = self.clone();
        let seq = self.next_seq;
        let stamp = Stamp {
            place: next.segments.place(BLOCK, seq),
            seq,
            durable: self.window.durable(),
            start: self.start,
            inc: self.inc,
            inc_base: self.inc_base,
            prev_crc: self.prev_crc,
        };
        let crc = hash(&(self.life, seq, self.prev_crc)) as u32 | 1;
        let sighting = Sighting {
            stamp,
            found_at: stamp.place,
            frame_bytes: BLOCK,
            crc,
            entries: 1,
            body: Body::Intact,
            unreadable: false,
        };
        next.window.submit(InFlight {
            seq,
            start: self.start,
            place: stamp.place,
            span: Span { at: 0, len: 0, lap: 0 },
            has_entries: true,
            since: Instant(0),
            written: false,
        });
        next.flying.insert(seq, sighting);
        next.log.insert(seq, sighting);
        next.prev_crc = crc;
        next.next_seq = seq.next();
        next.sealed_frames += 1;
        next
    }

    fn completed(&self, seq: Seq) -> Self {
        let mut next = self.clone();
        let frame = next.flying.remove(&seq).unwrap();
        next.cells.insert(frame.found_at, Cell::Frame(frame));
        next.window.complete(Instant(0), seq);
        next.acked = next.window.durable();
        let one_frame = self.config.planted.is(Mutant::RecycleWithOneFrame);
        let start = next.window.witnessed_start(if one_frame { 1 } else { 2 });
        next.segments.recycle(start);
        next
    }

    /// Every disk that a crash may leave behind.
    fn crash(&self, census: &mut Census) {
        let mut disks = vec![self.cells.clone()];
        for frame in self.flying.values() {
            let lost = Sighting { body: Body::Lost, ..*frame };
            let outcomes = [Cell::Frame(*frame), Cell::Frame(lost), Cell::Garbage];
            let torn: Vec<_> = disks
                .iter()
                .flat_map(|disk| {
                    outcomes.map(|outcome| {
                        let mut disk = disk.clone();
                        disk.insert(frame.found_at, outcome);
                        disk
                    })
                })
                .collect();
            disks.extend(torn);
        }
        for cells in disks {
            let mut next = self.clone();
            next.cells = cells;
            next.crashes += 1;
            if self.limits.rot && next.crashes == self.limits.crashes {
                next.rot_each(census);
            }
            next.recover(census);
        }
    }

    /// One acked frame that is needed loses its header, or its body.
    fn rot_each(&self, census: &mut Census) {
        let needed = self.log.range(self.start..).take_while(|(seq, _)| **seq <= self.acked);
        for (seq, frame) in needed {
            let lost = Sighting { body: Body::Lost, ..*frame };
            let damaged = Sighting { body: Body::Damaged(1), ..*frame };
            for rotten in [Cell::Garbage, Cell::Frame(lost), Cell::Frame(damaged)] {
                let mut next = self.clone();
                let before = next.cells.insert(frame.found_at, rotten);
                assert_eq!(before, Some(Cell::Frame(*frame)), "an acked frame is on disk");
                next.rotten = Some(*seq);
                next.recover(census);
            }
        }
    }

    fn seen(&self) -> Sightings {
        let frame = |cell: &Cell| match cell {
            Cell::Frame(frame) => Some(*frame),
            Cell::Zero | Cell::Garbage => None,
        };
        Sightings { frames: self.cells.values().filter_map(frame).collect(), ..Default::default() }
    }

    fn recover(mut self, census: &mut Census) {
        census.crashes += 1;
        let seen = self.seen();
        let evidence = Evidence { activated: self.acked != Seq(0), newest_stamp: None };
        let decision = decide(&seen, evidence, self.config.planted);
        let name = format!("{:?}", decision.verdict);
        census.verdicts.insert(name.split([' ', '{']).next().unwrap().to_owned());
        if let Err(flaw) = self.judge(&seen, &decision) {
            census.flaws.push(format!("{flaw}: {decision:?} of {:#?}", self.cells));
            return;
        }
        if self.rotten.is_some() {
            return;
        }
        let existing: Vec<_> = self.cells.keys().map(|place| place.segment).collect();
        let existing: BTreeSet<_> = existing.into_iter().collect();
        let bytes = u64::from(self.config.segment_bytes);
        let existing: Vec<_> = existing.into_iter().map(|segment| (segment, bytes)).collect();
        let begin = beginning(&self.config, &existing, &seen, &decision);
        self.inc = begin.inc;
        (self.inc_base, self.next_seq) = (begin.base, begin.base);
        self.prev_crc = begin.prev_crc;
        self.start = begin.start;
        self.window = Window::new(self.config.window, Seq(begin.base.0 - 1));
        self.segments = Segments::new(&self.config, begin.found);
        if let Some(segment) = self.segments.start_creating() {
            self.segments.created(Ok(()));
            self.cells.extend((0..BLOCKS).map(|block| (place(segment, block), Cell::Zero)));
        }
        self.life += 1;
        self.flying.clear();
        self.log.retain(|seq, _| *seq < begin.base);
        self.acked = self.window.durable();
        self.explore(census);
    }

    fn judge(&self, seen: &Sightings, decision: &Decision) -> Result<(), String> {
        let acked = self.acked;
        // Rot of the last frames is taken for a tear as long as no durable frame says otherwise.
        let testified = |seq: &Seq| {
            let behind = self.log.range(seq.next()..).take_while(|(seq, _)| **seq <= acked);
            behind.into_iter().any(|(_, frame)| *seq <= frame.stamp.durable)
        };
        let safe = match self.rotten {
            Some(seq) if !testified(&seq) => Seq(seq.0 - 1),
            _ => acked,
        };
        let alone = self.rotten.is_some() && seen.frames.is_empty();
        if alone && matches!(decision.verdict, Verdict::CorruptAll { .. }) {
            return Ok(());
        }
        if decision.verdict.halts() {
            return Err("a halt that nothing calls for".to_owned());
        }
        if decision.cut <= safe {
            return Err(format!("acked {safe} is cut off"));
        }
        if self.start < decision.start {
            return Err(format!("{} is needed", self.start));
        }
        if decision.damaged.iter().any(|seq| Some(*seq) != self.rotten) {
            return Err("a sound frame is blamed".to_owned());
        }
        for index in &decision.accepted {
            let frame = &seen.frames[*index];
            if self.log.get(&frame.stamp.seq).is_none_or(|known| known.crc != frame.crc) {
                return Err(format!("frame {} is not the one in the log", frame.stamp.seq));
            }
        }
        let (start, cut) = (decision.start.0, decision.cut.0);
        let accepted = decision.accepted.iter().map(|index| seen.frames[*index].stamp.seq);
        let missing = decision.damaged.iter().filter(|seq| !accepted.clone().any(|a| a == **seq));
        if accepted.clone().count() + missing.count() != cut.saturating_sub(start) as usize {
            return Err("a frame is skipped".to_owned());
        }
        Ok(())
    }

    /// Everything that the future depends on.
    fn key(&self) -> u64 {
        let journal = (self.inc, self.inc_base, self.next_seq, self.prev_crc, self.start);
        let oracle = (self.life, self.crashes, self.sealed_frames, self.acked);
        let flying: Vec<_> = self.flying.keys().collect();
        let cells: Vec<_> = self.cells.iter().map(|(place, cell)| (place, digest(cell))).collect();
        let starts = (self.window.witnessed_start(1), self.window.witnessed_start(2));
        let log: Vec<_> =
            self.log.iter().map(|(seq, frame)| (seq, digest(&Cell::Frame(*frame)))).collect();
        hash(&(journal, oracle, flying, cells, starts, log, format!("{:?}", self.segments)))
    }
}

fn digest(cell: &Cell) -> u64 {
    match cell {
        Cell::Zero => 0,
        Cell::Garbage => 1,
        Cell::Frame(frame) => {
            let stamp = &frame.stamp;
            let body = frame.body == Body::Intact;
            hash(&(frame.crc, stamp.durable, stamp.start, stamp.inc, stamp.inc_base, body))
        }
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn place(segment: u16, block: u64) -> Place {
    Place { segment, position: block * u64::from(BLOCK) }
}

fn explore(segments: u16, window: u8, limits: Limits, planted: Planted) -> Census {
    let mut census = Census::default();
    World::new(segments, window, limits, planted).explore(&mut census);
    println!("{} states, {} crashes, {:?}", census.seen.len(), census.crashes, census.verdicts);
    census
}

/// `CHIPLOG_JOURNAL_FRAMES` asks for longer histories: 6 take some twenty times as long as 5.
fn frames() -> u64 {
    std::env::var("CHIPLOG_JOURNAL_FRAMES").map_or(5, |count| count.parse().unwrap())
}

#[test]
fn no_short_history_ends_in_a_wrong_verdict() {
    for (segments, window, crashes) in [(3, 1, 2), (3, 2, 2), (2, 2, 2), (3, 3, 2)] {
        let limits = Limits { frames: frames(), crashes, rot: true };
        let census = explore(segments, window, limits, Planted::default());
        assert_eq!(census.flaws, Vec::<String>::new());
        assert!(["Clean", "Torn", "Corrupt"].iter().all(|one| census.verdicts.contains(*one)));
    }
    let limits = Limits { frames: frames() - 1, crashes: 3, rot: true };
    let census = explore(2, 2, limits, Planted::default());
    assert_eq!(census.flaws, Vec::<String>::new());
}

#[cfg(feature = "mutants")]
#[test]
fn mutants_of_recovery_err_in_some_short_history() {
    let limits = Limits { frames: 6, crashes: 2, rot: true };
    for mutant in [Mutant::RecycleWithOneFrame, Mutant::NoIncBase, Mutant::CorruptAsEnd] {
        let census = explore(2, 2, limits, Planted::one(mutant));
        assert!(!census.flaws.is_empty(), "{}", mutant.name());
    }
}
