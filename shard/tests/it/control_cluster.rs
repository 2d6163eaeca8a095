//! Three control shards over disks in memory: they form one cluster, agree through whichever node
//! is asked, and go on without one.

use std::collections::BTreeMap;
use std::time::Duration;

use base::{
    BrokerTime, CoreId, Incarnation, Input, Instant, Machine, NodeId, Now, Output, Page,
    PageMemory, ShardId,
};
use engine::journal::JournalConfig;
use engine::{Engine, EngineConfig};
use replication::command::NodeRegistered;
use replication::{ControlMessage, NewPartitions, Proposal, Rejected, Uuid};
use shard::{ControlSettings, ControlShard, Mail, Ticket};

use crate::disk::Disk;

const CLUSTER: Uuid = Uuid([7; 16]);
const TICKET: Ticket = Ticket { slot: 3, generation: 1 };
const NODES: [NodeId; 3] = [NodeId(0), NodeId(1), NodeId(2)];

type Results = Vec<Result<(), Rejected>>;

struct Host {
    disk: Disk,
    control: ControlShard,
    /// Answers to proposals.
    proposed: Vec<Results>,
}

struct Cluster {
    now: Now,
    hosts: BTreeMap<NodeId, Host>,
    letters: Vec<(NodeId, NodeId, Vec<u8>)>,
    starts: u64,
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

impl Cluster {
    fn new() -> Self {
        let now = Now { mono: Instant(1), wall: BrokerTime(1_000) };
        let mut cluster = Self { now, hosts: BTreeMap::new(), letters: Vec::new(), starts: 0 };
        for node in NODES {
            cluster.start(node, Disk::default(), u64::from(node.0) + 1, 1);
        }
        cluster
    }

    /// Starts a node on `disk`, its control journal of this id, its shard for the `boot`th time.
    fn start(&mut self, node: NodeId, disk: Disk, journal_id: u64, boot: u32) {
        let mut journal = JournalConfig::new(ShardId::CONTROL, journal_id);
        journal.segment_bytes = 256 << 10;
        journal.frame_max_bytes = 64 << 10;
        let config =
            EngineConfig { bin_bytes: 1 << 20, bins_max: 64, ..EngineConfig::new(journal) };
        let memory = PageMemory::Heap(Page::boxed(config.arena_bytes() as usize / 4096));
        let engine = Engine::open(config, memory, &disk.existing());
        self.starts += 1;
        let settings = ControlSettings {
            seats: NODES.to_vec(),
            peers: NODES.into_iter().filter(|other| *other != node).collect(),
            seed: self.starts,
            ..ControlSettings::alone(CLUSTER, registered(node), 1)
        };
        let mut control = ControlShard::of_cluster(engine, settings);
        let shard = ShardId(0);
        let booted = Mail::Booted { shard, journal: u64::from(node.0), boot: Incarnation(boot) };
        control.handle(self.now, Input::Mail { from: CoreId(0), mail: booted });
        self.hosts.insert(node, Host { disk, control, proposed: Vec::new() });
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now.mono.plus(time);
        while self.now.mono < until {
            self.now.mono = self.now.mono.plus(Duration::from_millis(1));
            for node in NODES {
                self.turn(node);
            }
            for (from, to, bytes) in std::mem::take(&mut self.letters) {
                let message = ControlMessage::decode(&bytes).expect("it was encoded");
                if let Some(host) = self.hosts.get_mut(&to) {
                    let mail = Mail::FromPeer { node: from, message };
                    host.control.handle(self.now, Input::Mail { from: CoreId::PEERS, mail });
                }
            }
        }
    }

    fn turn(&mut self, node: NodeId) {
        let Some(host) = self.hosts.get_mut(&node) else { return };
        host.control.turn(self.now);
        let mut completions = Vec::new();
        let mut applied = None;
        while let Some(output) = host.control.poll() {
            match output {
                Output::Disk(op) => {
                    let arena = host.control.arena(ShardId::CONTROL);
                    completions.push(host.disk.perform(op, arena));
                }
                Output::Mail { to: CoreId::PEERS, mail: Mail::ToPeer { node: to, message } } => {
                    self.letters.push((node, to, message.encode()));
                }
                Output::Mail { to: core, mail: Mail::Snapshot(state) } => {
                    applied = Some(Mail::Applied { core, version: state.version() });
                }
                Output::Mail { mail: Mail::Proposed { ticket: TICKET, results }, .. } => {
                    host.proposed.push(results);
                }
                Output::Mail { mail: Mail::Serve, .. } => {}
                other => panic!("{other:?}"),
            }
        }
        for done in completions {
            host.control.done(self.now, done);
        }
        if let Some(mail) = applied {
            host.control.handle(self.now, Input::Mail { from: CoreId(0), mail });
        }
    }

