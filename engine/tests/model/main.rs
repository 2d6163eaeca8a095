//! The engine against a model that is a list of operations, over a disk that delays, tears and
//! forgets: thousands of recycled segments, carried entries, reused bins and crashes per run.
//!
//! The journal promises a prefix: after a crash the state is that of every operation in a frame
//! before the cut, and of none behind it, and the cut lies behind everything acked. So the model
//! replays the operations up to the cut and compares everything.
//!
//! `MODEL_SEED=7 cargo test -p engine --test model` runs one seed, `MODEL_SEEDS=500` so many.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;
mod expected;
mod replica;

use std::collections::BTreeMap;

use base::{Batch, Committed, Epoch, LogStart, Offset, PartitionId, Pin, Seq, Span};
use common::disk::Disk;
use common::{Rig, id};
use engine::journal::JournalConfig;
use engine::{AppendError, EngineConfig, PartitionSettings, Phase, Read, ReadError};
use expected::{Event, Model, apply};

const STEPS: u64 = 2_500;

struct World {
    rig: Option<Rig>,
    /// Tail memory that a send holds, and what it held when it was read.
    sends: Vec<(Span, Pin, Vec<u8>)>,
    /// As of the last crash.
    settled: BTreeMap<PartitionId, Model>,
    /// As of now.
    now: BTreeMap<PartitionId, Model>,
    events: Vec<(Seq, PartitionId, Event)>,
    /// The furthest that each partition was ever said to be committed.
    told: BTreeMap<PartitionId, u64>,
    /// Each id lives once.
    next_id: u32,
    seed: u64,
    done: Done,
}

/// What a run exercised, so that a test which stopped testing something fails.
#[derive(Clone, Copy, Debug, Default)]
struct Done {
    crashes: u64,
    journal_bytes: u64,
    carried_bytes: u64,
    destaged_bytes: u64,
    extents_moved: u64,
    disk_reads: u64,
    truncations: u64,
    promises: u64,
    replicated: u64,
    started_over: u64,
    failures: u64,
}

fn config() -> EngineConfig {
    let mut journal = JournalConfig::new(base::ShardId(0), 0xabcd);
    journal.segment_bytes = 32 << 10;
    journal.segments = 6;
    journal.frame_max_bytes = 8 << 10;
    EngineConfig {
        bin_bytes: 64 << 10,
        bins_max: 400,
        unsynced_max_bytes: 64 << 10,
        ..EngineConfig::new(journal)
    }
}

/// A partition of its own kind: every third keeps 30 kB, every other third an hour.
fn settings(id: PartitionId, replicated: bool) -> PartitionSettings {
    let retention_bytes = (id.index % 3 == 1).then_some(30_000);
    let retention_ms = (id.index % 3 == 2).then_some(3_600_000);
    PartitionSettings { retention_bytes, retention_ms, replicated, ..PartitionSettings::default() }
}

impl World {
    fn new(seed: u64, config: EngineConfig) -> Self {
        let mut disk = Disk::new(seed);
        disk.delays = true;
        let mut world = Self {
            rig: Some(Rig::over(config, disk)),
            sends: Vec::new(),
            settled: BTreeMap::new(),
            now: BTreeMap::new(),
            events: Vec::new(),
            told: BTreeMap::new(),
            next_id: 0,
            seed,
            done: Done::default(),
        };
        world.rig().commits = world.is_alone();
        for _ in 0..world.partitions_max() / 2 {
            world.create();
        }
        world
    }

    /// Retention moves log starts when it likes.
    fn follow_log_start(&mut self, id: PartitionId) {
        let start = self.rig().engine.log_start(id).unwrap().0.0;
        let model = self.now.get_mut(&id).unwrap();
        assert!(model.start <= start, "seed {}: {id}", self.seed);
        model.start = start;
    }

    /// Every fourth world appends more than the journal can take.
    fn is_hasty(&self) -> bool {
        self.seed % 4 == 1
    }

    /// Every fourth world has one replica of everything, and so no truncation.
    fn is_alone(&self) -> bool {
        self.seed % 4 == 2
    }

    /// Every fourth world has many small partitions.
    fn partitions_max(&self) -> u32 {
        if self.seed % 4 == 3 { 60 } else { 10 }
    }

