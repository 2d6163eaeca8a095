//! What a new process finds of an old one.

mod common;

use base::{Committed, Epoch, IoError, LogEnd, LogStart, Offset};
use common::disk::Disk;
use common::{Rig, batch, config, id, producer_batch};
use engine::journal::MissingSegment;
use engine::{AppendError, Phase, Refused};

#[test]
fn a_new_process_finds_what_was_durable() {
    let mut rig = Rig::new(config());
    rig.create(id(0), 1);
    rig.create(id(1), 4);
    rig.put(id(0), &[b"a", b"b"]);
    rig.put(id(1), &[b"c"]);
    rig.put(id(0), &[b"d"]);
    let mut rig = rig.crash();
    let all = [(0, b"a".to_vec()), (1, b"b".to_vec()), (2, b"d".to_vec())];
    assert_eq!(rig.read_all(id(0), Offset(0)), all);
    assert_eq!(rig.read_all(id(1), Offset(0)), [(0, b"c".to_vec())]);
    assert_eq!(rig.engine.committed(id(0)), Some(Committed(Offset(3))));
    assert_eq!(rig.engine.end_of_epoch(id(1), Epoch(4)), Some((Epoch(4), Offset(1))));
    assert_eq!(rig.engine.halt(id(0)), None);
}

#[test]
fn a_start_without_room_says_which_file_it_lacks_and_opens_once_there_is_room() {
    let config = config();
    let mut full = Disk::new(1);
    full.capacity = u64::from(config.journal.segment_bytes) - 1;
    let mut rig = Rig::start(config, full);
    assert_eq!(rig.engine.missing_segment(), None, "nothing was refused yet");
    rig.steps(3);
    let missing = MissingSegment { bytes: 64 << 10, error: IoError::Errno(28) };
    assert_eq!(rig.engine.missing_segment(), Some(missing));
    assert_eq!(*rig.engine.phase(), Phase::Recovering);
    rig.disk.capacity = u64::MAX;
    rig.now.mono = rig.engine.next_timeout().unwrap();
    rig.steps(3);
    assert_eq!(*rig.engine.phase(), Phase::Open);
    assert_eq!(rig.engine.missing_segment(), None);
    rig.disk.capacity = 0;
    rig.steps(3);
    assert_eq!(rig.engine.missing_segment(), None, "a segment that an open log wants is no need");
}

#[test]
fn no_epoch_is_resumed_by_a_new_process() {
    let mut rig = Rig::new(config());
    rig.create(id(0), 1);
    rig.put(id(0), &[b"a"]);
    let mut rig = rig.crash();
    assert_eq!(rig.append(id(0), &batch(&[b"b"], 0)), Err(AppendError::EpochNotOpen));
    let resumed = rig.engine.open_epoch(rig.now, id(0), Epoch(1));
    assert_eq!(resumed, Err(Refused::StaleEpoch { opened: Epoch(1) }));
    rig.engine.open_epoch(rig.now, id(0), Epoch(2)).unwrap();
    assert_eq!(rig.put(id(0), &[b"b"]), Offset(1));
}

#[test]
fn producers_log_start_and_deletions_survive() {
    let mut rig = Rig::new(config());
    rig.create(id(0), 1);
    rig.create(id(1), 1);
    for sequence in 0..3 {
        rig.append(id(0), &producer_batch(&[b"x"], 7, 0, sequence)).unwrap();
    }
    rig.steps(3);
    let seq = rig.engine.delete_records(rig.now, id(0), Offset(2)).unwrap();
    rig.engine.delete_partition(rig.now, id(1)).unwrap();
    rig.settle(seq.next());
    let mut rig = rig.crash();
    assert_eq!(rig.engine.partitions().collect::<Vec<_>>(), [id(0)]);
    assert_eq!(rig.engine.log_start(id(0)), Some(LogStart(Offset(2))));
    rig.engine.open_epoch(rig.now, id(0), Epoch(2)).unwrap();
    let again = rig.append(id(0), &producer_batch(&[b"x"], 7, 0, 1)).unwrap();
    assert_eq!((again.base, again.duplicate), (Offset(1), true));
    let next = rig.append(id(0), &producer_batch(&[b"x"], 7, 0, 3)).unwrap();
    assert_eq!((next.base, next.duplicate), (Offset(3), false));
    rig.settle(next.seq);
    assert_eq!(rig.engine.log_end(id(0)), Some(LogEnd(Offset(4))));
}

#[test]
fn a_truncation_survives() {
    let mut rig = Rig::new(config());
    rig.create(id(0), 1);
    rig.put(id(0), &[b"a"]);
    rig.append(id(0), &batch(&[b"b"], 0)).unwrap();
    rig.engine.truncate(rig.now, id(0), Offset(1)).unwrap();
    rig.engine.open_epoch(rig.now, id(0), Epoch(2)).unwrap();
    rig.put(id(0), &[b"c"]);
    let mut rig = rig.crash();
    assert_eq!(rig.read_all(id(0), Offset(0)), [(0, b"a".to_vec()), (1, b"c".to_vec())]);
    assert_eq!(rig.engine.end_of_epoch(id(0), Epoch(1)), Some((Epoch(1), Offset(1))));
}

#[test]
fn crash_after_crash_nothing_acked_is_lost() {
    let mut rig = Rig::new(config());
    rig.disk.delays = true;
    rig.engine.create_partition(rig.now, id(0), Default::default()).unwrap();
    let mut expected = Vec::new();
    for epoch in 1..60 {
        let seq = loop {
            match rig.engine.open_epoch(rig.now, id(0), Epoch(epoch)) {
                Ok(seq) => break seq,
                Err(refused) => assert_eq!(refused, Refused::Busy),
            }
            rig.step();
        };
        rig.settle(seq);
        // What was in flight at the crash may have survived.
        let found = rig.read_all(id(0), Offset(0));
        assert!(found.starts_with(&expected), "epoch {epoch}");
        expected = found;
        let value = epoch.to_le_bytes();
        let offset = rig.put(id(0), &[&value]);
        expected.push((offset.0, value.to_vec()));
        for _ in 0..rig.disk.below(4) {
            rig.append(id(0), &batch(&[b"in flight"], 0)).unwrap();
            rig.engine.turn(rig.now);
        }
        rig = rig.crash();
    }
}
