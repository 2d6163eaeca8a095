//! Recovery row by row, on real bytes.

use std::collections::BTreeMap;

use super::super::dump::Fate;
use super::super::table::Row;
use super::super::*;
use super::disk::{Disk, arena, dump, recover};
use super::{config, control};
use base::{PartitionId, TopicNumber};

/// A journal on a disk; every commit is a frame of its own.
struct Rig {
    config: JournalConfig,
    disk: Disk,
    arena: Arena,
    journal: Journal,
    now: Now,
}

impl Rig {
    fn new(config: JournalConfig) -> Self {
        let mut rig = Self {
            journal: Journal::create(config.clone(), &[]),
            disk: Disk::new(),
            arena: arena(1024),
            now: Now::default(),
            config,
        };
        rig.turn();
        rig
    }

    fn turn(&mut self) {
        self.journal.turn(self.now, &mut self.arena);
        while let Some(op) = self.journal.poll_op() {
            if let Some(done) = self.disk.perform(&self.arena, op) {
                self.journal.done(self.now, &mut self.arena, done).unwrap();
            }
        }
    }

    /// Rests until the idle seal is out.
    fn rest(&mut self) {
        self.now.mono = self.now.mono.plus(self.config.idle_seal);
        self.turn();
        self.land();
    }

    fn submit(&mut self, payload: &[u8]) -> Seq {
        let entry = control(self.journal.open_seq().0);
        let placed = self.journal.append(self.now, &mut self.arena, entry, &[payload]);
        self.turn();
        placed.unwrap().seq
    }

    fn land(&mut self) {
        let done = self.disk.land(0);
        self.journal.done(self.now, &mut self.arena, done).unwrap();
    }

    fn commit(&mut self, payload: &[u8]) -> Seq {
        let seq = self.submit(payload);
        self.land();
        assert_eq!(self.journal.durable_seq(), seq);
        seq
    }

    /// Where frame `seq` stands.
    fn place(&mut self, seq: Seq) -> Place {
        let dumped = dump(&mut self.disk, &self.config);
        let frame = dumped.frames.iter().find(|frame| frame.seen.stamp.seq == seq);
        frame.unwrap().seen.found_at
    }

    fn recover_with(&mut self, evidence: Evidence) -> Recovered {
        self.arena = arena(1024);
        self.disk.flying.clear();
        recover(&mut self.disk, &mut self.arena, &self.config, evidence).unwrap()
    }

    fn recover(&mut self) -> Recovered {
        self.recover_with(Evidence { activated: true, newest_stamp: None })
    }

    /// Recovers and goes on.
    fn restart(&mut self) -> RecoveryReport {
        let recovered = self.recover();
        let report = recovered.report().clone();
        self.journal = recovered.into_journal().unwrap();
        self.turn();
        report
    }

    fn payloads(&self, recovered: &Recovered) -> Vec<(Seq, Vec<u8>, bool)> {
        let entries = recovered.entries(&self.arena);
        let bytes = |entry: &RecoveredEntry| self.arena.get(entry.span).unwrap().to_vec();
        entries.map(|entry| (entry.seq, bytes(&entry), entry.intact)).collect()
    }
}

fn stamped(newest_stamp: u64) -> Evidence {
    Evidence { activated: true, newest_stamp: Some(Seq(newest_stamp)) }
}

#[test]
fn nothing_is_fresh_only_if_nothing_was_ever_acked() {
    let mut rig = Rig::new(config());
    let recovered = rig.recover_with(Evidence::default());
    assert_eq!(recovered.report().verdict, Verdict::Fresh);
    assert_eq!(recovered.report().rows, [Row::Fresh]);
    let recovered = rig.recover();
    assert_eq!(recovered.report().verdict, Verdict::CorruptAll { stamp: None });
    let recovered = recovered.into_journal().unwrap_err();
    drop(recovered);
    let recovered = rig.recover_with(Evidence { activated: false, ..stamped(9) });
    assert_eq!(recovered.report().verdict, Verdict::CorruptAll { stamp: Some(Seq(9)) });
    let journal = recovered.accept_loss().unwrap();
    assert_eq!((journal.open_seq(), journal.start()), (Seq(10), Seq(10)), "nothing is given twice");
}

#[test]
fn a_missing_journal_is_not_fresh_if_it_was_activated() {
    let mut rig = Rig::new(config());
    rig.disk.files.clear();
    assert_eq!(rig.recover().report().verdict, Verdict::CorruptAll { stamp: None });
    let fresh = rig.recover_with(Evidence::default());
    assert_eq!(fresh.report().verdict, Verdict::Fresh);
}

