//! The machines that can be simulated.

pub mod journal;
