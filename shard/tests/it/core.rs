//! A data core and the control core, with the mail between them: nothing that was asked for waits
//! for an event that nobody promised.

use std::collections::VecDeque;
use std::sync::Arc;

use base::batch::BatchBuilder;
use base::{
    BrokerTime, ConnId, CoreId, Done, Input, Instant, Listener, Machine, NodeId, Now, Output, Page,
    PageMemory, ShardId,
};
use engine::journal::JournalConfig;
use engine::{Engine, EngineConfig};
use net::api::produce;
use net::{Outgoing, Records, ReplyTo};
use replication::command::NodeRegistered;
use replication::{ClusterState, NewPartitions, Proposal, Uuid};
use shard::{Address, ControlShard, Core, CoreSettings, Layout, Mail, Ticket};

use crate::disk::Disk;

const CLUSTER: Uuid = Uuid([7; 16]);
const CONN: ConnId = ConnId { slot: 0, generation: 0 };
const NOW: Now = Now { mono: Instant(1), wall: BrokerTime(1_000) };

/// A node with one data core and one shard, on a disk that answers at once.
struct Node {
    disk: Disk,
    core: Core,
    control: ControlShard,
    /// Mail that is held back: the word to serve.
    serve: VecDeque<Mail>,
    /// Everything else that the core asked of its shell, in order.
    asked: Vec<Output<Mail>>,
}

fn engine(shard: ShardId) -> Engine {
    let mut journal = JournalConfig::new(shard, 9);
    journal.segment_bytes = 256 << 10;
    journal.frame_max_bytes = 64 << 10;
    let config = EngineConfig { bin_bytes: 1 << 20, bins_max: 64, ..EngineConfig::new(journal) };
    let memory = PageMemory::Heap(Page::boxed(config.arena_bytes() as usize / 4096));
    Engine::open(config, memory, &[])
}

impl Node {
    fn start() -> Self {
        let registered = NodeRegistered {
            node: NodeId(0),
            shards: 1,
            host: "localhost".to_owned(),
            port: 9092,
            core_host: "localhost".to_owned(),
            core_port: 9100,
            rack: None,
        };
        let address = |port| Address { host: "localhost".to_owned(), port };
        let layout = Layout {
            node: NodeId(0),
            cluster_id: "test".to_owned(),
            shard_cores: vec![CoreId(0)],
            control: CoreId::CONTROL,
            node_address: address(9092),
            core_address: address(9100),
            rack: None,
        };
        let settings = CoreSettings {
            auto_create_topics: false,
            default_partitions: 1,
            request_bytes_max: 1 << 20,
            fetch_bytes_max: 1 << 20,
            peering: None,
            groups: Default::default(),
            seed: 1,
        };
        let state = Arc::new(ClusterState::new(CLUSTER));
        let engines = vec![(ShardId(0), engine(ShardId(0)))];
        let control = engine(ShardId::CONTROL);
        let mut node = Self {
            disk: Disk::default(),
            core: Core::new(CoreId(0), Arc::new(layout), settings, state, engines),
            control: ControlShard::new(control, CLUSTER, registered, 1),
            serve: VecDeque::new(),
            asked: Vec::new(),
        };
        node.settle();
        node
    }

    /// Turns as long as completions or mail come, and never because time passed.
    fn settle(&mut self) {
        let mut quiet = false;
        while !quiet {
            let dones = self.turn_core();
            quiet = dones.is_empty();
            dones.into_iter().for_each(|done| self.core.done(NOW, done));
            quiet &= self.turn_control();
        }
    }

    /// One turn of the data core: what its disk did. Mail is delivered.
    fn turn_core(&mut self) -> Vec<Done> {
        self.core.turn(NOW);
        let mut dones = Vec::new();
        while let Some(output) = self.core.poll() {
            match output {
                Output::Disk(op) => {
                    let arena = self.core.arena(ShardId(0));
                    dones.push(self.disk.perform(op, arena));
                }
                Output::Mail { to: CoreId::CONTROL, mail } => {
                    self.control.handle(NOW, Input::Mail { from: CoreId(0), mail });
                }
                other => self.asked.push(other),
            }
        }
        dones
    }

    /// Whether nothing came of it.
    fn turn_control(&mut self) -> bool {
        self.control.turn(NOW);
        let mut quiet = true;
        while let Some(output) = self.control.poll() {
            match output {
                Output::Disk(op) => {
                    let done = self.disk.perform(op, self.control.arena(ShardId::CONTROL));
                    self.control.done(NOW, done);
                }
                Output::Mail { mail: Mail::Serve, .. } => self.serve.push_back(Mail::Serve),
                Output::Mail { mail, .. } => {
                    self.core.handle(NOW, Input::Mail { from: CoreId::CONTROL, mail });
                }
                other => panic!("{other:?}"),
            }
            quiet = false;
        }
        quiet
    }

    fn create(&mut self, name: &str) {
        let proposal = Proposal::CreateTopic {
            name: name.to_owned(),
            uuid: Uuid([9; 16]),
            partitions: NewPartitions::Count(1),
            replication_factor: Some(1),
            configs: Vec::new(),
        };
        let ticket = Ticket { slot: 77, generation: 0 };
        let (core, proposals) = (CoreId(0), vec![proposal]);
        let mail = Mail::Propose { core, ticket, proposals, validate_only: false };
        self.control.handle(NOW, Input::Mail { from: CoreId(0), mail });
        self.settle();
    }

    fn produce(&mut self, topic: &str) {
        let mut builder = BatchBuilder::new(1_000);
        builder.push(1_000, None, Some(b"value"), &[]);
        let batch = builder.build();
        let request = produce::Request {
            transactional_id: None,
            acks: -1,
            timeout_ms: 30_000,
            topic_data: [produce::TopicData {
                name: topic,
                partition_data: [produce::PartitionData {
                    index: 0,
                    records: Some(Records::Bytes(&batch)),
                }],
            }],
        };
        let mut out = Outgoing::default();
        out.request(ReplyTo { version: 9, correlation_id: 1 }, None, request);
        self.core.handle(NOW, Input::Received { conn: CONN, bytes: out.bytes() });
    }
}

#[test]
fn what_waited_is_written_in_the_turn_in_which_it_goes_on() {
    let mut node = Node::start();
    node.create("orders");
    assert_eq!(node.serve.len(), 1, "the node is ready");
    node.core.handle(NOW, Input::Opened { conn: CONN, listener: Listener::Node });
    node.produce("orders");
    node.settle();
    assert!(!node.asked.iter().any(|output| matches!(output, Output::Send(_))));

    let mail = node.serve.pop_front().expect("checked above");
    node.core.handle(NOW, Input::Mail { from: CoreId::CONTROL, mail });
    // No event, no timer: this turn must bring the entry on its way.
    let dones = node.turn_core();
    let wrote = |done: &&Done| matches!(done, Done::Wrote { .. });
    assert_eq!(dones.iter().filter(wrote).count(), 1, "{dones:?}");
    dones.into_iter().for_each(|done| node.core.done(NOW, done));
    let dones = node.turn_core();
    assert!(dones.is_empty(), "{dones:?}");
    let sent = |output: &&Output<Mail>| matches!(output, Output::Send(_));
    assert_eq!(node.asked.iter().filter(sent).count(), 1, "the ack: {:?}", node.asked);
}
