//! Three nodes of one shard each, a network between them, and a cluster log that is the test's own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use base::batch::BatchBuilder;
use base::{
    Arena, BrokerTime, ConnId, CoreId, Epoch, Input, Instant, IoError, Listener, Machine, NodeId,
    Now, Offset, Output, Page, PageMemory, PartitionId, Piece, Send, ShardId, TopicNumber,
};
use engine::journal::JournalConfig;
use engine::{Engine, EngineConfig};
use net::ErrorCode;
use replication::command::NodeRegistered;
use replication::link::Secret;
use replication::replica::{Event, Settings};
use replication::{
    Boot, CaughtUp, Chosen, ClusterState, Command, HandOver, Leader, NewPartitions, Opened, Place,
    Placement, Proposal, Uuid, Voters,
};
use shard::{
    Address, Answer, Ask, Asker, Core, CoreSettings, Layout, Mail, Peering, Produced, Ticket,
};

use crate::disk::Disk;

pub(crate) const PARTITION: PartitionId = PartitionId::new(TopicNumber(1), 0);
const CLUSTER: Uuid = Uuid([7; 16]);
const SHARD: ShardId = ShardId(0);
/// The core that the tests speak as.
const TEST: CoreId = CoreId(9);
const CONTROL_PORT: u16 = 10_000;

/// One node: a core with one shard, or nothing while it is down.
struct Host {
    disk: Disk,
    /// The disk was replaced so often.
    wiped: u64,
    core: Option<Core>,
    boot: Option<Boot>,
    conns: u32,
}

pub(crate) struct Cluster {
    hosts: Vec<Host>,
    pub(crate) state: ClusterState,
    pub(crate) now: Now,
    /// Both ends of every connection between nodes.
    lines: BTreeMap<(usize, u32), (usize, ConnId)>,
    /// Nodes that no byte reaches or leaves.
    pub(crate) cut: Vec<usize>,
    tickets: u32,
    /// What was answered, by ticket.
    answers: BTreeMap<u32, Answer>,
    pub(crate) events: Vec<(usize, Event)>,
    /// Bytes that clients got, by node and connection.
    pub(crate) received: BTreeMap<(usize, u32), Vec<u8>>,
}

/// Names what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Question(u32);

pub(crate) fn at(node: usize) -> Placement {
    Placement { node: NodeId(node as u16), shard: SHARD }
}

pub(crate) fn batch(value: &[u8]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(1_000);
    builder.push(1_000, None, Some(value), &[]);
    builder.build()
}

fn control_address(node: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], CONTROL_PORT + 10 * node as u16))
}

impl Cluster {
    /// Three nodes that have booted and hold the replicas of one partition, led by node 0.
    pub(crate) fn new() -> Self {
        Self::of("t", &[])
    }

    /// The same, of a topic with this name and these settings.
    pub(crate) fn of(topic: &str, configs: &[(&str, &str)]) -> Self {
        let mut cluster = Self {
            hosts: Vec::new(),
            state: ClusterState::new(CLUSTER),
            now: Now { mono: Instant(1_000_000_000), wall: BrokerTime(1_000) },
            lines: BTreeMap::new(),
            cut: Vec::new(),
            tickets: 0,
            answers: BTreeMap::new(),
            events: Vec::new(),
            received: BTreeMap::new(),
        };
        let voters = Voters::default();
        cluster.agree(&Command::ClusterFormed { cluster: CLUSTER, feature_level: 1, voters });
        for node in 0..3 {
            cluster.hosts.push(Host {
                disk: Disk::default(),
                wiped: 0,
                core: None,
                boot: None,
                conns: 0,
            });
            cluster.agree(&Command::NodeRegistered(NodeRegistered {
                node: NodeId(node as u16),
                shards: 1,
                host: "localhost".to_owned(),
                port: 9092,
                core_host: "localhost".to_owned(),
                core_port: 9100,
                rack: None,
            }));
            cluster.start(node);
        }
        let places = (0..3).map(|node| Place::Node(NodeId(node))).collect();
        let topic = Proposal::CreateTopic {
            name: topic.to_owned(),
            uuid: Uuid([3; 16]),
            partitions: NewPartitions::At(vec![places]),
            replication_factor: None,
            configs: configs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        };
        let command = cluster.state.plan(&topic).expect("it is in order");
        cluster.agree(&command);
        cluster.publish();
        cluster
    }

