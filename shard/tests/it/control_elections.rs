//! Who leads partitions, decided by control shards of three to five nodes: deaths, suspicions,
//! damaged logs, operators' words, planned hand-overs and moves. All time is simulated.

use std::time::Duration;

use base::{CoreId, Epoch, NodeId, PartitionId, ShardId};
use replication::elector::Order;
use replication::{Command, HandOver, Health, Place, Placement, Proposal};
use shard::{Mail, News};

use crate::control_world::{Remains, World, at, create, id};

const SECOND: Duration = Duration::from_secs(1);
/// A process that died is announced: nobody waits for silence.
const ANNOUNCED_MAX: Duration = Duration::from_millis(40);
/// A machine that died is missed.
const SILENT_MAX: Duration = Duration::from_millis(300);

/// The same if it led the cluster log.
const CONTROL_SILENT_MAX: Duration = Duration::from_millis(500);

/// Six partitions of three replicas, two led by each of three nodes.
const SPREAD: [&[u16]; 6] =
    [&[0, 1, 2], &[1, 2, 0], &[2, 0, 1], &[0, 2, 1], &[1, 0, 2], &[2, 1, 0]];

fn partitions() -> impl Iterator<Item = PartitionId> {
    (0..SPREAD.len() as u32).map(|index| id(1, index))
}

fn world() -> World {
    let mut world = World::new(3);
    world.agree(create("t", &SPREAD));
    world.pass_until(all_led);
    world.check();
    world
}

fn all_led(world: &World) -> bool {
    partitions().all(|id| world.is_led(id))
}

fn follower(world: &World) -> NodeId {
    world.other_than(&[world.controller()])
}

#[test]
fn a_node_that_is_missed_leads_nothing_half_a_second_later() {
    let mut world = world();
    let dead = follower(&world);
    world.kill(dead);
    let took = world.pass_until(all_led);
    assert!(took < SILENT_MAX, "{took:?}");
    assert!(partitions().all(|id| world.leader(id) != Some(dead)));
}

#[test]
fn a_death_that_is_announced_costs_no_wait() {
    let mut world = world();
    let dead = follower(&world);
    let remains = world.kill(dead);
    world.announce_death(dead, &remains);
    let took = world.pass_until(all_led);
    assert!(took < ANNOUNCED_MAX, "{took:?}");
}

#[test]
fn the_death_of_the_control_leader_costs_an_election_more() {
    for is_announced in [false, true] {
        let mut world = world();
        let dead = world.controller().expect("one leads");
        let remains = world.kill(dead);
        if is_announced {
            world.announce_death(dead, &remains);
        }
        let took = world.pass_until(all_led);
        let most = if is_announced { ANNOUNCED_MAX * 2 } else { CONTROL_SILENT_MAX };
        assert!(took < most, "{took:?}, announced: {is_announced}");
        assert!(world.controller().is_some_and(|leader| leader != dead));
        world.start(dead, remains);
        world.pass(SECOND * 5);
        world.check();
        for id in partitions() {
            let partition = world.partition(id);
            assert_eq!(world.leader(id), Some(partition.preferred().node), "{id:?} came back");
        }
    }
}

#[test]
fn a_frozen_shard_is_missed_while_its_node_talks() {
    let mut world = world();
    let frozen = follower(&world);
    world.host(frozen).script.is_frozen = true;
    // Its shard is heard by nobody, though its control core answers.
    world.pass(SECOND);
    assert!(all_led(&world));
    assert!(partitions().all(|id| world.leader(id) != Some(frozen)));
}

#[test]
fn a_shard_that_gave_up_is_no_leader_any_more() {
    let mut world = world();
    let node = follower(&world);
    world.host(node).script.is_frozen = true;
    let mail = Mail::Failed { shard: ShardId(0), reason: "its disk is gone".to_owned() };
    world.give(node, CoreId(0), mail);
    let leads_nothing = |world: &World| partitions().all(|id| world.leader(id) != Some(node));
    let took = world.pass_until(|world| leads_nothing(world) && all_led(world));
    assert!(took < ANNOUNCED_MAX, "{took:?}");
}

#[test]
fn whom_only_the_control_leader_does_not_hear_keeps_its_reigns() {
    let mut world = world();
    let controller = world.controller().expect("one leads");
    let unheard = follower(&world);
    let before: Vec<_> = partitions().map(|id| world.partition(id).epoch).collect();
    world.cut.insert((unheard, controller));
    world.pass(SECOND * 5);
    assert_eq!(partitions().map(|id| world.partition(id).epoch).collect::<Vec<_>>(), before);
    let leads = partitions().any(|id| world.leader(id) == Some(unheard));
    assert!(leads, "its followers hear it");
}

#[test]
fn a_partition_of_one_replica_is_led_by_each_start_of_its_node() {
    let mut world = world();
    world.agree(create("alone", &[&[1]]));
    let (node, alone) = (NodeId(1), id(2, 0));
    world.pass_until(|world| world.is_led(alone));
    let epoch = world.partition(alone).epoch;
    let remains = world.kill(node);
    world.pass(SECOND * 2);
    assert_eq!(world.leader(alone), Some(node), "nobody else can");
    world.start(node, remains);
    world.pass_until(|world| world.is_led(alone));
    assert_eq!(world.partition(alone).epoch, Epoch(epoch.0 + 1));
}

/// Kills two nodes whose logs are then damaged, so that one log of three can be proven.
fn leave_one_proven(world: &mut World) -> [(NodeId, Remains); 2] {
    world.pass(SECOND);
    [NodeId(1), NodeId(2)].map(|node| {
        let mut remains = world.kill(node);
        remains.script.damage(3);
        (node, remains)
    })
}

