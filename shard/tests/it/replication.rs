//! Cores of three nodes that hold one partition together.

use base::{Committed, Epoch, LogEnd, Offset};
use net::api::produce;
use net::{ErrorCode, Outgoing, ReplyTo};
use replication::replica::Event;
use shard::{Answer, Ask};

use crate::cluster::{Cluster, PARTITION, at, batch};

fn log_ends(cluster: &Cluster) -> Vec<u64> {
    (0..3).map(|node| cluster.engine(node).log_end(PARTITION).map_or(0, |end| end.0.0)).collect()
}

fn committed(cluster: &Cluster, node: usize) -> Offset {
    cluster.engine(node).committed(PARTITION).expect("it is there").0
}

#[test]
fn a_record_is_answered_and_served_once_a_quorum_holds_it() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.put(0, b"a"), Offset(0));
    assert_eq!(committed(&cluster, 0), Offset(1));
    cluster.run(30);
    assert_eq!(log_ends(&cluster), [1, 1, 1]);
    assert_eq!(committed(&cluster, 2), Offset(1), "followers hear of it");
    let opened = Event::Opened { partition: PARTITION, epoch: Epoch(0) };
    assert!(cluster.events.contains(&(0, opened)), "{:?}", cluster.events);

    let question = cluster.produce(1, b"x");
    assert_eq!(cluster.produced(question), Err(ErrorCode::NotLeaderOrFollower));
    let fetch =
        |known| Ask::Fetch { from: Offset(0), max_bytes: 999, min_one: true, known_epoch: known };
    let question = cluster.ask(1, fetch(None));
    cluster.run(1);
    let refused = cluster.answer(question);
    assert!(matches!(refused, Some(Answer::Failed(ErrorCode::NotLeaderOrFollower))));
    let question = cluster.ask(0, fetch(None));
    cluster.run(1);
    match cluster.answer(question) {
        Some(Answer::Fetched(fetched)) => assert_eq!(fetched.committed, Offset(1)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_follower_is_enough_and_none_is_not() {
    let mut cluster = Cluster::new();
    cluster.put(0, b"a");
    cluster.kill(2);
    assert_eq!(cluster.put(0, b"b"), Offset(1));
    let question = cluster.produce(0, b"c");
    cluster.kill(1);
    cluster.run(300);
    let late = cluster.produce(0, b"too late to be appended");
    assert_eq!(cluster.produced(late), Err(ErrorCode::NotEnoughReplicas));
    assert!(cluster.answer(question).is_none(), "it waits for a quorum");
    assert_eq!(committed(&cluster, 0), Offset(2));
    assert_eq!(cluster.produced(question), Err(ErrorCode::NotEnoughReplicasAfterAppend));
    let question = cluster.produce(0, b"after a detection period another may lead");
    assert_eq!(cluster.produced(question), Err(ErrorCode::NotLeaderOrFollower));

    // Its own word is enough at acks=1.
    cluster.start(1);
    cluster.put(0, b"e");
    let question = cluster.ask(0, Ask::Produce { batch: batch(b"f"), all: false });
    assert_eq!(cluster.produced(question), Ok(Offset(4)));
}

#[test]
fn a_new_leader_holds_all_that_was_answered_and_the_old_one_joins_it() {
    let mut cluster = Cluster::new();
    cluster.put(0, b"a");
    cluster.run(20);
    cluster.cut.push(0);
    let lost = cluster.produce(0, b"only on 0");
    cluster.run(5);
    assert_eq!(log_ends(&cluster), [2, 1, 1]);
    cluster.fail_over(0, 1);
    assert_eq!(cluster.put(1, b"b"), Offset(1));
    assert_eq!(cluster.put(1, b"c"), Offset(2));
    assert_eq!(cluster.produced(lost), Err(ErrorCode::NotEnoughReplicasAfterAppend));

    cluster.heal();
    cluster.publish();
    cluster.run_until("0 joins", |cluster| log_ends(cluster) == [3, 3, 3]);
    let diverged =
        |event: &Event| matches!(event, Event::Diverged { from, .. } if *from == Offset(1));
    assert!(cluster.events.iter().any(|(node, event)| *node == 0 && diverged(event)));
    assert_eq!(
        cluster.engine(0).log_end_epoch(PARTITION),
        cluster.engine(1).log_end_epoch(PARTITION)
    );
    let question = cluster.produce(0, b"x");
    assert_eq!(cluster.produced(question), Err(ErrorCode::NotLeaderOrFollower));
}

#[test]
fn a_leader_that_is_fenced_refuses_at_once() {
    let mut cluster = Cluster::new();
    cluster.put(0, b"a");
    cluster.run(20);
    cluster.fail_over(0, 2);
    assert_eq!(cluster.put(2, b"b"), Offset(1));
    let question = cluster.produce(0, b"x");
    assert_eq!(cluster.produced(question), Err(ErrorCode::NotLeaderOrFollower));
    cluster.run_until("all follow", |cluster| log_ends(cluster) == [2, 2, 2]);
}

#[test]
fn a_restarted_leader_follows_and_its_log_is_whole() {
    let mut cluster = Cluster::new();
    for _ in 0..20 {
        cluster.put(0, &[7; 3_000]);
    }
    cluster.kill(0);
    cluster.fail_over(0, 1);
    cluster.put(1, b"new epoch");
    cluster.start(0);
    assert_eq!(cluster.partition().leader.map(|leader| leader.placement), Some(at(1)));
    cluster.run_until("0 catches up", |cluster| log_ends(cluster) == [21, 21, 21]);
    cluster.put(1, b"more");
    cluster.run(30);
    assert_eq!(log_ends(&cluster), [22, 22, 22]);
    assert_eq!(cluster.engine(0).committed(PARTITION), Some(Committed(Offset(22))));
}

#[test]
fn a_follower_that_comes_late_reads_what_has_left_memory() {
    let mut cluster = Cluster::new();
    cluster.kill(2);
    for _ in 0..600 {
        cluster.put(0, &[9; 10_000]);
    }
    assert!(0 < cluster.engine(0).metrics().destaged_bytes);
    cluster.start(2);
    cluster.run_until("2 catches up", |cluster| log_ends(cluster) == [600, 600, 600]);
    assert!(0 < cluster.engine(0).metrics().disk_reads);
}

#[test]
fn a_watch_wakes_when_a_quorum_holds_the_record() {
    let mut cluster = Cluster::new();
    cluster.put(0, b"a");
    let until = base::Instant(u64::MAX);
    let watch = cluster.ask(0, Ask::Watch { from: Offset(1), until });
    cluster.cut.extend([1, 2]);
    cluster.produce(0, b"b");
    cluster.run(50);
    assert!(cluster.answer(watch).is_none(), "durable here alone");
    cluster.heal();
    cluster.run_until("it is committed", |cluster| committed(cluster, 0) == Offset(2));
    cluster.run(1);
    assert!(matches!(cluster.answer(watch), Some(Answer::Woken)));
}

#[test]
fn a_kafka_client_is_answered_when_a_quorum_holds_its_batch() {
    let mut cluster = Cluster::new();
    cluster.put(0, b"a");
    let conn = cluster.connect_client(0);
    let request = produce_request(&batch(b"from a client"), -1);
    cluster.cut.extend([1, 2]);
    cluster.client_sends(0, conn, &request);
    cluster.run(20);
    assert_eq!(cluster.engine(0).log_end(PARTITION), Some(LogEnd(Offset(2))));
    assert!(!cluster.received.contains_key(&(0, conn.slot)), "no quorum has it");
    cluster.heal();
    cluster.run_until("it is answered", |cluster| cluster.received.contains_key(&(0, conn.slot)));
    assert_eq!(committed(&cluster, 0), Offset(2));
}

#[test]
fn a_topic_may_want_more_replicas_than_a_majority() {
    let mut cluster = Cluster::of("t", &[("min.insync.replicas", "3")]);
    cluster.put(0, b"a");
    cluster.run(20);
    let question = cluster.produce(0, b"b");
    cluster.cut.push(2);
    cluster.run(50);
    assert_eq!(committed(&cluster, 0), Offset(2), "a majority is enough for readers");
    assert!(cluster.answer(question).is_none(), "but not for the producer");
    cluster.heal();
    assert_eq!(cluster.produced(question), Ok(Offset(1)));
    cluster.kill(2);
    let question = cluster.produce(0, b"c");
    assert_eq!(cluster.produced(question), Err(ErrorCode::NotEnoughReplicas));
    let question = cluster.ask(0, Ask::Produce { batch: batch(b"d"), all: false });
    assert_eq!(cluster.produced(question), Ok(Offset(2)));
}

#[test]
fn who_wants_no_answer_gets_none_and_its_record_is_replicated() {
    let mut cluster = Cluster::new();
    cluster.put(0, b"a");
    let conn = cluster.connect_client(0);
    cluster.client_sends(0, conn, &produce_request(&batch(b"b"), 0));
    cluster.run_until("all hold it", |cluster| log_ends(cluster) == [2, 2, 2]);
    assert!(!cluster.received.contains_key(&(0, conn.slot)));
}

fn produce_request(records: &[u8], acks: i16) -> Vec<u8> {
    let mut request = Outgoing::default();
    let to = ReplyTo { version: 9, correlation_id: 4 };
    let partition_data =
        [produce::PartitionData { index: 0, records: Some(net::Records::Bytes(records)) }];
    let topic_data = [produce::TopicData { name: "t", partition_data }];
    let body = produce::Request { transactional_id: None, acks, timeout_ms: 1_000, topic_data };
    request.request(to, None, body);
    request.bytes().to_vec()
}
