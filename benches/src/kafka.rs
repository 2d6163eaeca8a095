//! The conversation before a measurement: a topic if there is none, and who leads its partitions.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use net::api::create_topics::{self, CreatableTopic};
use net::api::metadata::{self, MetadataRequestTopic};
use net::{Empty, ErrorCode, Outgoing, ReplyTo, RequestBody, Uuid, decode_response};

use crate::BenchError;
use crate::wire::Wire;

const CLIENT: Option<&str> = Some("chiplog-bench");
const METADATA: ReplyTo = ReplyTo { version: 4, correlation_id: 1 };
const CREATE_TOPICS: ReplyTo = ReplyTo { version: 4, correlation_id: 2 };
const PATIENCE: Duration = Duration::from_secs(10);

/// The partitions of a topic by the address of the broker that leads them.
pub type Leaders = BTreeMap<String, Vec<i32>>;

/// Makes sure that `topic` exists, with `partitions` partitions if it has to be made, and says who
/// leads them. Only the first `partitions` are named.
pub fn prepare_topic(bootstrap: &str, topic: &str, partitions: i32) -> Result<Leaders, BenchError> {
    let mut wire = Wire::connect(bootstrap)?;
    if let Some(leaders) = find_leaders(&mut wire, topic, partitions)? {
        return Ok(leaders);
    }
    create(&mut wire, topic, partitions)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(leaders) = find_leaders(&mut wire, topic, partitions)? {
            return Ok(leaders);
        }
        if deadline < Instant::now() {
            return Err(BenchError::NoLeader { topic: topic.into(), partition: partitions - 1 });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// `None` if the topic is unknown, or a partition of it has no leader yet.
fn find_leaders(
    wire: &mut Wire,
    topic: &str,
    partitions: i32,
) -> Result<Option<Leaders>, BenchError> {
    let question = metadata::Request {
        topics: Some([MetadataRequestTopic { topic_id: Uuid::ZERO, name: Some(topic) }]),
        allow_auto_topic_creation: false,
        include_cluster_authorized_operations: false,
        include_topic_authorized_operations: false,
    };
    let answer = ask(wire, METADATA, question)?;
    let (_, response) = decode_response::<metadata::RequestView<'_>>(METADATA.version, &answer)
        .map_err(|source| BenchError::Wire { address: wire.address().into(), source })?;
    let brokers: BTreeMap<i32, String> = response
        .brokers
        .iter()
        .map(|broker| (broker.node_id, format!("{}:{}", broker.host, broker.port)))
        .collect();
    let mut leaders = Leaders::new();
    let mut led = 0;
    for topic in response.topics {
        for partition in topic.partitions {
            if partitions <= partition.partition_index {
                continue;
            }
            let Some(address) = brokers.get(&partition.leader_id) else { return Ok(None) };
            leaders.entry(address.clone()).or_default().push(partition.partition_index);
            led += 1;
        }
    }
    Ok((0 < led).then_some(leaders))
}

fn create(wire: &mut Wire, topic: &str, partitions: i32) -> Result<(), BenchError> {
    let question = create_topics::Request {
        topics: [CreatableTopic {
            name: topic,
            num_partitions: partitions,
            replication_factor: -1,
            assignments: Empty,
            configs: Empty,
        }],
        timeout_ms: 10_000,
        validate_only: false,
    };
    let answer = ask(wire, CREATE_TOPICS, question)?;
    let (_, response) =
        decode_response::<create_topics::RequestView<'_>>(CREATE_TOPICS.version, &answer)
            .map_err(|source| BenchError::Wire { address: wire.address().into(), source })?;
    for topic in response.topics {
        match topic.error_code {
            ErrorCode::None | ErrorCode::TopicAlreadyExists => {}
            code => return Err(BenchError::Refused { action: "CreateTopics", code }),
        }
    }
    Ok(())
}

/// Asks one question and waits for the answer.
fn ask<B: RequestBody>(wire: &mut Wire, to: ReplyTo, body: B) -> Result<Vec<u8>, BenchError> {
    let mut out = Outgoing::default();
    out.request(to, CLIENT, body);
    wire.send(out.bytes())?;
    let mut answer = None;
    let deadline = Instant::now() + PATIENCE;
    loop {
        wire.push()?;
        wire.receive(|frame| {
            answer = Some(frame.to_vec());
            Ok(())
        })?;
        if let Some(answer) = answer {
            return Ok(answer);
        }
        if deadline < Instant::now() {
            return Err(BenchError::Silence(PATIENCE));
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}