    fn propose(&mut self, node: NodeId, proposal: Proposal) {
        let (core, proposals) = (CoreId(0), vec![proposal]);
        let mail = Mail::Propose { core, ticket: TICKET, proposals, validate_only: false };
        let now = self.now;
        self.host(node).control.handle(now, Input::Mail { from: core, mail });
        self.turn(node);
    }

    fn host(&mut self, node: NodeId) -> &mut Host {
        self.hosts.get_mut(&node).expect("the node runs")
    }

    fn leader(&self) -> Option<NodeId> {
        let mut leaders = self.hosts.iter().filter(|(_, host)| host.control.leads());
        leaders.next().map(|(node, _)| *node)
    }

    /// Panics unless every running node serves and all hold one state.
    fn check(&self) {
        let mut states = self.hosts.values().map(|host| host.control.state());
        let first = states.next().expect("a node runs");
        assert!(states.all(|state| state == first), "one state everywhere");
        for (node, host) in &self.hosts {
            assert_eq!(host.control.readiness(), Ok(()), "node {node}");
        }
    }
}

fn create(name: &str) -> Proposal {
    let mut uuid = [9; 16];
    uuid[..name.len()].copy_from_slice(name.as_bytes());
    Proposal::CreateTopic {
        name: name.to_owned(),
        uuid: Uuid(uuid),
        partitions: NewPartitions::Count(3),
        replication_factor: Some(1),
        configs: Vec::new(),
    }
}

#[test]
fn three_nodes_form_one_cluster_and_any_of_them_takes_a_wish() {
    let mut cluster = Cluster::new();
    cluster.pass(Duration::from_secs(3));
    cluster.check();
    let state = cluster.hosts[&NODES[0]].control.state();
    assert_eq!((state.nodes().count(), state.voters().len()), (3, 3));
    assert_eq!(state.controller(), cluster.leader());
    for (node, name) in NODES.into_iter().zip(["a", "b", "c"]) {
        cluster.propose(node, create(name));
    }
    cluster.pass(Duration::from_secs(1));
    for node in NODES {
        assert_eq!(cluster.host(node).proposed, [vec![Ok(())]], "node {node}");
    }
    cluster.propose(NODES[1], create("a"));
    cluster.pass(Duration::from_secs(1));
    assert_eq!(cluster.host(NODES[1]).proposed[1], vec![Err(Rejected::TopicExists)]);
    cluster.check();
    assert_eq!(cluster.hosts[&NODES[2]].control.state().topics().len(), 3);
}

#[test]
fn two_go_on_without_the_leader_and_it_catches_up() {
    let mut cluster = Cluster::new();
    cluster.pass(Duration::from_secs(3));
    let old = cluster.leader().expect("one leads");
    let disk = cluster.hosts.remove(&old).expect("it runs").disk;
    let other = NODES.into_iter().find(|node| *node != old).expect("two are left");
    cluster.propose(other, create("a"));
    cluster.pass(Duration::from_secs(3));
    assert_eq!(cluster.host(other).proposed, [vec![Ok(())]]);
    assert_ne!(cluster.leader(), Some(old));
    cluster.start(old, disk, u64::from(old.0) + 1, 2);
    cluster.pass(Duration::from_secs(3));
    cluster.check();
    assert_eq!(cluster.hosts[&old].control.state().topics().len(), 1);
}

#[test]
fn a_node_that_lost_its_control_journal_votes_again_only_when_it_has_learned_all() {
    let mut cluster = Cluster::new();
    cluster.pass(Duration::from_secs(3));
    let lost = NODES.into_iter().find(|node| Some(*node) != cluster.leader());
    let lost = lost.expect("two follow");
    cluster.hosts.remove(&lost);
    cluster.start(lost, Disk::default(), 99, 2);
    cluster.pass(Duration::from_secs(5));
    cluster.check();
    let state = cluster.hosts[&lost].control.state();
    assert_eq!(state.voters().of_node(lost).map(|voter| voter.journal), Some(99));
    assert_eq!(state.voters().len(), 3);
}

#[test]
fn one_of_three_agrees_to_nothing() {
    let mut cluster = Cluster::new();
    cluster.pass(Duration::from_secs(3));
    let alone = cluster.leader().expect("one leads");
    let version = cluster.hosts[&alone].control.state().version();
    cluster.hosts.retain(|node, _| *node == alone);
    cluster.propose(alone, create("a"));
    cluster.pass(Duration::from_secs(9));
    assert!(cluster.host(alone).proposed.is_empty());
    cluster.pass(Duration::from_secs(3));
    assert_eq!(cluster.host(alone).proposed, [vec![Err(Rejected::NotLeader)]]);
    assert_eq!(cluster.hosts[&alone].control.state().version(), version);
    assert_eq!(cluster.leader(), None, "without a majority nobody leads");
}
