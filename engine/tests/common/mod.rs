//! A disk in memory for driving an [`Engine`] through its public verbs.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

pub mod disk;

use std::collections::HashMap;

use base::batch::{BatchBuilder, records};
use base::{
    Batch, BrokerTime, Committed, Epoch, Instant, Now, Offset, PAGE_BYTES, Page, PageMemory,
    PartitionId, Seq, ShardId, Span, TopicNumber,
};
use disk::Disk;
use engine::journal::JournalConfig;
use engine::{
    AppendError, Appended, DiskBytes, Engine, EngineConfig, PartitionSettings, Phase, Read,
    ReadError, TimeHit, TimeLookup,
};

pub fn id(index: u32) -> PartitionId {
    PartitionId::new(TopicNumber(1), index)
}

/// A small engine: segments of 64 KiB, bins of 1 MiB.
pub fn config() -> EngineConfig {
    let mut journal = JournalConfig::new(ShardId(0), 0x1234);
    journal.segment_bytes = 64 << 10;
    journal.segments = 8;
    journal.frame_max_bytes = 16 << 10;
    EngineConfig { bin_bytes: 1 << 20, bins_max: 16, ..EngineConfig::new(journal) }
}

/// One batch with a record per value.
pub fn batch(values: &[&[u8]], timestamp: i64) -> Vec<u8> {
    let mut builder = BatchBuilder::new(timestamp);
    for value in values {
        builder.push(timestamp, None, Some(value), &[]);
    }
    builder.build()
}

/// One batch of an idempotent producer.
pub fn producer_batch(values: &[&[u8]], producer: i64, epoch: i16, sequence: i32) -> Vec<u8> {
    let mut builder = BatchBuilder::new(0);
    for value in values {
        builder.push(0, None, Some(value), &[]);
    }
    builder.build_with(0, producer, epoch, sequence)
}

/// An engine and the disk under it.
pub struct Rig {
    pub engine: Engine,
    pub disk: Disk,
    pub config: EngineConfig,
    pub now: Now,
    /// What is durable is committed.
    pub commits: bool,
}

impl Rig {
    /// A new engine on an empty disk, open.
    pub fn new(config: EngineConfig) -> Self {
        Self::over(config, Disk::new(1))
    }

    /// An engine on what `disk` holds, at the beginning of its recovery.
    pub fn start(config: EngineConfig, disk: Disk) -> Self {
        let pages = config.arena_bytes().div_ceil(PAGE_BYTES as u64) as usize;
        let memory = PageMemory::Heap(Page::boxed(pages));
        let engine = Engine::open(config.clone(), memory, &disk.listing());
        let now = Now { mono: Instant(1), wall: BrokerTime(1_000_000) };
        Self { engine, disk, config, now, commits: true }
    }

    /// An engine on what `disk` holds, driven until it is open.
    pub fn over(config: EngineConfig, disk: Disk) -> Self {
        let mut rig = Self::start(config, disk);
        for _ in 0..100_000 {
            if *rig.engine.phase() != Phase::Recovering {
                return rig;
            }
            rig.step();
        }
        panic!("recovery does not end");
    }

    /// One turn: operations out, completions in.
    pub fn step(&mut self) {
        self.now.mono.0 += 100_000;
        self.engine.turn(self.now);
        while let Some(op) = self.engine.poll_op() {
            self.disk.submit(op, self.engine.arena());
        }
        while let Some(done) = self.disk.complete(self.engine.arena()) {
            self.engine.done(self.now, done);
        }
        while let Some((id, durable)) = self.engine.poll_durable() {
            if self.commits {
                self.engine.commit(id, Committed(durable.0));
            }
        }
    }

    /// Turns until `seq` is durable.
    pub fn settle(&mut self, seq: Seq) {
        for _ in 0..10_000 {
            if seq <= self.engine.durable_seq() {
                return;
            }
            self.step();
        }
        panic!("frame {seq} does not become durable: {:?}", self.engine.phase());
    }

    pub fn steps(&mut self, count: usize) {
        (0..count).for_each(|_| self.step());
    }

    /// Creates a partition and opens an epoch.
    pub fn create(&mut self, id: PartitionId, epoch: u32) {
        self.engine.create_partition(self.now, id, PartitionSettings::default()).unwrap();
        let seq = self.engine.open_epoch(self.now, id, Epoch(epoch)).unwrap();
        self.settle(seq);
    }

    pub fn append(&mut self, id: PartitionId, bytes: &[u8]) -> Result<Appended, AppendError> {
        self.engine.append(self.now, id, Batch::parse(bytes).unwrap())
    }

