//! One replica's log on a leader's word, across restarts.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use base::batch::sequenced_prefix;
use base::{Batch, Committed, Durable, Epoch, LogEnd, LogStart, Offset, PartitionId, Reign, Seq};
use common::{Rig, batch, config, id, producer_batch};
use engine::{AppendError, EngineConfig, PartitionSettings, Proof, Refused};

fn replicated() -> PartitionSettings {
    PartitionSettings { replicated: true, ..PartitionSettings::default() }
}

/// A replica that follows the leader of epoch 1.
fn follower(config: EngineConfig) -> Rig {
    let mut rig = Rig::new(config);
    rig.commits = false;
    rig.engine.create_partition(rig.now, id(0), replicated()).unwrap();
    follow(&mut rig, 1, 1, 0).unwrap();
    rig
}

fn follow(rig: &mut Rig, leader: u32, epoch: u32, start: u64) -> Result<Seq, Refused> {
    let reign = Reign { epoch: Epoch(epoch), start: Offset(start) };
    rig.engine.follow_epoch(rig.now, id(0), Epoch(leader), reign)
}

fn sequenced(mut batch: Vec<u8>, base: u64, epoch: u32) -> Vec<u8> {
    let prefix = sequenced_prefix(&Batch::parse(&batch).unwrap(), Offset(base), Epoch(epoch));
    batch[..16].copy_from_slice(&prefix);
    batch
}

/// One record at `base`, of `epoch`, sent by `leader`.
fn send(rig: &mut Rig, leader: u32, base: u64, epoch: u32) -> Result<Seq, AppendError> {
    let bytes = sequenced(batch(&[format!("{base} of {epoch}").as_bytes()], 5), base, epoch);
    rig.engine.append_replica(rig.now, id(0), Epoch(leader), &bytes)
}

fn promise(rig: &mut Rig, of: PartitionId, epoch: u32) -> Seq {
    rig.engine.promise(rig.now, &[(of, Epoch(epoch)), (id(99), Epoch(7))]).unwrap()
}

fn restart(rig: Rig) -> Rig {
    let mut rig = rig.crash();
    rig.commits = false;
    rig
}

/// Turns until the journal has been written over several times.
fn wear(rig: &mut Rig) {
    rig.create(id(1), 1);
    for _ in 0..1_000 {
        rig.put(id(1), &[&[7; 2_000]]);
        let end = rig.engine.log_end(id(1)).unwrap();
        rig.engine.commit(id(1), Committed(end.0));
    }
}

#[test]
fn a_follower_takes_over_records_as_they_are_and_serves_only_what_is_committed() {
    let mut rig = follower(config());
    let mut bytes = sequenced(batch(&[b"a", b"b"], 5), 0, 1);
    bytes.extend(sequenced(batch(&[b"c"], 5), 2, 1));
    let seq = rig.engine.append_replica(rig.now, id(0), Epoch(1), &bytes).unwrap();
    assert_eq!(rig.engine.durable(id(0)), Some(Durable(Offset(0))));
    rig.settle(seq);
    assert_eq!(rig.engine.durable(id(0)), Some(Durable(Offset(3))));
    assert_eq!(rig.try_read_for_replica(id(0), Offset(0), 999), Ok(bytes.clone()));
    assert_eq!(rig.read(id(0), Offset(0), 999), []);
    rig.engine.commit(id(0), Committed(Offset(2)));
    assert_eq!(rig.read_all(id(0), Offset(0)).len(), 2);
    assert_eq!(rig.engine.log_end_epoch(id(0)), Some(Epoch(1)));
    assert_eq!(rig.append(id(0), &batch(&[b"x"], 5)), Err(AppendError::EpochNotOpen));

    let again = rig.engine.append_replica(rig.now, id(0), Epoch(1), &bytes);
    assert_eq!(again, Ok(seq), "what is there is passed over");
    let log_end = LogEnd(Offset(3));
    assert_eq!(send(&mut rig, 1, 4, 1), Err(AppendError::Gap { log_end }));
    assert_eq!(send(&mut rig, 2, 3, 2), Err(AppendError::Gap { log_end }), "epoch 2 is not known");
    assert_eq!(send(&mut rig, 2, 2, 2), Err(AppendError::Gap { log_end }), "nor its other record");
}

