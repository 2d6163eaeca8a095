//! The disk side.

use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use base::{Done, FileId, FileKind, IoError, Op, Page, Token};
use ring::{FolderError, PollMode, ShardFolder};

use crate::machine::{Echo, JOURNAL, Route, SHARD};
use crate::rig::{Core, config, folder, make_journal, pattern, wait_until};

const BIN: FileId = FileId { shard: SHARD, kind: FileKind::Bin(3) };

/// Runs `ops` and returns their completions.
fn run(path: &std::path::Path, ops: Vec<Op>) -> Vec<Done> {
    let count = ops.len();
    let core = Core::with_shard(config(PollMode::Park), path, move |arena| {
        let mut machine = Echo::new(Route::Plain, arena);
        machine.to_ask = ops;
        machine
    });
    let counters = &core.counters;
    let _ = wait_ended(counters, count);
    core.stop_cleanly().done
}

fn wait_ended(counters: &ring::ReactorCounters, count: usize) -> u64 {
    let ended = || {
        counters.writes.get() + counters.reads.get() + counters.syncs.get() + counters.created.get()
    };
    wait_until(|| count as u64 <= ended());
    ended()
}

fn pages(count: usize) -> Box<[Page]> {
    let mut pages = Page::boxed(count);
    let bytes = pattern(count * 4096);
    Page::bytes_mut(&mut pages).copy_from_slice(&bytes);
    pages
}

#[test]
fn a_file_is_made_of_written_zeros_and_then_written_and_read() {
    let folder = folder();
    let made = run(folder.path(), vec![Op::Create { tok: Token(1), file: BIN, bytes: 3 << 20 }]);
    assert!(matches!(made[..], [Done::Created { tok: Token(1), res: Ok(()) }]), "{made:?}");
    let path = folder.path().join("bins/00003.bin");
    assert!(std::fs::read(&path).expect("made").iter().all(|byte| *byte == 0));
    assert_eq!(std::fs::metadata(&path).expect("made").len(), 3 << 20);
    let done = run(
        folder.path(),
        vec![
            Op::WritePages { tok: Token(2), file: BIN, pos: 8192, pages: pages(3), sync: true },
            Op::Sync { tok: Token(3), file: BIN },
        ],
    );
    assert_eq!(done.len(), 2);
    for done in done {
        assert!(
            matches!(
                done,
                Done::WrotePages { tok: Token(2), res: Ok(()), .. }
                    | Done::Synced { tok: Token(3), res: Ok(()) }
            ),
            "{done:?}"
        );
    }
    let mut written = vec![0; 3 * 4096];
    std::fs::File::open(&path).expect("made").read_exact_at(&mut written, 8192).expect("in it");
    assert!(written == pattern(3 * 4096));
    let read = Op::Read { tok: Token(4), file: BIN, pos: 8192, into: Page::boxed(3) };
    let done = run(folder.path(), vec![read]).remove(0);
    let Done::Filled { tok: Token(4), buf, res: Ok(()) } = done else { panic!("{done:?}") };
    assert!(Page::bytes(&buf) == pattern(3 * 4096));
}

#[test]
fn what_cannot_be_done_says_why_and_gives_memory_back() {
    let folder = folder();
    make_journal(folder.path());
    let behind_the_end = crate::machine::JOURNAL_BYTES - 4096;
    let done = run(
        folder.path(),
        vec![Op::Read { tok: Token(1), file: JOURNAL, pos: behind_the_end, into: Page::boxed(2) }],
    );
    let [Done::Filled { res, buf, .. }] = &done[..] else { panic!("{done:?}") };
    assert_eq!(*res, Err(IoError::Short { wanted: 8192, got: 4096 }));
    assert_eq!(buf.len(), 2);
    let done = run(
        folder.path(),
        vec![
            Op::Sync { tok: Token(1), file: JOURNAL },
            Op::Create { tok: Token(2), file: BIN, bytes: 4096 },
        ],
    );
    assert_eq!(done.len(), 2, "{done:?}");
    let core = Core::with_shard(config(PollMode::Park), folder.path(), |arena| {
        let mut machine = Echo::new(Route::Plain, arena);
        let missing = FileId { shard: SHARD, kind: FileKind::Segment(9) };
        machine.to_ask = vec![Op::WritePages {
            tok: Token(5),
            file: missing,
            pos: 0,
            pages: Page::boxed(1),
            sync: true,
        }];
        machine
    });
    let done = core.stop_cleanly().done;
    let [Done::WrotePages { tok: Token(5), res: Err(error), .. }] = &done[..] else {
        panic!("{done:?}")
    };
    assert!(matches!(error, IoError::Errno(2)), "{error}");
}

