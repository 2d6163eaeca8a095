//! Random lives of a journal: appends, completions in any order, failed writes, kills, power cuts,
//! rot, recoveries. An oracle remembers every entry, and what was acked.

use std::collections::{BTreeMap, BTreeSet};

use super::super::dump::{DumpedFrame, Fate};
use super::super::*;
use super::disk::{Chance, Disk, arena, dump, recover};
use super::{config, control, data};
use crate::Planted;
use base::Span;

/// What the oracle knows of an entry in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    seq: Seq,
    index: u32,
    bytes: Vec<u8>,
}

/// What may happen to a journal beside crashes.
#[derive(Clone, Copy, Default)]
struct Faults {
    /// Of a hundred writes, those that fail.
    failed_writes: u64,
    /// Of a hundred crashes, those after which a bit of a frame flips.
    rot: u64,
    /// The journal is small, and nothing is destaged before it is full.
    tight: bool,
}

struct Life {
    chance: Chance,
    config: JournalConfig,
    faults: Faults,
    disk: Disk,
    arena: Arena,
    journal: Journal,
    now: Now,
    /// Everything appended and not cut off, oldest first.
    log: Vec<Known>,
    /// Where the payloads of the log lie.
    spans: VecDeque<(Seq, Span)>,
    /// The newest S that was asked for.
    start: Seq,
    acked: Seq,
    /// Every payload that was ever appended.
    ever: BTreeSet<Vec<u8>>,
    /// Frames with a flipped bit.
    rotten: BTreeSet<Seq>,
    next_base: u64,
    tally: Tally,
}

/// So that a test can tell whether it tested anything.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    crashes: u64,
    torn: u64,
    poisoned: u64,
    entries: u64,
    bytes: u64,
    corrupt: u64,
}

/// The first thing that went wrong.
type Flaw = String;

macro_rules! hold {
    ($truth:expr, $($text:tt)*) => {
        if !$truth {
            return Err(format!($($text)*));
        }
    };
}

impl Life {
    fn new(seed: u64, faults: Faults, planted: Planted) -> Self {
        let mut chance = Chance(seed);
        let config = JournalConfig {
            segment_bytes: 32 << 10,
            frame_max_bytes: 8 << 10,
            segments: if faults.tight { 2 } else { 3 + chance.below(2) as u16 },
            reserved_segments: if faults.tight { 0 } else { 2 },
            window: 1 + chance.below(4) as u8,
            planted,
            ..config()
        };
        Self {
            chance,
            faults,
            disk: Disk::new(),
            arena: arena(128),
            journal: Journal::create(config.clone(), &[]),
            config,
            now: Now::default(),
            log: Vec::new(),
            spans: VecDeque::new(),
            start: Seq(1),
            acked: Seq(0),
            ever: BTreeSet::new(),
            rotten: BTreeSet::new(),
            next_base: 0,
            tally: Tally::default(),
        }
    }

    /// Twenty incarnations, or fewer if a fault ends the journal.
    fn run(&mut self) -> Result<Tally, Flaw> {
        for _ in 0..20 {
            for _ in 0..self.chance.below(120) {
                self.step()?;
            }
            self.crash();
            self.check()?;
            if !self.rotten.is_empty() {
                break;
            }
        }
        self.tally.entries = self.next_base;
        Ok(self.tally)
    }

    fn step(&mut self) -> Result<(), Flaw> {
        self.now.mono = self.now.mono.plus(Duration::from_micros(self.chance.below(400)));
        match self.chance.below(100) {
            0..=44 => self.append(),
            45..=69 => self.land(),
            70..=94 => self.turn(),
            _ if self.faults.tight => {}
            _ => self.move_start(),
        }
        let (flying, window) = (self.disk.flying.len(), self.config.window);
        hold!(flying <= usize::from(window), "{flying} frames in flight, K = {window}");
        self.acked = self.acked.max(self.journal.durable_seq());
        Ok(())
    }

    fn append(&mut self) {
        let value = vec![self.chance.next() as u8; self.chance.below(3000) as usize];
        let (entry, bytes) = if self.chance.percent(70) {
            data(self.next_base, &value)
        } else {
            (control(self.next_base), value)
        };
        match self.journal.append(self.now, &mut self.arena, entry, &[&bytes]) {
            Ok(placed) => {
                self.next_base += 1;
                self.ever.insert(bytes.clone());
                self.spans.push_back((placed.seq, placed.span));
                self.log.push(Known { seq: placed.seq, index: placed.entry, bytes });
            }
            Err(JournalFull::Space) if self.faults.tight => self.move_start(),
            Err(_) => {}
        }
    }

