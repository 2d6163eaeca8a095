//! A whole cluster: nodes with data cores and control cores over disks of their own, a network
//! between them, producers and consumers.
//!
//! ```text
//!   calm:   found the cluster, make a topic
//!   storm:  kills, power cuts of one or all, pauses, cuts, moves, nodes that leave and come back
//!   calm:   everything is healed; what is pending must end, and all that was promised be there
//! ```
//! Checked all along: one leader per partition and epoch (I1), one state per version of the cluster
//! log, and the ledger: nothing acked or seen is ever lost, moved, doubled or altered.

mod clients;
mod machine;
mod network;
mod node;
mod traffic;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base::{Instant, NodeId, Offset, PartitionId, TopicNumber};
use engine::Planted;
use replication::{ClusterState, Leader, LogIndex, NewPartitions, Place, Proposal, Uuid};
use shard::{Mail, Ticket};

use self::clients::Clients;
use self::machine::CLIENTS;
use self::network::{Network, Weather};
use self::node::{Fall, Node, blueprint};
use crate::disk::Memory;
use crate::host::{Host, Hosted};
use crate::knobs::Knobs;
use crate::random::{MILLION, Random};
use crate::violation::{Checker, Violation};

/// Virtual time that a calm may take until all is well.
const PATIENCE: Duration = Duration::from_secs(120);
/// Turns of one world before it is said never to end.
const TURNS_MAX: u64 = 3_000_000;
const TOPIC: TopicNumber = TopicNumber(1);

/// See the module's description.
#[derive(Debug)]
pub struct ClusterWorld {
    knobs: Knobs,
    random: Random,
    nodes: Vec<Node>,
    net: Network,
    clients: Clients,
    partitions: Vec<PartitionId>,
    /// What every node must agree to.
    states: BTreeMap<LogIndex, Arc<ClusterState>>,
    leaders: BTreeMap<(PartitionId, u32), Leader>,
    storm: Storm,
    /// Cuts end at these times.
    cuts_end: Instant,
    /// How far partitions were read in the last look.
    looked: BTreeMap<PartitionId, (Offset, bool, Instant)>,
    /// One disk may be lost whole.
    may_wipe: bool,
    turns: u64,
}

/// How often what strikes; rates in parts of a million, per step.
#[derive(Clone, Copy, Debug)]
struct Storm {
    lasts: Duration,
    kill: u64,
    power: u64,
    power_all: u64,
    pause: u64,
    cut: u64,
    leave: u64,
    reassign: u64,
    wipe: u64,
    /// Of kills, how many strike between two operations.
    between_ops: u64,
}

impl Storm {
    fn draw(random: &mut Random) -> Self {
        let mut often = |values: &[u64]| {
            let value = random.pick(values);
            if random.chance(600_000) { value } else { 0 }
        };
        Self {
            kill: often(&[500, 2_000, 5_000]),
            power: often(&[500, 2_000]),
            power_all: often(&[100, 500]),
            pause: often(&[500, 3_000]),
            cut: often(&[1_000, 4_000]),
            leave: often(&[500, 2_000]),
            reassign: often(&[500, 3_000]),
            wipe: often(&[300, 1_000]),
            between_ops: often(&[500_000, MILLION]),
            lasts: Duration::from_millis(random.pick(&[2_000, 5_000, 10_000])),
        }
    }
}

/// What the host sees of the world: when something happens next.
struct Outlook(Option<Instant>);

impl Memory for Outlook {
    fn arena(&self, _: base::ShardId) -> &base::Arena {
        panic!("a cluster's disks are its nodes' own")
    }
}

impl Hosted for Outlook {
    fn done(&mut self, _: base::Now, _: base::ShardId, _: base::Done) {}

    fn turn(&mut self, _: base::Now) {}

    fn poll_op(&mut self) -> Option<base::Op> {
        None
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.0
    }
}

impl ClusterWorld {
    /// A world in which nothing has happened yet.
    #[must_use]
    pub fn new(knobs: &Knobs, random: &mut Random, planted: Planted) -> Self {
        let mut random = random.fork();
        // Running out of space stops nodes for good, and clients here do not make room.
        let knobs = Knobs { disk_pages: 0, ..knobs.clone() };
        let count = random.pick(&[3, 3, 5]);
        let weather = Weather {
            mean_us: random.pick(&[20, 200, 1_000]),
            lost: random.pick(&[0, 5_000, 50_000]),
            twice: random.pick(&[0, 20_000]),
            late: random.pick(&[0, 20_000]),
            broken: random.pick(&[0, 20, 200]),
        };
        let topics = knobs.partitions.min(8) as u32;
        let partitions: Vec<_> = (0..topics).map(|index| PartitionId::new(TOPIC, index)).collect();
        let nodes = (0..count).map(|node| {
            let blueprint = blueprint(&knobs, NodeId(node), count, &mut random, planted);
            Node::new(NodeId(node), blueprint, &knobs, random.fork())
        });
        let nodes = nodes.collect();
        Self {
            nodes,
            net: Network::new(weather, random.fork()),
            clients: Clients::new(&knobs, &mut random, &partitions),
            partitions,
            states: BTreeMap::new(),
            leaders: BTreeMap::new(),
            storm: Storm::draw(&mut random),
            cuts_end: Instant(0),
            looked: BTreeMap::new(),
            may_wipe: true,
            turns: 0,
            knobs,
            random,
        }
    }

