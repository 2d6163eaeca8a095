//! What is asked again and again: a produce request of a server, a ping of the probe.

use std::collections::HashMap;

use base::batch::BatchBuilder;
use net::api::produce::{PartitionData, Request, RequestView, TopicData};
use net::{ErrorCode, Outgoing, Records, ReplyTo, WireError, decode_response};

use crate::BenchError;

/// Bytes of a probe's request, its length included.
pub const PING_BYTES: usize = 200;
/// The version of Produce that is spoken: the newest that is not flexible.
pub const PRODUCE_VERSION: i16 = 8;

const CORRELATION_AT: usize = 8;

/// A request that is made once and sent many times, and the check of its answer.
#[derive(Debug)]
pub enum Question {
    /// 200 bytes, whatever comes back.
    Ping {
        frame: Vec<u8>,
    },
    Produce(Produce),
}

/// Produce requests to partitions of one topic, in turn.
#[derive(Debug)]
pub struct Produce {
    frames: Vec<Vec<u8>>,
    next: usize,
    correlation_id: i32,
    records: u32,
}

/// What a produce request carries.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub record_bytes: usize,
    /// Records in a batch.
    pub batch: u32,
    /// When the records say that they were made, milliseconds since 1970. A server may delete what is
    /// too old.
    pub timestamp_ms: i64,
}

/// Answers that were refusals, by code.
#[derive(Clone, Debug, Default)]
pub struct Refusals(HashMap<i16, (ErrorCode, u64)>);

impl Question {
    #[must_use]
    pub fn ping() -> Self {
        let length = (PING_BYTES - 4) as i32;
        let mut frame = vec![0x5a; PING_BYTES];
        frame[..4].copy_from_slice(&length.to_be_bytes());
        Self::Ping { frame }
    }

    /// The bytes to send now.
    pub fn ask(&mut self) -> &[u8] {
        match self {
            Self::Ping { frame } => frame,
            Self::Produce(produce) => produce.ask(),
        }
    }

    /// Records that one request carries.
    #[must_use]
    pub fn records(&self) -> u32 {
        match self {
            Self::Ping { .. } => 1,
            Self::Produce(produce) => produce.records,
        }
    }

    /// Looks into the answer, and notes a refusal.
    pub fn check(&self, answer: &[u8], refusals: &mut Refusals) -> Result<(), WireError> {
        match self {
            Self::Ping { .. } => Ok(()),
            Self::Produce(_) => check_produced(answer, refusals),
        }
    }
}

impl Produce {
    /// Requests to each of `partitions`, of which there is one at least, in turn. Records are filled with bytes that do not
    /// compress, the same in each.
    #[must_use]
    pub fn new(topic: &str, partitions: &[i32], shape: Shape) -> Self {
        let batch = build_batch(shape);
        let frames = partitions.iter().map(|partition| build_frame(topic, *partition, &batch));
        Self { frames: frames.collect(), next: 0, correlation_id: 0, records: shape.batch }
    }

    fn ask(&mut self) -> &[u8] {
        let number = self.next;
        self.next = (number + 1) % self.frames.len();
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let frame = &mut self.frames[number];
        frame[CORRELATION_AT..CORRELATION_AT + 4]
            .copy_from_slice(&self.correlation_id.to_be_bytes());
        frame
    }
}

impl Refusals {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Fails if anything was refused.
    pub fn into_result(self) -> Result<(), BenchError> {
        if self.is_empty() {
            return Ok(());
        }
        Err(BenchError::Refusals { codes: self.0.into_values().collect() })
    }

    pub fn add(&mut self, other: Self) {
        for (key, (code, count)) in other.0 {
            self.0.entry(key).or_insert((code, 0)).1 += count;
        }
    }

    fn note(&mut self, code: ErrorCode) {
        self.0.entry(code as i16).or_insert((code, 0)).1 += 1;
    }
}

fn build_batch(shape: Shape) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut builder = BatchBuilder::new(shape.timestamp_ms);
    for _ in 0..shape.batch {
        let value: Vec<u8> = (0..shape.record_bytes)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state as u8
            })
            .collect();
        builder.push(shape.timestamp_ms, None, Some(&value), &[]);
    }
    builder.build()
}

fn build_frame(topic: &str, partition: i32, batch: &[u8]) -> Vec<u8> {
    let mut out = Outgoing::default();
    let body = Request {
        transactional_id: None,
        acks: -1,
        timeout_ms: 30_000,
        topic_data: [TopicData {
            name: topic,
            partition_data: [PartitionData {
                index: partition,
                records: Some(Records::Bytes(batch)),
            }],
        }],
    };
    out.request(
        ReplyTo { version: PRODUCE_VERSION, correlation_id: 0 },
        Some("chiplog-bench"),
        body,
    );
    out.bytes().to_vec()
}

fn check_produced(answer: &[u8], refusals: &mut Refusals) -> Result<(), WireError> {
    let (_, response) = decode_response::<RequestView<'_>>(PRODUCE_VERSION, answer)?;
    for topic in response.responses {
        for partition in topic.partition_responses {
            if partition.error_code != ErrorCode::None {
                refusals.note(partition.error_code);
            }
        }
    }
    Ok(())
}