    fn land(&mut self) {
        if !self.disk.flying.is_empty() {
            let index = self.chance.below(self.disk.flying.len() as u64) as usize;
            let fails = self.chance.percent(self.faults.failed_writes);
            self.tally.poisoned += u64::from(fails);
            let done = if fails { self.disk.fail(index) } else { self.disk.land(index) };
            self.journal.done(self.now, &mut self.arena, done).unwrap();
        }
    }

    fn turn(&mut self) {
        self.journal.turn(self.now, &mut self.arena);
        while let Some(op) = self.journal.poll_op() {
            if let Some(done) = self.disk.perform(&self.arena, op) {
                self.journal.done(self.now, &mut self.arena, done).unwrap();
            }
        }
    }

    /// Needs less: as a destage pass would, but never of what is not durable.
    fn move_start(&mut self) {
        let durable = self.journal.durable_seq();
        if self.start < durable {
            self.start = Seq(self.start.0 + self.chance.below(durable.0 - self.start.0 + 1));
            self.journal.set_start(self.start);
            self.log.retain(|known| self.start <= known.seq);
            self.spans.retain(|(seq, _)| self.start <= *seq);
            match self.spans.front() {
                Some((_, span)) => self.arena.release_before(*span),
                None => self.arena.release_all(),
            }
        }
    }

    /// A clean stop.
    fn seal(&mut self) {
        self.journal.close();
        while !self.journal.is_sealed() {
            self.turn();
            self.land();
            self.now.mono = self.now.mono.plus(Duration::from_micros(10));
        }
        self.acked = self.journal.durable_seq();
    }

    fn crash(&mut self) {
        self.tally.crashes += 1;
        self.tally.bytes += self.journal.counters().bytes;
        self.disk.kill(&mut self.chance);
        if self.chance.percent(70) {
            self.disk.cut_power(&mut self.chance);
        }
        if self.chance.percent(self.faults.rot) {
            self.rot();
        }
    }

    /// Flips a bit of an acked frame that is needed: most often of a recent one.
    fn rot(&mut self) {
        let dumped = dump(&mut self.disk, &self.config);
        let is_victim = |frame: &&DumpedFrame| {
            let seq = frame.seen.stamp.seq;
            frame.fate == Fate::Accepted && (self.start..=self.acked).contains(&seq)
        };
        let mut victims: Vec<_> = dumped.frames.iter().filter(is_victim).collect();
        victims.sort_by_key(|frame| core::cmp::Reverse(frame.seen.stamp.seq));
        if !victims.is_empty() {
            let choices = if self.chance.percent(50) { 3 } else { victims.len() };
            let index = self.chance.below(choices.min(victims.len()) as u64) as usize;
            let byte = self.chance.below(covered_bytes(victims[index]));
            self.disk.rot(victims[index].seen.found_at, byte);
            self.rotten.insert(victims[index].seen.stamp.seq);
        }
    }

    /// Something that no single device fault does.
    fn wreck(&mut self, before: &BTreeMap<u16, Vec<u8>>) {
        let numbers: Vec<u16> = self.disk.files.keys().copied().collect();
        let mut any = || numbers[self.chance.below(numbers.len() as u64) as usize];
        let (from, to) = (any(), any());
        let blocks = u64::from(self.config.segment_bytes) / 4096;
        let mut at = || (self.chance.below(blocks) * 4096) as usize;
        let (source, target) = (at(), at());
        let block = self.disk.files[&from][source..source + 4096].to_vec();
        let file = self.disk.files.get_mut(&to).unwrap();
        match self.chance.below(6) {
            0 => file[target..target + 4096].fill(0),
            1 => file[target..target + 4096].copy_from_slice(&block),
            2 => file[target + self.chance.below(4096) as usize] ^= 1,
            3 => before.get(&to).into_iter().for_each(|older| file.clone_from(older)),
            4 => drop(self.disk.unreadable.insert((to, target as u64 / 4096))),
            _ => drop(self.disk.files.remove(&to)),
        }
        if self.disk.files.is_empty() {
            self.disk.files.insert(to, vec![0; self.config.segment_bytes as usize]);
        }
    }

