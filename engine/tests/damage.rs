//! Damage: what it touches halts and is named, the rest is served.

mod common;

use base::{Epoch, FileKind, LogEnd, Offset, PAGE_BYTES};
use common::{Rig, batch, config, id};
use engine::journal::Verdict;
use engine::{AppendError, Gap, HaltCause, PartitionSettings, ReadError, Refused};

fn segment(kind: FileKind) -> bool {
    matches!(kind, FileKind::Segment(_))
}

fn bin(kind: FileKind) -> bool {
    matches!(kind, FileKind::Bin(_))
}

/// Three partitions with values of their own, the second appended to once more at the end.
fn three() -> Rig {
    let mut rig = Rig::new(config());
    for index in 0..3 {
        rig.create(id(index), 1);
        rig.put(id(index), &[format!("first of {index}").as_bytes()]);
        rig.put(id(index), &[format!("second of {index}").as_bytes()]);
    }
    rig.put(id(1), &[b"third of 1"]);
    rig.steps(20);
    rig
}

#[test]
fn a_damaged_payload_halts_its_partition_alone() {
    let mut rig = three();
    let (file, at) = rig.disk.find(b"second of 1", segment).unwrap();
    rig.disk.corrupt(file, at);
    let mut rig = rig.crash();
    let report = rig.engine.recovery_report().unwrap();
    assert!(matches!(report.verdict, Verdict::Corrupt { .. }), "{report:?}");
    let halted: Vec<_> = rig.engine.halted().collect();
    assert_eq!(halted.len(), 1);
    let (of, halt) = halted[0];
    assert_eq!((of, halt.from, halt.to), (id(1), Offset(1), Some(Offset(2))));
    assert_eq!((rig.engine.poll_loss(), rig.engine.poll_loss()), (Some((of, halt)), None));
    assert_eq!(rig.read_all(id(0), Offset(0)).len(), 2);
    assert_eq!(rig.read(id(1), Offset(0), 1000).len(), batch(&[b"first of 1"], 0).len());
    assert_eq!(rig.try_read(id(1), Offset(1), 1000), Err(ReadError::Halted(halt)));
    assert_eq!(rig.try_read(id(1), Offset(2), 1000), Err(ReadError::Halted(halt)));
    assert_eq!(rig.engine.open_epoch(rig.now, id(1), Epoch(2)), Err(Refused::Halted));
    assert_eq!(rig.append(id(1), &batch(&[b"x"], 0)), Err(AppendError::Halted));
    rig.engine.open_epoch(rig.now, id(2), Epoch(2)).unwrap();
    assert_eq!(rig.put(id(2), &[b"third"]), Offset(2));
}

#[test]
fn a_frame_that_is_gone_halts_whoever_may_have_been_in_it() {
    let mut rig = three();
    let (file, at) = rig.disk.find(b"second of 1", segment).unwrap();
    rig.disk.corrupt(file, at / PAGE_BYTES * PAGE_BYTES + 20);
    let mut rig = rig.crash();
    let mut halted: Vec<_> =
        rig.engine.halted().map(|(id, halt)| (id, halt.from, halt.to)).collect();
    halted.sort_unstable();
    // What came later tells for 1 what is missing, and that nothing of 2 is.
    assert_eq!(halted, [(id(0), Offset(2), None), (id(1), Offset(1), Some(Offset(2)))]);
    assert_eq!(rig.read(id(0), Offset(0), 1000).len(), 2 * batch(&[b"first of 0"], 0).len() + 1);
    assert_eq!(rig.read_all(id(2), Offset(0)).len(), 2);
}

