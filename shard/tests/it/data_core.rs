//! A data core, as clients of the core view meet it: order, checksums, and where it sends them.

use core::time::Duration;
use std::sync::Arc;

use base::batch::BatchBuilder;
use base::{
    Arena, BrokerTime, ConnId, CoreId, Incarnation, Input, Listener, Machine, NodeId, Now, Output,
    Page, PageMemory, Piece, ShardId,
};
use engine::journal::JournalConfig;
use engine::{Engine, EngineConfig};
use net::api::{fetch, produce};
use net::{ErrorCode, Outgoing, Records, ReplyTo, RequestBody, decode_response, each};
use replication::command::NodeRegistered;
use replication::{
    Boot, ClusterLog, LogIndex, LogSettings, NewPartitions, Place, Placement, Proposal, Uuid,
};
use shard::{Address, Core, CoreSettings, Layout, Mail};

use crate::disk::Disk;

const OWN: ShardId = ShardId(0);
const CONN: ConnId = ConnId { slot: 0, generation: 0 };
/// Another client, whose answers nobody reads.
const PRODUCER: ConnId = ConnId { slot: 1, generation: 0 };
const TOPIC: &str = "t";
const TOPIC_ID: Uuid = Uuid([3; 16]);

/// Core 0 of two, each with a shard. Partition 0 of the topic is here, partition 1 on the other.
struct Host {
    core: Core,
    disk: Disk,
    now: Now,
    /// What was sent to the client and not taken yet.
    sent: Vec<u8>,
    paused: bool,
}

impl Host {
    fn start() -> Self {
        let mut journal = JournalConfig::new(OWN, 9);
        journal.segment_bytes = 8 << 20;
        journal.frame_max_bytes = 2 << 20;
        let config =
            EngineConfig { bin_bytes: 16 << 20, bins_max: 16, ..EngineConfig::new(journal) };
        let memory = PageMemory::Heap(Page::boxed(config.arena_bytes() as usize / 4096));
        let address = |port| Address { host: "here".into(), port };
        let layout = Layout {
            node: NodeId(0),
            cluster_id: "c".into(),
            shard_cores: vec![CoreId(0), CoreId(1)],
            control: CoreId::CONTROL,
            node_address: address(9092),
            core_address: address(9100),
            rack: None,
        };
        let settings = CoreSettings {
            auto_create_topics: false,
            default_partitions: 1,
            request_bytes_max: 16 << 20,
            fetch_bytes_max: 16 << 20,
            peering: None,
            groups: Default::default(),
            seed: 1,
        };
        let log = ClusterLog::new(LogSettings::alone(Uuid([1; 16]), NodeId(0)));
        let engines = vec![(OWN, Engine::open(config, memory, &[]))];
        let core = Core::new(CoreId(0), Arc::new(layout), settings, log.snapshot(), engines);
        let now = Now { mono: base::Instant(1), wall: BrokerTime(1_000) };
        let mut host = Self { core, disk: Disk::default(), now, sent: Vec::new(), paused: false };
        let mail = host.settle();
        let boot = mail.into_iter().find_map(|mail| match mail {
            Mail::Booted { journal, boot, .. } => Some((journal, boot)),
            _ => None,
        });
        let (journal, boot) = boot.expect("the shard opened");
        let node = NodeId(0);
        let shard = |shard| Place::Shard(Placement { node, shard });
        let proposals = [
            Proposal::RegisterNode(registered()),
            Proposal::BootShard { node, shard: OWN, journal, boot },
            Proposal::BootShard { node, shard: ShardId(1), journal: 77, boot },
            Proposal::CreateTopic {
                name: TOPIC.to_owned(),
                uuid: TOPIC_ID,
                partitions: NewPartitions::At(vec![vec![shard(OWN)], vec![shard(ShardId(1))]]),
                replication_factor: Some(1),
                configs: Vec::new(),
            },
        ];
        host.mail(Mail::Snapshot(state_after(log, &proposals)));
        host.mail(Mail::Serve);
        host.handle(Input::Opened { conn: CONN, listener: Listener::Core(OWN) });
        host.settle();
        host
    }

