//! Machines of this crate on a disk that keeps every promise.

mod control;
mod data_core;
mod disk;