#[test]
fn accepted_losses_are_gaps_that_are_never_filled() {
    let mut rig = three();
    let (file, at) = rig.disk.find(b"second of 1", segment).unwrap();
    rig.disk.corrupt(file, at / PAGE_BYTES * PAGE_BYTES + 20);
    let mut rig = rig.crash();
    assert_eq!(rig.engine.loss(id(2)), None);
    assert_eq!(rig.engine.accept_loss(rig.now, id(2)), Err(Refused::NothingLost));
    let foretold = [0, 1].map(|index| rig.engine.loss(id(index)).unwrap());
    assert_eq!(foretold[1].ranges, [Gap { from: Offset(1), to: Offset(2) }]);
    assert_eq!(foretold[0].ranges, [Gap { from: Offset(2), to: foretold[0].log_end.0 }]);
    rig.engine.accept_loss(rig.now, id(0)).unwrap();
    let seq = rig.engine.accept_loss(rig.now, id(1)).unwrap();
    rig.settle(seq);
    for round in 0..2 {
        assert_eq!(rig.engine.halted().count(), 0, "round {round}");
        for (index, loss) in foretold.iter().enumerate() {
            assert_eq!(rig.engine.loss(id(index as u32)), None);
            assert_eq!(rig.engine.gaps(id(index as u32)), loss.ranges);
        }
        let values = [(0, b"first of 1".to_vec()), (2, b"third of 1".to_vec())];
        assert_eq!(rig.read_all(id(1), Offset(0)), values);
        assert_eq!(rig.read_all(id(1), Offset(1)), values[1..]);
        let LogEnd(end) = rig.engine.log_end(id(0)).unwrap();
        assert!(1 << 32 < end.0, "{end}: any of the offsets before may have been given out");
        rig.engine.open_epoch(rig.now, id(0), Epoch(9 + round)).unwrap();
        let value = format!("after the loss {round}").into_bytes();
        assert_eq!(rig.put(id(0), &[&value]), end);
        assert_eq!(rig.read_all(id(0), Offset(2))[round as usize], (end.0, value));
        rig = rig.crash();
    }
}

#[test]
fn a_halt_outlives_the_frame_that_caused_it() {
    let mut rig = three();
    let (file, at) = rig.disk.find(b"second of 1", segment).unwrap();
    rig.disk.corrupt(file, at);
    let mut rig = rig.crash();
    let (_, halt) = rig.engine.halted().next().unwrap();
    rig.engine.open_epoch(rig.now, id(2), Epoch(2)).unwrap();
    for _ in 0..1_000 {
        rig.put(id(2), &[&[7; 2_000]]);
    }
    let rig = rig.crash();
    let report = rig.engine.recovery_report().unwrap();
    assert_eq!(report.verdict, Verdict::Clean, "the damaged frame was written over");
    assert_eq!(rig.engine.halted().collect::<Vec<_>>(), [(id(1), halt)]);
}

#[test]
fn a_second_loss_before_the_first_is_named_as_well() {
    let mut rig = three();
    for (value, lost) in [(&b"second of 1"[..], 1), (&b"first of 1"[..], 0)] {
        while let Some((file, at)) = rig.disk.find(value, segment) {
            rig.disk.corrupt(file, at);
        }
        rig = rig.crash();
        let (_, halt) = rig.engine.halted().find(|(of, _)| *of == id(1)).unwrap();
        assert_eq!(halt.from, Offset(lost));
        assert_eq!(rig.try_read(id(1), Offset(lost), 1000), Err(ReadError::Halted(halt)));
        // Until the halt, and what is left, was carried forward.
        rig.engine.open_epoch(rig.now, id(2), Epoch(3 - lost as u32)).unwrap();
        for _ in 0..1_000 {
            rig.put(id(2), &[&[7; 2_000]]);
        }
    }
}

#[test]
fn a_damaged_extent_concerns_its_offsets_alone() {
    let mut rig = Rig::new(config());
    rig.create(id(0), 1);
    let mut all = Vec::new();
    for round in 0..600u32 {
        let value = format!("value {round:5} {}", "x".repeat(2_000)).into_bytes();
        rig.put(id(0), &[&value]);
        all.push((u64::from(round), value));
    }
    let (file, at) = rig.disk.find(b"value   100", bin).unwrap();
    rig.disk.corrupt(file, at + 1_000);
    let mut rig = rig.crash();
    let error = rig.try_read(id(0), Offset(100), 1_000).unwrap_err();
    let ReadError::Halted(halt) = error else { panic!("{error}") };
    rig.try_read(id(0), Offset(100), 1_000).unwrap_err();
    assert_eq!((rig.engine.poll_loss(), rig.engine.poll_loss()), (Some((id(0), halt)), None));
    assert!(matches!(halt.cause, HaltCause::Extent { file: of, .. } if of == file));
    let to = halt.to.unwrap();
    assert!(halt.from <= Offset(100) && Offset(100) < to && to.since(halt.from) < 200);
    assert_eq!(rig.engine.halt(id(0)), None, "appends go on");
    rig.engine.open_epoch(rig.now, id(0), Epoch(2)).unwrap();
    rig.put(id(0), &[b"more"]);
    assert_eq!(rig.read(id(0), Offset(0), 100_000).is_empty(), halt.from == Offset(0));
    assert_eq!(rig.read_all(id(0), to)[..100], all[to.0 as usize..to.0 as usize + 100]);

    rig.engine.accept_loss(rig.now, id(0)).unwrap();
    let found = rig.read_all(id(0), Offset(0));
    assert!(found.iter().all(|(offset, _)| Offset(*offset) < halt.from || to <= Offset(*offset)));
    assert_eq!(found.len() as u64, 601 - to.since(halt.from));
}