    fn handle(&mut self, input: Input<'_, Mail>) {
        self.core.handle(self.now, input);
    }

    fn mail(&mut self, mail: Mail) {
        self.handle(Input::Mail { from: CoreId::CONTROL, mail });
        self.settle();
    }

    /// One turn, with the completions of what it asked for. Says whether it asked for anything.
    fn turn(&mut self, mail: &mut Vec<Mail>) -> bool {
        self.core.turn(self.now);
        let (mut completions, mut sends) = (Vec::new(), Vec::new());
        while let Some(output) = self.core.poll() {
            match output {
                Output::Disk(op) => completions.push(self.disk.perform(op, self.core.arena(OWN))),
                Output::Send(send) => sends.push(send),
                Output::Mail { mail: one, .. } => mail.push(one),
                Output::Pause(_) => self.paused = true,
                Output::Resume(_) => self.paused = false,
                other => panic!("{other:?}"),
            }
        }
        let worked = !completions.is_empty() || !sends.is_empty();
        for done in completions {
            self.core.done(self.now, done);
        }
        for send in sends {
            for piece in &send.pieces {
                self.sent.extend_from_slice(bytes_of(self.core.arena(OWN), piece));
            }
            self.handle(Input::Sent { conn: send.conn, pieces: send.pieces, ok: true });
        }
        worked
    }

    /// Turns for as long as anything follows from it, and no time passes.
    fn settle(&mut self) -> Vec<Mail> {
        let mut mail = Vec::new();
        let is_due = |host: &Self| host.core.next_timeout().is_some_and(|at| at <= host.now.mono);
        while self.turn(&mut mail) || is_due(self) {}
        mail
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.handle(Input::Received { conn: CONN, bytes });
    }

    /// The next answer, if it was sent.
    fn answer(&mut self) -> Option<Vec<u8>> {
        let length = u32::from_be_bytes(*self.sent.first_chunk()?) as usize;
        let rest = self.sent.split_off(4 + length);
        let frame = std::mem::replace(&mut self.sent, rest);
        Some(frame[4..].to_vec())
    }
}

fn registered() -> NodeRegistered {
    NodeRegistered {
        node: NodeId(0),
        shards: 2,
        host: "here".to_owned(),
        port: 9092,
        core_host: "here".to_owned(),
        core_port: 9100,
        rack: None,
    }
}

fn state_after(mut log: ClusterLog, proposals: &[Proposal]) -> Arc<replication::ClusterState> {
    let now = base::Instant(1);
    let own = Boot { journal: 1, boot: Incarnation(1) };
    log.start(now, own, LogIndex(0));
    for proposal in proposals {
        log.propose(proposal).expect("a valid proposal");
    }
    while let Some((number, _)) = log.poll_write() {
        log.durable(now, number);
    }
    log.snapshot()
}

fn bytes_of<'a>(arena: &'a Arena, piece: &'a Piece) -> &'a [u8] {
    match piece {
        Piece::Bytes { bytes, from } => &bytes[*from..],
        Piece::Tail { span, .. } => arena.get(*span).expect("pinned"),
        Piece::Pages { pages, from, len } => &Page::bytes(pages)[*from..*from + *len],
    }
}

fn batch(bytes: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(1_000);
    builder.push(1_000, None, Some(&vec![5; bytes]), &[]);
    builder.build()
}

fn request<B: RequestBody>(to: ReplyTo, body: B) -> Vec<u8> {
    let mut out = Outgoing::default();
    out.request(to, None, body);
    out.bytes().to_vec()
}

fn to(version: i16, correlation_id: i32) -> ReplyTo {
    ReplyTo { version, correlation_id }
}

