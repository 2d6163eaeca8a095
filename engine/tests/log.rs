//! One partition from its creation to a consumer, through memory only.

mod common;

use base::{Committed, Durable, Epoch, LogEnd, LogStart, Offset};
use common::{Rig, config, id, producer_batch};
use engine::{AppendError, ProducerError, Read, ReadError, Refused};

#[test]
fn a_record_is_durable_before_it_is_seen() {
    let mut rig = Rig::new(config());
    rig.create(id(0), 1);
    let appended = rig.append(id(0), &common::batch(&[b"a", b"b"], 1_000_000)).unwrap();
    assert_eq!((appended.base, appended.duplicate), (Offset(0), false));
    assert!(rig.engine.durable_seq() < appended.seq);
    assert_eq!(rig.engine.log_end(id(0)), Some(LogEnd(Offset(2))));
    assert_eq!(rig.engine.durable(id(0)), Some(Durable(Offset(0))));
    let mut spans = Vec::new();
    assert_eq!(rig.engine.read(id(0), Offset(0), 999, true, &mut spans), Ok(Read::Empty));

    rig.settle(appended.seq);
    assert_eq!(rig.engine.durable(id(0)), Some(Durable(Offset(2))));
    assert_eq!(rig.engine.committed(id(0)), Some(Committed(Offset(2))));
    assert_eq!(rig.read_all(id(0), Offset(1)), [(1, b"b".to_vec())]);
    let error = rig.engine.read(id(0), Offset(3), 999, true, &mut spans).unwrap_err();
    let (log_start, log_end) = (LogStart(Offset(0)), LogEnd(Offset(2)));
    assert_eq!(error, ReadError::OutOfRange { log_start, log_end });
}

#[test]
fn nothing_is_appended_before_an_epoch_is_opened() {
    let mut rig = Rig::new(config());
    let settings = engine::PartitionSettings::default();
    assert_eq!(rig.append(id(0), &common::batch(&[b"a"], 0)), Err(AppendError::NoPartition));
    rig.engine.create_partition(rig.now, id(0), settings).unwrap();
    assert_eq!(rig.append(id(0), &common::batch(&[b"a"], 0)), Err(AppendError::EpochNotOpen));
    rig.engine.open_epoch(rig.now, id(0), Epoch(3)).unwrap();
    let stale = rig.engine.open_epoch(rig.now, id(0), Epoch(3));
    assert_eq!(stale, Err(Refused::StaleEpoch { opened: Epoch(3) }));
    rig.append(id(0), &common::batch(&[b"a"], 0)).unwrap();
    assert_eq!(rig.engine.end_of_epoch(id(0), Epoch(3)), Some((Epoch(3), Offset(1))));
}

#[test]
fn limits_and_timestamps_are_kept() {
    let mut rig = Rig::new(config());
    rig.create(id(0), 1);
    let now = rig.now.wall.0;
    let future = common::batch(&[b"a"], now + 3_600_001);
    assert_eq!(rig.append(id(0), &future), Err(AppendError::InvalidTimestamp));
    rig.append(id(0), &common::batch(&[b"a"], now + 3_600_000)).unwrap();
    rig.append(id(0), &common::batch(&[b"a"], 0)).unwrap();
    rig.append(id(0), &common::batch(&[b"a"], -1)).unwrap();

    let defaults = engine::PartitionSettings::default();
    let strict = engine::PartitionSettings { timestamp_before_max_ms: 10, ..defaults };
    rig.engine.set_settings(id(0), strict);
    let past = common::batch(&[b"a"], now - 11);
    assert_eq!(rig.append(id(0), &past), Err(AppendError::InvalidTimestamp));

    let small = engine::PartitionSettings { max_message_bytes: 100, ..defaults };
    rig.engine.set_settings(id(0), small);
    let large = common::batch(&[&[1; 100]], now);
    assert_eq!(rig.append(id(0), &large), Err(AppendError::TooLarge { max: 100 }));
    rig.engine.set_settings(id(0), defaults);
    let max = rig.config.journal.max_payload_bytes();
    let larger = common::batch(&[&vec![1; max as usize]], now);
    assert_eq!(rig.append(id(0), &larger), Err(AppendError::TooLarge { max }));
}

