//! How much is said, how often, and in which order; and what may be answered.

use base::Offset;
use replication::Planted;
use replication::replica::{Log, Message, Standing, split_frame};

use crate::world::{Disk, World, at, partition};

/// What waits on the way to the follower of `link`.
fn on_the_way(world: &World, link: usize) -> Vec<Message<'_>> {
    let frames = world.links[link].to_follower.iter();
    frames
        .map(|frame| Message::decode(split_frame(frame).unwrap().unwrap().body).unwrap())
        .collect()
}

fn heartbeats(world: &World, link: usize) -> usize {
    let messages = on_the_way(world, link);
    messages.iter().filter(|message| matches!(message, Message::Heartbeat { .. })).count()
}

/// Shard 0 leads, and 1 and 2 have heard of it: links 0 and 1, with nothing on the way.
fn led(partitions: u32, insync_min: u16) -> World {
    let mut world = World::new((3, 3, partitions), Planted::default(), None);
    world.control.insync_min = insync_min;
    let ids = world.ids.clone();
    world.elect(&ids);
    for _ in 0..3 {
        while !world.mail.is_empty() {
            world.deliver_mail(0);
        }
        (0..3).for_each(|node| world.flush(node, u64::MAX / 2));
    }
    for node in 0..3 {
        world.conform(node, world.control.index());
        world.flush(node, u64::MAX / 2);
    }
    [1, 2].iter().for_each(|node| world.talk(0, *node));
    world
}

#[test]
fn a_silent_stream_says_every_ten_milliseconds_that_it_lives() {
    let mut world = led(1, 1);
    assert_eq!(heartbeats(&world, 0), 0);
    world.pass(9_900_000);
    assert_eq!(heartbeats(&world, 0), 0);
    world.pass(100_000);
    assert_eq!(heartbeats(&world, 0), 1);
    let set = world.nodes[0].set.as_ref().unwrap();
    assert_eq!(set.next_timeout().unwrap().0, world.now.mono.0 + 10_000_000);
}

#[test]
fn data_counts_as_a_heartbeat() {
    let mut world = led(1, 1);
    world.pass(6_000_000);
    world.append(0, partition(0), 1);
    world.pass(6_000_000);
    assert_eq!(heartbeats(&world, 0), 0);
}

#[test]
fn an_idle_partitions_watermark_travels_with_the_next_heartbeat() {
    let mut world = led(1, 1);
    world.append(0, partition(0), 1);
    world.flush(0, 9);
    world.talk(0, 1);
    let committed =
        |world: &World, node: usize| world.nodes[node].log.view(partition(0)).unwrap().committed.0;
    assert_eq!((committed(&world, 0), committed(&world, 1)), (Offset(1), Offset(0)));
    world.pass(10_000_000);
    world.talk(0, 1);
    assert_eq!(committed(&world, 1), Offset(1));
}

#[test]
fn acks_all_waits_for_min_insync_replicas_beyond_what_is_committed() {
    let mut world = led(1, 3);
    let answerable = |world: &World| {
        let node = &world.nodes[0];
        let set = node.set.as_ref().unwrap();
        let may = set.answerable(&node.log, partition(0)).unwrap();
        (may.quorum, may.leader.0, node.log.view(partition(0)).unwrap().committed.0)
    };
    world.append(0, partition(0), 1);
    assert_eq!(answerable(&world), (Offset(0), Offset(0), Offset(0)));
    world.flush(0, 9);
    assert_eq!(answerable(&world), (Offset(0), Offset(1), Offset(0)), "durable at the leader");
    world.talk(0, 1);
    assert_eq!(answerable(&world), (Offset(0), Offset(1), Offset(1)), "committed by a majority");
    world.talk(0, 2);
    assert_eq!(answerable(&world), (Offset(1), Offset(1), Offset(1)));
}

