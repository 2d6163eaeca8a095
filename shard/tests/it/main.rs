//! Machines of this crate on a disk that keeps every promise.

mod cluster;
mod control;
mod control_cluster;
mod core;
mod data_core;
mod disk;
mod replication;
