//! The log as a state machine: everything a shard must remember, from the journal frame that makes
//! it durable to the bin that keeps it.
//!
//! Time, completions and memory come in as values, operations go out as values. Nothing here
//! performs I/O, reads a clock or spawns a thread.

#![expect(dead_code, reason = "replay and extents are joined with recovery, which comes next")]

pub mod journal;
pub mod mutant;

mod append;
mod bins;
mod config;
mod due;
mod engine;
mod error;
mod extent;
mod footer;
mod frames;
mod halt;
mod history;
mod lifecycle;
mod page_pool;
mod partition;
mod partitions;
mod producers;
mod read;
mod replay;
mod restore;
mod snapshot;
mod store;
mod tail;
mod touches;

pub use append::Appended;
pub use config::{EngineConfig, PartitionSettings};
pub use engine::{Engine, Phase};
pub use error::{AppendError, ReadError, Refused};
pub use halt::{Halt, HaltCause};
pub use history::{EpochHistory, Reign};
pub use mutant::{Mutant, Planted};
pub use producers::ProducerError;
pub use read::Read;
pub use store::Pressure;