fn produce_of(to: ReplyTo, batches: &[(i32, &[u8])]) -> Vec<u8> {
    let data = |(index, batch): &(i32, &'_ [u8])| (*index, batch.to_vec());
    let batches: Vec<_> = batches.iter().map(data).collect();
    let topic_data = [produce::TopicData {
        name: TOPIC,
        partition_data: each(batches.iter().map(|(index, batch)| produce::PartitionData {
            index: *index,
            records: Some(Records::Bytes(batch)),
        })),
    }];
    request(to, produce::Request { transactional_id: None, acks: -1, timeout_ms: 1000, topic_data })
}

fn fetch_of(to: ReplyTo, wait: Duration, partitions: &[fetch::FetchPartition]) -> Vec<u8> {
    let body = fetch::Request {
        cluster_id: None,
        replica_id: -1,
        replica_state: Default::default(),
        max_wait_ms: wait.as_millis() as i32,
        min_bytes: 1,
        max_bytes: 1000,
        isolation_level: 0,
        session_id: 0,
        session_epoch: -1,
        topics: [fetch::FetchTopic {
            topic: "",
            topic_id: net::Uuid(TOPIC_ID.0),
            partitions: each(partitions.iter().copied()),
        }],
        forgotten_topics_data: net::Empty,
        rack_id: "",
    };
    request(to, body)
}

/// Correlation id, and the bytes of records for each partition.
fn fetched(answer: &[u8]) -> (i32, Vec<usize>) {
    type Body = fetch::RequestView<'static>;
    let (id, response) = decode_response::<Body>(16, answer).expect("it decodes");
    let parts = response.responses.iter().flat_map(|topic| topic.partitions.iter());
    (id, parts.map(|part| part.records.map_or(0, |records| records.bytes().len())).collect())
}

/// Correlation id, and of each partition its error and offset.
fn produced(version: i16, answer: &[u8]) -> (i32, Vec<(ErrorCode, i64)>) {
    type Body = produce::RequestView<'static>;
    let (id, response) = decode_response::<Body>(version, answer).expect("it decodes");
    let parts = response.responses.iter().flat_map(|topic| topic.partition_responses.iter());
    (id, parts.map(|part| (part.error_code, part.base_offset)).collect())
}

#[test]
fn a_large_batch_is_verified_over_turns_and_what_follows_it_waits() {
    let mut host = Host::start();
    let large = produce_of(to(9, 1), &[(0, &batch(1_048_000))]);
    let small = produce_of(to(9, 2), &[(0, &batch(10))]);
    for part in large.chunks(32 << 10) {
        host.receive(part);
    }
    host.receive(&small);
    let mut turns = 0;
    // The next turn is wanted at once for as long as something is to be verified.
    while host.core.next_timeout() == Some(host.now.mono) {
        assert!(host.sent.is_empty(), "answered before it was verified");
        host.turn(&mut Vec::new());
        turns += 1;
    }
    assert!((16..=20).contains(&turns), "{turns} turns for 16 × 64 KiB");
    host.settle();
    assert!(!host.paused, "nothing made it stop reading");
    let ok = |offset| vec![(ErrorCode::None, offset)];
    assert_eq!(produced(9, &host.answer().expect("sent")), (1, ok(0)));
    assert_eq!(produced(9, &host.answer().expect("sent")), (2, ok(1)));
    assert_eq!(host.answer(), None);
}

#[test]
fn a_damaged_batch_is_refused_however_it_is_verified() {
    let mut host = Host::start();
    for bytes in [100, 500_000] {
        let (good, mut bad) = (batch(bytes), batch(bytes));
        *bad.last_mut().expect("bytes") ^= 1;
        host.receive(&produce_of(to(9, 7), &[(0, &bad)]));
        host.receive(&produce_of(to(9, 8), &[(0, &good)]));
        host.settle();
        let refused = vec![(ErrorCode::CorruptMessage, -1)];
        assert_eq!(produced(9, &host.answer().expect("sent")), (7, refused));
        let (id, taken) = produced(9, &host.answer().expect("sent"));
        assert_eq!((id, taken[0].0), (8, ErrorCode::None), "{bytes} bytes");
    }
}

#[test]
fn many_requests_in_one_go_are_spread_over_turns_and_answered_in_order() {
    let mut host = Host::start();
    let requests: Vec<u8> =
        (0..40).flat_map(|id| produce_of(to(9, id), &[(0, &batch(10_000))])).collect();
    host.receive(&requests);
    let mut turns = 0;
    while host.core.next_timeout() == Some(host.now.mono) {
        host.turn(&mut Vec::new());
        turns += 1;
    }
    assert!(6 <= turns, "{turns} turns for 400 KB");
    host.settle();
    for id in 0..40 {
        let answer = host.answer().expect("sent");
        assert_eq!(produced(9, &answer), (id, vec![(ErrorCode::None, i64::from(id))]));
    }
}

#[test]
fn who_asks_the_wrong_broker_is_told_the_right_one() {
    let mut host = Host::start();
    host.receive(&produce_of(to(10, 1), &[(0, &batch(10)), (1, &batch(10))]));
    host.settle();
    let answer = host.answer().expect("sent");
    let (_, response) =
        decode_response::<produce::RequestView<'static>>(10, &answer).expect("it decodes");
    let topic = response.responses.first().expect("one topic");
    let parts: Vec<_> = topic.partition_responses.iter().collect();
    assert_eq!((parts[0].error_code, parts[0].current_leader.leader_id), (ErrorCode::None, -1));
    assert_eq!(parts[1].error_code, ErrorCode::NotLeaderOrFollower);
    assert_eq!(
        parts[1].current_leader,
        produce::LeaderIdAndEpoch { leader_id: 1001, leader_epoch: 0 }
    );
    let endpoints: Vec<_> = response.node_endpoints.iter().collect();
    assert_eq!(endpoints.len(), 1);
    let endpoint = &endpoints[0];
    assert_eq!((endpoint.node_id, endpoint.host, endpoint.port), (1001, "here", 9101));

    let partition = |partition| fetch::FetchPartition {
        partition,
        fetch_offset: 0,
        partition_max_bytes: 1000,
        ..Default::default()
    };
    let partitions = [partition(1), partition(0)];
    host.receive(&fetch_of(to(16, 2), Duration::ZERO, &partitions));
    host.settle();
    let answer = host.answer().expect("sent");
    let (_, response) =
        decode_response::<fetch::RequestView<'static>>(16, &answer).expect("it decodes");
    let topic = response.responses.first().expect("one topic");
    let parts: Vec<_> = topic.partitions.iter().collect();
    assert_eq!(parts[0].error_code, ErrorCode::NotLeaderOrFollower);
    assert_eq!(
        parts[0].current_leader,
        fetch::LeaderIdAndEpoch { leader_id: 1001, leader_epoch: 0 }
    );
    assert_eq!((parts[1].error_code, parts[1].current_leader.leader_id), (ErrorCode::None, -1));
    let endpoints: Vec<_> = response.node_endpoints.iter().map(|one| one.node_id).collect();
    assert_eq!(endpoints, [1001]);
}

#[test]
fn a_fetch_at_the_end_waits_for_records_or_for_its_time() {
    let mut host = Host::start();
    let at = |fetch_offset| fetch::FetchPartition {
        fetch_offset,
        partition_max_bytes: 1000,
        ..Default::default()
    };
    let wait = Duration::from_millis(500);
    let batch = batch(10);
    for offset in 0..3 {
        host.receive(&fetch_of(to(16, 1), wait, &[at(offset)]));
        host.settle();
        assert!(host.sent.is_empty(), "there is nothing at {offset} yet");
        host.handle(Input::Opened { conn: PRODUCER, listener: Listener::Core(OWN) });
        let record = produce_of(to(9, 9), &[(0, &batch)]);
        host.handle(Input::Received { conn: PRODUCER, bytes: &record });
        host.handle(Input::Closed { conn: PRODUCER });
        host.settle();
        assert_eq!(fetched(&host.answer().expect("woken")), (1, vec![batch.len()]));
    }
    host.receive(&fetch_of(to(16, 2), wait, &[at(3)]));
    host.settle();
    host.now.mono = host.now.mono.plus(wait - Duration::from_nanos(1));
    host.settle();
    assert!(host.sent.is_empty());
    host.now.mono = host.now.mono.plus(Duration::from_nanos(1));
    host.settle();
    assert_eq!(fetched(&host.answer().expect("in time")), (2, vec![0]));
}