#[test]
fn a_reign_is_taken_over_at_its_start_alone() {
    let mut rig = follower(config());
    send(&mut rig, 1, 0, 1).unwrap();
    let gap = Err(Refused::Gap { log_end: LogEnd(Offset(1)) });
    assert_eq!(follow(&mut rig, 3, 3, 2), gap, "its prefix is not here");
    assert_eq!(follow(&mut rig, 3, 3, 0), gap);
    assert_eq!(follow(&mut rig, 3, 1, 1), gap, "known");
    assert_eq!(follow(&mut rig, 3, 4, 1), gap, "newer than the leader itself");
    follow(&mut rig, 3, 2, 1).unwrap();
    send(&mut rig, 3, 1, 2).unwrap();
    let seq = follow(&mut rig, 3, 3, 2).unwrap();
    rig.settle(seq);
    let mut rig = restart(rig);
    let reigns = rig.engine.epochs(id(0)).unwrap().reigns().to_vec();
    let reign = |epoch, start| Reign { epoch: Epoch(epoch), start: Offset(start) };
    assert_eq!(reigns, [reign(1, 0), reign(2, 1), reign(3, 2)]);
    assert_eq!(rig.engine.log_end_epoch(id(0)), Some(Epoch(2)), "of the last record");
    assert_eq!(follow(&mut rig, 2, 2, 2), Err(Refused::Fenced { promised: Epoch(3) }));
}

#[test]
fn a_promise_binds_leaders_followers_and_later_lives() {
    let mut rig = follower(config());
    send(&mut rig, 1, 0, 1).unwrap();
    let seq = promise(&mut rig, id(0), 5);
    assert_eq!(promise(&mut rig, id(0), 3), seq, "it never falls");
    rig.settle(seq);
    for life in 0..3 {
        let fenced = AppendError::Fenced { promised: Epoch(5) };
        assert_eq!(send(&mut rig, 4, 1, 1), Err(fenced), "life {life}");
        assert_eq!(follow(&mut rig, 4, 4, 1), Err(Refused::Fenced { promised: Epoch(5) }));
        let opened = rig.engine.open_epoch(rig.now, id(0), Epoch(4));
        assert_eq!(opened, Err(Refused::Fenced { promised: Epoch(5) }));
        assert_eq!(rig.engine.promised(id(0)), Some(Epoch(5)));
        if life == 1 {
            wear(&mut rig);
        }
        rig = restart(rig);
    }
    send(&mut rig, 5, 1, 1).unwrap();
    rig.engine.open_epoch(rig.now, id(0), Epoch(6)).unwrap();
    rig.append(id(0), &batch(&[b"own"], 5)).unwrap();
    promise(&mut rig, id(0), 7);
    let late = rig.append(id(0), &batch(&[b"late"], 5));
    assert_eq!(late, Err(AppendError::EpochNotOpen), "an own reign ends with a promise");
}

#[test]
fn a_leader_that_follows_another_is_one_no_more() {
    let mut rig = follower(config());
    rig.engine.open_epoch(rig.now, id(0), Epoch(2)).unwrap();
    rig.append(id(0), &batch(&[b"own"], 5)).unwrap();
    let fenced = Err(AppendError::Fenced { promised: Epoch(2) });
    assert_eq!(send(&mut rig, 2, 1, 2), fenced, "nobody else leads in its epoch");
    follow(&mut rig, 3, 3, 1).unwrap();
    assert_eq!(rig.append(id(0), &batch(&[b"x"], 5)), Err(AppendError::EpochNotOpen));
}

#[test]
fn a_restart_takes_for_committed_only_what_is_proven() {
    let mut rig = follower(config());
    for base in 0..4 {
        let seq = send(&mut rig, 1, base, 1).unwrap();
        rig.settle(seq);
    }
    rig.engine.commit(id(0), Committed(Offset(3)));
    let seq = rig.engine.delete_records(rig.now, id(0), Offset(2)).unwrap();
    rig.settle(seq);
    let mut rig = restart(rig);
    assert_eq!(rig.engine.committed(id(0)), Some(Committed(Offset(2))), "the log start is");
    assert_eq!(rig.engine.durable(id(0)), Some(Durable(Offset(4))));
    rig.engine.commit(id(0), Committed(Offset(3)));
    wear(&mut rig);
    let rig = restart(rig);
    assert_eq!(rig.engine.committed(id(0)), Some(Committed(Offset(3))), "the newest snapshot knew");
    assert_eq!(rig.engine.committed(id(1)), Some(Committed(Offset(1_000))), "no replica: all is");
}

#[test]
fn replication_begins_and_ends_in_the_journal() {
    let mut rig = Rig::new(config());
    rig.create(id(0), 1);
    rig.put(id(0), &[b"alone"]);
    let seq = rig.engine.create_partition(rig.now, id(0), replicated()).unwrap();
    rig.append(id(0), &batch(&[b"not committed"], 5)).unwrap();
    rig.commits = false;
    rig.settle(seq.next());
    let mut rig = restart(rig);
    assert_eq!(rig.engine.committed(id(0)), Some(Committed(Offset(1))));
    assert_eq!(rig.engine.log_end(id(0)), Some(LogEnd(Offset(2))));
    rig.engine.set_settings(id(0), PartitionSettings::default());
    let seq = rig.engine.create_partition(rig.now, id(0), PartitionSettings::default()).unwrap();
    assert_eq!(rig.engine.poll_durable(), Some((id(0), Durable(Offset(2)))), "for who commits it");
    rig.settle(seq);
    let rig = restart(rig);
    assert_eq!(rig.engine.committed(id(0)), Some(Committed(Offset(2))));
}

