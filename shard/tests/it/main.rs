//! Machines of this crate on a disk that keeps every promise.

mod cluster;
mod control;
mod disk;
mod replication;