#[test]
fn a_sealed_log_is_clean_and_restarts_without_a_write() {
    let mut rig = Rig::new(config());
    rig.commit(b"one");
    rig.journal.close();
    rig.turn();
    rig.land();
    assert!(rig.journal.is_sealed());
    let report = rig.restart();
    assert!(report.sealed && report.verdict == Verdict::Clean, "{report:?}");
    assert!(rig.journal.is_sealed() && rig.disk.flying.is_empty());
}

#[test]
fn the_next_incarnation_begins_in_a_fresh_segment_and_says_where() {
    let mut rig = Rig::new(config());
    rig.commit(b"one");
    let first = rig.place(Seq(1));
    let recovered = rig.recover();
    assert_eq!(rig.payloads(&recovered), [(Seq(1), b"one".to_vec(), true)]);
    rig.journal = recovered.into_journal().unwrap();
    rig.rest();
    let dumped = dump(&mut rig.disk, &rig.config);
    let frame = dumped.frames.iter().find(|frame| frame.seen.stamp.seq == Seq(2)).unwrap();
    let stamp = frame.seen.stamp;
    assert_ne!(stamp.place.segment, first.segment);
    assert_eq!((stamp.inc, stamp.inc_base, stamp.durable), (Incarnation(2), Seq(2), Seq(1)));
    assert_eq!(frame.seen.entries, 0, "the idle seal of what was found");
}

#[test]
fn recovery_repeats_its_verdict() {
    let mut rig = Rig::new(config());
    rig.commit(b"one");
    let seq = rig.commit(&[2; 5000]);
    let place = rig.place(seq);
    rig.disk.rot(place, 200);
    let first = rig.recover().report().clone();
    assert_eq!((first.verdict, first.cut), (Verdict::Torn, Seq(2)));
    assert_eq!(*rig.recover().report(), first);
    // The next incarnation is killed before its first frame lands, then after it.
    rig.restart();
    assert_eq!(*rig.recover().report(), first);
    rig.restart();
    rig.rest();
    let report = rig.recover().report().clone();
    assert_eq!((report.verdict, report.cut), (Verdict::Clean, Seq(3)));
}

#[test]
fn a_damaged_payload_is_blamed_on_its_partition_only() {
    let mut rig = Rig::new(config());
    rig.commit(b"one");
    let other = PartitionId::new(TopicNumber(9), 9);
    let mine = NewEntry { partition: other, ..control(0) };
    rig.journal.append(rig.now, &mut rig.arena, mine, &[b"theirs"]).unwrap();
    let seq = rig.commit(b"two");
    rig.commit(b"three");
    let place = rig.place(seq);
    rig.disk.rot(place, 96);
    let recovered = rig.recover();
    let report = recovered.report();
    assert_eq!(report.verdict, Verdict::Corrupt { first: seq });
    let touched = Touched::Partitions(vec![other]);
    assert_eq!(report.damage, [Damage { first: seq, last: seq, touched }]);
    let intact: Vec<_> = rig.payloads(&recovered).iter().map(|entry| entry.2).collect();
    assert_eq!(intact, [true, false, true, true]);
    assert!(recovered.into_journal().is_ok(), "the others go on");
}

#[test]
fn a_lost_frame_in_the_middle_may_have_touched_anyone() {
    let mut rig = Rig::new(config());
    for payload in [b"1", b"2", b"3", b"4"] {
        rig.commit(payload);
    }
    for seq in [2, 3] {
        let place = rig.place(Seq(seq));
        rig.disk.rot(place, 20);
    }
    let recovered = rig.recover();
    let report = recovered.report();
    // Frame 4 says D = 3.
    let damage = Damage { first: Seq(2), last: Seq(3), touched: Touched::All };
    assert_eq!((report.damage.as_slice(), report.cut), ([damage].as_slice(), Seq(5)));
    let seqs: Vec<_> = recovered.frames().map(|(seq, _)| seq).collect();
    assert_eq!(seqs, [Seq(1), Seq(4)]);
}

#[test]
fn an_unreadable_block_at_the_end_is_suspect() {
    let mut rig = Rig::new(config());
    rig.commit(b"one");
    rig.commit(b"two");
    rig.disk.unreadable.insert((0, 1));
    let recovered = rig.recover();
    let report = recovered.report();
    assert_eq!((report.verdict, report.cut), (Verdict::Suspect, Seq(2)));
    assert_eq!((report.unreadable_blocks, report.rows.last()), (1, Some(&Row::Suspect)));
    let refused = recovered.into_journal().unwrap_err();
    assert_eq!(refused.accept_loss().unwrap().open_seq(), Seq(2));
}