#[test]
fn a_replica_begun_anew_forgets_its_records_and_nothing_else() {
    let mut rig = follower(config());
    let bytes = sequenced(producer_batch(&[b"a"], 7, 0, 0), 0, 1);
    rig.engine.append_replica(rig.now, id(0), Epoch(1), &bytes).unwrap();
    let seq = promise(&mut rig, id(0), 4);
    rig.settle(seq);
    rig.engine.commit(id(0), Committed(Offset(1)));
    wear(&mut rig);
    let seq = rig.engine.start_over(rig.now, id(0), Offset(40), false).unwrap();
    rig.settle(seq);
    for life in 0..2 {
        assert_eq!(rig.engine.proof(id(0)), Some(Proof::Rebuilding), "life {life}");
        let ends = (rig.engine.log_start(id(0)).unwrap(), rig.engine.log_end(id(0)).unwrap());
        assert_eq!(ends, (LogStart(Offset(40)), LogEnd(Offset(40))));
        assert_eq!(rig.engine.committed(id(0)), Some(Committed(Offset(40))));
        assert_eq!(rig.engine.promised(id(0)), Some(Epoch(4)));
        assert_eq!(rig.engine.log_end_epoch(id(0)), None);
        let history = rig.engine.epochs(id(0)).unwrap();
        assert_eq!((history.reigns().len(), history.opened()), (0, Some(Epoch(1))));
        rig = restart(rig);
    }
    follow(&mut rig, 4, 4, 40).unwrap();
    send(&mut rig, 4, 40, 4).unwrap();
    let seq = rig.engine.vouch(rig.now, id(0)).unwrap();
    rig.settle(seq);
    let mut rig = restart(rig);
    assert_eq!(rig.engine.proof(id(0)), Some(Proof::Clean));
    rig.engine.commit(id(0), Committed(Offset(41)));
    assert_eq!(rig.read_all(id(0), Offset(40)), [(40, b"40 of 4".to_vec())]);

    let seq = rig.engine.start_over(rig.now, id(0), Offset(90), true).unwrap();
    rig.settle(seq);
    let rig = restart(rig);
    assert_eq!(rig.engine.proof(id(0)), Some(Proof::Clean), "only what is gone everywhere is gone");
    assert_eq!(rig.engine.log_end(id(0)), Some(LogEnd(Offset(90))));
}

#[test]
fn a_damaged_promise_makes_its_replicas_suspect() {
    let mut rig = follower(config());
    rig.create(id(1), 1);
    let seq = send(&mut rig, 1, 0, 1).unwrap();
    rig.settle(seq);
    let seq = promise(&mut rig, id(0), 0x7071_7273);
    rig.settle(seq);
    let seq = send(&mut rig, 0x7071_7273, 1, 1).unwrap();
    rig.settle(seq.next());
    let needle = 0x7071_7273_u32.to_le_bytes();
    let (file, at) =
        rig.disk.find(&needle, |kind| matches!(kind, base::FileKind::Segment(_))).unwrap();
    rig.disk.corrupt(file, at);
    let mut rig = restart(rig);
    assert_eq!(rig.engine.proof(id(0)), Some(Proof::Suspect), "it may have promised more");
    assert_eq!(rig.engine.proof(id(1)), Some(Proof::Clean));
    assert_eq!(send(&mut rig, 9, 2, 1), Err(AppendError::Halted));
    promise(&mut rig, id(0), 8);
    let seq = rig.engine.start_over(rig.now, id(0), Offset(0), true).unwrap();
    rig.settle(seq);
    assert_eq!(rig.engine.proof(id(0)), Some(Proof::Rebuilding));
    assert_eq!(rig.engine.promised(id(0)), Some(Epoch(8)));
    follow(&mut rig, 9, 9, 0).unwrap();
    send(&mut rig, 9, 0, 9).unwrap();
}

#[test]
fn many_partitions_promise_in_few_entries() {
    let mut rig = Rig::new(config());
    for index in 0..900 {
        while rig.engine.create_partition(rig.now, id(index), replicated()).is_err() {
            rig.step();
        }
    }
    rig.steps(20);
    let entries = rig.engine.metrics().journal_counters.entries;
    let promises: Vec<_> = (0..900).map(|index| (id(index), Epoch(index + 1))).collect();
    let seq = rig.engine.promise(rig.now, &promises).unwrap();
    assert_eq!(rig.engine.metrics().journal_counters.entries, entries + 1);
    rig.settle(seq);
    let rig = restart(rig);
    for (id, epoch) in promises {
        assert_eq!(rig.engine.promised(id), Some(epoch));
    }
}