    /// Runs it from its first start to its last check.
    pub fn run(mut self, host: &mut Host) -> Result<(), Violation> {
        let weather = self.net.weather;
        self.calm(host);
        self.wait(host, "the founding", Self::is_founded)?;
        self.net.weather = weather;
        host.say("STORM", format_args!("{:?} {weather:?}", self.storm));
        self.storm(host)?;
        self.calm(host);
        host.say("HEALED", format_args!("{} acked", self.clients.acked));
        self.wait(host, "what is pending", Self::is_settled)?;
        self.wait(host, "the last look", Self::was_read)
    }

    /// Nothing goes wrong any more.
    fn calm(&mut self, host: &Host) {
        let now = host.now().mono;
        let mean_us = self.net.weather.mean_us;
        self.net.weather = Weather { mean_us, lost: 0, twice: 0, late: 0, broken: 0 };
        self.net.cuts.clear();
        for node in &mut self.nodes {
            node.heal(now);
        }
        self.introduce_all(now);
    }

    fn wait(
        &mut self,
        host: &mut Host,
        what: &'static str,
        is_so: fn(&mut Self, &mut Host) -> Result<bool, Violation>,
    ) -> Result<(), Violation> {
        let begin = host.now().mono;
        while !is_so(self, host)? {
            let now = host.now().mono;
            if PATIENCE < now.since(begin) {
                let what = format!("{what} does not end: {}", self.describe());
                return Err(Violation::new(Checker::Liveness, what));
            }
            self.turn(host, Some(now.plus(Duration::from_millis(5))))?;
        }
        Ok(())
    }

    fn storm(&mut self, host: &mut Host) -> Result<(), Violation> {
        let end = host.now().mono.plus(self.storm.lasts);
        let mut next_step = host.now().mono;
        while host.now().mono < end {
            if next_step <= host.now().mono {
                self.strike(host);
                self.step_clients(host);
                let think_us = self.knobs.think_us.clamp(200, 5_000);
                let pause = self.random.exponential(think_us * 1_000);
                next_step = host.now().mono.plus(Duration::from_nanos(pause + 1));
            }
            self.turn(host, Some(next_step))?;
        }
        Ok(())
    }

    /// Lets everything happen that is due, and sleeps until something else is.
    fn turn(&mut self, host: &mut Host, other: Option<Instant>) -> Result<(), Violation> {
        self.turns += 1;
        if TURNS_MAX < self.turns {
            let what = format!("no end after {TURNS_MAX} turns: {}", self.describe());
            return Err(Violation::new(Checker::Liveness, what));
        }
        let now = host.now();
        if self.cuts_end <= now.mono && !self.net.cuts.is_empty() {
            self.net.cuts.clear();
            self.introduce_all(now.mono);
        }
        self.clients.ledger.tell_time(now);
        self.clients.give_up(now.mono);
        self.deliver(host)?;
        for index in 0..self.nodes.len() {
            self.turn_node(host, index)?;
        }
        let nodes = self.nodes.iter().filter_map(|node| node.next_event(now.mono));
        let next = nodes.chain(self.net.next_event()).min();
        host.sleep(&Outlook(next), other);
        Ok(())
    }

    fn turn_node(&mut self, host: &mut Host, index: usize) -> Result<(), Violation> {
        let now = host.now();
        let node = &mut self.nodes[index];
        let was = node.life();
        let fall = node.turn(now, &mut host.trace)?;
        if let Some(fall) = fall {
            self.mourn(host, index, fall);
        } else if was != self.nodes[index].life() {
            self.introduce(now.mono, index);
        }
        self.carry_wishes(host, index)?;
        self.check_state(index)
    }

    /// The others notice, at once or in a while.
    fn mourn(&mut self, host: &mut Host, index: usize, fall: Fall) {
        let now = host.now().mono;
        let most = match fall {
            Fall::Ended => Duration::from_millis(1),
            Fall::PowerCut => Duration::from_secs(3),
        };
        let node = &self.nodes[index];
        host.say("fell", format_args!("{} {fall:?}", node.id));
        self.net.lose(now, node.last_life(), most);
    }

