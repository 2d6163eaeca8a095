//! Control shards of several nodes over disks in memory, in one thread, each with a data core that
//! plays by a script.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base::{
    BrokerTime, CoreId, Input, Instant, Machine, NodeId, Now, Output, Page, PageMemory,
    PartitionId, ShardId, TopicNumber,
};
use engine::journal::JournalConfig;
use engine::{Engine, EngineConfig};
use replication::command::NodeRegistered;
use replication::{
    ControlMessage, NewPartitions, Partition, Place, Placement, Proposal, Rejected, Uuid,
};
use shard::{ControlSettings, ControlShard, Mail, News, Ticket};

use crate::control_script::Script;
use crate::disk::Disk;

const CLUSTER: Uuid = Uuid([7; 16]);
const TICKET: Ticket = Ticket { slot: 3, generation: 1 };

pub(crate) type Results = Vec<Result<(), Rejected>>;

pub(crate) struct Host {
    pub(crate) control: ControlShard,
    pub(crate) script: Script,
    disk: Disk,
    control_journal: u64,
    /// Answers to proposals.
    pub(crate) proposed: Vec<Results>,
    pub(crate) news: Vec<News>,
}

/// What is left of a node that was killed.
pub(crate) struct Remains {
    pub(crate) disk: Disk,
    pub(crate) control_journal: u64,
    pub(crate) script: Script,
}

pub(crate) struct World {
    pub(crate) now: Now,
    pub(crate) nodes: Vec<NodeId>,
    pub(crate) hosts: BTreeMap<NodeId, Host>,
    /// Control links that lose everything, by their ends: from, to.
    pub(crate) cut: BTreeSet<(NodeId, NodeId)>,
    letters: Vec<(NodeId, NodeId, Vec<u8>)>,
    starts: u64,
    /// How far each partition was ever committed.
    committed: BTreeMap<PartitionId, u64>,
}

pub(crate) fn at(node: u16) -> Placement {
    Placement { node: NodeId(node), shard: ShardId(0) }
}

pub(crate) const fn id(topic: u32, index: u32) -> PartitionId {
    PartitionId::new(TopicNumber(topic), index)
}

/// A topic with one partition per list of nodes.
pub(crate) fn create(name: &str, partitions: &[&[u16]]) -> Proposal {
    let mut uuid = [9; 16];
    uuid[..name.len()].copy_from_slice(name.as_bytes());
    let places = |nodes: &&[u16]| nodes.iter().map(|node| Place::Node(NodeId(*node))).collect();
    Proposal::CreateTopic {
        name: name.to_owned(),
        uuid: Uuid(uuid),
        partitions: NewPartitions::At(partitions.iter().map(places).collect()),
        replication_factor: None,
        configs: Vec::new(),
    }
}

fn registered(node: NodeId) -> NodeRegistered {
    NodeRegistered {
        node,
        shards: 1,
        host: format!("node-{node}"),
        port: 9092,
        core_host: format!("node-{node}"),
        core_port: 9100,
        rack: None,
    }
}

impl World {
    pub(crate) fn new(nodes: u16) -> Self {
        let mut world = Self {
            now: Now { mono: Instant(1), wall: BrokerTime(1_000) },
            nodes: (0..nodes).map(NodeId).collect(),
            hosts: BTreeMap::new(),
            cut: BTreeSet::new(),
            letters: Vec::new(),
            starts: 0,
            committed: BTreeMap::new(),
        };
        for node in 0..nodes {
            let script = Script::new(at(node), 10 + u64::from(node));
            let control_journal = u64::from(node) + 1;
            world.start(NodeId(node), Remains { disk: Disk::default(), control_journal, script });
        }
        world.pass(Duration::from_secs(3));
        world
    }

