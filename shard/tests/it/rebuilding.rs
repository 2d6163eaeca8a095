//! Replicas that lost what they held, or are told to forget it.

use base::{Committed, LogStart, Offset};
use net::ErrorCode;
use replication::replica::Event;
use shard::{Answer, Ask};

use crate::cluster::{Cluster, PARTITION, at};

fn caught_up(cluster: &Cluster, node: usize) -> bool {
    let of =
        |event: &Event| matches!(event, Event::CaughtUp { replica, .. } if *replica == at(node));
    cluster.events.iter().any(|(_, event)| of(event))
}

fn log_end(cluster: &Cluster, node: usize) -> Option<Offset> {
    cluster.engine(node).log_end(PARTITION).map(|end| end.0)
}

fn log_start(cluster: &Cluster, node: usize) -> Option<LogStart> {
    cluster.engine(node).log_start(PARTITION)
}

fn delete_before(cluster: &mut Cluster, before: u64) {
    let question = cluster.ask(0, Ask::DeleteRecords { before: Some(Offset(before)) });
    cluster.run(5);
    match cluster.answer(question) {
        Some(Answer::Deleted { log_start }) => assert_eq!(log_start, Offset(before)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_replica_with_an_empty_disk_learns_all_before_it_counts() {
    let mut cluster = Cluster::new();
    for value in 0..50 {
        cluster.put(0, &[value; 2_000]);
    }
    cluster.run(20);
    cluster.kill(2);
    cluster.wipe(2);
    let question = cluster.produce(0, b"the learner does not count");
    cluster.kill(1);
    cluster.start(2);
    assert!(cluster.partition().learners.contains(&at(2)));
    cluster.run_until("2 holds all", |cluster| log_end(cluster, 2) == Some(Offset(51)));
    cluster.run(5);
    assert_eq!(cluster.engine(0).committed(PARTITION), Some(Committed(Offset(50))));
    cluster.run_until("it is said to have caught up", |cluster| caught_up(cluster, 2));
    cluster.publish();
    assert!(!cluster.partition().learners.contains(&at(2)));
    assert_eq!(cluster.produced(question), Ok(Offset(50)));
}

#[test]
fn a_damaged_replica_is_built_anew_and_its_shard_goes_on() {
    let mut cluster = Cluster::new();
    for value in 0..20 {
        cluster.put(0, format!("value number {value}").as_bytes());
    }
    cluster.run(20);
    cluster.kill(2);
    assert!(cluster.damage(2, b"value number 7"));
    cluster.start(2);
    cluster.run_until("2 is whole", |cluster| {
        log_end(cluster, 2) == Some(Offset(20)) && caught_up(cluster, 2)
    });
    assert_eq!(cluster.engine(2).halt(PARTITION), None);
    // It may lead again.
    cluster.publish();
    cluster.kill(0);
    cluster.fail_over(0, 2);
    assert_eq!(cluster.put(2, b"more"), Offset(20));
}

#[test]
fn a_deleted_beginning_is_deleted_everywhere() {
    let mut cluster = Cluster::new();
    for value in 0..10 {
        cluster.put(0, &[value; 100]);
    }
    cluster.run(20);
    delete_before(&mut cluster, 4);
    cluster.run_until("all forget it", |cluster| {
        (0..3).all(|node| log_start(cluster, node) == Some(LogStart(Offset(4))))
    });
    let question = cluster.ask(1, Ask::DeleteRecords { before: Some(Offset(6)) });
    cluster.run(1);
    let refused = cluster.answer(question);
    assert!(matches!(refused, Some(Answer::Failed(ErrorCode::NotLeaderOrFollower))));

    // Who was away for long begins behind what was deleted meanwhile.
    cluster.kill(2);
    for value in 0..10 {
        cluster.put(0, &[value; 100]);
    }
    delete_before(&mut cluster, 15);
    cluster.start(2);
    cluster.run_until("2 follows", |cluster| {
        log_end(cluster, 2) == Some(Offset(20)) && log_start(cluster, 2) == log_start(cluster, 0)
    });
    cluster.kill(0);
    cluster.fail_over(0, 2);
    assert_eq!(log_start(&cluster, 2), Some(LogStart(Offset(15))));
    assert_eq!(cluster.put(2, b"more"), Offset(20));
}

/// Deletion takes records, not batches: a replica may have to begin within one, in memory or not.
#[test]
fn a_replica_can_begin_within_a_batch() {
    for more in [1, 600] {
        let mut cluster = Cluster::new();
        let mut builder = base::batch::BatchBuilder::new(1_000);
        (0..10_u8).for_each(|value| builder.push(1_000, None, Some(&[value]), &[]));
        let question = cluster.ask(0, Ask::Produce { batch: builder.build(), all: true });
        assert_eq!(cluster.produced(question), Ok(Offset(0)));
        cluster.kill(2);
        cluster.wipe(2);
        for _ in 0..more {
            cluster.put(0, &[9; 10_000]);
        }
        assert_eq!(0 < cluster.engine(0).metrics().destaged_bytes, 1 < more);
        delete_before(&mut cluster, 4);
        cluster.start(2);
        cluster.run_until("2 holds all", |cluster| {
            log_end(cluster, 2) == Some(Offset(10 + more))
                && log_start(cluster, 2) == log_start(cluster, 0)
        });
    }
}
