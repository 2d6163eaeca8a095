//! An engine over files in memory: what a record costs without a device.

use base::{
    Batch, BrokerTime, Committed, Epoch, Instant, Now, Offset, Page, PageMemory, PartitionId,
    ShardId, Span, TopicNumber,
};
use engine::journal::JournalConfig;
use engine::{Engine, EngineConfig, PartitionSettings, Phase, Read};

use crate::files::Files;

const SHARD: ShardId = ShardId(0);
const SEGMENT_BYTES: u32 = 4 << 20;
const SEGMENTS: u16 = 16;
const RESERVED_SEGMENTS: u16 = 2;
/// What a restart reads.
pub(crate) const JOURNAL_BYTES: u64 = SEGMENT_BYTES as u64 * (SEGMENTS + RESERVED_SEGMENTS) as u64;

/// An engine and its files.
#[derive(Debug)]
pub(crate) struct Log {
    files: Files,
    engine: Engine,
    now: Now,
    partitions: Vec<PartitionId>,
    next: usize,
}

/// A small journal, so that it goes round.
pub(crate) fn config(shard: ShardId) -> EngineConfig {
    let mut journal = JournalConfig::new(shard, 7);
    journal.segment_bytes = SEGMENT_BYTES;
    journal.segments = SEGMENTS;
    journal.reserved_segments = RESERVED_SEGMENTS;
    journal.frame_max_bytes = 1 << 20;
    EngineConfig { bin_bytes: 8 << 20, ..EngineConfig::new(journal) }
}

/// An engine over what is in `files`.
pub(crate) fn open(shard: ShardId, files: &Files) -> Engine {
    let config = config(shard);
    let pages = config.arena_bytes() as usize / base::PAGE_BYTES;
    Engine::open(config, PageMemory::Heap(Page::boxed(pages)), &files.listing())
}

impl Log {
    /// An open engine with so many partitions.
    pub(crate) fn new(partitions: u32) -> Self {
        let files = Files::default();
        let engine = open(SHARD, &files);
        let mut log = Self { files, engine, now: Now::default(), partitions: Vec::new(), next: 0 };
        log.settle();
        assert!(matches!(log.engine.phase(), Phase::Open), "{:?}", log.engine.phase());
        for index in 0..partitions {
            let id = PartitionId::new(TopicNumber(1), index);
            log.engine
                .create_partition(log.now, id, PartitionSettings::default())
                .expect("a new partition");
            log.engine.open_epoch(log.now, id, Epoch(1)).expect("a new epoch");
            log.partitions.push(id);
        }
        log.settle();
        log
    }

    /// Appends to the partitions in turn; durable once the log has settled.
    pub(crate) fn append(&mut self, batch: &[u8]) {
        let id = self.partitions[self.next];
        self.next = (self.next + 1) % self.partitions.len();
        let batch = Batch::parse(batch).expect("a batch of our own");
        loop {
            match self.engine.append(self.now, id, batch) {
                Ok(_) => return,
                Err(engine::AppendError::Busy) => self.settle(),
                Err(error) => panic!("{error:?}"),
            }
        }
    }

    /// Runs until nothing is to be done any more.
    pub(crate) fn settle(&mut self) {
        loop {
            self.now.mono = Instant(self.now.mono.0 + 1_000);
            self.now.wall = BrokerTime(1_767_225_600_000);
            self.engine.turn(self.now);
            let mut idle = true;
            while let Some(op) = self.engine.poll_op() {
                let done = self.files.perform(op, self.engine.arena());
                self.engine.done(self.now, done);
                idle = false;
            }
            while let Some((id, durable)) = self.engine.poll_durable() {
                self.engine.commit(id, Committed(durable.0));
            }
            if idle {
                return;
            }
        }
    }

    /// Bytes that a consumer at the start of the first partition is given in one go.
    pub(crate) fn read_tail(&mut self, spans: &mut Vec<Span>) -> u32 {
        spans.clear();
        match self.engine.read(self.partitions[0], Offset(0), 1 << 20, true, spans) {
            Ok(Read::Tail { bytes }) => bytes,
            other => panic!("{other:?}"),
        }
    }

    /// The engine dies and another one opens the same files; how many bytes of journal it read.
    pub(crate) fn restart(&mut self) -> u64 {
        self.engine = open(SHARD, &self.files);
        self.settle();
        self.engine.recovery_report().map_or(0, |report| report.bytes_read)
    }
}