    /// Starts a node on what an earlier start of it has left.
    pub(crate) fn start(&mut self, node: NodeId, remains: Remains) {
        let Remains { disk, control_journal, mut script } = remains;
        let mut journal = JournalConfig::new(ShardId::CONTROL, control_journal);
        journal.segment_bytes = 256 << 10;
        journal.frame_max_bytes = 64 << 10;
        let config =
            EngineConfig { bin_bytes: 1 << 20, bins_max: 64, ..EngineConfig::new(journal) };
        let memory = PageMemory::Heap(Page::boxed(config.arena_bytes() as usize / 4096));
        let engine = Engine::open(config, memory, &disk.existing());
        self.starts += 1;
        let settings = ControlSettings {
            seats: self.nodes.clone(),
            peers: self.nodes.iter().copied().filter(|other| *other != node).collect(),
            seed: self.starts,
            ..ControlSettings::alone(CLUSTER, registered(node), 1)
        };
        let mut control = ControlShard::of_cluster(engine, settings);
        let booted = script.start();
        control.handle(self.now, Input::Mail { from: CoreId(0), mail: booted });
        let (proposed, news) = (Vec::new(), Vec::new());
        let host = Host { control, script, disk, control_journal, proposed, news };
        self.hosts.insert(node, host);
    }

    pub(crate) fn kill(&mut self, node: NodeId) -> Remains {
        let Host { disk, script, control_journal, .. } =
            self.hosts.remove(&node).expect("the node runs");
        Remains { disk, control_journal, script }
    }

    /// The supervisor of a node that was killed tells everyone.
    pub(crate) fn announce_death(&mut self, node: NodeId, remains: &Remains) {
        let bytes = ControlMessage::Died(vec![(ShardId(0), remains.script.boot)]).encode();
        for to in self.hosts.keys() {
            self.letters.push((node, *to, bytes.clone()));
        }
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        let until = self.now.mono.plus(time);
        while self.now.mono < until {
            self.step();
        }
    }

    /// Lets time pass until `is_so`, for a minute at most; how long it took.
    pub(crate) fn pass_until(&mut self, is_so: impl Fn(&Self) -> bool) -> Duration {
        let begin = self.now.mono;
        while !is_so(self) {
            assert!(self.now.mono.since(begin) < Duration::from_secs(60), "it never came true");
            self.step();
        }
        self.now.mono.since(begin)
    }

    /// A millisecond passes.
    fn step(&mut self) {
        self.now.mono = self.now.mono.plus(Duration::from_millis(1));
        for node in self.nodes.clone() {
            self.turn(node);
        }
        for (from, to, bytes) in std::mem::take(&mut self.letters) {
            let message = ControlMessage::decode(&bytes).expect("it was encoded");
            if !self.cut.contains(&(from, to)) {
                self.give(to, CoreId::PEERS, Mail::FromPeer { node: from, message });
            }
        }
        self.replicate();
        if (self.now.mono.0 / 1_000_000).is_multiple_of(10) {
            self.show_signs_of_life();
        }
    }

    pub(crate) fn give(&mut self, node: NodeId, from: CoreId, mail: Mail) {
        if let Some(host) = self.hosts.get_mut(&node) {
            host.control.handle(self.now, Input::Mail { from, mail });
        }
    }

    fn turn(&mut self, node: NodeId) {
        let Some(host) = self.hosts.get_mut(&node) else { return };
        host.control.turn(self.now);
        let (mut completions, mut replies) = (Vec::new(), Vec::new());
        while let Some(output) = host.control.poll() {
            match output {
                Output::Disk(op) => {
                    let arena = host.control.arena(ShardId::CONTROL);
                    completions.push(host.disk.perform(op, arena));
                }
                Output::Mail { to: CoreId::PEERS, mail: Mail::ToPeer { node: to, message } } => {
                    self.letters.push((node, to, message.encode()));
                }
                Output::Mail { mail: Mail::Proposed { ticket: TICKET, results }, .. } => {
                    host.proposed.push(results);
                }
                Output::Mail { to: CoreId(0), mail } => replies.extend(host.script.take(mail)),
                other => panic!("{other:?}"),
            }
        }
        host.news.extend(std::iter::from_fn(|| host.control.poll_news()));
        for done in completions {
            host.control.done(self.now, done);
        }
        for mail in replies {
            host.control.handle(self.now, Input::Mail { from: CoreId(0), mail });
        }
    }

    /// Leaders append, feed their followers, and say what came of it.
    fn replicate(&mut self) {
        for leader in self.nodes.clone() {
            let Some(host) = self.hosts.get_mut(&leader) else { continue };
            for id in host.script.append() {
                self.replicate_one(leader, id);
            }
        }
    }

