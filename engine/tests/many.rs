//! Ten thousand partitions on one shard.

mod common;

use base::{Epoch, Offset, ShardId};
use common::disk::Disk;
use common::{Rig, batch, id};
use engine::journal::JournalConfig;
use engine::{AppendError, EngineConfig, PartitionSettings};

const PARTITIONS: u32 = 10_000;

fn config() -> EngineConfig {
    let mut journal = JournalConfig::new(ShardId(0), 0x1234);
    journal.segment_bytes = 2 << 20;
    journal.segments = 16;
    journal.frame_max_bytes = 512 << 10;
    EngineConfig { bin_bytes: 16 << 20, bins_max: 64, ..EngineConfig::new(journal) }
}

#[test]
fn ten_thousand_partitions_are_written_destaged_and_found_again() {
    let mut rig = Rig::over(config(), Disk::new(3));
    let mut index = 0;
    while index < PARTITIONS {
        let now = rig.now;
        let created = rig.engine.create_partition(now, id(index), PartitionSettings::default());
        let opened = created.and_then(|_| rig.engine.open_epoch(now, id(index), Epoch(1)));
        match opened {
            Ok(_) => index += 1,
            Err(_) => rig.step(),
        }
    }
    // 100 MiB over a journal of 32 MiB.
    for round in 0..10u32 {
        for index in 0..PARTITIONS {
            let bytes = batch(&[&round.to_le_bytes(), &[0; 900]], rig.now.wall.0);
            while let Err(error) = rig.append(id(index), &bytes) {
                assert_eq!(error, AppendError::Busy);
                rig.step();
            }
            if index % 64 == 0 {
                rig.step();
            }
        }
    }
    rig.steps(50);
    let metrics = rig.engine.metrics();
    println!("{metrics:?}");
    assert_eq!(metrics.partitions, u64::from(PARTITIONS));
    let mean = metrics.destaged_bytes / metrics.extents;
    assert!(1_000 < mean, "extents of {mean} bytes");
    let mut rig = rig.crash();
    for index in (0..PARTITIONS).step_by(97) {
        let found = rig.read_all(id(index), Offset(0));
        let rounds: Vec<_> = found.iter().step_by(2).map(|(_, value)| value[0]).collect();
        assert_eq!(rounds, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], "partition {index}");
    }
}

/// Creates as many partitions as it takes until their state fills `percent` of the journal.
fn crowd(rig: &mut Rig, percent: u64) -> u32 {
    let bytes =
        u64::from(rig.config.journal.segments) * u64::from(rig.config.journal.segment_bytes);
    // A snapshot of nothing takes 124 bytes.
    let count = (bytes * percent / 100 / 124) as u32;
    let mut index = 0;
    while index < count {
        match rig.engine.create_partition(rig.now, id(index), PartitionSettings::default()) {
            Ok(_) => index += 1,
            Err(_) => rig.step(),
        }
    }
    count
}

#[test]
fn a_journal_full_of_state_rests_when_nobody_appends_and_takes_appends_for_ever() {
    let mut rig = Rig::over(common::config(), Disk::new(4));
    let count = crowd(&mut rig, 55);
    let written = |rig: &Rig| rig.engine.metrics().journal_counters.bytes;
    for round in 0..2 {
        rig.steps(3_000);
        let before = written(&rig);
        rig.steps(1_000);
        assert_eq!(written(&rig), before, "round {round}: nobody appends");
        rig = rig.crash();
    }
    rig.engine.open_epoch(rig.now, id(count / 2), Epoch(1)).unwrap();
    for _ in 0..2_000 {
        rig.put(id(count / 2), &[&[1; 500]]);
    }
    let rig = rig.crash();
    assert_eq!(rig.engine.metrics().partitions, u64::from(count));
}