#[test]
fn a_damaged_footer_halts_what_it_alone_spoke_for() {
    let mut rig = Rig::new(config());
    rig.create(id(0), 1);
    rig.create(id(1), 1);
    rig.put(id(1), &[b"elsewhere"]);
    for _ in 0..2_000u32 {
        rig.put(id(0), &[&[1; 2_000]]);
    }
    let (file, _) = rig.disk.find(b"footer\x01\0", bin).unwrap();
    let last = rig.config.bin_bytes as usize - 1;
    rig.disk.corrupt(file, last);
    let mut rig = rig.crash();
    assert_eq!(rig.engine.halted().map(|(id, _)| id).collect::<Vec<_>>(), [id(0)]);
    assert_eq!(rig.read_all(id(1), Offset(0)), [(0, b"elsewhere".to_vec())]);
}

#[test]
fn a_journal_shorter_than_its_bins_has_lost_its_tail() {
    let mut rig = Rig::new(config());
    rig.create(id(0), 1);
    for _ in 0..200 {
        rig.put(id(0), &[&[1; 2_000]]);
    }
    let old = rig.disk.copy();
    for _ in 0..400 {
        rig.put(id(0), &[&[1; 2_000]]);
    }
    // The journal of yesterday, the bins of today.
    let mut disk = rig.disk.copy();
    disk.take_from(&old, segment);
    let rig = Rig::over(rig.config.clone(), disk);
    let report = rig.engine.recovery_report().unwrap();
    assert!(matches!(report.verdict, Verdict::LostTail { .. }), "{report:?}");
    assert_eq!(*rig.engine.phase(), engine::Phase::Halted(report.verdict));
}

#[test]
fn accepting_a_lost_tail_gives_no_offset_out_twice() {
    let mut rig = Rig::new(config());
    rig.create(id(0), 1);
    for _ in 0..200 {
        rig.put(id(0), &[&[1; 2_000]]);
    }
    let old = rig.disk.copy();
    for _ in 0..400 {
        rig.put(id(0), &[&[1; 2_000]]);
    }
    let given_out = rig.engine.log_end(id(0)).unwrap();
    let mut disk = rig.disk.copy();
    disk.take_from(&old, segment);
    let config = engine::EngineConfig { accept_loss: true, ..rig.config.clone() };
    let mut rig = Rig::over(config, disk);
    assert_eq!(*rig.engine.phase(), engine::Phase::Open);
    rig.steps(5);
    for _ in 0..2 {
        assert_eq!(rig.engine.halted().map(|(id, _)| id).collect::<Vec<_>>(), [id(0)]);
        rig = rig.crash();
    }
    let seq = rig.engine.accept_loss(rig.now, id(0)).unwrap();
    rig.settle(seq);
    let mut rig = rig.crash();
    assert_eq!(rig.engine.halted().count(), 0);
    rig.engine.open_epoch(rig.now, id(0), Epoch(2)).unwrap();
    assert!(given_out.0 < rig.put(id(0), &[b"after"]));
    let found = rig.read_all(id(0), Offset(0));
    assert!(200 <= found.len(), "what is left of the old is served: {}", found.len());
}

#[test]
fn a_journal_that_vanished_is_not_a_fresh_one() {
    let mut rig = Rig::new(config());
    rig.create(id(0), 1);
    for _ in 0..600 {
        rig.put(id(0), &[&[1; 2_000]]);
    }
    let mut disk = rig.disk.copy();
    disk.remove(segment);
    let rig = Rig::over(rig.config.clone(), disk);
    let report = rig.engine.recovery_report().unwrap();
    assert!(matches!(report.verdict, Verdict::CorruptAll { .. }), "{report:?}");
}

/// Three partitions, a fourth whose creation stands in a frame that is gone, and a restart.
fn doubtful() -> Rig {
    let mut rig = three();
    rig.create(id(3), 1);
    rig.put(id(3), &[b"only of 3"]);
    rig.steps(20);
    let (file, at) = rig.disk.find(b"only of 3", segment).expect("written above");
    // The frame that created it stands before this one.
    for frame in [at / PAGE_BYTES - 1, at / PAGE_BYTES] {
        rig.disk.corrupt(file, frame * PAGE_BYTES + 20);
    }
    rig.crash()
}