    fn recover(&mut self) -> Recovered {
        self.arena = arena(128);
        let evidence = Evidence { activated: self.acked != Seq(0), newest_stamp: None };
        recover(&mut self.disk, &mut self.arena, &self.config, evidence).unwrap()
    }

    /// Compares what recovery found with what must be there, and lives on.
    fn check(&mut self) -> Result<(), Flaw> {
        let recovered = self.recover();
        let report = recovered.report();
        let blamed: BTreeSet<_> =
            report.damage.iter().flat_map(|one| (one.first.0..=one.last.0).map(Seq)).collect();
        hold!(blamed.is_subset(&self.rotten), "{blamed:?} is no victim: {report:?}");
        let all_rotten = (self.start.0..=self.acked.0).all(|seq| self.rotten.contains(&Seq(seq)));
        if matches!(report.verdict, Verdict::CorruptAll { .. }) && all_rotten {
            return Ok(());
        }
        hold!(!report.verdict.halts(), "no fault calls for a halt: {report:?}");
        // D of the K-th frame behind it is the first that must testify for a frame.
        let window = u64::from(self.config.window);
        let testified = |seq: &Seq| seq.0 + window <= self.acked.0;
        let ambiguous = self.rotten.iter().find(|seq| !testified(seq));
        let acked = ambiguous.map_or(self.acked, |seq| Seq(seq.0 - 1).min(self.acked));
        hold!(acked < report.cut, "acked {} is cut off: {report:?}", self.acked);
        hold!(report.start <= self.start, "{} is needed: {report:?}", self.start);
        self.tally.torn += u64::from(report.verdict == Verdict::Torn);
        self.tally.corrupt += u64::from(!blamed.is_empty());
        self.compare(&recovered)?;
        self.spans = recovered.entries(&self.arena).map(|one| (one.seq, one.span)).collect();
        self.acked = self.acked.max(Seq(report.cut.0 - 1));
        self.journal = recovered.into_journal().unwrap();
        self.journal.set_start(self.start);
        Ok(())
    }

    fn compare(&mut self, recovered: &Recovered) -> Result<(), Flaw> {
        let cut = recovered.report().cut;
        self.log.retain(|known| known.seq < cut);
        let mut expected = self.log.iter().filter(|one| !self.rotten.contains(&one.seq));
        for entry in recovered.entries(&self.arena).filter(|entry| self.start <= entry.seq) {
            if !self.rotten.contains(&entry.seq) {
                let bytes = self.arena.get(entry.span).unwrap().to_vec();
                let found = Known { seq: entry.seq, index: entry.index, bytes };
                hold!(entry.intact && expected.next() == Some(&found), "{entry:?} is new");
            }
        }
        hold!(expected.next().is_none(), "an entry is missing");
        Ok(())
    }
}

/// Bytes of a frame that some checksum covers: all but the padding.
fn covered_bytes(frame: &DumpedFrame) -> u64 {
    let payloads = frame.entries.iter().map(|entry| u64::from(entry.payload_bytes));
    96 + payloads.sum::<u64>() + 40 * frame.entries.len() as u64
}

/// Runs lives until `enough` of them went well or one did not.
fn live(enough: u64, faults: Faults, planted: Planted) -> Result<Tally, Flaw> {
    let mut sum = Tally::default();
    for seed in 1..=enough {
        let mut life = Life::new(seed, faults, planted);
        let one = life.run().map_err(|flaw| format!("seed {seed}: {flaw}"))?;
        sum.crashes += one.crashes;
        sum.torn += one.torn;
        sum.poisoned += one.poisoned;
        sum.entries += one.entries;
        sum.bytes += one.bytes;
        sum.corrupt += one.corrupt;
    }
    println!("{sum:?}");
    Ok(sum)
}

/// Lives of up to 20 crashes each; `CHIPLOG_JOURNAL_LIVES` asks for more.
fn lives() -> u64 {
    std::env::var("CHIPLOG_JOURNAL_LIVES").map_or(1_000, |count| count.parse().unwrap())
}

#[test]
fn no_crash_loses_an_acked_entry_or_invents_one() {
    let sum = live(lives(), Faults::default(), Planted::default()).unwrap();
    assert!(sum.crashes <= sum.torn * 10, "the test tears: {sum:?}");
}

