//! The cases of the design's §6, step by step: each does no harm to the rules as they are, and is
//! punished when the rule that it is about is left out.

use base::{Offset, PartitionId};
use replication::replica::Log;
use replication::{Mutant, Placement, Planted};

use crate::control::Flaw;
use crate::world::{Disk, Mail, World, at, partition};

/// The rule that is left out.
#[derive(Clone, Copy)]
enum Left {
    Rule(Mutant),
    ControlRule(Flaw),
}

/// Plays `script` with all rules, and without one: then the checkers must name `invariant`.
fn case(nodes: usize, left: Left, invariant: &str, script: impl Fn(&mut World)) {
    let mut world = World::new((nodes, 3, 1), Planted::default(), None);
    script(&mut world);
    assert_eq!(world.ledger.violation, None, "with all rules");
    let (planted, flaw) = match left {
        Left::Rule(mutant) => (Planted::one(mutant), None),
        Left::ControlRule(flaw) => (Planted::default(), Some(flaw)),
    };
    let mut world = World::new((nodes, 3, 1), planted, flaw);
    script(&mut world);
    let violation = world.ledger.violation.unwrap_or_default();
    assert!(violation.starts_with(invariant), "without the rule: {violation:?}");
}

fn id() -> PartitionId {
    partition(0)
}

impl World {
    /// Deposes the leader; of the fences only those of `nodes` arrive, and are answered.
    fn elect_by(&mut self, nodes: &[usize]) {
        self.elect(&[id()]);
        self.mail_of(nodes);
        nodes.iter().for_each(|node| self.flush(*node, u64::MAX / 2));
        self.mail_of(nodes);
        self.mail.clear();
        self.hear(nodes);
    }

    /// What the control plane has for `nodes`, or from them, arrives.
    fn mail_of(&mut self, nodes: &[usize]) {
        let is_of = |mail: &Mail| {
            let Placement { node, .. } = match mail {
                Mail::Fence(order) => order.to,
                Mail::Answer(from, _) | Mail::Event((from, _), _) => *from,
            };
            nodes.contains(&usize::from(node.0))
        };
        while let Some(index) = self.mail.iter().position(is_of) {
            self.deliver_mail(index);
        }
    }

    /// `nodes` hear what the cluster log says, and what follows from it is durable.
    fn hear(&mut self, nodes: &[usize]) {
        for node in nodes {
            if self.nodes[*node].set.is_some() {
                self.conform(*node, self.control.index());
                self.flush(*node, u64::MAX / 2);
            }
        }
    }

    /// `leader` and `follower` say all that they have to say to each other.
    pub fn talk(&mut self, leader: usize, follower: usize) {
        self.connect(leader, follower);
        for _ in 0..30 {
            let link = self.links.iter().position(|link| {
                (link.leader, link.follower, link.is_broken) == (leader, follower, false)
            });
            let Some(link) = link else { return };
            self.deliver(link, true, false);
            self.flush(follower, u64::MAX / 2);
            self.deliver(link, false, false);
            self.flush(leader, u64::MAX / 2);
        }
    }

    /// The follower of `link` takes `messages` messages, and the leader hears all that it answers.
    pub fn exchange(&mut self, link: usize, messages: u32) {
        let follower = self.links[link].follower;
        for _ in 0..messages {
            self.deliver(link, true, false);
            self.flush(follower, u64::MAX / 2);
            while !self.links[link].to_leader.is_empty() {
                self.deliver(link, false, false);
            }
        }
    }

    fn write(&mut self, leader: usize, count: u64) {
        assert!(self.append(leader, id(), count), "{leader} does not lead");
        self.flush(leader, u64::MAX / 2);
    }

    /// Leader 0 has a record that it and 1 hold; 2 has heard of nothing but the epoch.
    fn commit_without_2(&mut self) {
        self.elect_by(&[0, 1, 2]);
        self.talk(0, 2);
        self.break_all();
        self.links.clear();
        self.talk(0, 1);
        self.write(0, 1);
        self.talk(0, 1);
        assert_eq!(self.ledger.committed_end(id()), Offset(1));
    }

    fn restart(&mut self, node: usize, disk: Disk) {
        self.crash(node, 0);
        self.start(node, disk);
    }
}

