//! Kafka's wire formats and sessions as state machines: bytes in, requests out; no socket, no
//! clock, no allocation beyond the buffers that the caller keeps.
//!
//! ```text
//!  received ──▶ Session ──▶ RequestFrame ──▶ api::produce::RequestView   borrows the bytes
//!               frames,     header           fields, lazy arrays
//!               limits
//!  to send  ◀── Outgoing ◀───────────────── api::produce::Response      any List as array
//!               bytes + holes
//! ```
//! The messages are generated from the tables in `net/schema` by `net/build`: per message one
//! struct, whose decoder checks every byte in one walk and whose encoder streams into an
//! [`Outgoing`]. Both exist for requests and responses, for the broker, the CLI and the tests.
//! Whatever a peer sends decodes to a value or to a [`WireError`]; counts and lengths are believed
//! only as far as bytes lie behind them.
//!
//! # Decoding a Produce request
//! ```
//! use net::{Incoming, Request, Session, WireError, DEFAULT_FRAME_BYTES_MAX};
//!
//! fn receive(session: &mut Session, mut received: &[u8]) -> Result<(), WireError> {
//!     while let Some(incoming) = session.next(&mut received)? {
//!         let Incoming::Request(frame) = incoming else { continue };
//!         if let Request::Produce(produce) = frame.decode()? {
//!             for topic in produce.topic_data {
//!                 for partition in topic.partition_data {
//!                     let batch = partition.records.map(|records| records.bytes());
//!                     println!("{} {} {:?}", topic.name, partition.index, batch);
//!                 }
//!             }
//!         }
//!     }
//!     Ok(())
//! }
//! # receive(&mut Session::new(DEFAULT_FRAME_BYTES_MAX), &[]).unwrap();
//! ```
//!
//! # Answering Produce
//! A leaf can leave most of its fields to their defaults; a struct that holds arrays names all of
//! its fields. Arrays are given as slices, [`each`] over an iterator, or [`many`] with a loop.
//! ```
//! use net::api::produce::{PartitionResponse, Response, TopicResponse};
//! use net::{each, Empty, ErrorCode, Outgoing, ReplyTo};
//!
//! let mut out = Outgoing::default();
//! let to = ReplyTo { version: 9, correlation_id: 7 };
//! let appended = [(0, 1000), (1, 2000)];
//! out.respond(to, Response {
//!     responses: [TopicResponse {
//!         name: "orders",
//!         partition_responses: each(appended.iter().map(|&(index, base_offset)| PartitionResponse {
//!             index,
//!             error_code: ErrorCode::None,
//!             base_offset,
//!             ..PartitionResponse::default()
//!         })),
//!     }],
//!     throttle_time_ms: 0,
//!     node_endpoints: Empty,
//! });
//! ```
//!
//! # Answering Fetch without touching the records
//! [`Records::Hole`] leaves a place; the sender gathers [`Outgoing::parts`] with what fills it.
//! ```
//! use net::api::fetch::{PartitionData, Response, TopicResponse};
//! use net::{many, Empty, ErrorCode, Outgoing, Part, Records, ReplyTo, Uuid};
//!
//! let mut out = Outgoing::default();
//! out.respond(ReplyTo { version: 12, correlation_id: 8 }, Response {
//!     throttle_time_ms: 0,
//!     error_code: ErrorCode::None,
//!     session_id: 0,
//!     responses: many(1, |topics| {
//!         topics.push(TopicResponse {
//!             topic: "orders",
//!             topic_id: Uuid::ZERO, // left out below version 13
//!             partitions: many(2, |partitions| {
//!                 for partition_index in 0..2 {
//!                     partitions.push(PartitionData {
//!                         partition_index,
//!                         high_watermark: 1000,
//!                         aborted_transactions: None,
//!                         records: Some(Records::Hole(4096)),
//!                         ..PartitionData::default()
//!                     });
//!                 }
//!             }),
//!         });
//!     }),
//!     node_endpoints: Empty,
//! });
//! let holes = out.parts().filter(|part| *part == Part::Hole(4096));
//! assert_eq!((holes.count(), out.holes().len()), (2, 2));
//! ```
//!
//! # Answering Metadata
//! ```
//! use net::api::metadata::{Broker, Partition, Response, Topic};
//! use net::{each, Empty, ErrorCode, Outgoing, ReplyTo, Uuid};
//!
//! let mut out = Outgoing::default();
//! let (names, nodes) = (["orders", "trades"], [0_u16]);
//! out.respond(ReplyTo { version: 9, correlation_id: 9 }, Response {
//!     throttle_time_ms: 0,
//!     brokers: [Broker { node_id: 0, host: "127.0.0.1", port: 9092, rack: None }],
//!     cluster_id: Some("chiplog"),
//!     controller_id: 0,
//!     topics: each(names.iter().map(|name| Topic {
//!         error_code: ErrorCode::None,
//!         name: Some(name),
//!         topic_id: Uuid::ZERO,
//!         is_internal: false,
//!         partitions: each((0..4).map(|partition_index| Partition {
//!             error_code: ErrorCode::None,
//!             partition_index,
//!             leader_id: 0,
//!             leader_epoch: 1,
//!             replica_nodes: each(nodes.iter().map(|node| i32::from(*node))),
//!             isr_nodes: each(nodes.iter().map(|node| i32::from(*node))),
//!             offline_replicas: Empty,
//!         })),
//!         topic_authorized_operations: i32::MIN, // not asked for
//!     })),
//!     cluster_authorized_operations: i32::MIN,
//!     error_code: ErrorCode::None,
//! });
//! ```

pub mod api;
mod array;
mod error_code;
mod header;
mod list;
mod message;
pub mod negotiation;
mod outgoing;
mod reader;
mod records;
mod session;
mod uuid;
mod wire_error;
mod writer;

pub use api::{ApiKey, Request, Response, VersionRange, decode_response};
pub use array::{Array, ArrayIter};
pub use base::{DEFAULT_FRAME_BYTES_MAX, Framer};
pub use error_code::ErrorCode;
pub use header::{ReplyTo, RequestHeader, decode_response_header};
pub use list::{Each, Empty, Items, List, Many, Null, each, many};
pub use message::{Decode, Encode, RequestBody, ResponseBody};
pub use outgoing::{Hole, Outgoing, Part};
pub use reader::Reader;
pub use records::Records;
pub use session::{Incoming, RequestFrame, Session};
pub use uuid::Uuid;
pub use wire_error::WireError;
pub use writer::Writer;
