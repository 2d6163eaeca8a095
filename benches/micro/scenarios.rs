//! The parts of a record's way, each prepared once and then done step by step.

use std::hint::black_box;

use base::batch::BatchBuilder;
use base::{Batch, Listener, ShardId, crc};
use benches::question::{Produce, Question, Refusals, Shape};
use net::api::create_topics::{self, CreatableTopic};
use net::api::fetch::{self, FetchPartition, FetchTopic};
use net::api::produce::{PartitionResponse, Response, TopicResponse};
use net::{DEFAULT_FRAME_BYTES_MAX, Incoming, Outgoing, ReplyTo, Request, Session};

use crate::log::{self, Log};
use crate::node::Node;

/// One part.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// Records of one step, or what else the name counts by.
    pub(crate) records: u64,
    /// Makes what does one step.
    pub(crate) prepare: fn() -> Box<dyn FnMut()>,
}

const RECORD_BYTES: usize = 200;
const SHAPE: Shape =
    Shape { record_bytes: RECORD_BYTES, batch: 1, timestamp_ms: 1_767_225_600_000 };
const TOPIC: &str = "orders";

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "crc32c 200 B", records: 1, prepare: checksum },
    Scenario { name: "batch: parse and verify", records: 1, prepare: verify },
    Scenario { name: "produce: decode", records: 1, prepare: decode_produce },
    Scenario { name: "produce: answer", records: 1, prepare: answer_produce },
    Scenario { name: "log: a frame per record", records: 1, prepare: append::<1> },
    Scenario { name: "log: 16 records a frame", records: 16, prepare: append::<16> },
    Scenario { name: "log: 256 records a frame", records: 256, prepare: append::<256> },
    Scenario { name: "log: 1000 x 1000 B a batch", records: 1000, prepare: append_large },
    Scenario { name: "core view: produce and ack", records: 1, prepare: ask_core_view },
    Scenario { name: "node view: the same, relayed", records: 1, prepare: ask_relayed },
    Scenario { name: "core view: fetch a batch", records: 1, prepare: fetch_core_view },
    Scenario {
        name: "node view: the same, from another core",
        records: 1,
        prepare: fetch_from_another_core,
    },
    Scenario { name: "log: read a warm tail", records: READ_RECORDS, prepare: read_tail },
    Scenario { name: "log: recover 1 KiB of journal", records: JOURNAL_KIB, prepare: recover },
];

const READ_RECORDS: u64 = 1000;
const RECOVERED_RECORDS: u64 = 10_000;
const JOURNAL_KIB: u64 = log::JOURNAL_BYTES >> 10;

fn batch(records: usize, bytes: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(1_767_225_600_000);
    for _ in 0..records {
        builder.push(1_767_225_600_000, None, Some(&vec![0x5a; bytes]), &[]);
    }
    builder.build()
}

fn checksum() -> Box<dyn FnMut()> {
    let bytes = vec![0x5a; RECORD_BYTES];
    Box::new(move || {
        black_box(crc::crc32c(black_box(&bytes)));
    })
}

fn verify() -> Box<dyn FnMut()> {
    let bytes = batch(1, RECORD_BYTES);
    Box::new(move || {
        let batch = Batch::parse(black_box(&bytes)).expect("a batch of our own");
        batch.verify_checksum().expect("unharmed");
    })
}

fn decode_produce() -> Box<dyn FnMut()> {
    let mut question = Question::Produce(Produce::new(TOPIC, &[0], SHAPE));
    let frame = question.ask().to_vec();
    let mut session = Session::new(DEFAULT_FRAME_BYTES_MAX);
    Box::new(move || {
        let mut received = black_box(&frame[..]);
        let incoming = session.next(&mut received).expect("a frame of our own");
        let Some(Incoming::Request(frame)) = incoming else { panic!("a whole request") };
        let Ok(Request::Produce(produce)) = frame.decode() else { panic!("a produce request") };
        for topic in produce.topic_data {
            for partition in topic.partition_data {
                black_box(partition.records);
            }
        }
    })
}

fn answer_produce() -> Box<dyn FnMut()> {
    let mut out = Outgoing::default();
    Box::new(move || {
        out.clear();
        out.respond(
            ReplyTo { version: 9, correlation_id: 7 },
            Response {
                responses: [TopicResponse {
                    name: black_box("orders"),
                    partition_responses: [PartitionResponse {
                        index: 0,
                        base_offset: black_box(1000),
                        ..PartitionResponse::default()
                    }],
                }],
                throttle_time_ms: 0,
                node_endpoints: net::Empty,
            },
        );
        black_box(out.bytes());
    })
}