#[test]
fn h1_leaders_are_elected_by_the_last_epoch_opened() {
    case(3, Left::ControlRule(Flaw::ElectByLastRecord), "I7", |world| {
        world.elect_by(&[0, 1, 2]);
        world.write(0, 1);
        world.elect_by(&[1, 2]);
        world.write(1, 1);
        world.elect_by(&[0, 2]);
        world.talk(0, 2);
        assert_eq!(world.ledger.committed_end(id()), Offset(1), "a record of an older epoch");
        world.crash(0, 0);
        world.elect_by(&[1, 2]);
    });
}

#[test]
fn h1_records_of_older_epochs_are_committed_by_the_opening_of_the_own() {
    case(3, Left::Rule(Mutant::CountForeignAcks), "I6", |world| {
        world.elect_by(&[0, 1, 2]);
        world.write(0, 2);
        world.elect_by(&[0, 2]);
        // All that 2 takes is of epoch 1: the opening of epoch 2 does not reach it.
        world.connect(0, 2);
        world.exchange(0, 3);
        assert_eq!(world.nodes[2].log.view(id()).unwrap().log_end.0, Offset(2));
    });
}

#[test]
fn h2_an_epoch_is_opened_only_behind_its_prefix() {
    case(3, Left::Rule(Mutant::OpenBeforePrefix), "I5", |world| {
        world.elect_by(&[0, 1, 2]);
        world.write(0, 2);
        world.elect_by(&[0, 2]);
        world.talk(0, 1);
        let held = world.nodes[1].log.view(id()).unwrap().log_end;
        assert!(held.0 == Offset(2) || world.ledger.violation.is_some());
    });
}

#[test]
fn h3_no_restart_resumes_an_epoch() {
    case(3, Left::Rule(Mutant::ResumeEpoch), "I1", |world| {
        world.commit_without_2();
        world.append(0, id(), 1);
        world.talk(0, 1);
        world.restart(0, Disk::Kept);
        world.append(0, id(), 1);
    });
}

#[test]
fn h4_what_is_not_proven_does_not_count() {
    let script = |world: &mut World| {
        world.commit_without_2();
        world.restart(1, Disk::Damaged { entries: 2 });
        world.crash(0, 0);
        world.elect_by(&[1, 2]);
    };
    case(3, Left::Rule(Mutant::CountUnproven), "I7", script);
    case(3, Left::ControlRule(Flaw::CountDamaged), "I7", script);
}

#[test]
fn h4_a_learner_counts_once_it_holds_what_it_helped_to_commit() {
    case(3, Left::Rule(Mutant::VouchAtOnce), "I7", |world| {
        world.commit_without_2();
        world.restart(1, Disk::Replaced);
        world.hear(&[0]);
        world.connect(0, 1);
        let link = world.links.len() - 1;
        // The opening, where 1 is, and the next word of 0: a record, or that 1 counts again.
        world.exchange(link, 2);
        world.mail_of(&[0]);
        world.hear(&[1, 2]);
        world.crash(0, 0);
        world.elect_by(&[1, 2]);
    });
}

#[test]
fn h5_a_fence_is_an_entry_of_the_journal() {
    case(3, Left::Rule(Mutant::IgnorePromise), "I4", |world| {
        world.commit_without_2();
        world.append(0, id(), 1);
        world.elect(&[id()]);
        world.mail_of(&[1, 2]);
        world.talk(0, 1);
        let answered = world.nodes[1].log.view(id()).unwrap().log_end;
        assert!(answered.0 == Offset(1) || world.ledger.violation.is_some());
    });
}

#[test]
fn h5_what_was_journaled_before_a_fence_is_in_its_answer_and_may_be_acked() {
    let mut world = World::new((3, 3, 1), Planted::default(), None);
    world.commit_without_2();
    world.append(0, id(), 1);
    world.deliver(0, true, false);
    world.elect(&[id()]);
    world.mail_of(&[1]);
    world.talk(0, 1);
    assert_eq!(world.ledger.committed_end(id()), Offset(2), "acked after the fence");
    world.crash(0, 0);
    world.mail_of(&[1, 2]);
    [1, 2].iter().for_each(|node| world.flush(*node, u64::MAX / 2));
    world.mail_of(&[1, 2]);
    world.hear(&[1, 2]);
    assert_eq!(world.leaders(id()), [1]);
    assert_eq!(world.ledger.violation, None);
}

