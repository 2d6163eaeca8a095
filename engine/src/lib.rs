//! The log as a state machine: everything a shard must remember, from the journal frame that makes
//! it durable to the bin that keeps it.
//!
//! Time, completions and memory come in as values, operations go out as values. Nothing here
//! performs I/O, reads a clock or spawns a thread.

pub mod journal;
pub mod mutant;

pub use mutant::{Mutant, Planted};
