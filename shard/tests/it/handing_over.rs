//! Changes of leaders: what clients of the old and the new one get.

use base::batch::BatchBuilder;
use base::{Committed, Epoch, Instant, Offset};
use net::api::metadata;
use net::{ErrorCode, Outgoing, ReplyTo};
use replication::replica::Event;
use shard::{Answer, Ask};

use crate::cluster::{Cluster, PARTITION, batch};

fn fetch(from: u64) -> Ask {
    Ask::Fetch { from: Offset(from), max_bytes: 9_999, min_one: true, known_epoch: None }
}

fn latest() -> Ask {
    Ask::ListOffset { timestamp: -1, known_epoch: None }
}

/// The `sequence`th batch of an idempotent producer.
fn idempotent(sequence: i32) -> Vec<u8> {
    let mut builder = BatchBuilder::new(1_000);
    builder.push(1_000, None, Some(&sequence.to_be_bytes()), &[]);
    builder.build_with(0, 77, 0, sequence)
}

#[test]
fn while_a_partition_is_handed_over_arrivals_wait_and_none_is_lost() {
    let mut cluster = Cluster::new();
    cluster.put(0, b"a");
    cluster.run(20);
    let before = cluster.produce(0, b"b");
    cluster.want_hand_over(1);
    cluster.run_until("node 1 holds all", |cluster| {
        let done = |event: &Event| matches!(event, Event::HandOver { .. });
        cluster.events.iter().any(|(node, event)| *node == 0 && done(event))
    });
    assert_eq!(cluster.produced(before), Ok(Offset(1)));
    let held = cluster.produce(0, b"too late");
    let read = cluster.ask(0, fetch(0));
    cluster.run(30);
    assert!(cluster.answer(held).is_none(), "it waits for the successor");
    assert!(matches!(cluster.answer(read), Some(Answer::Fetched(_))), "reading goes on");
    cluster.hand_over(1);
    assert_eq!(cluster.produced(held), Err(ErrorCode::NotLeaderOrFollower));
    assert_eq!(cluster.put(1, b"c"), Offset(2));
    cluster.run_until("all follow", |cluster| {
        (0..3).all(|node| cluster.engine(node).log_end(PARTITION).is_some_and(|end| end.0.0 == 3))
    });
}

#[test]
fn a_successor_that_falls_away_holds_nothing_up_for_long() {
    let mut cluster = Cluster::new();
    cluster.put(0, b"a");
    cluster.run(20);
    cluster.cut.push(1);
    let before = cluster.produce(0, b"b");
    cluster.want_hand_over(1);
    let held = cluster.produce(0, b"c");
    assert_eq!(cluster.produced(before), Ok(Offset(1)));
    assert_eq!(cluster.produced(held), Ok(Offset(2)), "it leads on");
}

#[test]
fn an_idempotent_batch_is_recognised_by_the_next_leader() {
    let mut cluster = Cluster::new();
    for sequence in 0..3 {
        let question = cluster.ask(0, Ask::Produce { batch: idempotent(sequence), all: true });
        assert_eq!(cluster.produced(question), Ok(Offset(sequence as u64)));
    }
    cluster.run(20);
    cluster.kill(0);
    cluster.fail_over(0, 1);
    // Its answer was lost: the client sends it again, then the next one.
    for sequence in [2, 3] {
        let question = cluster.ask(1, Ask::Produce { batch: idempotent(sequence), all: true });
        assert_eq!(cluster.produced(question), Ok(Offset(sequence as u64)));
    }
    assert_eq!(cluster.engine(1).log_end(PARTITION).map(|end| end.0), Some(Offset(4)));
    let question = cluster.ask(1, Ask::Produce { batch: idempotent(9), all: true });
    assert_eq!(cluster.produced(question), Err(ErrorCode::OutOfOrderSequenceNumber));
}

#[test]
fn a_batch_of_the_old_reign_is_refused_when_a_new_one_is_promised() {
    let mut cluster = Cluster::new();
    cluster.put(0, b"a");
    cluster.run(20);
    cluster.cut.extend([1, 2]);
    let pending = cluster.produce(0, b"b");
    cluster.run(5);
    let epoch = Epoch(cluster.partition().epoch.0 + 1);
    let promises = vec![(PARTITION, epoch)];
    let fence = shard::Mail::Fence { shard: base::ShardId(0), token: 9, promises };
    cluster.mail(0, fence);
    assert_eq!(cluster.produced(pending), Err(ErrorCode::NotLeaderOrFollower));
    cluster.run(5);
    let fenced = cluster.events.iter().find_map(|(_, event)| match event {
        Event::Fenced(fenced) => Some(fenced.clone()),
        _ => None,
    });
    let fenced = fenced.expect("it answers");
    assert_eq!((fenced.token, fenced.answers.len()), (9, 1));
    let answer = fenced.answers[0];
    assert_eq!(answer.view.promised, epoch);
    assert_eq!(answer.view.log_end.0, Offset(2), "with what it appended before");
    assert_eq!(answer.view.durable.0, Offset(2), "durably");
    assert!(answer.view.proof.holds());
}

