//! The log as a state machine: everything a shard must remember, from the journal frame that makes
//! it durable to the bin that keeps it.
//!
//! Time, completions and memory come in as values, operations go out as values. Nothing here
//! performs I/O, reads a clock or spawns a thread.

pub mod journal;
pub mod mutant;

mod append;
mod bin_writer;
mod bins;
mod carry;
mod config;
mod destage;
mod disk_reads;
mod doubt;
mod due;
mod engine;
mod error;
mod evacuate;
mod extent;
mod footer;
mod frames;
mod halt;
mod inventory;
mod lifecycle;
mod metrics;
mod page_pool;
mod partition;
mod partitions;
mod pass;
mod producers;
mod read;
mod reclaim;
mod replay;
mod replica;
mod restore;
mod retention;
mod snapshot;
mod store;
mod stored;
mod tail;
mod time_index;
mod touches;

pub use append::Appended;
pub use base::{EpochHistory, Reign};
pub use bins::BinState;
pub use config::{EngineConfig, PartitionSettings};
pub use disk_reads::ReadToken;
pub use engine::{Engine, Phase};
pub use error::{AppendError, ReadError, Refused};
pub use halt::{Halt, HaltCause};
pub use inventory::{BinSummary, ExtentSummary, Loss};
pub use metrics::EngineMetrics;
pub use mutant::{Mutant, Planted};
pub use partition::{Gap, Proof};
pub use producers::ProducerError;
pub use read::{DiskBytes, Read};
pub use replica::ReplicaView;
pub use store::Pressure;
pub use time_index::{TimeHit, TimeLookup};
