//! A small blocking Kafka client, for the commands that talk to a server: ours or any other.
//!
//! ```text
//!  Cluster ── brokers, topics, leaders ──▶ Connection (one per broker) ──▶ net codecs
//! ```

pub mod admin;
pub mod cluster;
pub mod compression;
pub mod connection;
pub mod error;
pub mod groups;
pub mod offsets;
pub mod partitioner;
pub mod placement;

pub use cluster::{Cluster, Partition, Topic};
pub use connection::Connection;
pub use error::ClientError;
