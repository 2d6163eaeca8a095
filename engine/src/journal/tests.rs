use base::batch::{BatchBuilder, sequenced_prefix};
use base::{Batch, Epoch, Offset, Page, PageMemory, PartitionId, ShardId, TopicNumber};

use super::*;

mod bytes;
mod crash;
mod disk;
mod enumeration;
mod recovering;

pub(crate) const SEGMENT: u32 = 64 << 10;

pub(crate) fn config() -> JournalConfig {
    JournalConfig {
        segment_bytes: SEGMENT,
        segments: 4,
        reserved_segments: 2,
        frame_max_bytes: 16 << 10,
        ..JournalConfig::new(ShardId(3), 0x5eed)
    }
}

pub(crate) fn control(payload: u64) -> NewEntry {
    NewEntry {
        kind: EntryKind::LogStart,
        carried: false,
        partition: PartitionId::new(TopicNumber(1), 2),
        epoch: Epoch(0),
        base: Offset(payload),
        count: 0,
    }
}

pub(crate) fn data(base: u64, value: &[u8]) -> (NewEntry, Vec<u8>) {
    let mut builder = BatchBuilder::new(0);
    builder.push(0, None, Some(value), &[]);
    let mut bytes = builder.build();
    let prefix = sequenced_prefix(&Batch::parse(&bytes).unwrap(), Offset(base), Epoch(4));
    bytes[..16].copy_from_slice(&prefix);
    let entry = NewEntry { kind: EntryKind::Batch, epoch: Epoch(4), count: 1, ..control(base) };
    (entry, bytes)
}

/// A journal with its arena and a clock, and the operations it asked for.
struct Bench {
    journal: Journal,
    arena: Arena,
    now: Now,
    writes: VecDeque<(Token, Pin, u64)>,
}

impl Bench {
    fn new(config: JournalConfig, arena_pages: usize) -> Self {
        let present: Vec<u16> = (0..config.all_segments()).collect();
        Self {
            journal: Journal::create(config, &present),
            arena: Arena::new(PageMemory::Heap(Page::boxed(arena_pages))),
            now: Now::default(),
            writes: VecDeque::new(),
        }
    }

    fn append(&mut self, entry: NewEntry, payload: &[u8]) -> Result<Placed, JournalFull> {
        self.journal.append(self.now, &mut self.arena, entry, &[payload])
    }

    fn turn(&mut self) {
        self.journal.turn(self.now, &mut self.arena);
        while let Some(op) = self.journal.poll_op() {
            let Op::Write { tok, pin, pos, sync: true, .. } = op else {
                panic!("unexpected {op:?}");
            };
            self.writes.push_back((tok, pin, pos));
        }
    }

    fn wait(&mut self, ns: u64) {
        self.now.mono = self.now.mono.plus(Duration::from_nanos(ns));
    }

    /// Ends the `index`-th write in flight.
    fn end(&mut self, index: usize, res: Result<(), IoError>) {
        let (tok, pin, _) = self.writes.remove(index).unwrap();
        self.journal.done(self.now, &mut self.arena, Done::Wrote { tok, pin, res }).unwrap();
    }

    /// Appends one entry in a frame of its own and makes it durable.
    fn commit(&mut self, payload: &[u8]) -> Seq {
        let placed = self.append(control(0), payload).unwrap();
        self.turn();
        self.end(0, Ok(()));
        assert_eq!(self.journal.durable_seq(), placed.seq);
        placed.seq
    }
}

#[test]
fn a_lone_entry_is_submitted_at_the_end_of_its_turn() {
    let mut bench = Bench::new(config(), 64);
    let (entry, batch) = data(7, b"value");
    let placed = bench.append(entry, &batch).unwrap();
    assert_eq!((placed.seq, placed.entry), (Seq(1), 0));
    assert_eq!(bench.arena.get(placed.span), Some(&batch[..]));
    bench.turn();
    assert_eq!(bench.writes.len(), 1);
    assert_eq!(bench.journal.durable_seq(), Seq(0), "submitted is not durable");
    bench.end(0, Ok(()));
    assert_eq!(bench.journal.durable_seq(), Seq(1));
}

#[test]
fn the_window_holds_everything_behind_a_straggler() {
    let mut bench = Bench::new(config(), 64);
    bench.commit(b"first");
    bench.append(control(0), &[1; 5000]).unwrap();
    bench.turn();
    bench.append(control(0), &[2; 5000]).unwrap();
    bench.turn();
    assert_eq!(bench.writes.len(), 2, "at 4 KiB a second frame goes");
    bench.append(control(0), &[3; 5000]).unwrap();
    bench.turn();
    bench.end(1, Ok(()));
    bench.turn();
    assert_eq!(bench.writes.len(), 1, "a free slot is not room in the window");
    assert_eq!(bench.journal.durable_seq(), Seq(1), "a hole is not durable");
    bench.end(0, Ok(()));
    assert_eq!(bench.journal.durable_seq(), Seq(3));
    bench.turn();
    assert_eq!(bench.writes.len(), 1);
}

#[test]
fn a_rest_is_ended_by_one_empty_frame() {
    let mut bench = Bench::new(config(), 64);
    bench.turn();
    assert!(bench.journal.is_sealed() && bench.writes.is_empty(), "nothing to testify for");
    bench.commit(b"first");
    let deadline = bench.journal.next_timeout().unwrap();
    bench.turn();
    assert!(bench.writes.is_empty(), "not yet");
    bench.wait(deadline.since(bench.now.mono).as_nanos() as u64);
    bench.turn();
    assert!(!bench.journal.is_sealed());
    bench.end(0, Ok(()));
    assert!(bench.journal.is_sealed());
    assert_eq!(bench.journal.next_timeout(), None);
    assert_eq!(bench.journal.counters().idle_seals, 1);
}