    /// I1, and that the cluster log is one log.
    fn check_state(&mut self, index: usize) -> Result<(), Violation> {
        let Some(process) = self.nodes[index].process() else { return Ok(()) };
        let state = process.control.state();
        let version = state.version();
        if let Some(known) = self.states.get(&version) {
            if !Arc::ptr_eq(known, &state) && **known != *state {
                let what = format!("two states of version {version:?}: {known:?} and {state:?}");
                return Err(Violation::new(Checker::Durable, what));
            }
            return Ok(());
        }
        for id in &self.partitions {
            let Some(partition) = state.topics().partition(*id) else { continue };
            let Some(leader) = partition.leader else { continue };
            let known = *self.leaders.entry((*id, partition.epoch.0)).or_insert(leader);
            if known != leader {
                let what = format!("{id} epoch {:?}: {known:?} and {leader:?}", partition.epoch);
                return Err(Violation::new(Checker::Once, what));
            }
        }
        self.states.insert(version, state);
        Ok(())
    }

    /// The newest state that anyone has.
    fn state(&self) -> Option<Arc<ClusterState>> {
        self.states.last_key_value().map(|(_, state)| Arc::clone(state))
    }

    fn propose(&mut self, host: &Host, proposal: Proposal) {
        let ticket = Ticket { slot: u32::MAX, generation: u32::MAX };
        let proposals = vec![proposal];
        let mail = Mail::Propose { core: CLIENTS, ticket, proposals, validate_only: false };
        let running: Vec<usize> =
            (0..self.nodes.len()).filter(|index| self.nodes[*index].process().is_some()).collect();
        if running.is_empty() {
            return;
        }
        let index = self.random.pick(&running);
        self.nodes[index].tell_control(host.now(), mail);
    }

    fn is_founded(&mut self, host: &mut Host) -> Result<bool, Violation> {
        let Some(state) = self.state() else { return Ok(false) };
        if state.topics().by_number(TOPIC).is_some() {
            return Ok(true);
        }
        let up = |node: &replication::Node| node.placements().all(|at| state.is_up(at));
        let ready = state.nodes().count() == self.nodes.len() && state.nodes().all(up);
        if ready && self.turns.is_multiple_of(100) {
            let places = (0..self.partitions.len()).map(|_| self.draw_places()).collect();
            self.propose(
                host,
                Proposal::CreateTopic {
                    name: "t".to_owned(),
                    uuid: Uuid([3; 16]),
                    partitions: NewPartitions::At(places),
                    replication_factor: None,
                    configs: Vec::new(),
                },
            );
        }
        Ok(false)
    }

    /// Three nodes, in any order.
    fn draw_places(&mut self) -> Vec<Place> {
        let mut nodes: Vec<_> = self.nodes.iter().map(|node| node.id).collect();
        self.random.shuffle(&mut nodes);
        nodes.into_iter().take(3).map(Place::Node).collect()
    }

    fn is_settled(&mut self, host: &mut Host) -> Result<bool, Violation> {
        let now = host.now().mono;
        let asked = self.clients.push_all(now, &mut host.trace);
        self.send(now, asked);
        let Some(state) = self.state() else { return Ok(false) };
        let mut partitions = state.topics().iter().flat_map(|topic| &topic.partitions);
        let is_quiet = partitions.all(|partition| {
            partition.leader.is_some()
                && partition.reassignment.is_none()
                && partition.learners.is_empty()
        });
        let all_serve = self
            .nodes
            .iter()
            .all(|node| node.process().is_some_and(|process| process.control.readiness().is_ok()));
        Ok(is_quiet && all_serve && self.clients.is_idle())
    }

    fn was_read(&mut self, host: &mut Host) -> Result<bool, Violation> {
        let now = host.now().mono;
        let rest = Duration::from_millis(100);
        let mut asked = Vec::new();
        for id in self.partitions.clone() {
            let (from, is_done, at) =
                self.looked.get(&id).copied().unwrap_or((Offset::ZERO, false, Instant(0)));
            if !is_done && at.plus(rest) <= now {
                self.looked.insert(id, (from, false, now));
                asked.push(self.clients.verify(now, id, from));
            }
        }
        self.send(now, asked);
        Ok(self.looked.values().all(|(_, is_done, _)| *is_done))
    }

    fn describe(&self) -> String {
        let nodes = self.nodes.iter().map(|node| {
            let ready = node.process().map(|process| process.control.readiness());
            format!("{}: {ready:?}", node.id)
        });
        let logs = self.nodes.iter().flat_map(|node| {
            let engines = node.process().into_iter().flat_map(|process| process.engines());
            engines.flat_map(move |(shard, engine)| {
                let views = self.partitions.iter().map(move |id| (*id, engine.replica(*id)));
                let views = views.filter_map(|(id, view)| Some((id, view?)));
                views.map(move |(id, view)| format!("{}/{shard} {id}: {view:?}\n", node.id))
            })
        });
        let logs: String = logs.collect();
        let state = self.state();
        let partitions = state.iter().flat_map(|state| state.topics().iter());
        let partitions: Vec<_> = partitions.flat_map(|topic| &topic.partitions).collect();
        format!(
            "{:?}; idle {}; {partitions:?}; looked {:?}\n{logs}",
            nodes.collect::<Vec<_>>(),
            self.clients.is_idle(),
            self.looked
        )
    }
}
