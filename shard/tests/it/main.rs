//! Machines of this crate on a disk that keeps every promise.

mod control;
mod core;
mod data_core;
mod disk;