/// `RECORDS` batches of one record, durable together.
fn append<const RECORDS: usize>() -> Box<dyn FnMut()> {
    let mut log = Log::new(1);
    let batch = batch(1, RECORD_BYTES);
    Box::new(move || {
        for _ in 0..RECORDS {
            log.append(&batch);
        }
        log.settle();
    })
}

fn append_large() -> Box<dyn FnMut()> {
    let mut log = Log::new(1);
    let batch = batch(1000, 1000);
    Box::new(move || {
        log.append(&batch);
        log.settle();
    })
}

/// A request of one record, from its bytes to the bytes of its answer, on the core that owns the
/// partition.
fn ask_core_view() -> Box<dyn FnMut()> {
    ask(Listener::Core(ShardId(0)), ShardId(0))
}

/// The same on a core that has to pass it on.
fn ask_relayed() -> Box<dyn FnMut()> {
    ask(Listener::Node, ShardId(1))
}

fn ask(listener: Listener, owner: ShardId) -> Box<dyn FnMut()> {
    let (mut node, partition) = node_with_topic(listener, owner);
    let mut question = Question::Produce(Produce::new(TOPIC, &[partition], SHAPE));
    let mut refusals = Refusals::default();
    Box::new(move || {
        let answer = node.ask(question.ask());
        question.check(&answer[4..], &mut refusals).expect("an answer to produce");
        assert!(refusals.is_empty(), "{refusals:?}");
    })
}

/// The same few records again and again, out of the memory of the core that owns them.
fn fetch_core_view() -> Box<dyn FnMut()> {
    fetch_batch(Listener::Core(ShardId(0)), ShardId(0))
}

/// The same on a core that has to ask for them.
fn fetch_from_another_core() -> Box<dyn FnMut()> {
    fetch_batch(Listener::Node, ShardId(1))
}

fn fetch_batch(listener: Listener, owner: ShardId) -> Box<dyn FnMut()> {
    let (mut node, partition) = node_with_topic(listener, owner);
    node.ask(Question::Produce(Produce::new(TOPIC, &[partition], SHAPE)).ask());
    let wanted =
        FetchPartition { partition, partition_max_bytes: 1 << 20, ..FetchPartition::default() };
    let request = Node::frame(
        4,
        fetch::Request {
            cluster_id: None,
            replica_id: -1,
            replica_state: Default::default(),
            max_wait_ms: 0,
            min_bytes: 1,
            max_bytes: 1 << 20,
            isolation_level: 0,
            session_id: 0,
            session_epoch: -1,
            topics: [FetchTopic { topic: TOPIC, topic_id: net::Uuid::ZERO, partitions: [wanted] }],
            forgotten_topics_data: net::Empty,
            rack_id: "",
        },
    );
    Box::new(move || {
        let answered = node.ask(&request).len();
        assert!(SHAPE.record_bytes < answered, "{answered} bytes hold no record");
    })
}

/// A node with a topic, and a partition of it that `owner` leads.
fn node_with_topic(listener: Listener, owner: ShardId) -> (Node, i32) {
    let mut node = Node::new(listener);
    let create = create_topics::Request {
        topics: [CreatableTopic {
            name: TOPIC,
            num_partitions: 2,
            replication_factor: -1,
            assignments: net::Empty,
            configs: net::Empty,
        }],
        timeout_ms: 1000,
        validate_only: false,
    };
    node.ask(&Node::frame(4, create));
    let partition = node.partition_of(owner);
    (node, partition)
}

fn read_tail() -> Box<dyn FnMut()> {
    let mut log = Log::new(1);
    let batch = batch(1, RECORD_BYTES);
    for _ in 0..READ_RECORDS {
        log.append(&batch);
    }
    log.settle();
    let mut spans = Vec::new();
    Box::new(move || {
        black_box(log.read_tail(&mut spans));
    })
}

/// Opens a journal of many frames again and again.
fn recover() -> Box<dyn FnMut()> {
    let mut log = Log::new(16);
    let batch = batch(1, RECORD_BYTES);
    for number in 0..RECOVERED_RECORDS {
        log.append(&batch);
        if number % 16 == 0 {
            log.settle();
        }
    }
    log.settle();
    Box::new(move || {
        assert!(0 < log.restart(), "there is a journal to read");
    })
}