#[test]
fn h6_replicas_are_replaced_under_joint_majorities() {
    let target = || vec![at(0), at(3), at(4)];
    case(5, Left::ControlRule(Flaw::ReplaceAtOnce), "I7", |world| {
        world.commit_without_2();
        (0..2).for_each(|_| world.control.reassign(&mut world.ledger, id(), target()));
        world.hear(&[3, 4]);
        world.elect_by(&[3, 4]);
    });
    case(5, Left::Rule(Mutant::SkipJoint), "I6", |world| {
        world.commit_without_2();
        world.control.reassign(&mut world.ledger, id(), target());
        world.hear(&[0, 3, 4]);
        [3, 4].iter().for_each(|node| world.talk(0, *node));
        world.mail_of(&[0]);
        world.control.reassign(&mut world.ledger, id(), target());
        world.hear(&[0, 3, 4]);
        assert_eq!(world.leaders(id()), [0]);
        world.write(0, 1);
        [3, 4].iter().for_each(|node| world.talk(0, *node));
        world.hear(&[0]);
    });
}

#[test]
fn h7_an_empty_or_older_disk_under_the_same_id_is_a_learner() {
    for disk in [Disk::Replaced, Disk::RolledBack { entries: 1 }] {
        case(3, Left::ControlRule(Flaw::TrustReplacedDisk), "I7", |world| {
            world.commit_without_2();
            world.restart(1, disk);
            world.crash(0, 0);
            world.elect_by(&[1, 2]);
        });
    }
}

#[test]
fn h8_several_divergent_epochs_are_cut_at_the_greatest_common_one() {
    case(3, Left::Rule(Mutant::TruncateByLastEpoch), "I7", |world| {
        world.elect_by(&[0, 1, 2]);
        world.write(0, 1);
        [1, 2].iter().for_each(|node| world.talk(0, *node));
        world.break_all();
        world.write(0, 1);
        world.elect_by(&[1, 2]);
        world.write(1, 2);
        world.elect_by(&[0, 2]);
        world.write(0, 1);
        world.talk(0, 2);
        assert_eq!(world.ledger.committed_end(id()), Offset(3));
        world.talk(0, 1);
        world.pass(20_000_000);
        world.talk(0, 1);
        assert_eq!(world.nodes[1].log.view(id()).unwrap().log_end.0, Offset(3));
    });
}

#[test]
fn h10_a_state_without_the_partition_deletes_nothing() {
    let mut world = World::new((3, 3, 1), Planted::default(), None);
    world.commit_without_2();
    let node = &mut world.nodes[1];
    let index = world.control.index();
    node.set.as_mut().unwrap().conform(world.now, &mut node.log, index, Vec::new());
    assert_eq!(node.log.view(id()).unwrap().log_end.0, Offset(1));
    world.hear(&[1]);
    world.crash(0, 0);
    world.elect_by(&[1, 2]);
    assert_eq!((world.leaders(id()), world.ledger.violation), (vec![1], None));
}

/// Found by a random history: with the log start, the reigns before it are forgotten, and an empty
/// reign by the next one; then two logs that agree may have no epoch in common.
#[test]
fn logs_without_a_common_epoch_join_at_the_log_start() {
    let mut world = World::new((3, 3, 1), Planted::default(), None);
    world.elect_by(&[0, 1, 2]);
    world.write(0, 2);
    [1, 2].iter().for_each(|node| world.talk(0, *node));
    world.break_all();
    world.delete_before(0, id(), Offset(2));
    for _ in 0..2 {
        world.elect_by(&[0, 2]);
        world.talk(0, 2);
    }
    world.write(0, 1);
    [1, 2].iter().for_each(|node| world.talk(0, *node));
    assert_eq!(world.nodes[1].log.view(id()).unwrap().log_end.0, Offset(3));
    assert_eq!((world.ledger.committed_end(id()), world.ledger.violation), (Offset(3), None));
}

/// The leader's own disk hangs: a quorum of the others is enough.
#[test]
fn a_record_is_committed_without_the_leaders_own_disk() {
    let mut world = World::new((3, 3, 1), Planted::default(), None);
    world.elect_by(&[0, 1, 2]);
    [1, 2].iter().for_each(|node| world.talk(0, *node));
    world.append(0, id(), 1);
    for link in 0..2 {
        world.deliver(link, true, false);
        world.flush(1 + link, u64::MAX / 2);
        world.deliver(link, false, false);
    }
    let view = world.nodes[0].log.view(id()).unwrap();
    assert_eq!((view.durable.0, view.committed.0), (Offset(0), Offset(1)));
    assert_eq!(world.ledger.violation, None);
}