#[test]
fn a_partition_that_may_have_been_lost_whole_is_not_created_anew() {
    let mut rig = doubtful();
    assert_eq!(rig.engine.log_end(id(3)), None, "nothing is left of it");
    // However often the process dies before the owner has spoken, the doubt stays.
    for _ in 0..3 {
        rig.steps(50);
        rig = rig.crash();
    }
    for index in 0..4 {
        rig.engine.create_partition(rig.now, id(index), Default::default()).unwrap();
    }
    rig.engine.end_roll_call();
    let halt = rig.engine.halt(id(3)).expect("all of it may be lost");
    assert_eq!((halt.from, halt.to), (Offset(0), None));
    let seq = rig.engine.create_partition(rig.now, id(4), Default::default()).unwrap();
    assert_eq!(rig.engine.halt(id(4)), None, "new after the roll call");
    rig.settle(seq);
    rig.engine.open_epoch(rig.now, id(4), Epoch(2)).unwrap();
    for _ in 0..1_000 {
        rig.put(id(4), &[&[7; 2_000]]);
    }
    let mut rig = rig.crash();
    let report = rig.engine.recovery_report().unwrap();
    assert_eq!(report.verdict, Verdict::Clean, "the damaged frames were written over");
    assert_eq!(rig.engine.halt(id(3)), Some(halt));
    let seq = rig.engine.accept_loss(rig.now, id(3)).unwrap();
    rig.settle(seq);
    rig.engine.open_epoch(rig.now, id(3), Epoch(2)).unwrap();
    assert!(Offset(1 << 32) < rig.put(id(3), &[b"after the loss"]), "no offset twice");
}

#[test]
fn a_partition_that_lost_its_snapshot_is_not_forgotten() {
    let mut rig = three();
    rig.create(id(3), 1);
    for _ in 0..4 {
        rig.put(id(3), &[&[3; 2_000]]);
    }
    let LogEnd(end) = rig.engine.log_end(id(3)).unwrap();
    let (file, at) = rig.disk.find(&[3; 2_000], segment).unwrap();
    rig.disk.corrupt(file, (at / PAGE_BYTES - 1) * PAGE_BYTES + 20);
    let mut rig = rig.crash();
    let halt = rig.engine.halt(id(3)).expect("its snapshot is lost");
    rig.engine.end_roll_call();
    rig.create(id(4), 2);
    for _ in 0..1_000 {
        rig.put(id(4), &[&[7; 2_000]]);
    }
    let rig = rig.crash();
    assert_eq!(rig.engine.recovery_report().unwrap().verdict, Verdict::Clean);
    assert_eq!(rig.engine.halt(id(3)), Some(halt));
    assert_eq!(rig.engine.log_end(id(3)), Some(LogEnd(end)));
}

/// The owner's answer to the doubt needs room, and until it has come carrying frees none.
#[test]
fn nothing_is_carried_while_the_start_is_frozen() {
    let mut rig = three();
    rig.commits = false;
    let replicated = PartitionSettings { replicated: true, ..Default::default() };
    rig.engine.create_partition(rig.now, id(3), replicated).unwrap();
    let seq = rig.engine.open_epoch(rig.now, id(3), Epoch(1)).unwrap();
    rig.settle(seq);
    for _ in 0..40 {
        rig.put(id(3), &[&[3; 3_500]]);
    }
    let (file, at) = rig.disk.find(b"second of 1", segment).unwrap();
    rig.disk.corrupt(file, at / PAGE_BYTES * PAGE_BYTES + 20);
    let mut rig = rig.crash();
    // Every start begins in a fresh segment.
    for _ in 0..2 {
        rig.engine.announce();
        rig.steps(100);
        assert_eq!(rig.engine.metrics().carried_bytes, 0);
        rig = rig.crash();
    }
    rig.steps(1_000);
    for index in 0..12 {
        let settings = if index == 3 { replicated } else { PartitionSettings::default() };
        let seq = rig.engine.create_partition(rig.now, id(index), settings).unwrap();
        rig.settle(seq);
    }
    rig.engine.end_roll_call();
    rig.create(id(12), 2);
    for _ in 0..200 {
        rig.put(id(12), &[&[7; 2_000]]);
    }
    assert_eq!(rig.engine.log_end(id(3)), Some(LogEnd(Offset(40))));
}
