//! The commands that talk to a server, over Kafka's protocol: ours or any other.

pub mod bench;
pub mod consume;
pub mod floor;
pub mod produce;
pub mod server_args;
pub mod topic;