#[test]
fn a_folder_is_scanned_cleaned_and_locked() {
    let folder = folder();
    make_journal(folder.path());
    let unfinished = folder.path().join("bins/00001.bin.new");
    std::fs::create_dir(folder.path().join("bins")).expect("new");
    std::fs::write(&unfinished, b"half").expect("room");
    std::fs::write(folder.path().join("bins/7.bin"), b"not ours").expect("room");
    let patience = Duration::from_millis(50);
    let held = ShardFolder::open(folder.path(), SHARD, patience).expect("usable");
    assert_eq!(held.existing(), [(JOURNAL, crate::machine::JOURNAL_BYTES)]);
    assert!(!unfinished.exists());
    let refused = ShardFolder::open(folder.path(), SHARD, patience).expect_err("locked");
    assert!(matches!(refused, FolderError::Locked { .. }), "{refused}");
    assert!(refused.to_string().contains("000.segment"), "{refused}");
    drop(held);
    ShardFolder::open(folder.path(), SHARD, patience).expect("let go");
}

#[test]
fn a_client_that_resets_gives_pinned_memory_back() {
    let folder = folder();
    make_journal(folder.path());
    let core = Core::with_shard(config(PollMode::Park), folder.path(), |arena| {
        Echo::new(Route::Durable, arena)
    });
    for _ in 0..5 {
        let mut stream = core.connect();
        stream.write_all(&pattern(300_000)).expect("taken");
        // Unread bytes make the close a reset.
        stream.read_exact(&mut [0; 10]).expect("some of it comes back");
    }
    wait_until(|| core.counters.connections.get() == 0);
    let machine = core.stop_cleanly();
    assert_eq!(base::Machine::arena(&machine, SHARD).used_bytes(), 0);
}

#[test]
fn a_write_that_the_kernel_puts_off_is_counted_and_made_all_the_same() {
    let folder = folder();
    make_journal(folder.path());
    // Every write extends the file, for which the kernel waits for the file system.
    let path = folder.path().join(ring::folder::relative_path(JOURNAL.kind));
    std::fs::File::create(&path).expect("it can be emptied");
    let core = Core::with_shard(config(PollMode::Park), folder.path(), |arena| {
        Echo::new(Route::Durable, arena)
    });
    let mut stream = core.connect();
    let sent = pattern(10_000);
    stream.write_all(&sent).expect("taken");
    let mut echoed = vec![0; sent.len()];
    stream.read_exact(&mut echoed).expect("it comes back once it is durable");
    assert!(echoed == sent);
    let (punts, writes) = (core.counters.punts.get(), core.counters.writes.get());
    assert!(0 < punts && punts <= writes, "{punts} of {writes}");
    assert_ne!(std::fs::metadata(&path).expect("there").len(), 0);
    core.stop_cleanly();
}

#[test]
fn a_stop_does_not_wait_for_a_file_being_made() {
    let folder = folder();
    let mut slow = config(PollMode::Park);
    slow.create_bytes_per_second = 1 << 20;
    let core = Core::with_shard(slow, folder.path(), |arena| {
        let mut machine = Echo::new(Route::Plain, arena);
        machine.to_ask = vec![Op::Create { tok: Token(1), file: BIN, bytes: 64 << 20 }];
        machine
    });
    wait_until(|| folder.path().join("bins/00003.bin.new").exists());
    let done = core.stop_cleanly().done;
    let [Done::Created { res: Err(error), .. }] = &done[..] else { panic!("{done:?}") };
    assert_eq!(*error, IoError::Errno(125), "ECANCELED");
    assert_eq!(std::fs::read_dir(folder.path().join("bins")).expect("made").count(), 0);
}

#[test]
fn files_are_let_go_when_a_core_has_stopped() {
    let folder = folder();
    make_journal(folder.path());
    for _ in 0..3 {
        let core = Core::with_shard(config(PollMode::Park), folder.path(), |arena| {
            Echo::new(Route::Durable, arena)
        });
        core.stop_cleanly();
    }
}

#[test]
fn the_device_is_measured_and_leaves_no_file() {
    let folder = folder();
    let report = ring::measure_dsync(folder.path(), &ring::RingOptions::default()).expect("a disk");
    assert!(0 < report.dsync_ns_p50 && report.dsync_ns_p50 <= report.dsync_ns_p99);
    assert!(5 <= report.writes);
    assert!(!report.mount.kind.is_empty());
    let line = report.to_string();
    assert!(line.contains(&report.mount.kind) && line.contains("durable write p50"), "{line}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
    let in_memory = ring::measure_dsync("/proc".as_ref(), &ring::RingOptions::default());
    assert!(in_memory.is_err());
}
