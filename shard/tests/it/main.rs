//! Machines of this crate on a disk that keeps every promise.

mod cluster;
mod control;
mod control_cluster;
mod control_elections;
mod control_script;
mod control_world;
mod core;
mod data_core;
mod disk;
mod groups;
mod handing_over;
mod rebuilding;
mod replication;