#[test]
fn without_a_quorum_that_can_prove_its_logs_nobody_is_elected() {
    let mut world = World::new(5);
    world.agree(create("t", &[&[1, 2, 0]]));
    let id = id(1, 0);
    world.pass_until(|world| world.is_led(id));
    let damaged = leave_one_proven(&mut world);
    world.pass(SECOND);
    for (node, remains) in damaged {
        world.start(node, remains);
    }
    world.pass(SECOND * 10);
    assert_eq!(world.leader(id), None);
    let halted = world.news().find_map(|news| match news {
        News::Election(Order::Halted { partition, shortage, .. }) => Some((partition, shortage)),
        _ => None,
    });
    let (partition, shortage) = halted.expect("operators are told");
    assert_eq!((*partition, &shortage.unproven[..]), (id, &[at(1), at(2)][..]));
    let controller = world.controller().expect("one leads");
    let steward = world.host(controller).control.steward();
    assert_eq!(steward.elector.halted().count(), 1);
}

#[test]
fn an_operator_may_accept_a_loss_and_learns_how_much_it_is() {
    let mut world = World::new(5);
    world.agree(create("t", &[&[1, 2, 0]]));
    let id = id(1, 0);
    world.pass_until(|world| world.is_led(id));
    let damaged = leave_one_proven(&mut world);
    let end = world.host(NodeId(0)).script.end(id);
    world.kill(NodeId(0));
    for (node, remains) in damaged {
        world.start(node, remains);
    }
    world.pass(SECOND * 10);
    assert_eq!(world.leader(id), None, "two damaged logs prove nothing");
    world.accept_losses();
    world.agree(Proposal::ElectUnclean { partition: id });
    world.pass_until(|world| world.is_led(id));
    let lost = world.news().find_map(|news| match news {
        News::Election(Order::Lost { chosen, loss }) => Some((chosen.partition, *loss)),
        _ => None,
    });
    let (partition, loss) = lost.expect("operators are told");
    assert_eq!((partition, loss.log_end.0.0, loss.unheard), (id, 3, 1));
    assert!(3 < end);
}

#[test]
fn a_node_that_leaves_hands_over_first_and_gets_back_what_it_led() {
    for leaves in [NodeId(0), NodeId(1), NodeId(2)] {
        let mut world = world();
        let epochs: Vec<_> = partitions().map(|id| world.partition(id).epoch).collect();
        world.give(leaves, CoreId::CONTROL, Mail::Leave);
        world.pass_until(|world| world.hosts[&leaves].control.has_left() && all_led(world));
        assert!(partitions().all(|id| world.leader(id) != Some(leaves)));
        for (id, before) in partitions().zip(epochs) {
            let was_led = world.partition(id).preferred().node == leaves;
            let after = Epoch(before.0 + u32::from(was_led));
            assert_eq!(world.partition(id).epoch, after, "one hand-over, no election");
        }
        let remains = world.kill(leaves);
        world.pass(SECOND);
        assert!(all_led(&world));
        world.start(leaves, remains);
        world.pass(SECOND * 4);
        world.check();
        for id in partitions() {
            assert_eq!(world.leader(id), Some(world.partition(id).preferred().node));
        }
    }
}

#[test]
fn a_successor_that_dies_is_replaced() {
    let mut world = world();
    let id = id(1, 0);
    // It falls silent before it can hold all.
    world.host(NodeId(1)).script.is_frozen = true;
    let epoch = world.partition(id).epoch;
    let hand_overs = vec![HandOver { partition: id, epoch, to: at(1) }];
    world.propose(NodeId(2), Proposal::Decree(Command::HandOversWanted { hand_overs }));
    world.pass_until(|world| world.leader(id) == Some(NodeId(2)) && world.is_led(id));
    // The preferred leader lives.
    world.pass_until(|world| world.leader(id) == Some(NodeId(0)) && world.is_led(id));
    assert_eq!(world.partition(id).epoch, Epoch(epoch.0 + 2), "no election");
}

#[test]
fn a_partition_moves_to_other_nodes_by_learners() {
    let mut world = World::new(5);
    world.agree(create("t", &[&[0, 1, 2], &[3, 4, 0]]));
    let moved = id(1, 0);
    world.pass_until(|world| world.is_led(moved));
    world.pass(SECOND);
    let places = [2, 3, 4].map(|node| Place::Node(NodeId(node)));
    world
        .propose(NodeId(1), Proposal::Reassign { partition: moved, places: Some(places.to_vec()) });
    let is_moved = |world: &World| world.partition(moved).reassignment.is_none();
    world.pass(Duration::from_millis(50));
    world.pass_until(is_moved);
    world.pass_until(|world| world.is_led(moved));
    let partition = world.partition(moved);
    let replicas: Vec<Placement> = partition.replicas.to_vec();
    assert_eq!(replicas, [at(2), at(3), at(4)]);
    assert!(partition.learners.is_empty());
    world.pass(SECOND * 3);
    assert_eq!(world.leader(moved), Some(NodeId(2)));
    assert!(!world.hosts[&NodeId(0)].script.logs.contains_key(&moved));
    assert!(!world.hosts[&NodeId(1)].script.logs.contains_key(&moved));
}

#[test]
fn the_control_leader_knows_how_every_shard_is() {
    let mut world = world();
    let dead = follower(&world);
    world.kill(dead);
    world.pass(SECOND);
    let controller = world.controller().expect("one leads");
    let state = world.host(controller).control.state();
    for node in [0, 1, 2] {
        let expected = if NodeId(node) == dead { Health::Dead } else { Health::Healthy };
        let steward = world.host(controller).control.steward();
        assert_eq!(steward.detector.health(&state, at(node)), expected, "node {node}");
    }
}
