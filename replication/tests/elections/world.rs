//! Five shards, one partition, and a cluster log whose leaders come and go.

use std::collections::VecDeque;
use std::sync::Arc;

use base::{Instant, NodeId, PartitionId, ShardId, TopicNumber};
use replication::command::NodeRegistered;
use replication::control_message::{Fence, FenceAnswers, Reports};
use replication::elector::{Elector, Order};
use replication::replica::Proof;
use replication::{
    Boot, CaughtUp, Chosen, ClusterState, Command, NewPartitions, Opened, Partition, Place,
    Placement, Planted, Proposal, Term, Uuid, Voters, mover,
};

use crate::random::Random;
use crate::shard::{Record, Shard};

pub const NODES: u16 = 5;
pub const PARTITION: PartitionId = PartitionId::new(TopicNumber(1), 0);

/// What is on its way.
#[derive(Clone, Debug)]
enum Letter {
    Fence(NodeId, Fence),
    Answers(NodeId, FenceAnswers),
}

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken(pub &'static str, pub String);

#[derive(Debug)]
pub struct World {
    planted: Planted,
    pub random: Random,
    now: Instant,
    pub shards: Vec<Shard>,
    pub state: Arc<ClusterState>,
    /// Proposed and not committed.
    pending: VecDeque<Command>,
    proposed: ClusterState,
    elector: Elector,
    term: u32,
    letters: Vec<Letter>,
    /// Answers that reached the elector of this term.
    heard: Vec<(NodeId, FenceAnswers)>,
    /// Every committed record, in order.
    ledger: Vec<Record>,
    minted: u64,
    /// How many logs may still be damaged or lost.
    damages: usize,
    pub elected: usize,
    pub broken: Option<Broken>,
}

pub fn at(node: u16) -> Placement {
    Placement { node: NodeId(node), shard: ShardId(0) }
}

impl World {
    pub fn new(seed: u64, planted: Planted) -> Self {
        let state = ClusterState::new(Uuid([7; 16]));
        let shared = Arc::new(state.clone());
        let boot = Boot { journal: 10, boot: base::Incarnation(1) };
        let shard = |node| Shard::new(at(node), boot, Arc::clone(&shared));
        let mut world = Self {
            planted,
            random: Random::new(seed),
            now: Instant(0),
            shards: (0..NODES).map(shard).collect(),
            state: shared,
            pending: VecDeque::new(),
            proposed: state,
            elector: Elector::new(planted),
            term: 0,
            letters: Vec::new(),
            heard: Vec::new(),
            ledger: Vec::new(),
            minted: 0,
            damages: seed as usize % 4,
            elected: 0,
            broken: None,
        };
        world.found();
        world
    }

    fn found(&mut self) {
        let cluster = Uuid([7; 16]);
        let voters = Voters::default();
        self.decree(Command::ClusterFormed { cluster, feature_level: 1, voters });
        for node in 0..NODES {
            self.decree(Command::NodeRegistered(NodeRegistered {
                node: NodeId(node),
                shards: 1,
                host: "h".into(),
                port: 1,
                core_host: "h".into(),
                core_port: 2,
                rack: None,
            }));
            self.announce(usize::from(node));
        }
        let create = Proposal::CreateTopic {
            name: "t".into(),
            uuid: Uuid([9; 16]),
            partitions: NewPartitions::At(vec![
                (0..3).map(|node| Place::Node(NodeId(node))).collect(),
            ]),
            replication_factor: None,
            configs: Vec::new(),
        };
        self.propose(&create);
        self.commit(usize::MAX);
        self.change_control();
        self.inform_all();
    }

    /// Something happens.
    pub fn step(&mut self) {
        let node = self.random.below(usize::from(NODES));
        match self.random.below(100) {
            0..25 => self.deliver(),
            25..38 => self.commit(1),
            38..52 => self.inform(node),
            52..60 => self.append(node),
            60..84 => self.replicate(node),
            84..87 => self.suspect_leader(),
            87 => self.fault(node),
            88 => self.change_control(),
            89 => self.move_partition(),
            90..94 => self.announce(node),
            94..98 => self.pass(50_000_000),
            _ => self.pass(1_000_000_000),
        }
        self.run_control();
    }

    /// Everything works again: what is pending must end.
    pub fn heal(&mut self) {
        for node in 0..usize::from(NODES) {
            self.shards[node].up = true;
        }
        for _ in 0..400 {
            for node in 0..usize::from(NODES) {
                self.announce(node);
                self.replicate(node);
            }
            self.run_control();
            self.commit(usize::MAX);
            self.inform_all();
            while !self.letters.is_empty() {
                self.deliver_at(0);
                self.run_control();
            }
            self.commit(usize::MAX);
            self.pass(200_000_000);
        }
        let partition = *self.state.topics().partition(PARTITION).unwrap();
        let provable = partition.is_quorum(|member| {
            let shard = &self.shards[usize::from(member.node.0)];
            shard.proof.holds()
        });
        if provable && partition.leader.is_none() {
            self.breaks("liveness", format!("nobody leads {partition:?}"));
        }
    }

    fn breaks(&mut self, rule: &'static str, what: String) {
        self.broken.get_or_insert(Broken(rule, what));
    }

    fn pass(&mut self, ns: u64) {
        self.now = Instant(self.now.0 + ns);
    }

    fn decree(&mut self, command: Command) -> bool {
        self.propose(&Proposal::Decree(command))
    }

    fn propose(&mut self, proposal: &Proposal) -> bool {
        let Ok(command) = self.proposed.plan(proposal) else { return false };
        let index = self.proposed.version().next();
        self.proposed.apply(index, &command).unwrap();
        self.pending.push_back(command);
        true
    }

    fn commit(&mut self, count: usize) {
        for _ in 0..count {
            let Some(command) = self.pending.pop_front() else { return };
            let before = self.state.topics().partition(PARTITION).copied();
            let mut state = ClusterState::clone(&self.state);
            state.apply(state.version().next(), &command).unwrap();
            self.state = Arc::new(state);
            let after = self.state.topics().partition(PARTITION).copied();
            if let (Some(before), Some(after)) = (before, after)
                && before.epoch == after.epoch
                && before.leader.is_some()
                && before.leader != after.leader
            {
                self.breaks("I1", format!("{before:?} became {after:?}"));
            }
        }
    }

    /// Another node leads the cluster log: part of what was pending is lost with the one before.
    fn change_control(&mut self) {
        let kept = self.random.below(self.pending.len() + 1);
        self.commit(kept);
        self.pending.clear();
        self.proposed = ClusterState::clone(&self.state);
        self.term += 1;
        self.elector.lead(Term(self.term));
        self.heard.clear();
    }

    fn run_control(&mut self) {
        self.elector.turn(self.now, &self.state, &self.proposed);
        while let Some(order) = self.elector.poll() {
            match order {
                Order::Fence { to, fence } => self.letters.push(Letter::Fence(to, fence)),
                Order::Propose(command) => {
                    if let Command::LeadersChosen { chosen } = &command {
                        self.check_quorum(&chosen[0]);
                    }
                    self.elected += usize::from(self.decree(command));
                }
                Order::Halted { .. } | Order::Lost { .. } => {}
            }
        }
        for command in mover::follow_up(&self.proposed) {
            self.decree(command);
        }
    }

    /// I8: whoever was counted answered this very epoch, in the boot that the log knows, and can
    /// prove its log.
    fn check_quorum(&mut self, chosen: &Chosen) {
        let partition = self.partition();
        let knows = |member: Placement| {
            let boot = self.proposed.shard(member).unwrap().boot;
            self.heard.iter().any(|(node, answers)| {
                *node == member.node
                    && Some(answers.boot) == boot
                    && answers.answers.iter().any(|answer| {
                        answer.view.promised == chosen.epoch && answer.view.proof.holds()
                    })
            })
        };
        if !partition.is_quorum(knows) {
            self.breaks("I8", format!("{chosen:?} of {partition:?}"));
        }
    }

    fn deliver(&mut self) {
        if self.letters.is_empty() {
            return;
        }
        let which = self.random.below(self.letters.len());
        if self.random.percent(10) {
            self.letters.swap_remove(which);
            return;
        }
        if self.random.percent(10) {
            self.letters.push(self.letters[which].clone());
        }
        self.deliver_at(which);
    }

    fn deliver_at(&mut self, which: usize) {
        match self.letters.remove(which) {
            Letter::Fence(to, fence) => {
                let shard = &mut self.shards[usize::from(to.0)];
                if let Some(answers) = shard.answer(self.planted, &fence) {
                    self.letters.push(Letter::Answers(to, answers));
                }
            }
            Letter::Answers(from, answers) => {
                if answers.term == Term(self.term) {
                    self.heard.push((from, answers.clone()));
                }
                self.elector.answered(from, answers);
            }
        }
    }

    /// A shard hears of the newest state, and leads if that says so.
    fn inform(&mut self, node: usize) {
        let shard = &mut self.shards[node];
        if !shard.up {
            return;
        }
        shard.seen = Arc::clone(&self.state);
        if shard.lead(PARTITION) && !shard.records.starts_with(&self.ledger) {
            let what = format!("{:?} leads without {:?}", shard.at, self.ledger.last());
            self.breaks("I7", what);
        }
    }

    fn inform_all(&mut self) {
        for node in 0..usize::from(NODES) {
            self.inform(node);
        }
    }

    fn append(&mut self, node: usize) {
        self.minted += 1;
        let shard = &mut self.shards[node];
        if let Some(epoch) = shard.reign.filter(|_| shard.up) {
            shard.records.push((epoch, self.minted));
        }
    }

    /// A leader sends to a follower, hears its ack, and commits what a quorum holds.
    fn replicate(&mut self, node: usize) {
        let members: Vec<_> = self.partition().members().collect();
        let to = usize::from(members[self.random.below(members.len())].node.0);
        let more = self.random.below(4);
        if to == node || self.shards[node].reign.is_none() || !self.shards[node].up {
            return;
        }
        let Some(config) = self.shards[node].partition(PARTITION) else { return };
        let follower = at(to as u16);
        let known = self.shards[node].seen.shard(follower).unwrap().boot;
        if !config.has_member(follower) || known != Some(self.shards[to].boot) {
            return;
        }
        let (leader, other) = pair(&mut self.shards, node, to);
        let Some(acked) = other.follow(leader, more) else { return };
        let (boot, proven) = (other.boot, other.proof.holds());
        leader.acked.retain(|(one, _)| *one != follower);
        if proven {
            leader.acked.push((follower, acked));
        }
        let complete = acked == leader.records.len();
        self.report(node, follower, boot, complete);
        self.advance(node);
    }

    fn report(&mut self, node: usize, replica: Placement, boot: Boot, complete: bool) {
        let leader = &self.shards[node];
        let epoch = leader.reign.unwrap();
        let partition = leader.partition(PARTITION).unwrap();
        let start = leader.start();
        let opened = |member| {
            member == leader.at
                || leader.acked.iter().any(|(one, end)| *one == member && start <= *end)
        };
        let mut reports = Reports::default();
        if complete {
            reports.caught_up.push(CaughtUp { partition: PARTITION, epoch, replica, boot });
        }
        if partition.epoch == epoch && partition.is_quorum(opened) {
            reports.opened.push(Opened { partition: PARTITION, epoch });
        }
        for command in mover::settle(&self.proposed, &reports) {
            self.decree(command);
        }
    }

    fn advance(&mut self, node: usize) {
        let leader = &self.shards[node];
        let Some(partition) = leader.partition(PARTITION) else { return };
        if leader.reign != Some(partition.epoch) {
            return;
        }
        let holds = |end: usize| {
            partition.is_quorum(|member| {
                member == leader.at
                    || leader.acked.iter().any(|(one, had)| *one == member && end <= *had)
            })
        };
        let start = leader.start();
        let Some(end) = (start..=leader.records.len()).rev().find(|end| holds(*end)) else {
            return;
        };
        let own = &leader.records[..end];
        let shared = own.len().min(self.ledger.len());
        if own[..shared] != self.ledger[..shared] {
            let what = format!("{:?} committed other records than those before it", leader.at);
            return self.breaks("I2", what);
        }
        if shared < own.len() {
            self.ledger = own.to_vec();
        }
        self.shards[node].committed = end;
    }

    fn partition(&self) -> Partition {
        *self.proposed.topics().partition(PARTITION).unwrap()
    }

    fn suspect_leader(&mut self) {
        let partition = self.partition();
        if let Some(leader) = partition.leader {
            let Placement { node, shard } = leader.placement;
            self.decree(Command::ShardFenced { node, shard, boot: leader.boot });
        }
    }

    fn fault(&mut self, node: usize) {
        let len = self.shards[node].records.len();
        let keep = self.random.below(len + 1);
        match self.random.below(10) {
            0..2 => self.shards[node].up = false,
            2..4 => self.shards[node].restart(Proof::Torn, len),
            kind if kind < 8 || self.damages == 0 => {
                self.shards[node].restart(Proof::Clean, len);
            }
            kind => {
                self.damages -= 1;
                match kind {
                    8 => self.shards[node].restart(Proof::Suspect, keep),
                    _ => self.shards[node].replace_disk(),
                }
            }
        }
        if self.random.percent(70) {
            self.announce(node);
        }
    }

    /// A shard that runs asks to be known.
    fn announce(&mut self, node: usize) {
        let shard = &mut self.shards[node];
        shard.up = true;
        let Boot { journal, boot } = shard.boot;
        let Placement { node, shard } = shard.at;
        self.propose(&Proposal::BootShard { node, shard, journal, boot });
    }

    fn move_partition(&mut self) {
        let mut nodes: Vec<u16> = (0..NODES).collect();
        while 3 < nodes.len() {
            let which = self.random.below(nodes.len());
            nodes.swap_remove(which);
        }
        let places = nodes.into_iter().map(|node| Place::Node(NodeId(node))).collect();
        self.propose(&Proposal::Reassign { partition: PARTITION, places: Some(places) });
    }
}

fn pair(shards: &mut [Shard], one: usize, other: usize) -> (&mut Shard, &mut Shard) {
    let [a, b] = shards.get_disjoint_mut([one, other]).expect("two of them");
    (a, b)
}
