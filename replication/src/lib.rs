//! What the cluster agrees on, as state machines without I/O.
//!
//! ```text
//!   Proposal ──plan──▶ Command ──Entry──▶ journal ──durable──▶ committed ──apply──▶ ClusterState
//!   (a wish)          (a fact, if        (bytes)                                   (a snapshot for
//!       └─▶ Rejected   it commits)                                                  every core)
//! ```
//!
//! [`ClusterLog`] makes one, three or five voters agree on the entries; [`ControlMessage`] is what
//! they say to each other.

pub mod cluster_log;
pub mod cluster_state;
pub mod command;
pub mod control_message;
pub mod detector;
mod echoes;
pub mod elector;
pub mod entry;
mod fields;
pub mod leadership;
pub mod link;
pub mod mover;
pub mod mutant;
pub mod node;
pub mod partition;
mod placer;
pub mod proposal;
pub mod rejected;
pub mod replica;
pub mod replicas;
mod rules;
pub mod slowness;
pub mod steward;
pub mod topic;
pub mod topic_config;
pub mod topic_name;
pub mod uuid;
pub mod voters;

pub use cluster_log::{ClusterLog, LogSettings, ReplayError};
pub use cluster_state::ClusterState;
pub use command::Command;
pub use control_message::{CONTROL_MESSAGE_BYTES_MAX, ControlMessage, Outcome};
pub use detector::{Detector, Health};
pub use elector::Elector;
pub use entry::{Entry, LogIndex, Term};
pub use fields::DecodeError;
pub use leadership::{CaughtUp, Chosen, HandOver, Move, Opened};
pub use mutant::{Mutant, Planted};
pub use node::{Boot, Node, ProducerIdBlock, Shard};
pub use partition::{Leader, Partition, Reassignment};
pub use proposal::{ConfigChange, NewPartitions, Place, Proposal};
pub use rejected::Rejected;
pub use replicas::Replicas;
pub use steward::Steward;
pub use topic::{Placement, Topic, Topics};
pub use topic_config::{ConfigError, TopicSettings};
pub use topic_name::NameError;
pub use uuid::Uuid;
pub use voters::{Voter, Voters};
