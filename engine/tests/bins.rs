//! From the journal to the bins and back.

mod common;

use base::{Committed, Epoch, Offset};
use common::{Rig, batch, config, id};
use engine::{AppendError, EngineConfig, PartitionSettings};

/// Fills partitions round-robin with values of `bytes`, and returns what each must hold.
fn fill(rig: &mut Rig, partitions: u32, rounds: u32, bytes: usize) -> Vec<Vec<(u64, Vec<u8>)>> {
    let mut all = vec![Vec::new(); partitions as usize];
    for round in 0..rounds {
        for (index, expected) in all.iter_mut().enumerate() {
            let value = vec![(round % 251) as u8; bytes];
            let offset = rig.put(id(index as u32), &[&value]);
            expected.push((offset.0, value));
        }
    }
    all
}

#[test]
fn a_journal_that_is_written_ten_times_over_loses_nothing() {
    let mut rig = Rig::new(config());
    for index in 0..4 {
        rig.create(id(index), 1);
    }
    let all = fill(&mut rig, 4, 700, 2_000);
    let metrics = rig.engine.metrics();
    assert!(metrics.destaged_bytes > 3 << 20, "{metrics:?}");
    for (index, expected) in all.iter().enumerate() {
        assert_eq!(rig.read_all(id(index as u32), Offset(0)), *expected);
    }
    let mut rig = rig.crash();
    for (index, expected) in all.iter().enumerate() {
        assert_eq!(rig.read_all(id(index as u32), Offset(0)), *expected, "after a crash");
    }
}

#[test]
fn cold_partitions_are_carried_and_never_pin_the_journal() {
    let mut rig = Rig::new(config());
    for index in 0..20 {
        rig.create(id(index), 1);
    }
    for index in 1..20 {
        rig.put(id(index), &[format!("cold {index}").as_bytes()]);
    }
    let mut expected = Vec::new();
    for round in 0..1_500u32 {
        let value = vec![round as u8; 2_000];
        let offset = rig.put(id(0), &[&value]);
        expected.push((offset.0, value));
    }
    assert!(rig.engine.metrics().carried_bytes > 0);
    let mut rig = rig.crash();
    assert_eq!(rig.read_all(id(0), Offset(0)), expected);
    for index in 1..20 {
        let value = format!("cold {index}").into_bytes();
        assert_eq!(rig.read_all(id(index), Offset(0)), [(0, value)]);
    }
    rig.engine.open_epoch(rig.now, id(7), Epoch(2)).unwrap();
    assert_eq!(rig.put(id(7), &[b"warm"]), Offset(1));
}

#[test]
fn deleting_records_frees_bins_for_reuse() {
    let mut rig = Rig::new(config());
    rig.create(id(0), 1);
    for round in 0..12_000u32 {
        let offset = rig.put(id(0), &[&vec![round as u8; 2_000]]);
        if round % 500 == 0 {
            let before = Offset(offset.0.saturating_sub(400));
            rig.engine.delete_records(rig.now, id(0), before).unwrap();
        }
    }
    let metrics = rig.engine.metrics();
    assert!(metrics.destaged_bytes > 20 << 20, "{metrics:?}");
    assert!(metrics.bins_free + metrics.bins_used <= 8, "{metrics:?}");
    let start = rig.engine.log_start(id(0)).unwrap().0;
    let end = rig.engine.log_end(id(0)).unwrap().0;
    let found = rig.read_all(id(0), start);
    assert_eq!(found.len() as u64, end.since(start));
    let mut rig = rig.crash();
    assert_eq!(rig.read_all(id(0), start), found);
}

#[test]
fn a_sparse_bin_is_emptied_for_reuse() {
    let mut rig = Rig::new(config());
    rig.create(id(0), 1);
    rig.create(id(1), 1);
    // Partition 1 leaves a little in every bin, and partition 0 deletes all it has.
    let mut kept = Vec::new();
    for round in 0..4_000u32 {
        let value = vec![round as u8; 2_000];
        let offset = rig.put(id(0), &[&value]);
        if round % 10 == 0 {
            let at = rig.put(id(1), &[&value]);
            kept.push((at.0, value));
        }
        let before = Offset(offset.0.saturating_sub(1_000));
        rig.engine.delete_records(rig.now, id(0), before).unwrap();
    }
    rig.steps(300);
    let metrics = rig.engine.metrics();
    assert!(metrics.extents_moved > 0, "{metrics:?}");
    assert_eq!(rig.read_all(id(1), Offset(0)), kept);
    let mut rig = rig.crash();
    assert_eq!(rig.read_all(id(1), Offset(0)), kept);
}

