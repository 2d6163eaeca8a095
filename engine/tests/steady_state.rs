//! A journal in steady state allocates nothing: counted, not believed.

#![allow(clippy::unwrap_used, reason = "helpers of a test")]

use std::collections::VecDeque;
use std::time::Duration;

use base::batch::{BatchBuilder, sequenced_prefix};
use base::{
    Arena, Batch, Done, Epoch, Now, Offset, Op, Page, PageMemory, PartitionId, Pin, ShardId, Token,
    TopicNumber,
};
use engine::journal::{EntryKind, Journal, JournalConfig, NewEntry};

struct Bench {
    journal: Journal,
    arena: Arena,
    now: Now,
    flying: VecDeque<(Token, Pin)>,
    batch: Vec<u8>,
}

impl Bench {
    fn new() -> Self {
        let config = JournalConfig {
            segment_bytes: 256 << 10,
            segments: 4,
            frame_max_bytes: 64 << 10,
            ..JournalConfig::new(ShardId(0), 7)
        };
        let mut builder = BatchBuilder::new(0);
        builder.push(0, Some(b"key"), Some(&[7; 200]), &[]);
        Self {
            journal: Journal::create(config, &[0, 1, 2, 3, 4, 5]),
            arena: Arena::new(PageMemory::Heap(Page::boxed(512))),
            now: Now::default(),
            flying: VecDeque::with_capacity(8),
            batch: builder.build(),
        }
    }

    /// `records` appends of one record each, a turn, and the completion of what was in flight.
    fn turn(&mut self, records: u64) {
        for base in 0..records {
            let (base, epoch) = (Offset(base), Epoch(3));
            let batch = Batch::parse(&self.batch).unwrap();
            let prefix = sequenced_prefix(&batch, base, epoch);
            let entry = NewEntry {
                kind: EntryKind::Batch,
                carried: false,
                partition: PartitionId::new(TopicNumber(1), 0),
                epoch,
                base,
                count: 1,
            };
            let payload = [&prefix[..], &self.batch[16..]];
            self.journal.append(self.now, &mut self.arena, entry, &payload).unwrap();
        }
        self.now.mono = self.now.mono.plus(Duration::from_micros(100));
        self.journal.turn(self.now, &mut self.arena);
        while let Some(op) = self.journal.poll_op() {
            let Op::Write { tok, pin, .. } = op else { panic!("{op:?}") };
            self.flying.push_back((tok, pin));
        }
        if let Some((tok, pin)) = self.flying.pop_front() {
            let done = Done::Wrote { tok, pin, res: Ok(()) };
            self.journal.done(self.now, &mut self.arena, done).unwrap();
        }
        self.journal.set_start(self.journal.durable_seq());
        self.arena.release_all();
    }
}

#[test]
fn a_journal_in_steady_state_allocates_nothing() {
    let mut bench = Bench::new();
    for records in 0..100 {
        bench.turn(records % 40);
    }
    let frames = bench.journal.counters().frames;
    let allocated = allocation_counter::measure(|| {
        for records in 0..10_000 {
            bench.turn(records % 40);
        }
    });
    assert!(9_000 < bench.journal.counters().frames - frames);
    assert_eq!(allocated.count_total, 0);
}