/// What a new leader knows to be committed may be less than what the old one had told.
#[test]
fn a_new_leader_is_read_from_when_it_knows_what_is_committed() {
    let mut cluster = Cluster::new();
    cluster.put(0, b"a");
    cluster.run(20);
    cluster.produce(0, b"b");
    cluster.run_until("1 holds it", |cluster| {
        cluster.engine(1).log_end(PARTITION).is_some_and(|end| end.0 == Offset(2))
    });
    cluster.kill(0);
    // It leads, and nobody follows it yet.
    cluster.cut.push(2);
    cluster.fail_over_among(0, 1, &[1]);
    let known = cluster.engine(1).committed(PARTITION);
    let (read, listed) = (cluster.ask(1, fetch(2)), cluster.ask(1, latest()));
    let watch = cluster.ask(1, Ask::Watch { from: Offset(2), until: Instant(u64::MAX) });
    cluster.run(20);
    assert_eq!(known, Some(Committed(Offset(1))), "it has not heard of the second");
    assert!(cluster.answer(read).is_none() && cluster.answer(listed).is_none());
    let late = cluster.ask(1, latest());
    cluster.heal();
    cluster.publish();
    cluster.run_until("its epoch is opened", |cluster| {
        cluster.engine(1).committed(PARTITION) == Some(Committed(Offset(2)))
    });
    cluster.run(1);
    for question in [listed, late] {
        match cluster.answer(question) {
            Some(Answer::Offset { offset: 2, .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    match cluster.answer(read) {
        Some(Answer::Fetched(fetched)) => assert_eq!(fetched.committed, Offset(2)),
        other => panic!("{other:?}"),
    }
    cluster.put(1, b"c");
    cluster.run(1);
    assert!(matches!(cluster.answer(watch), Some(Answer::Woken)));
}

#[test]
fn readers_learn_where_each_epoch_ended() {
    let mut cluster = Cluster::new();
    cluster.put(0, b"a");
    cluster.put(0, b"b");
    cluster.run(20);
    cluster.kill(0);
    cluster.fail_over(0, 1);
    cluster.put(1, b"c");
    let old = Ask::EpochEnd { epoch: Epoch(0), known_epoch: None };
    let question = cluster.ask(1, old);
    cluster.run(1);
    match cluster.answer(question) {
        Some(Answer::EpochEnd(end)) => assert_eq!(end, Some((Epoch(0), Offset(2)))),
        other => panic!("{other:?}"),
    }
    let known_epoch = Some(Epoch(0));
    let stale = Ask::ListOffset { timestamp: -1, known_epoch };
    let question = cluster.ask(1, stale);
    cluster.run(1);
    let answer = cluster.answer(question);
    assert!(matches!(answer, Some(Answer::Failed(ErrorCode::FencedLeaderEpoch))), "{answer:?}");
    let question = cluster.ask(2, Ask::Produce { batch: batch(b"x"), all: false });
    assert_eq!(cluster.produced(question), Err(ErrorCode::NotLeaderOrFollower));
}

/// Told that there is no leader, a client would not ask again for 100 ms.
#[test]
fn who_asks_for_leaders_waits_while_one_is_chosen() {
    let mut cluster = Cluster::new();
    cluster.put(0, b"a");
    cluster.run(20);
    cluster.kill(0);
    cluster.fence(0);
    let mut request = Outgoing::default();
    let topics = [metadata::MetadataRequestTopic { topic_id: net::Uuid::ZERO, name: Some("t") }];
    let body = metadata::Request {
        topics: Some(topics),
        allow_auto_topic_creation: false,
        include_cluster_authorized_operations: false,
        include_topic_authorized_operations: false,
    };
    request.request(ReplyTo { version: 9, correlation_id: 4 }, None, body);
    let (early, late) = (cluster.connect_client(1), cluster.connect_client(2));
    cluster.client_sends(1, early, request.bytes());
    cluster.run(10);
    assert!(!cluster.received.contains_key(&(1, early.slot)), "a leader is being chosen");
    cluster.fail_over(0, 1);
    assert!(cluster.received.contains_key(&(1, early.slot)));

    cluster.kill(1);
    cluster.fence(1);
    cluster.client_sends(2, late, request.bytes());
    cluster.run(20);
    assert!(!cluster.received.contains_key(&(2, late.slot)));
    cluster.run(60);
    assert!(cluster.received.contains_key(&(2, late.slot)), "it does not wait for ever");
}
