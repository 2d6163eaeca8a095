//! The harness of the trials: the server as a process among others, real Kafka clients with a ledger
//! of every ack, and disks that lose power.
//!
//! ```text
//!   producers (librdkafka) ──acks──▶ Ledger ◀──every record── reader
//!          │                           │ lost? altered? duplicated? reordered? gaps?
//!          ▼                           ▼
//!   Server (a child process) ──▶ Mount ──▶ LoopDevice ──▶ image file, or
//!    kill · stop · pause                                  DropDisk (FUSE; forgets what was not flushed)
//!
//!   Cluster: three servers, each in a namespace of a Network whose wires can be cut
//! ```

#![cfg(feature = "harness")]

pub mod catalogue;
pub mod cluster;
pub mod command;
pub mod context;
pub mod drop_disk;
pub mod frames;
pub mod ledger;
pub mod loop_device;
pub mod mount;
pub mod network;
pub mod ports;
pub mod producers;
pub mod reader;
pub mod record;
pub mod scene;
pub mod server;
pub mod topics;
pub mod trouble;

pub use cluster::Cluster;
pub use context::Context;
pub use drop_disk::DropDisk;
pub use loop_device::LoopDevice;
pub use mount::{FileSystem, Mount};
pub use producers::{Load, Producers};
pub use server::{Launch, Server};
pub use trouble::{Outcome, Trouble};