    fn rig(&mut self) -> &mut Rig {
        self.rig.as_mut().expect("running")
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.rig().disk.below(limit)
    }

    fn any(&mut self) -> Option<PartitionId> {
        let count = self.now.len() as u64;
        let index = self.below(count.max(1)) as usize;
        self.now.keys().nth(index).copied()
    }

    fn note(&mut self, seq: Seq, id: PartitionId, event: Event) {
        apply(&mut self.now, id, &event);
        self.events.push((seq, id, event));
    }

    fn create(&mut self) {
        let id = id(self.next_id);
        let settings = settings(id, !self.is_alone());
        let rig = self.rig();
        let Ok(seq) = rig.engine.create_partition(rig.now, id, settings) else {
            return;
        };
        self.next_id += 1;
        self.note(seq, id, Event::Created);
        self.open(id, 1);
    }

    fn open(&mut self, id: PartitionId, epoch: u32) {
        let epoch = epoch.max(self.now[&id].promised);
        let rig = self.rig();
        if let Ok(seq) = rig.engine.open_epoch(rig.now, id, Epoch(epoch)) {
            self.note(seq, id, Event::Opened(epoch));
        }
    }

    fn append(&mut self, id: PartitionId) {
        let records = 1 + self.below(3);
        let size = if self.below(20) == 0 { 6_000 } else { 1 + self.below(900) };
        let idempotent = self.below(3) == 0;
        let fill = self.below(256) as u8;
        let values: Vec<Vec<u8>> =
            (0..records).map(|_| vec![fill; (size / records) as usize]).collect();
        let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        let model = self.now[&id].clone();
        let bytes = if idempotent {
            common::producer_batch(&values, 77, 0, model.sequence)
        } else {
            common::batch(&values, self.rig().now.wall.0)
        };
        let appended = match self.rig().append(id, &bytes) {
            Ok(appended) => appended,
            Err(AppendError::Busy | AppendError::DiskFull) => return,
            Err(AppendError::EpochNotOpen) => return self.open(id, model.epoch + 1),
            Err(error) => panic!("seed {}: append to {id}: {error}", self.seed),
        };
        assert_eq!((appended.base.0, appended.duplicate), (model.end, false), "seed {}", self.seed);
        let batch = Batch::parse(&bytes).unwrap();
        let prefix = base::batch::sequenced_prefix(&batch, appended.base, Epoch(model.epoch));
        let mut sequenced = bytes.clone();
        sequenced[..16].copy_from_slice(&prefix);
        let (base, count) = (appended.base.0, records);
        self.note(appended.seq, id, Event::Appended { base, count, bytes: sequenced, idempotent });
    }

    /// A producer repeats one of its last batches: five committed ones, or any that is not.
    fn repeat(&mut self, id: PartitionId) {
        let committed = self.rig().engine.committed(id).unwrap().0.0;
        let batches = self.now[&id].batches.iter().rev();
        let ours: Vec<_> = batches.filter(|(_, (_, bytes))| is_idempotent(bytes)).collect();
        let open = ours.iter().filter(|(_, (end, _))| committed < *end).count();
        let known: Vec<_> = ours.iter().take(open + 5).map(|(at, b)| (**at, b.1.clone())).collect();
        if known.is_empty() {
            return;
        }
        let index = self.below(known.len() as u64) as usize;
        let (base, bytes) = &known[index];
        let seed = self.seed;
        match self.rig().append(id, bytes) {
            Ok(again) => assert_eq!((again.base, again.duplicate), (Offset(*base), true)),
            Err(AppendError::EpochNotOpen) => {}
            Err(error) => panic!("seed {seed}: {id} repeats its batch at {base}: {error}"),
        }
    }

