//! A whole cluster: nodes with data cores and control cores over disks of their own, a network
//! between them, producers and consumers.
//!
//! ```text
//!   calm:   found the cluster, make a topic
//!   storm:  kills, power cuts of one or all, pauses, cuts, moves, nodes that leave and come back,
//!           disks that stall and fail, clocks that step; one disk may be damaged or replaced
//!   core:   in half of the seeds: all is healed but one node, which is gone; work must go on
//!   calm:   everything is healed; what is pending must end, and all that was promised be there;
//!           in a quarter of the seeds the control plane is lost for a while, and nobody may notice
//! ```
//! Checked all along: one leader per partition and epoch, and it holds all that is committed
//! ([`reigns`]); one state per version of the cluster log; and the ledger: nothing acked or seen is
//! ever lost, moved, doubled or altered.

mod clients;
mod machine;
mod network;
mod node;
mod reigns;
mod traffic;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base::{Instant, NodeId, Offset, PartitionId, TopicNumber};
use engine::Planted;
use replication::{ClusterState, LogIndex, NewPartitions, Place, Proposal, Uuid};
use shard::{Mail, Ticket};

use self::clients::Clients;
use self::machine::CLIENTS;
use self::network::{Network, Weather};
use self::node::{Fall, Node, blueprint};
use self::reigns::Reigns;
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
    reigns: Reigns,
    storm: Storm,
    /// Cuts end at these times.
    cuts_end: Instant,
    /// How far partitions were read in the last look.
    looked: BTreeMap<PartitionId, (Offset, bool, Instant)>,
    /// Whose disk may be damaged, or replaced by an empty one: a minority of every partition.
    victim: usize,
    was_wiped: bool,
    /// The node that is gone while the rest must work.
    down: Option<usize>,
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
    pub fn new(
        knobs: &Knobs,
        random: &mut Random,
        planted: (Planted, replication::Planted),
    ) -> Self {
        let mut random = random.fork();
        // Running out of space stops nodes for good, and clients here do not make room. What was
        // acked and then taken back without a trace, nobody can tell from what never was.
        let knobs = Knobs { disk_pages: 0, misdirect: 0, lying_flush: 0, ..knobs.clone() };
        let sound = Knobs { read_error: 0, bit_rot: 0, ..knobs.clone() };
        let count = random.pick(&[3, 3, 5]);
        let victim = random.below(u64::from(count)) as usize;
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
            let knobs = if usize::from(node) == victim { &knobs } else { &sound };
            Node::new(NodeId(node), blueprint, knobs, random.fork())
        });
        let nodes = nodes.collect();
        Self {
            nodes,
            net: Network::new(weather, random.fork()),
            clients: Clients::new(&knobs, &mut random, &partitions),
            partitions,
            states: BTreeMap::new(),
            reigns: Reigns::default(),
            storm: Storm::draw(&mut random),
            cuts_end: Instant(0),
            looked: BTreeMap::new(),
            victim,
            was_wiped: false,
            down: None,
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
        self.nodes.iter_mut().for_each(Node::trouble);
        host.say("STORM", format_args!("{:?} {weather:?}", self.storm));
        self.storm(host)?;
        if self.random.chance(MILLION / 2) {
            self.calm(host);
            self.leave_one_down(host);
            self.wait(host, "what is pending without a node", Self::is_settled)?;
            self.down = None;
        }
        self.calm(host);
        host.say("HEALED", format_args!("{} acked", self.clients.acked));
        self.wait(host, "what is pending", Self::is_settled)?;
        if self.random.chance(MILLION / 4) {
            self.lose_control(host)?;
        }
        self.wait(host, "the last look", Self::was_read)
    }

    /// Nothing goes wrong any more.
    fn calm(&mut self, host: &mut Host) {
        let now = host.now().mono;
        let mean_us = self.net.weather.mean_us;
        self.net.weather = Weather { mean_us, lost: 0, twice: 0, late: 0, broken: 0 };
        self.net.cuts.clear();
        for (index, node) in self.nodes.iter_mut().enumerate() {
            // A disk that damages data is replaced: nothing else would bring it back.
            if 0 < node.disk.injected().beyond {
                host.say("REPLACED", format_args!("the disk of {index}"));
                node.wipe(now, &mut host.trace);
                self.was_wiped = true;
                self.net.lose(now, node.last_life(), Duration::from_millis(1));
            }
            node.heal(now);
        }
        self.introduce_all(now);
    }

    /// One node is gone for a while: the one whose disk is new, if any, since there may be too few of
    /// the others that hold everything.
    fn leave_one_down(&mut self, host: &mut Host) {
        let any = self.random.below(self.nodes.len() as u64) as usize;
        let index = if self.was_wiped { self.victim } else { any };
        host.say("DOWN", format_args!("{index}"));
        self.down = Some(index);
        self.nodes[index].keep_down(host.now().mono, &mut host.trace);
        self.mourn(host, index, Fall::PowerCut);
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

    /// I12: whoever leads goes on although no control core hears another.
    fn lose_control(&mut self, host: &mut Host) -> Result<(), Violation> {
        self.wait(host, "the return to preferred leaders", Self::is_restful)?;
        let reigns = self.reigns.count();
        host.say("CONTROL LOST", format_args!("{} acked", self.clients.acked));
        self.net.control_lost = true;
        let end = host.now().mono.plus(Duration::from_secs(1));
        while host.now().mono < end {
            self.step_clients(host);
            let next = host.now().mono.plus(Duration::from_millis(2));
            self.turn(host, Some(next))?;
        }
        self.wait(host, "work without the control plane", Self::has_no_question)?;
        self.net.control_lost = false;
        if reigns != self.reigns.count() {
            let what = "a leader changed without the control plane".to_owned();
            return Err(Violation::new(Checker::Leaders, what));
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
        if node.next_event(now.mono).is_none_or(|next| now.mono < next) {
            return Ok(());
        }
        host.trace.turn_to(Some(node.id));
        let was = node.life();
        let fall = node.turn(now, &mut host.trace)?;
        if let Some(fall) = fall {
            self.mourn(host, index, fall);
        } else if was != self.nodes[index].life() {
            self.introduce(now.mono, index);
        }
        self.carry_wishes(host, index)?;
        if let Some(process) = self.nodes[index].process() {
            let id = self.nodes[index].id;
            self.reigns.look(now.mono, id, process, &self.partitions, &mut host.trace)?;
        }
        host.trace.turn_to(None);
        self.check_state(host, index)
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

    /// That the cluster log is one log, and names one leader per epoch.
    fn check_state(&mut self, host: &mut Host, index: usize) -> Result<(), Violation> {
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
            self.reigns.named(host.now().mono, *id, partition, &mut host.trace)?;
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
        let down = self.down.map(|index| self.nodes[index].id);
        let is_quiet = partitions.all(|partition| {
            partition.leader.is_some_and(|leader| Some(leader.placement.node) != down)
                && (down.is_some()
                    || partition.reassignment.is_none() && partition.learners.is_empty())
        });
        let serves =
            |node: &Node| node.process().is_some_and(|process| process.control.readiness().is_ok());
        let all_serve = self.nodes.iter().all(|node| Some(node.id) == down || serves(node));
        Ok(is_quiet && all_serve && self.clients.is_idle())
    }

    /// Every partition is led where it should be, and stays there.
    fn is_restful(&mut self, host: &mut Host) -> Result<bool, Violation> {
        let Some(state) = self.state() else { return Ok(false) };
        let rests = self.partitions.iter().all(|id| {
            let Some(partition) = state.topics().partition(*id) else { return false };
            let leader = partition.leader.map(|leader| leader.placement);
            leader == Some(partition.preferred())
                && partition.successor.is_none()
                && self.reigns.has_begun(*id, partition.epoch)
        });
        Ok(rests && self.is_settled(host)?)
    }

    fn has_no_question(&mut self, host: &mut Host) -> Result<bool, Violation> {
        let now = host.now().mono;
        let asked = self.clients.push_all(now, &mut host.trace);
        self.send(now, asked);
        Ok(self.clients.is_idle())
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
