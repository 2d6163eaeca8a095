//! Three control shards over disks in memory: they form one cluster, agree through whichever node
//! is asked, and go on without one.

use std::time::Duration;

use base::NodeId;
use replication::Rejected;

use crate::control_world::{Remains, World, create};
use crate::disk::Disk;

const NODES: [NodeId; 3] = [NodeId(0), NodeId(1), NodeId(2)];

#[test]
fn three_nodes_form_one_cluster_and_any_of_them_takes_a_wish() {
    let mut cluster = World::new(3);
    cluster.check();
    let state = cluster.hosts[&NODES[0]].control.state();
    assert_eq!((state.nodes().count(), state.voters().len()), (3, 3));
    assert_eq!(state.controller(), cluster.controller());
    for (node, name) in NODES.into_iter().zip(["a", "b", "c"]) {
        cluster.propose(node, create(name, &[&[0], &[1], &[2]]));
    }
    cluster.pass(Duration::from_secs(1));
    for node in NODES {
        assert_eq!(cluster.host(node).proposed, [vec![Ok(())]], "node {node}");
    }
    cluster.propose(NODES[1], create("a", &[&[0], &[1], &[2]]));
    cluster.pass(Duration::from_secs(1));
    assert_eq!(cluster.host(NODES[1]).proposed[1], vec![Err(Rejected::TopicExists)]);
    cluster.check();
    assert_eq!(cluster.hosts[&NODES[2]].control.state().topics().len(), 3);
}

#[test]
fn two_go_on_without_the_leader_and_it_catches_up() {
    let mut cluster = World::new(3);
    let old = cluster.controller().expect("one leads");
    let remains = cluster.kill(old);
    let other = cluster.other_than(&[]);
    cluster.propose(other, create("a", &[&[0], &[1], &[2]]));
    cluster.pass(Duration::from_secs(3));
    assert_eq!(cluster.host(other).proposed, [vec![Ok(())]]);
    assert_ne!(cluster.controller(), Some(old));
    cluster.start(old, remains);
    cluster.pass(Duration::from_secs(3));
    cluster.check();
    assert_eq!(cluster.hosts[&old].control.state().topics().len(), 1);
}

#[test]
fn a_node_that_lost_its_control_journal_votes_again_only_when_it_has_learned_all() {
    let mut cluster = World::new(3);
    let lost = cluster.other_than(&[cluster.controller()]);
    let remains = cluster.kill(lost);
    let disk = Disk::default();
    cluster.start(lost, Remains { disk, control_journal: 99, ..remains });
    cluster.pass(Duration::from_secs(5));
    cluster.check();
    let state = cluster.hosts[&lost].control.state();
    assert_eq!(state.voters().of_node(lost).map(|voter| voter.journal), Some(99));
    assert_eq!(state.voters().len(), 3);
}

#[test]
fn one_of_three_agrees_to_nothing() {
    let mut cluster = World::new(3);
    let alone = cluster.controller().expect("one leads");
    let version = cluster.hosts[&alone].control.state().version();
    cluster.hosts.retain(|node, _| *node == alone);
    cluster.propose(alone, create("a", &[&[0], &[1], &[2]]));
    cluster.pass(Duration::from_secs(9));
    assert!(cluster.host(alone).proposed.is_empty());
    cluster.pass(Duration::from_secs(3));
    assert_eq!(cluster.host(alone).proposed, [vec![Err(Rejected::NotLeader)]]);
    assert_eq!(cluster.hosts[&alone].control.state().version(), version);
    assert_eq!(cluster.controller(), None, "without a majority nobody leads");
}
