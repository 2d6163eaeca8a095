//! What happens in a random history.

use base::PartitionId;
use replication::LogIndex;
use replication::replica::Log;

use crate::random::Random;
use crate::world::{Disk, World, at};

/// How often each thing happens; a seed draws them, and leaves some out.
pub const ACTIONS: &[(&str, u32)] = &[
    ("calm", 8),
    ("append", 60),
    ("flush", 60),
    ("deliver", 200),
    ("mail", 40),
    ("pass", 30),
    ("conform", 30),
    ("dial", 15),
    ("break", 4),
    ("crash", 3),
    ("start", 8),
    ("elect", 5),
    ("move", 3),
    ("busy", 3),
    ("delete", 3),
    ("hand over", 2),
    ("hint", 10),
    ("lose mail", 4),
    ("lose message", 1),
    ("repeat", 5),
    ("forget link", 4),
];

/// Faults: left out of some histories altogether.
pub const FAULTS: &[&str] = &["break", "busy", "delete", "hand over", "lose message"];

/// Histories that look for trouble somewhere: what happens more often there, or less.
pub const PROFILES: &[Profile] = &[
    (&[(3, 3, 1), (3, 3, 2), (4, 3, 2), (5, 5, 1), (5, 3, 3), (5, 5, 2)], &[]),
    // Disks are damaged, replaced, rolled back.
    (&[(3, 3, 1), (5, 5, 1)], &[("crash", 300), ("start", 300), ("elect", 200), ("disk", 70)]),
    // Replicas move.
    (&[(4, 3, 1), (5, 3, 1)], &[("move", 800), ("elect", 200), ("crash", 200)]),
    // Leaders come and go, and hardly write.
    (&[(3, 3, 1)], &[("elect", 600), ("append", 25), ("crash", 200), ("break", 300)]),
];

/// Nodes, replicas, partitions.
type Shape = (usize, usize, u32);

/// Where a history plays, and what happens there more often, or less, in percent.
type Profile = (&'static [Shape], &'static [(&'static str, u32)]);

pub fn act(world: &mut World, random: &mut Random, action: &str, damages: u32) {
    let id = random.pick(&world.ids).unwrap();
    let up = world.up();
    let node = random.pick(&up);
    match (action, node) {
        ("calm", _) => (0..1 + random.below(4)).for_each(|_| calm(world, random)),
        ("append", _) => {
            if let Some(node) = random.pick(&world.leaders(id)) {
                world.append(node, id, 1 + random.below(4) as u64);
            }
        }
        ("flush", Some(node)) => world.flush(node, 1 + random.below(3) as u64),
        ("deliver", _) => {
            deliver(world, random, false);
        }
        ("repeat", _) => {
            deliver(world, random, true);
        }
        ("mail", _) if !world.mail.is_empty() => {
            let index = random.below(world.mail.len());
            world.deliver_mail(index);
        }
        ("lose mail", _) if !world.mail.is_empty() => {
            let index = random.below(world.mail.len());
            world.mail.swap_remove(index);
        }
        ("pass", _) => world.pass(random.next() % 6_000_000),
        ("conform", Some(node)) => {
            let (from, to) = (world.nodes[node].index.0, world.control.index().0);
            let index = if random.one_in(2) { to } else { from + random.next() % (to - from + 1) };
            world.conform(node, LogIndex(index));
        }
        ("dial", Some(node)) => world.dial(node),
        ("crash", Some(node)) if world.nodes.len() < 2 * up.len() || random.one_in(8) => {
            world.crash(node, random.below(4) as u64);
        }
        ("start", _) => {
            if let Some(node) = random.pick(&world.down()) {
                let disk = disk(random, damages);
                world.start(node, disk);
            }
        }
        ("elect", _) => {
            let all = world.ids.clone();
            if random.one_in(3) { world.elect(&all) } else { world.elect(&[id]) }
        }
        ("move", _) => reassign(world, random),
        ("busy", Some(node)) => {
            let log = &mut world.nodes[node].log;
            log.is_busy = !log.is_busy;
        }
        ("delete", _) => {
            if let Some(node) = random.pick(&world.leaders(id))
                && let Some(view) = world.nodes[node].log.view(id)
            {
                let before = view.log_start.0.plus(random.below(4) as u64);
                world.delete_before(node, id, before);
            }
        }
        _ => disturb(world, random, action, id),
    }
}

/// The rarer things.
fn disturb(world: &mut World, random: &mut Random, action: &str, id: PartitionId) {
    let node = random.pick(&world.up());
    match (action, node) {
        ("hand over", _) => {
            if let Some(node) = random.pick(&world.leaders(id))
                && let Some(to) = random.pick(&world.control.parts[&id].config.replicas)
            {
                let own = &mut world.nodes[node];
                own.set.as_mut().unwrap().hand_over(&own.log, id, to);
                world.settle(node);
            }
        }
        ("hint", Some(node)) => world.nodes[node].log.hint(id),
        ("break", _) => {
            let alive: Vec<usize> =
                (0..world.links.len()).filter(|link| !world.links[*link].is_broken).collect();
            if let Some(link) = random.pick(&alive) {
                let link = &world.links[link];
                world.break_link(link.stream, (link.leader, link.follower));
            }
        }
        ("lose message", _) if !world.links.is_empty() => {
            let link = random.below(world.links.len());
            world.lose(link);
        }
        ("forget link", _) => world.links.retain(|link| !link.is_broken),
        _ => {}
    }
}

fn disk(random: &mut Random, damages: u32) -> Disk {
    if u64::from(damages) <= random.next() % 100 {
        return Disk::Kept;
    }
    let entries = 1 + random.below(12);
    [Disk::Damaged { entries }, Disk::Replaced, Disk::RolledBack { entries }][random.below(3)]
}

pub fn deliver(world: &mut World, random: &mut Random, again: bool) -> bool {
    let ways = world.links.iter().enumerate().flat_map(|(index, link)| {
        let ways = [(true, &link.to_follower), (false, &link.to_leader)];
        ways.into_iter().filter(|(_, way)| !way.is_empty()).map(move |(to, _)| (index, to))
    });
    let ways: Vec<(usize, bool)> = ways.collect();
    match random.pick(&ways) {
        Some((link, to_follower)) => {
            world.deliver(link, to_follower, again);
            true
        }
        None => false,
    }
}

fn reassign(world: &mut World, random: &mut Random) {
    let id = random.pick(&world.ids).unwrap();
    let count = world.control.parts[&id].config.replicas.len();
    let mut nodes: Vec<usize> = (0..world.nodes.len()).collect();
    let mut target = Vec::new();
    while target.len() < count {
        target.push(at(nodes.swap_remove(random.below(nodes.len()))));
    }
    world.control.reassign(&mut world.ledger, id, target);
}

/// For a while nothing is in the way of those that are up.
pub fn calm(world: &mut World, random: &mut Random) {
    for node in world.up() {
        world.nodes[node].log.is_busy = false;
        let index = world.control.index();
        world.conform(node, index);
        world.dial(node);
        world.flush(node, u64::MAX / 2);
    }
    while !world.mail.is_empty() {
        let index = random.below(world.mail.len());
        world.deliver_mail(index);
    }
    for _ in 0..50 {
        if !deliver(world, random, false) {
            break;
        }
    }
    world.pass(5_000_000);
}