#[test]
fn nothing_is_acked_after_a_failed_write() {
    let faults = Faults { failed_writes: 2, ..Faults::default() };
    let sum = live(lives() / 4, faults, Planted::default()).unwrap();
    assert!(lives() / 4 < sum.poisoned, "the test fails writes: {sum:?}");
}

#[test]
fn rot_is_blamed_on_the_rotten_frame_and_no_other() {
    let faults = Faults { rot: 30, ..Faults::default() };
    let sum = live(lives() / 4, faults, Planted::default()).unwrap();
    assert!(lives() / 16 < sum.corrupt, "the test rots: {sum:?}");
    let tight = Faults { tight: true, ..faults };
    live(lives() / 4, tight, Planted::default()).unwrap();
}

/// A frame that the idle seal testifies for is never taken for a torn tail, wherever a bit flips.
#[test]
fn rot_of_any_acked_frame_is_found_after_the_idle_seal() {
    let mut found = 0;
    for seed in 1..=lives() / 2 {
        let mut life = Life::new(seed, Faults::default(), Planted::default());
        for _ in 0..60 {
            life.step().unwrap();
        }
        life.seal();
        life.acked = Seq(life.acked.0 - 1);
        life.rot();
        let Some(victim) = life.rotten.first().copied() else { continue };
        let report = life.recover().report().clone();
        assert_eq!(report.verdict, Verdict::Corrupt { first: victim }, "seed {seed}");
        assert_eq!(report.cut, life.journal.durable_seq().next());
        found += 1;
    }
    assert!(lives() / 4 < found);
}

/// Blocks zeroed, filled with noise, swapped, refused, whole segments rolled back or lost: far
/// beyond what recovery promises to see through. It must still come to a verdict, and every entry
/// that it calls intact must be one that was appended.
#[test]
fn whatever_happens_to_the_disk_recovery_invents_nothing() {
    for seed in 1..=lives() / 2 {
        let mut life = Life::new(seed, Faults::default(), Planted::default());
        let mut before = life.disk.files.clone();
        for _ in 0..4 {
            for _ in 0..60 {
                life.step().unwrap();
            }
            life.crash();
            life.check().unwrap();
            if life.chance.percent(30) {
                before = life.disk.files.clone();
            }
        }
        for _ in 0..1 + life.chance.below(6) {
            life.wreck(&before);
        }
        let recovered = life.recover();
        for entry in recovered.entries(&life.arena).filter(|entry| entry.intact) {
            let bytes = life.arena.get(entry.span).unwrap();
            assert!(life.ever.contains(bytes), "seed {seed}: {entry:?}");
        }
        let RecoveryReport { verdict, cut, .. } = *recovered.report();
        assert_eq!(dump(&mut life.disk, &life.config).decision.cut, cut);
        assert_eq!(recovered.into_journal().is_err(), verdict.halts());
    }
}

#[cfg(feature = "mutants")]
mod mutants {
    use super::*;

    fn survives(mutant: Mutant, faults: Faults) -> bool {
        match live(10_000, faults, Planted::one(mutant)) {
            Ok(_) => true,
            Err(flaw) => {
                println!("{}: {flaw}", mutant.name());
                false
            }
        }
    }

    /// All but `RecycleWithOneFrame`, for which chance takes too long: the enumeration catches it.
    #[test]
    fn mutants_of_the_journal_are_caught() {
        let none = Faults::default();
        let failing = Faults { failed_writes: 2, ..Faults::default() };
        let rotting = Faults { rot: 30, ..Faults::default() };
        let mutants = [
            (Mutant::AckBeforeDurable, none),
            (Mutant::AckBeyondPrefix, none),
            (Mutant::WindowIgnored, none),
            (Mutant::NoIncBase, none),
            (Mutant::NoPreScanSync, none),
            (Mutant::RetryAfterFailedWrite, failing),
            (Mutant::CorruptAsEnd, rotting),
        ];
        let survivors = mutants.into_iter().filter(|(mutant, faults)| survives(*mutant, *faults));
        let survivors: Vec<_> = survivors.map(|(mutant, _)| mutant.name()).collect();
        assert!(survivors.is_empty(), "{survivors:?}");
    }
}