#[test]
fn a_full_disk_refuses_appends_and_recovers_when_records_are_deleted() {
    let mut rig = Rig::new(config());
    rig.create(id(0), 1);
    rig.disk.capacity = 8 << 20;
    let bytes = batch(&[&[1; 2_000]], rig.now.wall.0);
    let mut appended = 0;
    let refusal = loop {
        match rig.append(id(0), &bytes) {
            Ok(_) => appended += 1,
            Err(AppendError::Busy) => {}
            Err(error) => break error,
        }
        rig.step();
        assert!(appended < 10_000, "the disk holds all this?");
    };
    assert_eq!(refusal, AppendError::DiskFull);
    rig.steps(100);
    assert_eq!(rig.read_all(id(0), Offset(0)).len(), appended, "reads still work");
    let seq = rig.engine.delete_records(rig.now, id(0), Offset(appended as u64)).unwrap();
    rig.settle(seq);
    for _ in 0..200 {
        rig.now.mono.0 += 1_000_000_000;
        rig.step();
    }
    rig.append(id(0), &bytes).unwrap();
}

#[test]
fn a_log_that_needs_no_bins_goes_on_without_them_while_its_journal_has_room() {
    let bytes = batch(&[&[1; 2_000]], 1_000_000);
    let fill = |admits_without_bins| {
        let mut rig = Rig::new(EngineConfig { admits_without_bins, ..config() });
        rig.create(id(0), 1);
        rig.steps(100);
        rig.disk.capacity = 0;
        let (mut taken, mut full) = (0, 0);
        for _ in 0..500 {
            match rig.append(id(0), &bytes) {
                Ok(_) => taken += 1,
                Err(AppendError::DiskFull) => full += 1,
                Err(error) => assert_eq!(error, AppendError::Busy),
            }
            rig.steps(2);
        }
        (rig, taken, full)
    };
    let (_, taken, full) = fill(false);
    assert!(0 < full, "no bin was wanted");
    let (mut rig, taken_without_bins, full) = fill(true);
    assert!(full == 0 && taken < taken_without_bins, "{taken_without_bins}, not more than {taken}");
    assert_eq!(rig.engine.missing_bin_bytes(), Some(rig.config.bin_bytes));
    rig.disk.capacity = u64::MAX;
    for _ in 0..200 {
        rig.now.mono.0 += 1_000_000_000;
        rig.step();
    }
    assert_eq!(rig.engine.missing_bin_bytes(), None);
    rig.append(id(0), &bytes).unwrap();
    rig.steps(100);
    assert_eq!(rig.read_all(id(0), Offset(0)).len(), taken_without_bins + 1);
}

#[test]
fn a_full_disk_recovers_although_every_bin_is_open() {
    let mut rig = Rig::new(EngineConfig { bins_max: 6, ..config() });
    assert_eq!(rig.config.reserved_bins(), 3);
    // Four classes of retention: each has a bin of its own, which does not fill.
    let hours = [1, 100, 2_000, 50_000];
    let bytes = batch(&[&[1; 2_000]], rig.now.wall.0);
    let mut refused = 0;
    for (index, hours) in hours.into_iter().enumerate() {
        let id = id(index as u32);
        rig.create(id, 1);
        let retention_ms = Some(hours * 3_600_000);
        rig.engine.set_settings(id, PartitionSettings { retention_ms, ..Default::default() });
        for _ in 0..250 {
            refused += u32::from(rig.append(id, &bytes) == Err(AppendError::DiskFull));
            rig.step();
        }
    }
    assert!(0 < refused, "{:?}", rig.engine.metrics());
    for round in 0..2 {
        for index in 0..4 {
            let Committed(end) = rig.engine.committed(id(index)).unwrap();
            let seq = rig.engine.delete_records(rig.now, id(index), end).unwrap();
            rig.settle(seq);
        }
        for _ in 0..200 {
            rig.now.mono.0 += 1_000_000_000;
            rig.step();
        }
        for _ in 0..200 {
            let taken = rig.append(id(0), &bytes);
            assert!(matches!(taken, Ok(_) | Err(AppendError::Busy)), "round {round}: {taken:?}");
            rig.step();
        }
        rig = rig.crash();
        for index in 0..4 {
            rig.engine.open_epoch(rig.now, id(index), Epoch(2 + round)).unwrap();
        }
    }
}
