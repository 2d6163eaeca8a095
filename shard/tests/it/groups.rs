//! A coordinator of groups in three replicas: what it acked follows it to the next leader, and nothing is
//! acked that might not.

use net::ErrorCode;
use shard::groups::ask::{Commit, CommitPartition, GroupAnswer, GroupAsk, Identity};
use shard::{Answer, Ask};

use crate::cluster::{Cluster, Question};

fn commit(offset: i64) -> GroupAsk {
    let partition = CommitPartition {
        topic: "t".into(),
        index: 0,
        offset,
        leader_epoch: -1,
        metadata: String::new(),
        refused: None,
    };
    let who = Identity { group: "g".into(), generation: -1, ..Identity::default() };
    GroupAsk::Commit(Commit { who, retention_ms: None, partitions: vec![partition] })
}

fn put(cluster: &mut Cluster, node: usize, ask: GroupAsk) -> Question {
    cluster.ask(node, Ask::Group(Box::new(ask)))
}

/// The outcome of one question.
fn outcome(cluster: &mut Cluster, question: Question) -> Result<GroupAnswer, ErrorCode> {
    cluster.run_until("it is answered", |cluster| cluster.is_answered(question));
    match cluster.answer(question) {
        Some(Answer::Group(answer)) => match *answer {
            GroupAnswer::Committed(codes) if codes[0] != ErrorCode::None => Err(codes[0]),
            answer => Ok(answer),
        },
        Some(Answer::Failed(code)) => Err(code),
        other => panic!("{other:?}"),
    }
}

/// Asks as clients do, until the coordinator is there.
fn insist(cluster: &mut Cluster, node: usize, ask: &GroupAsk) -> GroupAnswer {
    for _ in 0..200 {
        let question = put(cluster, node, ask.clone());
        match outcome(cluster, question) {
            Ok(answer) => return answer,
            Err(
                ErrorCode::NotCoordinator
                | ErrorCode::CoordinatorLoadInProgress
                | ErrorCode::CoordinatorNotAvailable,
            ) => cluster.run(10),
            Err(code) => panic!("{code:?}"),
        }
    }
    panic!("node {node} never coordinates")
}

fn fetched(cluster: &mut Cluster, node: usize) -> i64 {
    let topics = Some(vec![("t".to_owned(), vec![0])]);
    match insist(cluster, node, &GroupAsk::FetchOffsets { group: "g".into(), topics }) {
        GroupAnswer::Offsets(topics) => topics[0].1[0].1.offset,
        other => panic!("{other:?}"),
    }
}

#[test]
fn acked_offsets_follow_the_coordinator_to_the_next_leader() {
    let mut cluster = Cluster::of(replication::topic_name::OFFSETS, &[]);
    for offset in 1..=5 {
        insist(&mut cluster, 0, &commit(offset));
    }
    let elsewhere = put(&mut cluster, 1, commit(9));
    assert_eq!(outcome(&mut cluster, elsewhere).err(), Some(ErrorCode::NotCoordinator));
    cluster.kill(0);
    cluster.fail_over(0, 1);
    assert_eq!(fetched(&mut cluster, 1), 5);
    insist(&mut cluster, 1, &commit(6));
    cluster.start(0);
    assert_eq!(fetched(&mut cluster, 1), 6);
}

#[test]
fn a_coordinator_without_its_quorum_acks_nothing() {
    let mut cluster = Cluster::of(replication::topic_name::OFFSETS, &[]);
    insist(&mut cluster, 0, &commit(5));
    cluster.cut.push(0);
    let lonely = put(&mut cluster, 0, commit(9));
    cluster.run(20);
    assert!(!cluster.is_answered(lonely), "nobody else has it");
    cluster.fail_over(0, 1);
    assert_eq!(fetched(&mut cluster, 1), 5);
    cluster.heal();
    cluster.publish();
    let refused = outcome(&mut cluster, lonely).err();
    assert_eq!(refused, Some(ErrorCode::NotCoordinator));
    insist(&mut cluster, 1, &commit(6));
    assert_eq!(fetched(&mut cluster, 1), 6);
}