#[test]
fn an_unreadable_block_below_the_durable_prefix_is_corrupt() {
    let mut rig = Rig::new(config());
    for payload in [b"1", b"2", b"3"] {
        rig.commit(payload);
    }
    rig.disk.unreadable.insert((0, 1));
    let report = rig.recover().report().clone();
    assert_eq!(report.verdict, Verdict::Corrupt { first: Seq(2) });
}

#[test]
fn an_unreadable_block_of_no_concern_is_only_counted() {
    let mut rig = Rig::new(config());
    rig.commit(b"one");
    rig.disk.unreadable.insert((0, 5));
    let report = rig.recover().report().clone();
    assert_eq!((report.verdict, report.unreadable_blocks), (Verdict::Clean, 1));
}

#[test]
fn a_misdirected_frame_is_bad_at_both_places() {
    let mut rig = Rig::new(config());
    for payload in [b"1", b"2", b"3"] {
        rig.commit(payload);
    }
    // The write of frame 2 went to block 5.
    let file = rig.disk.files.get_mut(&0).unwrap();
    file.copy_within(4096..8192, 5 * 4096);
    file[4096..8192].fill(0);
    let report = rig.recover().report().clone();
    assert_eq!(report.verdict, Verdict::Corrupt { first: Seq(2) });
    assert_eq!(report.misdirected, [Place { segment: 0, position: 5 * 4096 }]);
    // And that of the last: nobody testifies for it, but a cut moves nothing.
    let file = rig.disk.files.get_mut(&0).unwrap();
    file.copy_within(8192..12288, 6 * 4096);
    file[8192..12288].fill(0);
    assert_eq!(rig.recover().report().verdict, Verdict::Suspect);
}

#[test]
fn an_extent_that_knows_more_proves_a_lost_tail() {
    let mut rig = Rig::new(config());
    rig.commit(b"one");
    assert_eq!(rig.recover_with(stamped(1)).report().verdict, Verdict::Clean);
    let report = rig.recover_with(stamped(2)).report().clone();
    assert_eq!((report.verdict, report.cut), (Verdict::LostTail { stamp: Seq(2) }, Seq(2)));
    // The same, when the bins are read after the journal.
    let mut recovered = rig.recover();
    recovered.heed_stamp(Seq(1));
    assert_eq!(recovered.report().verdict, Verdict::Clean);
    recovered.heed_stamp(Seq(4));
    recovered.heed_stamp(Seq(3));
    assert_eq!(recovered.report().verdict, Verdict::LostTail { stamp: Seq(4) });
    let refused = recovered.into_journal().unwrap_err();
    // An operator accepts it: the log goes on behind everything that anyone remembers.
    rig.journal = refused.accept_loss().unwrap();
    assert_eq!(rig.journal.open_seq(), Seq(5));
    rig.journal.set_start(Seq(5));
    assert_eq!(rig.journal.start(), Seq(1), "no frame stands between");
    rig.commit(b"after");
    let recovered = rig.recover_with(stamped(4));
    let report = recovered.report();
    assert_eq!((report.verdict, report.cut), (Verdict::Clean, Seq(6)));
    assert!(report.damage.is_empty() && report.rows.contains(&Row::Skip));
    assert_eq!(rig.payloads(&recovered).len(), 2);
}

#[test]
fn two_histories_are_a_fork() {
    let mut rig = Rig::new(config());
    rig.commit(b"one");
    let before = rig.disk.files.clone();
    rig.commit(b"two");
    let longer = std::mem::replace(&mut rig.disk.files, before);
    let pages = |files: &BTreeMap<u16, Vec<u8>>| files[&0][4096..8192].to_vec();
    // The disk was rolled back, and another frame 1 written by what took itself for the same process.
    rig.disk.files.get_mut(&0).unwrap().fill(0);
    rig.journal = Journal::create(rig.config.clone(), &[0]);
    rig.commit(b"uno");
    rig.disk.files.get_mut(&0).unwrap()[4096..8192].copy_from_slice(&pages(&longer));
    let recovered = rig.recover();
    assert_eq!(recovered.report().verdict, Verdict::Fork { at: Seq(2) });
    let journal = recovered.into_journal().unwrap_err().accept_loss().unwrap();
    assert_eq!(journal.open_seq(), Seq(2));
}