#[test]
fn the_broker_stamps_the_time_of_append() {
    let mut rig = Rig::new(config());
    rig.create(id(0), 1);
    let settings = engine::PartitionSettings { append_time: true, ..Default::default() };
    rig.engine.set_settings(id(0), settings);
    let appended = rig.append(id(0), &common::batch(&[b"a"], 5)).unwrap();
    assert_eq!(appended.append_time_ms, Some(rig.now.wall.0));
    rig.settle(appended.seq);
    let bytes = rig.read(id(0), Offset(0), 1000);
    let batch = base::Batch::parse(&bytes).unwrap();
    batch.verify_checksum().unwrap();
    assert!(batch.is_log_append_time());
    assert_eq!(batch.max_timestamp(), rig.now.wall.0);
    assert_eq!(rig.append(id(0), &bytes), Err(AppendError::InvalidTimestamp), "not the client's");
}

#[test]
fn a_repeated_batch_gets_the_original_offset_and_waits_for_the_original() {
    let mut rig = Rig::new(config());
    rig.create(id(0), 1);
    let first = rig.append(id(0), &producer_batch(&[b"a", b"b"], 7, 0, 0)).unwrap();
    let again = rig.append(id(0), &producer_batch(&[b"a", b"b"], 7, 0, 0)).unwrap();
    assert_eq!((again.base, again.seq, again.duplicate), (Offset(0), first.seq, true));
    rig.settle(first.seq);
    let again = rig.append(id(0), &producer_batch(&[b"a", b"b"], 7, 0, 0)).unwrap();
    assert!(again.duplicate && again.seq <= rig.engine.durable_seq());
    let gap = rig.append(id(0), &producer_batch(&[b"c"], 7, 0, 3)).unwrap_err();
    let error = ProducerError::OutOfOrderSequence { expected: 2, got: 3 };
    assert_eq!(gap, AppendError::Producer(error));
    assert_eq!(rig.engine.log_end(id(0)), Some(LogEnd(Offset(2))));
}

#[test]
fn deleted_records_are_gone_and_a_deleted_partition_is_too() {
    let mut rig = Rig::new(config());
    rig.create(id(0), 1);
    for value in [b"a", b"b", b"c"] {
        rig.put(id(0), &[value]);
    }
    let committed = Offset(3);
    let beyond = rig.engine.delete_records(rig.now, id(0), Offset(4));
    assert_eq!(beyond, Err(Refused::BeyondCommitted { committed }));
    rig.engine.delete_records(rig.now, id(0), Offset(2)).unwrap();
    assert_eq!(rig.engine.log_start(id(0)), Some(LogStart(Offset(2))));
    let mut spans = Vec::new();
    assert!(rig.engine.read(id(0), Offset(1), 99, true, &mut spans).is_err());
    assert_eq!(rig.read_all(id(0), Offset(2)), [(2, b"c".to_vec())]);

    let seq = rig.engine.delete_partition(rig.now, id(0)).unwrap();
    assert_eq!(rig.engine.log_end(id(0)), None);
    assert_eq!(rig.append(id(0), &common::batch(&[b"a"], 0)), Err(AppendError::NoPartition));
    rig.settle(seq);
    assert_eq!(rig.engine.delete_partition(rig.now, id(0)), Err(Refused::NoPartition));
}

#[test]
fn truncation_takes_producers_and_epochs_along() {
    let mut rig = Rig::new(config());
    rig.create(id(0), 1);
    rig.append(id(0), &producer_batch(&[b"a"], 7, 0, 0)).unwrap();
    rig.settle(rig.engine.durable_seq().next());
    rig.engine.open_epoch(rig.now, id(0), Epoch(2)).unwrap();
    rig.append(id(0), &producer_batch(&[b"b"], 7, 0, 1)).unwrap();
    rig.engine.truncate(rig.now, id(0), Offset(1)).unwrap();
    assert_eq!(rig.engine.log_end(id(0)), Some(LogEnd(Offset(1))));
    let again = producer_batch(&[b"c"], 7, 0, 1);
    assert_eq!(rig.append(id(0), &again), Err(AppendError::EpochNotOpen), "its reign is over");
    rig.engine.open_epoch(rig.now, id(0), Epoch(3)).unwrap();
    let appended = rig.append(id(0), &again).unwrap();
    assert_eq!((appended.base, appended.duplicate), (Offset(1), false));
    rig.settle(appended.seq);
    assert_eq!(rig.read_all(id(0), Offset(0)), [(0, b"a".to_vec()), (1, b"c".to_vec())]);
}
