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

#[test]
fn with_a_frame_in_flight_the_next_waits_for_4_kib_or_half_a_write() {
    let mut bench = Bench::new(config(), 64);
    bench.append(control(0), b"first").unwrap();
    bench.turn();
    bench.wait(100_000);
    bench.end(0, Ok(()));
    assert_eq!(bench.journal.average_write_ns(), 100_000);
    bench.append(control(0), b"second").unwrap();
    bench.turn();
    bench.append(control(0), b"third").unwrap();
    bench.turn();
    assert_eq!(bench.writes.len(), 1, "a small frame waits behind another");
    let patience = bench.journal.next_timeout().unwrap().since(bench.now.mono);
    assert_eq!(patience.as_nanos(), 50_000);
    bench.wait(49_999);
    bench.turn();
    assert_eq!(bench.writes.len(), 1);
    bench.wait(1);
    bench.turn();
    assert_eq!(bench.writes.len(), 2);
}

#[test]
fn an_idle_seal_in_flight_holds_nobody_up() {
    let mut bench = Bench::new(config(), 64);
    bench.commit(b"first");
    bench.wait(1_000_000);
    bench.turn();
    assert_eq!((bench.writes.len(), bench.journal.counters().idle_seals), (1, 1));
    bench.append(control(0), b"second").unwrap();
    bench.turn();
    assert_eq!(bench.writes.len(), 2);
}

#[test]
fn without_room_in_the_window_a_frame_grows_to_its_maximum() {
    let mut bench = Bench::new(JournalConfig { window: 1, ..config() }, 64);
    bench.append(control(0), b"first").unwrap();
    bench.turn();
    let mut seqs = Vec::new();
    let refused = loop {
        match bench.append(control(0), &[7; 1000]) {
            Ok(placed) => seqs.push(placed.seq),
            Err(refused) => break refused,
        }
        bench.turn();
    };
    assert_eq!(refused, JournalFull::Window);
    assert_eq!(seqs, [Seq(2); 15], "15 entries of 1040 bytes and a header fill 16 KiB");
    assert_eq!((bench.writes.len(), bench.journal.next_timeout()), (1, None));
    bench.end(0, Ok(()));
    assert_eq!(bench.append(control(0), &[7; 1000]).unwrap().seq, Seq(3), "sealed to make room");
    bench.turn();
    assert_eq!(bench.writes.len(), 1);
}

#[test]
fn a_frame_never_crosses_segments() {
    let mut bench = Bench::new(config(), 64);
    let mut places = Vec::new();
    for _ in 0..9 {
        bench.append(control(0), &[1; 12_000]).unwrap();
        bench.journal.turn(bench.now, &mut bench.arena);
        let Some(Op::Write { tok, file, pos, span, pin, .. }) = bench.journal.poll_op() else {
            panic!("a lone frame goes at once");
        };
        places.push((file.kind, pos));
        assert!(pos + u64::from(span.len) <= u64::from(SEGMENT));
        bench.writes.push_back((tok, pin, pos));
        bench.end(0, Ok(()));
        bench.arena.release_all();
    }
    let segment = |number| base::FileKind::Segment(number);
    assert_eq!(places[4], (segment(0), 48 << 10));
    assert_eq!(places[5], (segment(1), 0), "4 KiB at the end of segment 0 stay empty");
}

/// Fills all that data may fill.
fn fill(bench: &mut Bench) {
    loop {
        let (entry, batch) = data(0, &[1; 12_000]);
        match bench.append(entry, &batch) {
            Ok(_) => {}
            Err(refused) => {
                assert_eq!(refused, JournalFull::Space);
                return;
            }
        }
        bench.turn();
        bench.end(0, Ok(()));
        bench.arena.release_all();
    }
}

#[test]
fn a_full_journal_still_takes_control_entries() {
    let mut bench = Bench::new(config(), 64);
    fill(&mut bench);
    let occupancy = bench.journal.occupancy();
    assert_eq!(occupancy.total_bytes, 4 * u64::from(SEGMENT));
    assert!((90..=100).contains(&occupancy.percent()), "{occupancy:?}");
    assert_eq!(occupancy.free_segments, 2);
    for _ in 0..10 {
        bench.commit(&[1; 12_000]);
        bench.arena.release_all();
    }
    let (entry, batch) = data(0, b"small");
    assert_eq!(bench.append(entry, &batch), Err(JournalFull::Space), "the reserve is not for data");
    let carried = NewEntry { carried: true, ..entry };
    assert!(bench.append(carried, &batch).is_ok(), "but for what was data once");
    assert!(100 < bench.journal.occupancy().percent());
}

#[test]
fn a_segment_is_reused_when_two_durable_frames_say_that_it_may_be() {
    let mut bench = Bench::new(config(), 64);
    fill(&mut bench);
    let free = |bench: &Bench| bench.journal.occupancy().free_segments;
    let start = bench.journal.durable_seq();
    bench.journal.set_start(start);
    assert_eq!(free(&bench), 2, "nobody has been told yet");
    bench.commit(b"first");
    assert_eq!(free(&bench), 2, "one frame may rot");
    bench.commit(b"second");
    assert_eq!(free(&bench), 4, "all but those of the last batch and of the second");
}

#[test]
fn an_idle_journal_tells_of_its_new_start() {
    let mut bench = Bench::new(config(), 64);
    fill(&mut bench);
    bench.journal.set_start(bench.journal.durable_seq());
    for _ in 0..2 {
        bench.wait(1_000_000);
        bench.turn();
        bench.end(0, Ok(()));
    }
    assert_eq!(bench.journal.occupancy().free_segments, 4);
    assert_eq!(bench.journal.next_timeout(), None);
    fill(&mut bench);
}