#[test]
fn frames_of_another_version_halt() {
    let mut rig = Rig::new(config());
    rig.commit(b"one");
    let header = &mut rig.disk.files.get_mut(&0).unwrap()[..96];
    header[78] = 7;
    let seed = [&header[8..16], &header[76..78], &header[48..56]].concat();
    let crc = base::crc::crc32c_append(base::crc::crc32c(&seed), &header[..92]);
    header[92..].copy_from_slice(&crc.to_le_bytes());
    let recovered = rig.recover();
    assert_eq!(recovered.report().verdict, Verdict::UnknownVersion { version: 7 });
    assert!(recovered.accept_loss().is_err());
}

#[test]
fn every_file_is_synced_and_every_block_read_once() {
    let mut rig = Rig::new(JournalConfig { segment_bytes: 3 << 20, ..config() });
    for _ in 0..900 {
        rig.commit(&[1; 3000]);
        let start = Seq(rig.journal.durable_seq().0.saturating_sub(300));
        rig.journal.set_start(start.max(Seq(1)));
        let now = rig.journal.durable_seq();
        if now.0.is_multiple_of(300) {
            rig.restart();
        }
    }
    rig.disk.block_reads.clear();
    let report = rig.recover().report().clone();
    assert_eq!(report.verdict, Verdict::Clean);
    assert!(rig.disk.files.keys().all(|segment| rig.disk.synced.contains(segment)));
    let blocks: usize = rig.disk.files.values().map(|file| file.len() / 4096).sum();
    assert_eq!(rig.disk.block_reads.len(), blocks);
    assert!(rig.disk.block_reads.values().all(|count| *count == 1));
    assert_eq!(report.bytes_read, blocks as u64 * 4096);
}

#[test]
fn a_damaged_head_costs_a_second_reading_and_nothing_else() {
    let mut rig = Rig::new(config());
    for index in 0..40 {
        rig.commit(&[index; 3000]);
    }
    // The second segment loses its head: its frames are met before those of the first.
    let place = rig.place(Seq(17));
    assert_eq!(place.position, 0);
    rig.disk.rot(place, 0);
    let recovered = rig.recover();
    let report = recovered.report();
    assert_eq!(report.verdict, Verdict::Corrupt { first: Seq(17) });
    let files: u64 = rig.disk.files.values().map(|file| file.len() as u64).sum();
    assert_eq!(report.bytes_read, files + 39 * 4096);
    let found: Vec<_> = rig.payloads(&recovered).iter().map(|entry| entry.1[0] + 1).collect();
    let expected: Vec<_> = (1..=40).filter(|index| *index != 17).collect();
    assert_eq!(found, expected);
    let spans: Vec<_> = recovered.frames().map(|(_, span)| (span.lap, span.at)).collect();
    assert!(spans.is_sorted(), "memory mirrors the journal");
}

#[test]
fn a_small_arena_holds_what_is_needed_and_no_more() {
    let mut rig = Rig::new(config());
    for index in 0..40 {
        rig.commit(&[index; 3000]);
    }
    rig.journal.set_start(Seq(31));
    rig.commit(b"S = 31");
    let mut small = arena(12);
    let evidence = Evidence::default();
    let recovered = recover(&mut rig.disk, &mut small, &rig.config, evidence).unwrap();
    let seqs: Vec<_> = recovered.entries(&small).map(|entry| entry.seq.0).collect();
    assert_eq!(seqs, (31..=41).collect::<Vec<_>>());
    let error = recover(&mut rig.disk, &mut arena(8), &rig.config, evidence).unwrap_err();
    assert_eq!(error, RecoveryError::ArenaTooSmall { needed: 11 * 4096, arena: 8 * 4096 });
}

#[test]
fn a_failed_sync_ends_recovery_before_anything_is_believed() {
    let mut rig = Rig::new(config());
    rig.commit(b"one");
    let existing = rig.disk.existing(&rig.config);
    let mut recovery = Recovery::new(rig.config.clone(), &existing, Evidence::default());
    while let Some(op) = recovery.poll_op() {
        let done = match rig.disk.perform(&rig.arena, op).unwrap() {
            Done::Synced { tok, .. } => Done::Synced { tok, res: Err(IoError::Errno(5)) },
            other => panic!("{other:?} before the syncs"),
        };
        recovery.done(&mut rig.arena, done).unwrap();
    }
    assert!(recovery.is_finished());
    let error = recovery.finish(&mut rig.arena).unwrap_err();
    assert!(matches!(error, RecoveryError::Sync { error: IoError::Errno(5), .. }), "{error:?}");
}