    /// Appends, waits while the engine is busy, and waits for durability.
    pub fn put(&mut self, id: PartitionId, values: &[&[u8]]) -> Offset {
        let bytes = batch(values, self.now.wall.0);
        for _ in 0..10_000 {
            match self.append(id, &bytes) {
                Ok(appended) => {
                    self.settle(appended.seq);
                    return appended.base;
                }
                Err(AppendError::Busy) => self.step(),
                Err(error) => panic!("{error}"),
            }
        }
        panic!("busy for ever: {:?}", self.engine);
    }

    /// All records from `from` on, by offset.
    pub fn read_all(&mut self, id: PartitionId, from: Offset) -> Vec<(u64, Vec<u8>)> {
        let mut all = Vec::new();
        let mut at = from;
        loop {
            let bytes = self.read(id, at, 100_000);
            let before = at;
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (batch, behind) = Batch::parse_prefix(rest).unwrap();
                batch.verify_checksum().unwrap();
                for record in records(batch.records()) {
                    let offset = batch.base_offset().0 + u64::from(record.offset_delta);
                    if from.0 <= offset {
                        all.push((offset, record.value.unwrap().to_vec()));
                    }
                }
                at = batch.end_offset();
                rest = behind;
            }
            if at == before {
                return all;
            }
        }
    }

    /// The bytes of one read, waiting for the disk if it must.
    pub fn read(&mut self, id: PartitionId, from: Offset, max_bytes: u32) -> Vec<u8> {
        match self.try_read(id, from, max_bytes) {
            Ok(bytes) => bytes,
            Err(error) => panic!("reading {id} from {from}: {error}"),
        }
    }

    pub fn try_read(
        &mut self,
        id: PartitionId,
        from: Offset,
        max_bytes: u32,
    ) -> Result<Vec<u8>, ReadError> {
        let mut spans = Vec::new();
        let read = self.engine.read(id, from, max_bytes, true, &mut spans)?;
        self.finish_read(read, &spans)
    }

    /// As [`Rig::try_read`], as another replica reads.
    pub fn try_read_for_replica(
        &mut self,
        id: PartitionId,
        from: Offset,
        max_bytes: u32,
    ) -> Result<Vec<u8>, ReadError> {
        let mut spans = Vec::new();
        let read = self.engine.read_for_replica(
            id,
            (from, Offset(u64::MAX)),
            max_bytes,
            true,
            &mut spans,
        )?;
        self.finish_read(read, &spans)
    }

    fn finish_read(&mut self, read: Read, spans: &[Span]) -> Result<Vec<u8>, ReadError> {
        match read {
            Read::Empty => Ok(Vec::new()),
            Read::Tail { .. } => {
                let arena = self.engine.arena();
                Ok(spans.iter().flat_map(|span| arena.get(*span).unwrap().to_vec()).collect())
            }
            Read::Disk(token) => {
                for _ in 0..10_000 {
                    if let Some((answered, result)) = self.engine.poll_read() {
                        assert_eq!(answered, token);
                        let DiskBytes { pages, from, len } = result?;
                        let bytes = Page::bytes(&pages)[from..from + len].to_vec();
                        self.engine.recycle(pages);
                        return Ok(bytes);
                    }
                    self.step();
                }
                panic!("the disk never answers");
            }
        }
    }

    /// What a lookup finds, waiting for the disk if it must.
    pub fn lookup(&mut self, lookup: TimeLookup) -> Option<TimeHit> {
        let token = match lookup {
            TimeLookup::Hit(hit) => return Some(hit),
            TimeLookup::None => return None,
            TimeLookup::Disk(token) => token,
        };
        for _ in 0..10_000 {
            if let Some((answered, result)) = self.engine.poll_lookup() {
                assert_eq!(answered, token);
                return result.unwrap();
            }
            self.step();
        }
        panic!("the disk never answers");
    }

    /// The process dies, and a new one starts.
    pub fn kill(self) -> Self {
        let Self { engine, mut disk, config, .. } = self;
        disk.kill(engine.arena());
        drop(engine);
        Self::over(config, disk)
    }

    /// The process dies, the machine loses power, and a new process starts.
    pub fn crash(self) -> Self {
        let Self { engine, mut disk, config, .. } = self;
        disk.power_cut(engine.arena());
        drop(engine);
        Self::over(config, disk)
    }
}

/// Values by offset, for comparing.
pub fn numbered(values: &[&[u8]]) -> HashMap<u64, Vec<u8>> {
    values.iter().enumerate().map(|(at, value)| (at as u64, value.to_vec())).collect()
}
