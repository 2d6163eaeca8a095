//! The machines that can be simulated.

pub mod cluster;
pub mod engine;
pub mod journal;
pub mod node;
mod settings;