/// A sync that failed in the start before this one may have left a cache that calls itself clean.
#[test]
fn what_nobody_testifies_for_is_written_again_by_recovery() {
    let mut rig = Rig::new(config());
    rig.commit(b"one");
    rig.submit(b"two");
    rig.disk.land_in_cache();
    let existing = rig.disk.existing(&rig.config);
    let mut recovery = Recovery::new(rig.config.clone(), &existing, Evidence::default());
    rig.arena = arena(1024);
    let mut rewritten = 0;
    while let Some(op) = recovery.poll_op() {
        let done = match op {
            Op::Sync { tok, .. } => Done::Synced { tok, res: Ok(()) },
            op => rig.disk.perform(&rig.arena, op).unwrap_or_else(|| {
                rewritten += 1;
                rig.disk.land(0)
            }),
        };
        recovery.done(&mut rig.arena, done).unwrap();
    }
    assert_eq!(recovery.finish(&mut rig.arena).unwrap().report().cut, Seq(3));
    assert_eq!(rewritten, 1, "frame 2 testifies for frame 1, and nobody for frame 2");
    rig.disk.lose_cache();
    let recovered = rig.recover();
    let found = [(Seq(1), b"one".to_vec(), true), (Seq(2), b"two".to_vec(), true)];
    assert_eq!(rig.payloads(&recovered), found);
}

#[test]
fn a_frame_that_cannot_be_written_again_ends_recovery() {
    let mut rig = Rig::new(config());
    rig.commit(b"one");
    let existing = rig.disk.existing(&rig.config);
    let mut recovery = Recovery::new(rig.config.clone(), &existing, Evidence::default());
    rig.arena = arena(1024);
    while let Some(op) = recovery.poll_op() {
        let done = rig.disk.perform(&rig.arena, op).unwrap_or_else(|| rig.disk.fail(0));
        recovery.done(&mut rig.arena, done).unwrap();
    }
    let error = recovery.finish(&mut rig.arena).unwrap_err();
    let failed = RecoveryError::Confirm { seq: Seq(1), error: IoError::Errno(5) };
    assert_eq!(error, failed);
}

#[test]
fn a_crash_loop_never_runs_out_of_fresh_segments() {
    let mut rig = Rig::new(config());
    for _ in 0..20 {
        rig.submit(b"and then it died");
        rig.land();
        let report = rig.restart();
        assert!(!report.verdict.halts());
        rig.turn();
    }
    assert!(rig.config.all_segments() < rig.disk.files.len() as u16, "more than configured");
    // Once the start moves, they all come back.
    let last = rig.commit(b"alive");
    rig.journal.set_start(last);
    rig.commit(b"one");
    rig.commit(b"two");
    assert!(20 <= rig.journal.occupancy().free_segments);
}

#[test]
fn a_half_made_segment_is_made_anew() {
    let mut rig = Rig::new(config());
    rig.commit(b"one");
    rig.disk.files.get_mut(&3).unwrap().truncate(8192);
    rig.restart();
    assert_eq!(rig.disk.files[&3].len() as u32, rig.config.segment_bytes);
}

#[test]
fn a_dump_tells_the_fate_of_every_frame() {
    let mut rig = Rig::new(config());
    for payload in [b"1", b"2", b"3"] {
        rig.commit(payload);
    }
    rig.journal.set_start(Seq(2));
    rig.submit(&[4; 5000]);
    rig.submit(&[5; 5000]);
    rig.land();
    rig.land();
    let place = rig.place(Seq(4));
    rig.disk.rot(place, 200);
    let before = rig.disk.files.clone();
    let dumped = dump(&mut rig.disk, &rig.config);
    let fates: Vec<_> = dumped.frames.iter().map(|one| (one.seen.stamp.seq.0, one.fate)).collect();
    let (passed, accepted, cut) = (Fate::Passed, Fate::Accepted, Fate::CutOff);
    assert_eq!(fates, [(1, passed), (2, accepted), (3, accepted), (4, cut), (5, cut)]);
    assert_eq!(dumped.frames[1].entries[0].head, b"2");
    assert!(!dumped.frames[3].entries[0].intact);
    assert_eq!(before, rig.disk.files);
    rig.restart();
    rig.rest();
    let dumped = dump(&mut rig.disk, &rig.config);
    assert_eq!(dumped.frames.iter().filter(|one| one.fate == Fate::Dead).count(), 2);
}