    /// Starts a node on its disk and waits until it has booted and serves.
    pub(crate) fn start(&mut self, node: usize) {
        let host = &mut self.hosts[node];
        let mut journal = JournalConfig::new(SHARD, 100 + node as u64 + 1_000 * host.wiped);
        journal.segment_bytes = 256 << 10;
        journal.frame_max_bytes = 64 << 10;
        let config =
            EngineConfig { bin_bytes: 1 << 20, bins_max: 64, ..EngineConfig::new(journal) };
        let memory = PageMemory::Heap(Page::boxed(config.arena_bytes() as usize / 4096));
        let engine = Engine::open(config, memory, &host.disk.existing());
        let address = Address { host: "localhost".to_owned(), port: 9092 };
        let layout = Layout {
            node: NodeId(node as u16),
            cluster_id: "c".to_owned(),
            shard_cores: vec![CoreId(0)],
            control: CoreId::CONTROL,
            node_address: address.clone(),
            core_address: address,
            rack: None,
        };
        let nodes = (0..3).map(|other| (NodeId(other as u16), control_address(other))).collect();
        let settings = CoreSettings {
            auto_create_topics: false,
            default_partitions: 1,
            request_bytes_max: 1 << 20,
            fetch_bytes_max: 1 << 20,
            groups: Default::default(),
            peering: Some(Peering {
                secret: Secret::new(b"secret"),
                nodes,
                slow_disk_from: core::time::Duration::from_millis(50),
                settings: Settings::default(),
            }),
            seed: 1 + node as u128,
        };
        let state = Arc::new(ClusterState::new(CLUSTER));
        let engines = vec![(SHARD, engine)];
        host.core = Some(Core::new(CoreId(0), Arc::new(layout), settings, state, engines));
        host.boot = None;
        self.run_until("it boots", |cluster| cluster.hosts[node].boot.is_some());
        let Boot { journal, boot } = self.hosts[node].boot.expect("it has booted");
        self.agree(&Command::ShardBooted {
            node: NodeId(node as u16),
            shard: SHARD,
            journal,
            boot,
        });
        self.publish();
        self.mail(node, Mail::Serve);
    }

    /// The process is gone: its connections close, what was not written is lost.
    pub(crate) fn kill(&mut self, node: usize) {
        self.hosts[node].core = None;
        let ends: Vec<_> = self.lines.keys().copied().filter(|(at, _)| *at == node).collect();
        for end in ends {
            self.hang_up(end);
        }
    }

    /// The node, which is down, gets an empty disk.
    pub(crate) fn wipe(&mut self, node: usize) {
        let host = &mut self.hosts[node];
        host.disk = Disk::default();
        host.wiped += 1;
    }

    /// Changes a byte of the node's journal wherever `value` stands: true if it does.
    pub(crate) fn damage(&mut self, node: usize, value: &[u8]) -> bool {
        self.hosts[node].disk.damage(value)
    }

    pub(crate) fn agree(&mut self, command: &Command) {
        let index = self.state.version().next();
        self.state.apply(index, command).expect("it is in order");
    }

    /// Tells every node that is not cut off.
    pub(crate) fn publish(&mut self) {
        for node in 0..self.hosts.len() {
            if !self.cut.contains(&node) {
                self.mail(node, Mail::Snapshot(Arc::new(self.state.clone())));
            }
        }
        self.run(20);
    }