#[test]
fn a_follower_that_was_not_level_lately_is_out_of_sync() {
    let mut world = led(1, 2);
    let insync = |world: &World| {
        let node = &world.nodes[0];
        let set = node.set.as_ref().unwrap();
        let progress = set.progress(world.now, &node.log, partition(0));
        let own: Vec<bool> = progress.iter().map(|own| own.is_insync).collect();
        (own, set.has_insync_min(world.now, &node.log, partition(0)))
    };
    assert_eq!(insync(&world), (vec![true, true, true], true));
    world.append(0, partition(0), 1);
    world.pass(11_000_000_000);
    assert_eq!(insync(&world), (vec![true, false, false], false));
    world.talk(0, 2);
    assert_eq!(insync(&world), (vec![true, false, true], true));
}

#[test]
fn bytes_in_flight_stay_within_the_window() {
    let mut world = led(1, 1);
    (0..50).for_each(|_| assert!(world.append(0, partition(0), 4)));
    let bytes: usize = world.links[0].to_follower.iter().map(Vec::len).sum();
    let window = world.settings.window_bytes as usize;
    assert!(window / 2 < bytes && bytes < window + 1_000, "{bytes}");
    (0..9).for_each(|_| world.talk(0, 1));
    assert_eq!(world.nodes[1].log.view(partition(0)).unwrap().log_end.0, Offset(200));
}

#[test]
fn who_catches_up_does_not_stand_in_the_way_of_who_keeps_up() {
    let mut world = led(2, 1);
    world.break_all();
    world.links.clear();
    (0..50).for_each(|_| assert!(world.append(0, partition(0), 4)));
    world.connect(0, 1);
    while !matches!(on_the_way(&world, 0).last(), Some(Message::Append { .. })) {
        world.deliver(0, true, false);
        world.flush(1, 9);
        world.deliver(0, false, false);
        world.pass(5_000_000);
    }
    // The opening of the other partition stands before it.
    world.exchange(0, 1);
    let bytes: usize = world.links[0].to_follower.iter().map(Vec::len).sum();
    assert!(bytes < world.settings.bulk_window_bytes as usize + 1_000, "{bytes}");
    assert!(world.append(0, partition(1), 1));
    let behind = on_the_way(&world, 0);
    let Some(Message::Append { header, .. }) = behind.last() else { panic!("{behind:?}") };
    assert_eq!(header.partition, partition(1));
}

#[test]
fn a_hand_over_waits_until_the_successor_holds_all_and_takes_nothing_more() {
    let mut world = led(1, 1);
    world.append(0, partition(0), 2);
    let node = &mut world.nodes[0];
    assert!(node.set.as_mut().unwrap().hand_over(&node.log, partition(0), at(2)));
    assert!(!world.append(0, partition(0), 1));
    let standing = world.nodes[0].set.as_ref().unwrap().standing(partition(0));
    assert!(matches!(standing, Standing::HandsOver { to, .. } if to == at(2)));
    world.flush(0, 9);
    world.mail.clear();
    world.talk(0, 1);
    assert!(world.mail.is_empty(), "1 is not the successor");
    world.talk(0, 2);
    while !world.mail.is_empty() {
        world.deliver_mail(0);
    }
    for node in [2, 0, 1] {
        world.conform(node, world.control.index());
    }
    assert_eq!(world.leaders(partition(0)), [2]);
    assert_eq!(world.ledger.violation, None);
}

/// A leader remembers what the disk before had acked: that is no reason for the new one to begin anew
/// each time it is interrupted.
#[test]
fn who_is_rebuilt_goes_on_where_it_was_interrupted() {
    let mut world = led(1, 1);
    for _ in 0..20 {
        assert!(world.append(0, partition(0), 4));
        world.flush(0, 9);
        world.talk(0, 2);
    }
    world.crash(2, 0);
    world.links.clear();
    world.start(2, Disk::Replaced);
    world.conform(0, world.control.index());
    let log_end = |world: &World| world.nodes[2].log.view(partition(0)).unwrap().log_end.0;
    world.connect(0, 2);
    while log_end(&world) < Offset(20) {
        world.exchange(0, 1);
        world.pass(5_000_000);
    }
    let interrupted_at = log_end(&world);
    assert!(interrupted_at < Offset(80));
    world.break_all();
    world.links.clear();
    world.connect(0, 2);
    world.exchange(0, 1);
    assert_eq!(log_end(&world), interrupted_at);
}
