//! What expires, what does not, and how records are found by their time.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use base::batch::BatchBuilder;
use base::{Batch, Offset, PartitionId};
use common::{Rig, batch, config, id, producer_batch};
use engine::{PartitionSettings, TimeLookup};

const HOUR_MS: i64 = 3_600_000;

fn keep(ms: Option<u64>, bytes: Option<u64>) -> PartitionSettings {
    PartitionSettings {
        retention_ms: ms,
        retention_bytes: bytes,
        timestamp_after_max_ms: i64::MAX,
        ..PartitionSettings::default()
    }
}

/// Appends 2 kB with a timestamp.
fn put_at(rig: &mut Rig, id: PartitionId, timestamp: i64) {
    loop {
        match rig.append(id, &batch(&[&[7; 2_000]], timestamp)) {
            Ok(appended) => return rig.settle(appended.seq),
            Err(engine::AppendError::Busy) => rig.step(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Lets the wall clock run on, and every partition be looked at.
fn pass(rig: &mut Rig, wall_ms: i64) {
    rig.now.wall.0 += wall_ms;
    for _ in 0..20 {
        rig.now.mono.0 += 10_000_000_000;
        rig.step();
    }
}

fn start(rig: &Rig, id: PartitionId) -> u64 {
    rig.engine.log_start(id).unwrap().0.0
}

#[test]
fn records_expire_by_age_in_bins_and_in_memory() {
    let mut rig = Rig::new(config());
    rig.create(id(0), 1);
    rig.engine.set_settings(id(0), keep(Some(HOUR_MS as u64), None));
    for _ in 0..400 {
        let now = rig.now.wall.0;
        put_at(&mut rig, id(0), now);
    }
    pass(&mut rig, HOUR_MS / 2);
    assert_eq!(start(&rig, id(0)), 0);
    for _ in 0..300 {
        let now = rig.now.wall.0;
        put_at(&mut rig, id(0), now);
    }
    pass(&mut rig, HOUR_MS / 2 + 1);
    let after_an_hour = start(&rig, id(0));
    assert!((250..=400).contains(&after_an_hour), "{after_an_hour}");
    assert_eq!(rig.read_all(id(0), Offset(after_an_hour)).len() as u64, 700 - after_an_hour);
    pass(&mut rig, HOUR_MS);
    assert_eq!(start(&rig, id(0)), 700, "the tail in memory expires too");
    let rig = rig.crash();
    assert_eq!(start(&rig, id(0)), 700);
}

#[test]
fn a_timestamp_from_the_far_future_keeps_nothing_for_ever() {
    let mut rig = Rig::new(config());
    rig.create(id(0), 1);
    rig.engine.set_settings(id(0), keep(Some(HOUR_MS as u64), None));
    let future = rig.now.wall.0 + 1_000 * HOUR_MS;
    for _ in 0..400 {
        put_at(&mut rig, id(0), future);
    }
    pass(&mut rig, HOUR_MS - 60_000);
    assert_eq!(start(&rig, id(0)), 0);
    pass(&mut rig, 2 * 60_000);
    assert_eq!(start(&rig, id(0)), 400);
}

#[test]
fn records_expire_by_size() {
    let mut rig = Rig::new(config());
    rig.create(id(0), 1);
    rig.create(id(1), 1);
    rig.engine.set_settings(id(0), keep(None, Some(200_000)));
    for _ in 0..800 {
        put_at(&mut rig, id(0), 0);
    }
    put_at(&mut rig, id(1), 0);
    pass(&mut rig, 1);
    let left = 800 - start(&rig, id(0));
    // No less than the limit, no more than an extent beyond it.
    assert!((97..=97 + 130).contains(&left), "{left} records of 2,070 bytes are left");
    assert_eq!(start(&rig, id(1)), 0, "without a limit nothing goes");
}

#[test]
fn silent_producers_are_forgotten() {
    let mut rig = Rig::new(config());
    rig.create(id(0), 1);
    rig.append(id(0), &producer_batch(&[b"a"], 7, 0, 0)).unwrap();
    assert!(rig.append(id(0), &producer_batch(&[b"a"], 7, 0, 5)).is_err());
    assert_eq!(rig.engine.metrics().producers, 1);
    pass(&mut rig, 24 * HOUR_MS + 1);
    assert_eq!(rig.engine.metrics().producers, 0);
    rig.append(id(0), &producer_batch(&[b"a"], 7, 0, 5)).unwrap();
}

#[test]
fn records_are_found_by_time_in_bins_and_in_memory() {
    let mut rig = Rig::new(config());
    rig.create(id(0), 1);
    rig.engine.set_settings(id(0), keep(None, None));
    for at in 0..600 {
        put_at(&mut rig, id(0), at * 10);
    }
    assert!(matches!(rig.engine.lookup_time(id(0), 0), Ok(TimeLookup::Disk(_))));
    for (since, offset) in [(0, 0), (1, 1), (10, 1), (2_995, 300), (5_990, 599)] {
        let lookup = rig.engine.lookup_time(id(0), since).unwrap();
        rig.steps(5);
        while rig.engine.poll_lookup().is_some() {}
        let lookup = match lookup {
            TimeLookup::Disk(_) => rig.engine.lookup_time(id(0), since).unwrap(),
            known => known,
        };
        let hit = rig.lookup(lookup).unwrap();
        assert_eq!((hit.offset.0, hit.timestamp_ms, hit.exact), (offset, offset as i64 * 10, true));
    }
    assert_eq!(rig.engine.lookup_time(id(0), 5_991), Ok(TimeLookup::None));
    let max = rig.engine.max_timestamp(id(0)).unwrap();
    assert_eq!(rig.lookup(max).unwrap().offset, Offset(599));

    rig.engine.delete_records(rig.now, id(0), Offset(50)).unwrap();
    let lookup = rig.engine.lookup_time(id(0), 0).unwrap();
    assert_eq!(rig.lookup(lookup).unwrap().offset, Offset(50), "not what was deleted");
}

/// `batch` with its records compressed by snappy.
fn compressed(batch: &[u8]) -> Vec<u8> {
    let (header, records) = batch.split_at(Batch::HEADER_BYTES);
    let small = snap::raw::Encoder::new().compress_vec(records).unwrap();
    let mut batch = [header, &small].concat();
    let length = (batch.len() - Batch::PREFIX_BYTES) as u32;
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    batch[22] |= 2;
    let crc = base::crc::crc32c(&batch[Batch::CRC_FROM..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

#[test]
fn a_lookup_finds_the_record_within_a_compressed_batch() {
    let mut rig = Rig::new(config());
    rig.create(id(0), 1);
    for first in [100, 200] {
        let mut builder = BatchBuilder::new(first);
        for at in first..first + 100 {
            builder.push(at, None, Some(b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"), &[]);
        }
        let appended = rig.append(id(0), &compressed(&builder.build())).unwrap();
        rig.settle(appended.seq);
    }
    let mut found = |since| {
        let lookup = rig.engine.lookup_time(id(0), since).unwrap();
        rig.lookup(lookup).map(|hit| (hit.offset.0, hit.timestamp_ms, hit.exact))
    };
    assert_eq!(found(0), Some((0, 100, true)));
    assert_eq!(found(177), Some((77, 177, true)));
    assert_eq!(found(299), Some((199, 299, true)));
    assert_eq!(found(300), None);
    let max = rig.engine.max_timestamp(id(0)).unwrap();
    assert_eq!(rig.lookup(max).unwrap().offset, Offset(199));
}

#[test]
fn a_compressed_batch_that_is_none_is_found_as_a_whole() {
    let mut rig = Rig::new(config());
    rig.create(id(0), 1);
    let mut builder = BatchBuilder::new(100);
    builder.push(100, None, Some(b"x"), &[]);
    builder.push(200, None, Some(b"x"), &[]);
    let mut batch = builder.build();
    batch[22] |= 4; // the records are no zstd
    let crc = base::crc::crc32c(&batch[Batch::CRC_FROM..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    let appended = rig.append(id(0), &batch).unwrap();
    rig.settle(appended.seq);
    let lookup = rig.engine.lookup_time(id(0), 150).unwrap();
    let hit = rig.lookup(lookup).unwrap();
    assert_eq!((hit.offset, hit.timestamp_ms, hit.exact), (Offset(0), 200, false));
}

#[test]
fn a_lookup_finds_the_record_within_its_batch() {
    let mut rig = Rig::new(config());
    rig.create(id(0), 1);
    let mut builder = BatchBuilder::new(100);
    for at in [100, 300, 200, 400] {
        builder.push(at, None, Some(b"x"), &[]);
    }
    let appended = rig.append(id(0), &builder.build()).unwrap();
    assert_eq!(rig.engine.lookup_time(id(0), 0), Ok(TimeLookup::None), "not committed yet");
    rig.settle(appended.seq);
    let mut found = |since| {
        let lookup = rig.engine.lookup_time(id(0), since).unwrap();
        rig.lookup(lookup).map(|hit| (hit.offset.0, hit.timestamp_ms))
    };
    assert_eq!(found(150), Some((1, 300)), "the first that is late enough, not the closest");
    assert_eq!(found(400), Some((3, 400)));
    assert_eq!(found(401), None);
}

#[test]
fn a_cancelled_read_is_never_answered() {
    let mut rig = Rig::new(config());
    rig.create(id(0), 1);
    for at in 0..400 {
        put_at(&mut rig, id(0), at);
    }
    let mut spans = Vec::new();
    let Ok(engine::Read::Disk(first)) = rig.engine.read(id(0), Offset(0), 9, true, &mut spans)
    else {
        panic!("the oldest record is in a bin");
    };
    rig.engine.cancel_read(first);
    rig.steps(5);
    assert!(rig.engine.poll_read().is_none());
    let Ok(engine::Read::Disk(second)) = rig.engine.read(id(0), Offset(0), 9, true, &mut spans)
    else {
        panic!("the oldest record is in a bin");
    };
    rig.engine.turn(rig.now);
    rig.engine.cancel_read(second);
    rig.steps(5);
    assert!(rig.engine.poll_read().is_none(), "cancelled while in flight");
    assert_eq!(rig.read_all(id(0), Offset(0)).len(), 400);
}

#[test]
fn what_was_just_deleted_counts_no_more() {
    let mut rig = Rig::new(config());
    rig.create(id(0), 1);
    rig.engine.set_settings(id(0), keep(None, Some(20_000)));
    for _ in 0..9 {
        put_at(&mut rig, id(0), 0);
    }
    pass(&mut rig, 0);
    assert_eq!(start(&rig, id(0)), 0, "nine are within the limit");
    for _ in 0..9 {
        put_at(&mut rig, id(0), 0);
    }
    rig.engine.delete_records(rig.now, id(0), Offset(9)).unwrap();
    // Looked at while the deletion is not durable.
    rig.now.mono.0 += 10_000_000_000;
    rig.engine.turn(rig.now);
    assert_eq!(start(&rig, id(0)), 9, "the other nine are within the limit");
}