    pub(crate) fn mail(&mut self, node: usize, mail: Mail) {
        let now = self.now;
        if let Some(core) = &mut self.hosts[node].core {
            core.handle(now, Input::Mail { from: CoreId::CONTROL, mail });
        }
    }

    /// Node `node` is taken for dead, and `next` is chosen among those who answer a fence.
    pub(crate) fn fail_over(&mut self, node: usize, next: usize) {
        let others: Vec<usize> = (0..3).filter(|other| *other != node).collect();
        self.fail_over_among(node, next, &others);
    }

    /// The cluster log takes node `node` for dead.
    pub(crate) fn fence(&mut self, node: usize) {
        let boot = self.boot_of(node);
        let fenced = Command::ShardFenced { node: NodeId(node as u16), shard: SHARD, boot };
        self.agree(&fenced);
        self.publish();
    }

    pub(crate) fn fail_over_among(&mut self, node: usize, next: usize, others: &[usize]) {
        if self.partition().leader.is_some() {
            self.fence(node);
        }
        let epoch = self.partition().epoch;
        let answered = |cluster: &Self| {
            let fenced = |event: &&(usize, Event)| matches!(event.1, Event::Fenced(_));
            cluster.events.iter().filter(fenced).count()
        };
        let before = answered(self);
        for other in others {
            let promises = vec![(PARTITION, epoch)];
            self.mail(*other, Mail::Fence { shard: SHARD, token: 5, promises });
        }
        self.run_until("the fences are answered", |cluster| {
            before + others.len() <= answered(cluster)
        });
        self.choose(next);
    }

    /// The cluster log makes `next` the leader of the epoch that nobody leads.
    pub(crate) fn choose(&mut self, next: usize) {
        let partition = *self.partition();
        let leader = Leader { placement: at(next), boot: self.boot_of(next) };
        let (epoch, config_version) = (partition.epoch, partition.config_version);
        let chosen = vec![Chosen { partition: PARTITION, epoch, leader, config_version }];
        self.agree(&Command::LeadersChosen { chosen });
        self.publish();
    }

    pub(crate) fn partition(&self) -> &replication::Partition {
        &self.state.topics().by_number(PARTITION.topic).expect("it exists").partitions[0]
    }

    pub(crate) fn engine(&self, node: usize) -> &Engine {
        let core = self.hosts[node].core.as_ref().expect("the node runs");
        core.engines().next().expect("it has one shard").1
    }

    pub(crate) fn ask(&mut self, node: usize, ask: Ask) -> Question {
        self.tickets += 1;
        let ticket = Ticket { slot: self.tickets, generation: 0 };
        let to = Asker { core: TEST, ticket, part: 0 };
        self.mail(
            node,
            Mail::Ask { to, shard: SHARD, partition: PARTITION, ask, spare: Default::default() },
        );
        Question(self.tickets)
    }

    pub(crate) fn produce(&mut self, node: usize, value: &[u8]) -> Question {
        self.ask(node, Ask::Produce { batch: batch(value), all: true })
    }

    pub(crate) fn is_answered(&self, question: Question) -> bool {
        self.answers.contains_key(&question.0)
    }

    pub(crate) fn answer(&mut self, question: Question) -> Option<Answer> {
        self.answers.remove(&question.0)
    }

    /// Waits for the answer to a produce.
    pub(crate) fn produced(&mut self, question: Question) -> Result<Offset, ErrorCode> {
        self.run_until("it is answered", |cluster| cluster.answers.contains_key(&question.0));
        match self.answer(question) {
            Some(Answer::Produced(Produced { base, .. })) => Ok(base),
            Some(Answer::Failed(code)) => Err(code),
            other => panic!("{other:?}"),
        }
    }