    fn replicate_one(&mut self, leader: NodeId, id: PartitionId) {
        let source = self.hosts[&leader].script.logs[&id].clone();
        let mut acked = vec![self.hosts[&leader].script.at];
        for (node, other) in &mut self.hosts {
            if *node != leader && other.script.follow(id, &source) {
                acked.push(other.script.at);
            }
        }
        let boots = self.hosts.values().map(|host| (host.script.at, host.script.boot)).collect();
        let (committed, mails) = self.host(leader).script.count(id, &acked, &boots);
        let known = self.committed.entry(id).or_default();
        if let Some(end) = committed {
            assert!(*known <= end, "{id:?} lost records: {end} of {known}");
            *known = end;
        }
        for mail in mails {
            self.give(leader, CoreId(0), mail);
        }
    }

    fn show_signs_of_life(&mut self) {
        let awake = self.hosts.values().filter(|host| !host.script.is_frozen);
        let boots: Vec<_> = awake.map(|host| (host.script.at, host.script.boot)).collect();
        for node in self.nodes.clone() {
            let now = self.now.mono;
            let Some(host) = self.hosts.get(&node) else { continue };
            let others = boots.iter().filter(|(at, _)| at.node != node);
            let heard = others.map(|(at, boot)| (*at, *boot, now)).collect();
            if let Some(mail) = host.script.sign_of_life(heard) {
                self.give(node, CoreId(0), mail);
            }
        }
    }

    pub(crate) fn propose(&mut self, node: NodeId, proposal: Proposal) {
        let (core, proposals) = (CoreId(0), vec![proposal]);
        let mail = Mail::Propose { core, ticket: TICKET, proposals, validate_only: false };
        self.give(node, core, mail);
        self.turn(node);
    }

    /// Proposes, and panics unless that comes true.
    pub(crate) fn agree(&mut self, proposal: Proposal) {
        let node = *self.hosts.keys().next().expect("a node runs");
        self.host(node).proposed.clear();
        self.propose(node, proposal);
        self.pass(Duration::from_millis(500));
        assert_eq!(self.host(node).proposed, [vec![Ok(())]]);
    }

    pub(crate) fn host(&mut self, node: NodeId) -> &mut Host {
        self.hosts.get_mut(&node).expect("the node runs")
    }

    /// Who leads the cluster log.
    pub(crate) fn controller(&self) -> Option<NodeId> {
        let mut leaders = self.hosts.iter().filter(|(_, host)| host.control.leads());
        leaders.next().map(|(node, _)| *node)
    }

    pub(crate) fn other_than(&self, nodes: &[Option<NodeId>]) -> NodeId {
        let mut others = self.hosts.keys().filter(|node| !nodes.contains(&Some(**node)));
        *others.next().expect("another node runs")
    }

    /// As the first node that runs knows it.
    pub(crate) fn partition(&self, id: PartitionId) -> Partition {
        let host = self.hosts.values().max_by_key(|host| host.control.state().version());
        let state = host.expect("a node runs").control.state();
        *state.topics().partition(id).expect("the partition exists")
    }

    pub(crate) fn leader(&self, id: PartitionId) -> Option<NodeId> {
        self.partition(id).leader.map(|leader| leader.placement.node)
    }

    /// Whether the partition is led by a shard that runs and has begun to.
    pub(crate) fn is_led(&self, id: PartitionId) -> bool {
        let partition = self.partition(id);
        let leader = partition.leader.and_then(|leader| self.hosts.get(&leader.placement.node));
        leader.is_some_and(|host| host.script.reigns(id) == Some(partition.epoch))
    }

    pub(crate) fn news(&self) -> impl Iterator<Item = &News> {
        self.hosts.values().flat_map(|host| &host.news)
    }

    /// What is lost from now on is no surprise.
    pub(crate) fn accept_losses(&mut self) {
        self.committed.clear();
    }

    /// Panics unless every running node serves and all hold one state.
    pub(crate) fn check(&self) {
        let mut states = self.hosts.values().map(|host| host.control.state());
        let first = states.next().expect("a node runs");
        assert!(states.all(|state| state == first), "one state everywhere");
        for (node, host) in &self.hosts {
            assert_eq!(host.control.readiness(), Ok(()), "node {node}");
        }
    }
}
