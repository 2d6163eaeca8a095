//! The commands that talk to a server, over Kafka's protocol: ours or any other. And those that work
//! on the folder of a server that does not run.

pub mod bench;
pub mod cluster;
pub mod consume;
pub mod dump;
pub mod fault;
pub mod floor;
mod folder_args;
pub mod group;
pub mod produce;
pub mod repair;
pub mod server_args;
pub mod topic;