    /// A send begins to read from tail memory.
    fn send(&mut self, id: PartitionId) {
        self.follow_log_start(id);
        let from = self.rig().engine.committed(id).unwrap().0.0.saturating_sub(2);
        let from = Offset(from.max(self.now[&id].start));
        let mut spans = Vec::new();
        let engine = &mut self.rig.as_mut().expect("running").engine;
        match engine.read(id, from, 10_000, true, &mut spans) {
            Ok(Read::Disk(token)) => engine.cancel_read(token),
            Ok(_) => {
                for span in spans {
                    let bytes = engine.arena().get(span).unwrap().to_vec();
                    self.sends.push((span, engine.pin(span), bytes));
                }
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// A send ends: its memory must be as it was.
    fn end_send(&mut self) {
        let count = self.sends.len() as u64;
        if count == 0 {
            return;
        }
        let index = self.below(count) as usize;
        let (span, pin, bytes) = self.sends.swap_remove(index);
        let seed = self.seed;
        let engine = &mut self.rig().engine;
        assert_eq!(engine.arena().get(span), Some(&bytes[..]), "seed {seed}: memory under a send");
        engine.unpin(pin);
    }

    fn delete_records(&mut self, id: PartitionId) {
        self.follow_log_start(id);
        let committed = self.rig().engine.committed(id).unwrap().0.0;
        let start = self.now[&id].start;
        if committed <= start {
            return;
        }
        let to = start + 1 + self.below(committed - start);
        let rig = self.rig();
        if let Ok(seq) = rig.engine.delete_records(rig.now, id, Offset(to)) {
            self.note(seq, id, Event::Started(to));
        }
    }

    /// Cuts off some of what is not committed.
    fn truncate(&mut self, id: PartitionId) {
        let committed = self.rig().engine.committed(id).unwrap().0.0;
        let model = &self.now[&id];
        let bases: Vec<u64> =
            model.batches.keys().copied().filter(|base| committed <= *base).collect();
        if bases.is_empty() {
            return;
        }
        let index = self.below(bases.len() as u64) as usize;
        let rig = self.rig();
        if let Ok(seq) = rig.engine.truncate(rig.now, id, Offset(bases[index])) {
            self.note(seq, id, Event::Truncated(bases[index]));
            self.done.truncations += 1;
        }
    }

    fn delete_partition(&mut self, id: PartitionId) {
        let rig = self.rig();
        if let Ok(seq) = rig.engine.delete_partition(rig.now, id) {
            self.note(seq, id, Event::Deleted);
        }
    }

    fn check_read(&mut self, id: PartitionId) {
        self.follow_log_start(id);
        let committed = self.rig().engine.committed(id).unwrap().0.0;
        let start = self.now[&id].start;
        let from = start + self.below(committed - start + 1);
        let max_bytes = 1 + self.below(20_000) as u32;
        let bytes = match self.rig().try_read(id, Offset(from), max_bytes) {
            Ok(bytes) => bytes,
            // Retention was faster.
            Err(ReadError::Gone) => return,
            Err(error) => panic!("seed {}: reading {id} from {from}: {error}", self.seed),
        };
        let model = &self.now[&id];
        let first = model.batches.range(..=from).next_back().map_or(from, |(base, _)| *base);
        let expected = model.batches.range(first..).map(|(_, (_, bytes))| bytes.as_slice());
        let expected: Vec<u8> = expected.flatten().copied().collect();
        assert!(expected.starts_with(&bytes), "seed {}: {id} from {from}", self.seed);
        assert_eq!(bytes.is_empty(), from == committed, "seed {}: {id} from {from}", self.seed);
    }

    /// A crash of some kind; then the state must be that of the operations before the cut.
    fn crash(&mut self) {
        let mut rig = self.rig.take().expect("running");
        self.done.add(&rig.engine.metrics());
        let acked = rig.engine.durable_seq();
        let starts: BTreeMap<_, _> =
            rig.engine.partitions().map(|id| (id, rig.engine.log_start(id).unwrap().0.0)).collect();
        let mut rig = if rig.disk.below(2) == 0 { rig.kill() } else { rig.crash() };
        rig.commits = self.is_alone();
        let seed = self.seed;
        assert_eq!(
            *rig.engine.phase(),
            Phase::Open,
            "seed {seed}: {:?}",
            rig.engine.recovery_report()
        );
        let report = rig.engine.recovery_report().unwrap().clone();
        assert!(acked < report.cut, "seed {seed}: {acked} was acked: {report:?}");
        self.sends.clear();
        let mut model = self.settled.clone();
        for (_, id, event) in self.events.drain(..).filter(|(seq, ..)| *seq < report.cut) {
            apply(&mut model, id, &event);
        }
        self.rig = Some(rig);
        for (id, one) in &mut model {
            // A deletion that was not durable leaves nobody to compare with.
            let latest = starts.get(id).copied().unwrap_or(u64::MAX);
            let start = self.rig().engine.log_start(*id).unwrap().0.0;
            assert!((one.start..=latest).contains(&start), "seed {seed}: {id} starts at {start}");
            one.start = start;
        }
        self.compare(&mut model);
        for one in model.values_mut() {
            one.sequence = one.next_sequence();
        }
        self.settled = model.clone();
        self.now = model;
        self.check_promises();
        let ids: Vec<_> = self.now.keys().copied().collect();
        for id in ids {
            self.check_replica(id);
            let settings = settings(id, !self.is_alone());
            self.rig().engine.set_settings(id, settings);
            let stale = self.rig().append(id, &common::batch(&[b"x"], 0));
            assert_eq!(stale, Err(AppendError::EpochNotOpen), "seed {seed}: {id}");
            if self.below(2) == 0 {
                self.open(id, self.now[&id].epoch + 1);
            }
        }
    }

    /// Whatever happened, every partition takes appends again before long.
    fn check_life(&mut self) {
        self.rig().disk.flaky_bins = false;
        let ids: Vec<_> = self.now.keys().copied().collect();
        for id in ids {
            let end = self.now[&id].end;
            for _ in 0..20_000 {
                self.append(id);
                if end < self.now[&id].end {
                    break;
                }
                self.commit_all();
                self.rig().step();
            }
            let metrics = self.rig().engine.metrics();
            assert!(end < self.now[&id].end, "seed {}: {id} is stuck: {metrics:?}", self.seed);
        }
    }

    /// A quorum says that all of it is committed.
    fn commit_all(&mut self) {
        if self.is_alone() {
            return;
        }
        let ids: Vec<_> = self.now.keys().copied().collect();
        for id in ids {
            let end = self.rig().engine.log_end(id).unwrap();
            self.rig().engine.commit(id, Committed(end.0));
            self.told.insert(id, end.0.0);
        }
    }

    /// Everything in the engine is as in `model`, everything in the model is in the engine.
    fn compare(&mut self, model: &mut BTreeMap<PartitionId, Model>) {
        let seed = self.seed;
        let rig = self.rig.as_mut().expect("running");
        let mut found: Vec<_> = rig.engine.partitions().collect();
        found.sort_unstable();
        let expected: Vec<_> = model.keys().copied().collect();
        assert_eq!(found, expected, "seed {seed}");
        for (id, one) in model {
            assert_eq!(rig.engine.halt(*id), None, "seed {seed}: {id}");
            assert_eq!(rig.engine.log_start(*id), Some(LogStart(Offset(one.start))), "seed {seed}");
            assert_eq!(rig.engine.log_end(*id).unwrap().0.0, one.end, "seed {seed}: {id}");
            let opened = rig.engine.epochs(*id).unwrap().opened();
            assert_eq!(opened.map_or(0, |epoch| epoch.0), one.epoch, "seed {seed}: {id}");
            let mut at = one.start;
            let mut bytes = Vec::new();
            while at < one.end {
                let part = match rig.try_read_for_replica(*id, Offset(at), 100_000) {
                    Ok(part) => part,
                    Err(error) => panic!("seed {seed}: reading {id} from {at}: {error}"),
                };
                let mut rest = &part[..];
                assert!(!rest.is_empty(), "seed {seed}: {id} ends at {at}, not {}", one.end);
                while let Ok((batch, behind)) = Batch::parse_prefix(rest) {
                    at = batch.end_offset().0;
                    rest = behind;
                }
                bytes.extend_from_slice(&part);
            }
            let first = one.batches.range(..=one.start).next_back().map_or(0, |(base, _)| *base);
            let held = one.batches.range(first..).filter(|(_, (end, _))| one.start < *end);
            let expected: Vec<u8> = held.flat_map(|(_, (_, bytes))| bytes.clone()).collect();
            assert!(bytes == expected, "seed {seed}: {id} holds other bytes");
        }
    }

    fn step(&mut self) {
        let Some(id) = self.any() else { return self.create() };
        if !self.is_alone() && self.below(4) == 0 {
            return self.step_as_replica(id);
        }
        if self.is_hasty() && self.below(4) != 0 {
            return self.append(id);
        }
        match self.below(1_000) {
            0..600 => self.append(id),
            600..800 => self.rig().step(),
            800..830 => self.check_read(id),
            830..835 => self.send(id),
            835..840 => self.end_send(),
            840..850 => self.repeat(id),
            880..905 => self.delete_records(id),
            905..910 if 2 < self.now.len() => self.delete_partition(id),
            910..916 if (self.now.len() as u32) < self.partitions_max() => self.create(),
            916..923 => self.crash(),
            926..930 => {
                self.rig().now.mono.0 += 10_000_000_000;
                self.rig().now.wall.0 += 300_000;
            }
            923..926 => self.rig().disk.flaky_bins ^= true,
            _ => self.rig().steps(3),
        }
    }

    fn step_as_replica(&mut self, id: PartitionId) {
        match self.below(100) {
            0..45 => self.commit(id),
            45..55 => self.truncate(id),
            55..80 => self.replicate(id),
            80..92 => self.follow(id),
            92..97 => self.promise(),
            97 => self.start_over(id),
            _ => self.rig().step(),
        }
    }
}

fn is_idempotent(bytes: &[u8]) -> bool {
    Batch::parse(bytes).unwrap().producer_id() == 77
}

impl Done {
    fn add(&mut self, life: &engine::EngineMetrics) {
        self.crashes += 1;
        self.journal_bytes += life.journal_counters.bytes;
        self.carried_bytes += life.carried_bytes;
        self.destaged_bytes += life.destaged_bytes;
        self.extents_moved += life.extents_moved;
        self.disk_reads += life.disk_reads;
        self.failures += life.destage_failures;
    }
}

fn run(seed: u64, config: EngineConfig, done: Done) -> Done {
    let mut world = World::new(seed, config);
    world.done = done;
    for _ in 0..STEPS {
        world.step();
    }
    world.crash();
    world.check_life();
    world.done
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_crash_leaves_the_state_of_a_prefix() {
    if let Some(seed) = number("MODEL_SEED") {
        println!("{:?}", run(seed, config(), Done::default()));
        return;
    }
    let seeds = number("MODEL_SEEDS").unwrap_or(24);
    let done = (1..=seeds).fold(Done::default(), |done, seed| run(seed, config(), done));
    println!("{done:?}");
    let reached = [
        (done.crashes, 100),
        (done.truncations, 100),
        (done.promises, 1_000),
        (done.replicated, 1_000),
        (done.started_over, 50),
        (done.journal_bytes, 30 << 20),
        (done.carried_bytes, 5 << 20),
        (done.destaged_bytes, 5 << 20),
        (done.extents_moved, 100),
        (done.disk_reads, 1_000),
        (done.failures, 1),
    ];
    assert!(seeds < 24 || reached.iter().all(|(reached, least)| least <= reached), "{done:?}");
}

/// A model that finds nothing wrong with an engine that is wrong is worth nothing.
#[cfg(feature = "mutants")]
#[test]
fn every_planted_mutant_is_found() {
    use engine::{Mutant, Planted};
    std::panic::set_hook(Box::new(|_| {}));
    let mutants = [
        Mutant::ForgetCarriedState,
        Mutant::DestageNotDurable,
        Mutant::ReuseBinBeforeFree,
        Mutant::ReuseTailUnderPin,
        Mutant::ReplayCarriedAsAppend,
        Mutant::EvictCommittedProducerState,
        Mutant::PromiseNotDurable,
        Mutant::ForgetCarriedPromise,
        Mutant::PromiseIgnored,
        Mutant::EpochOpenAcrossGap,
        Mutant::KeepTruncatedReigns,
        Mutant::CommittedIsLogEnd,
        Mutant::ResumeEpochAfterRestart,
    ];
    let mut alive = Vec::new();
    for mutant in mutants {
        let mut config = config();
        config.journal.planted = Planted::one(mutant);
        let found = (1..=200).find(|seed| {
            let run = || run(*seed, config.clone(), Done::default());
            std::panic::catch_unwind(core::panic::AssertUnwindSafe(run)).is_err()
        });
        println!("{}: found by seed {found:?}", mutant.name());
        alive.extend(found.is_none().then_some(mutant));
    }
    drop(std::panic::take_hook());
    assert!(alive.is_empty(), "nobody notices {alive:?}");
}