    /// Produces until it is taken: a leader may have yet to hear of its followers.
    pub(crate) fn put(&mut self, node: usize, value: &[u8]) -> Offset {
        for _ in 0..100 {
            let question = self.produce(node, value);
            match self.produced(question) {
                Ok(base) => return base,
                Err(ErrorCode::NotEnoughReplicas | ErrorCode::NotLeaderOrFollower) => self.run(10),
                Err(code) => panic!("{code:?}"),
            }
        }
        panic!("node {node} never takes anything")
    }

    pub(crate) fn run_until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        for _ in 0..20_000 {
            if done(self) {
                return;
            }
            self.step();
        }
        panic!("never: {what}; {:?}", self.events);
    }

    /// So many milliseconds.
    pub(crate) fn run(&mut self, ms: u32) {
        (0..ms * 5).for_each(|_| self.step());
    }

    /// A fifth of a millisecond of everybody.
    fn step(&mut self) {
        self.now.mono = Instant(self.now.mono.0 + 200_000);
        for node in 0..self.hosts.len() {
            let now = self.now;
            let Some(core) = &mut self.hosts[node].core else { continue };
            core.turn(now);
            while let Some(output) = self.hosts[node].core.as_mut().and_then(|core| core.poll()) {
                self.perform(node, output);
            }
        }
    }

    fn perform(&mut self, node: usize, output: Output<Mail>) {
        let now = self.now;
        let host = &mut self.hosts[node];
        let core = host.core.as_mut().expect("it just spoke");
        match output {
            Output::Disk(op) => {
                let done = host.disk.perform(op, core.arena(SHARD));
                core.done(now, done);
            }
            Output::Send(Send { conn, pieces }) => {
                let bytes = gathered(&pieces, core.arena(SHARD));
                core.handle(now, Input::Sent { conn, pieces, ok: true });
                self.carry(node, conn, &bytes);
            }
            Output::Dial { dial, to } => {
                let result = self.connect(node, to);
                let core = self.hosts[node].core.as_mut().expect("it dialled");
                core.handle(now, Input::Dialed { dial, result });
            }
            Output::Close(conn) => self.hang_up((node, conn.slot)),
            Output::Mail { to: CoreId::CONTROL, mail } => self.told(node, mail),
            Output::Mail { mail: Mail::Answer { to, answer, .. }, .. } => {
                self.answers.insert(to.ticket.slot, answer);
            }
            Output::Mail { mail, .. } => panic!("{mail:?}"),
            Output::Pause(_) | Output::Resume(_) => {}
        }
    }

    fn told(&mut self, node: usize, mail: Mail) {
        match mail {
            Mail::Booted { journal, boot, .. } => {
                self.hosts[node].boot = Some(Boot { journal, boot });
            }
            Mail::Replica { event, .. } => {
                self.heed(&event);
                self.events.push((node, event));
            }
            Mail::Applied { .. } | Mail::Alive(_) => {}
            other => panic!("{other:?}"),
        }
    }

    /// Agrees on what a leader says, unless that is old.
    fn heed(&mut self, event: &Event) {
        let command = match *event {
            Event::Opened { partition, epoch } => {
                Command::EpochsOpened { opened: vec![Opened { partition, epoch }] }
            }
            Event::CaughtUp { partition, epoch, replica, boot } => {
                let caught_up = vec![CaughtUp { partition, epoch, replica, boot }];
                Command::ReplicasCaughtUp { caught_up }
            }
            _ => return,
        };
        let index = self.state.version().next();
        let _ = self.state.apply(index, &command);
    }

    /// The cluster log asks the leader to hand over to `to`.
    pub(crate) fn want_hand_over(&mut self, to: usize) {
        let epoch = self.partition().epoch;
        let hand_overs = vec![HandOver { partition: PARTITION, epoch, to: at(to) }];
        self.agree(&Command::HandOversWanted { hand_overs });
        self.publish();
    }

    /// The cluster log makes `to` the next leader, to whom the present one has handed over.
    pub(crate) fn hand_over(&mut self, to: usize) {
        let partition = *self.partition();
        let leader = Leader { placement: at(to), boot: self.boot_of(to) };
        let epoch = Epoch(partition.epoch.0 + 1);
        let config_version = partition.config_version;
        let chosen = vec![Chosen { partition: PARTITION, epoch, leader, config_version }];
        self.agree(&Command::LeadersHandedOver { chosen });
        self.publish();
    }

    fn boot_of(&self, node: usize) -> Boot {
        self.hosts[node].boot.expect("it has booted")
    }

    fn connect(&mut self, from: usize, to: SocketAddr) -> Result<ConnId, IoError> {
        let node = usize::from((to.port() - CONTROL_PORT - 1) / 10);
        assert_eq!(to.port(), control_address(node).port() + 1, "of shard 0");
        let unreachable = [from, node].iter().any(|end| self.cut.contains(end));
        if unreachable || self.hosts[node].core.is_none() {
            return Err(IoError::Errno(111));
        }
        let (own, other) = (self.next_conn(from), self.next_conn(node));
        self.lines.insert((from, own.slot), (node, other));
        self.lines.insert((node, other.slot), (from, own));
        let opened = Input::Opened { conn: other, listener: Listener::Peer(SHARD) };
        self.hosts[node].core.as_mut().expect("it runs").handle(self.now, opened);
        Ok(own)
    }

    pub(crate) fn next_conn(&mut self, node: usize) -> ConnId {
        self.hosts[node].conns += 1;
        ConnId { slot: self.hosts[node].conns, generation: 0 }
    }

    /// A client's connection to a node.
    pub(crate) fn connect_client(&mut self, node: usize) -> ConnId {
        let conn = self.next_conn(node);
        let opened = Input::Opened { conn, listener: Listener::Node };
        self.hosts[node].core.as_mut().expect("it runs").handle(self.now, opened);
        conn
    }

    pub(crate) fn client_sends(&mut self, node: usize, conn: ConnId, bytes: &[u8]) {
        let now = self.now;
        let core = self.hosts[node].core.as_mut().expect("it runs");
        core.handle(now, Input::Received { conn, bytes });
    }

    fn carry(&mut self, from: usize, conn: ConnId, bytes: &[u8]) {
        let Some((node, other)) = self.lines.get(&(from, conn.slot)).copied() else {
            return self.received.entry((from, conn.slot)).or_default().extend_from_slice(bytes);
        };
        if [from, node].iter().any(|end| self.cut.contains(end)) {
            return;
        }
        let now = self.now;
        if let Some(core) = &mut self.hosts[node].core {
            core.handle(now, Input::Received { conn: other, bytes });
        }
    }

    fn hang_up(&mut self, end: (usize, u32)) {
        let Some((node, other)) = self.lines.remove(&end) else { return };
        let own = self.lines.remove(&(node, other.slot)).expect("a line has two ends").1;
        for (node, conn) in [(end.0, own), (node, other)] {
            let now = self.now;
            if let Some(core) = &mut self.hosts[node].core {
                core.handle(now, Input::Closed { conn });
            }
        }
    }

    /// The network is whole again; what was lost meanwhile broke its connections.
    pub(crate) fn heal(&mut self) {
        let cut = core::mem::take(&mut self.cut);
        let ends: Vec<_> =
            self.lines.keys().copied().filter(|(node, _)| cut.contains(node)).collect();
        ends.into_iter().for_each(|end| self.hang_up(end));
    }
}

fn gathered(pieces: &[Piece], arena: &Arena) -> Vec<u8> {
    let mut all = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Bytes { bytes, from } => all.extend_from_slice(&bytes[*from..]),
            Piece::Tail { span, .. } => {
                all.extend_from_slice(arena.get(*span).expect("it is pinned"));
            }
            Piece::Pages { pages, from, len } => {
                all.extend_from_slice(&Page::bytes(pages)[*from..*from + *len]);
            }
        }
    }
    all
}
