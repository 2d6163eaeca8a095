use base::PageMemory;

use super::effects::{EIO, ENOSPC};
use super::*;
use crate::knobs::Profile;

const FILE: FileId = FileId { shard: ShardId(0), kind: FileKind::Segment(1) };

/// A disk with one file of four pages on which nothing goes wrong.
fn disk() -> Disk {
    let mut knobs = Knobs::draw(&mut Random::new(1), Profile::Model);
    (knobs.cut_drop, knobs.kill_cancel) = (MILLION, 0);
    let mut disk = Disk::new(&knobs, Random::new(2));
    disk.heal();
    disk.files.insert(FILE, Platter::zeroed(4 * PAGE_BYTES));
    disk
}

struct Bench {
    disk: Disk,
    arena: Arena,
    trace: Trace,
}

impl Bench {
    fn new() -> Self {
        let arena = Arena::new(PageMemory::Heap(Page::boxed(8)));
        Self { disk: disk(), arena, trace: Trace::default() }
    }

    fn sealed(&mut self, byte: u8) -> Span {
        let mut draft = self.arena.draft(PAGE_BYTES as u32).unwrap();
        self.arena.put(&mut draft, &[byte; PAGE_BYTES]).unwrap();
        self.arena.seal(draft)
    }

    fn submit_write(&mut self, byte: u8, sync: bool) -> Span {
        let span = self.sealed(byte);
        let pin = self.arena.pin(span);
        let op = Op::Write { tok: Token(1), file: FILE, pos: 0, span, pin, sync };
        self.submit(op).unwrap();
        span
    }

    fn submit(&mut self, op: Op) -> Result<(), Violation> {
        self.disk.submit(Instant(0), op, &self.arena, &mut self.trace)
    }

    fn complete(&mut self) -> Option<Done> {
        let end = Instant(u64::MAX);
        self.disk.complete(end, &self.arena, &mut self.trace).unwrap().map(|(_, done)| done)
    }

    fn first_byte_after_cut(&mut self) -> u8 {
        self.disk.cut_power(Instant(0), &self.arena, &mut self.trace);
        self.disk.platter(FILE).read(0..1).unwrap()[0]
    }
}

#[test]
fn only_a_synced_write_survives_the_worst_cut() {
    let mut bench = Bench::new();
    bench.submit_write(1, true);
    assert!(matches!(bench.complete(), Some(Done::Wrote { res: Ok(()), .. })));
    bench.submit_write(2, false);
    assert!(matches!(bench.complete(), Some(Done::Wrote { res: Ok(()), .. })));
    assert_eq!(bench.first_byte_after_cut(), 1);
}

#[test]
fn a_sync_submitted_beside_a_write_does_not_cover_it() {
    let mut bench = Bench::new();
    bench.submit_write(1, false);
    bench.submit(Op::Sync { tok: Token(2), file: FILE }).unwrap();
    while bench.complete().is_some() {}
    assert_eq!(bench.first_byte_after_cut(), 0);
    bench.submit_write(1, false);
    bench.complete();
    bench.submit(Op::Sync { tok: Token(2), file: FILE }).unwrap();
    bench.complete();
    assert_eq!(bench.first_byte_after_cut(), 1);
}

#[test]
fn a_killed_process_leaves_its_writes_in_the_cache() {
    let mut bench = Bench::new();
    bench.submit_write(3, true);
    bench.disk.kill(Instant(0), &bench.arena, &mut bench.trace);
    assert_eq!(bench.disk.platter(FILE).read(0..1).unwrap(), [3]);
    assert_eq!(bench.first_byte_after_cut(), 0);
}

#[test]
fn memory_that_changes_in_flight_is_caught() {
    let mut bench = Bench::new();
    bench.submit_write(1, true);
    bench.arena = Arena::new(PageMemory::Heap(Page::boxed(8)));
    bench.sealed(2);
    let seen = bench.disk.complete(Instant(u64::MAX), &bench.arena, &mut bench.trace);
    assert_eq!(seen.unwrap_err().checker, Checker::Memory);
}

#[test]
fn a_write_that_failed_is_believed_and_forgotten_when_it_is_tried_again() {
    let mut bench = Bench::new();
    (bench.disk.knobs.write_error, bench.disk.knobs.retry_lies) = (MILLION, MILLION);
    let span = bench.submit_write(1, true);
    assert!(matches!(bench.complete(), Some(Done::Wrote { res: Err(EIO), .. })));
    bench.disk.heal();
    let pin = bench.arena.pin(span);
    bench.submit(Op::Write { tok: Token(1), file: FILE, pos: 0, span, pin, sync: true }).unwrap();
    assert!(matches!(bench.complete(), Some(Done::Wrote { res: Ok(()), .. })));
    assert_eq!(bench.disk.platter(FILE).read(0..1).unwrap(), [1]);
    assert_eq!(bench.first_byte_after_cut(), 0);
    bench.submit_write(2, true);
    bench.complete();
    assert_eq!(bench.first_byte_after_cut(), 2, "other bytes are written");
}

#[test]
fn more_frames_in_flight_than_the_window_holds_are_caught() {
    let mut bench = Bench::new();
    bench.disk.knobs.window = 1;
    bench.submit_write(1, true);
    let span = bench.sealed(2);
    let pin = bench.arena.pin(span);
    let second = Op::Write { tok: Token(2), file: FILE, pos: 4096, span, pin, sync: true };
    assert_eq!(bench.submit(second).unwrap_err().checker, Checker::Bounds);
}

#[test]
fn what_is_struck_is_told() {
    let mut bench = Bench::new();
    bench.disk.rot_at(Instant(0), FILE, 4097, &mut bench.trace);
    assert_eq!(bench.disk.take_strikes(), [Strike { file: FILE, bytes: 4097..4098 }]);
    assert_eq!(bench.disk.take_strikes(), []);
}

#[test]
fn an_operation_outside_its_file_is_caught() {
    let mut bench = Bench::new();
    let into = Page::boxed(2);
    let pos = 3 * PAGE_BYTES as u64;
    let seen = bench.submit(Op::Read { tok: Token(1), file: FILE, pos, into });
    assert_eq!(seen.unwrap_err().checker, Checker::Disk);
}

#[test]
fn a_full_disk_refuses_files_until_it_heals() {
    let mut bench = Bench::new();
    bench.disk.limit(5);
    let file = FileId { kind: FileKind::Bin(0), ..FILE };
    let create = || Op::Create { tok: Token(1), file, bytes: 2 * PAGE_BYTES as u64 };
    bench.submit(create()).unwrap();
    assert!(matches!(bench.complete(), Some(Done::Created { res: Err(ENOSPC), .. })));
    bench.disk.heal();
    bench.submit(create()).unwrap();
    assert!(matches!(bench.complete(), Some(Done::Created { res: Ok(()), .. })));
    assert_eq!(bench.disk.files().len(), 2);
}