#[test]
fn the_start_moves_neither_back_nor_past_the_durable_prefix() {
    let mut bench = Bench::new(config(), 64);
    bench.commit(b"1");
    bench.commit(b"2");
    bench.append(control(0), b"3").unwrap();
    bench.journal.set_start(Seq(3));
    assert_eq!(bench.journal.start(), Seq(2));
    bench.journal.set_start(Seq(1));
    assert_eq!(bench.journal.start(), Seq(2));
}

#[test]
fn a_failed_write_poisons_for_good() {
    let mut bench = Bench::new(config(), 64);
    bench.commit(b"1");
    for byte in [2, 3] {
        bench.append(control(0), &[byte; 5000]).unwrap();
        bench.turn();
    }
    let unsent = bench.append(control(0), b"4").unwrap();
    let error = IoError::Short { wanted: 8192, got: 4096 };
    bench.end(0, Err(error));
    let cause = PoisonCause { seq: Seq(2), place: Place { segment: 0, position: 4096 }, error };
    assert_eq!(bench.journal.poisoned(), Some(cause));
    assert_eq!(
        cause.to_string(),
        "writing journal frame 2 to segment 0 at byte 4096: only 4096 of 8192 bytes"
    );
    bench.end(0, Ok(()));
    bench.wait(1_000_000_000);
    bench.turn();
    assert!(bench.writes.is_empty() && bench.journal.next_timeout().is_none());
    assert_eq!(bench.journal.durable_seq(), Seq(1), "what came after is not counted");
    assert_eq!(bench.append(control(0), b"5"), Err(JournalFull::Poisoned));
    assert_eq!(bench.arena.get(unsent.span), Some(&b"4"[..]), "readers may still hold it");
    bench.arena.release_all();
    assert_eq!(bench.arena.used_bytes(), 0, "every pin came back");
}

#[test]
fn poison_takes_back_writes_that_nobody_fetched() {
    let mut bench = Bench::new(config(), 64);
    bench.append(control(0), &[1; 5000]).unwrap();
    bench.turn();
    bench.append(control(0), &[2; 5000]).unwrap();
    bench.journal.turn(bench.now, &mut bench.arena);
    bench.end(0, Err(IoError::Errno(5)));
    assert!(bench.journal.poll_op().is_none());
    bench.arena.release_all();
    assert_eq!(bench.arena.used_bytes(), 0);
}

#[test]
fn a_full_arena_refuses_until_something_is_released() {
    let mut bench = Bench::new(config(), 4);
    bench.commit(&[1; 7000]);
    bench.commit(&[2; 3000]);
    assert_eq!(bench.append(control(0), &[3; 7000]), Err(JournalFull::Memory));
    bench.arena.release_all();
    assert!(bench.append(control(0), &[3; 7000]).is_ok());
}

#[test]
fn the_open_frame_goes_out_early_if_memory_behind_it_is_taken() {
    let mut bench = Bench::new(config(), 5);
    let first = bench.append(control(0), &[1; 4000]).unwrap();
    bench.turn();
    bench.end(0, Ok(()));
    let second = bench.append(control(0), &[2; 7000]).unwrap();
    bench.arena.release_before(second.span);
    assert_eq!(bench.arena.get(first.span), None);
    // Pages 1–4 end the lap; the entry must begin at page 0, which one page cannot hold.
    assert_eq!(bench.append(control(0), &[3; 9000]), Err(JournalFull::Memory));
    bench.turn();
    assert_eq!(bench.writes.len(), 1, "what was open is on its way");
}

#[test]
fn missing_segments_are_made_one_by_one() {
    let mut journal = Journal::create(config(), &[]);
    let mut arena = Arena::new(PageMemory::Heap(Page::boxed(64)));
    let mut now = Now::default();
    assert_eq!(
        journal.append(now, &mut arena, control(0), &[b"early"]),
        Err(JournalFull::Space),
        "the first segment is not there yet"
    );
    let mut made = Vec::new();
    while let Some(op) = journal.poll_op() {
        let Op::Create { tok, file, bytes } = op else { panic!("{op:?}") };
        assert_eq!(bytes, u64::from(SEGMENT));
        assert!(journal.poll_op().is_none(), "one at a time");
        let fails = made.len() == 2;
        let res = if fails { Err(IoError::Errno(28)) } else { Ok(()) };
        made.push(file.kind);
        journal.done(now, &mut arena, Done::Created { tok, res }).unwrap();
        if fails {
            assert!(journal.poll_op().is_none(), "a full disk is not pressed");
            now.mono = journal.next_timeout().unwrap();
            journal.turn(now, &mut arena);
        }
    }
    let segment = |number| base::FileKind::Segment(number);
    assert_eq!(made, [0, 1, 2, 2, 3, 4, 5].map(segment));
    let occupancy = journal.occupancy();
    assert_eq!((occupancy.free_segments, occupancy.missing_segments), (6, 0));
    assert_eq!(journal.counters().failed_creations, 1);
    journal.append(now, &mut arena, control(0), &[b"now"]).unwrap();
}

#[test]
fn completions_of_others_come_back() {
    let mut bench = Bench::new(config(), 8);
    let theirs = Done::Synced { tok: Token(7), res: Ok(()) };
    assert!(matches!(
        bench.journal.done(bench.now, &mut bench.arena, theirs),
        Err(Done::Synced { tok: Token(7), res: Ok(()) })
    ));
}

#[test]
#[should_panic(expected = "and its batch disagree")]
fn a_batch_that_contradicts_its_entry_is_a_bug() {
    let mut bench = Bench::new(config(), 8);
    let (entry, batch) = data(7, b"value");
    let _ = bench.append(NewEntry { base: Offset(8), ..entry }, &batch);
}
