//! One shard's whole brain: engine, net and replication composed, still without I/O.
//!
//! [`Core`] is the [`base::Machine`] that a data core's ring runs: connections and their requests on
//! one side, one or more shards on the other. Shards of other cores are reached by [`Mail`].

mod ack_times;
mod ask;
mod broker_config;
mod brokers;
mod checksums;
mod commit;
mod committing;
mod connection;
pub mod control;
mod core;
mod deadlines;
mod elections;
mod engine_log;
pub mod fault;
pub mod groups;
mod held;
mod job;
mod layout;
mod loss;
mod mail;
mod metrics;
mod notices;
mod peer;
mod pool;
mod refusal;
mod replicas;
mod reply;
mod serve;
mod shard;
mod slab;
mod slow_disk;
mod succession;
mod watches;

pub use crate::ask::{Answer, Ask, Fetched, Produced};
pub use crate::brokers::{Broker, broker_id, brokers};
pub use crate::control::{ControlSettings, ControlShard, News};
pub use crate::core::{Core, CoreSettings};
pub use crate::layout::{Address, Layout};
pub use crate::loss::Loss;
pub use crate::mail::{Asker, Mail, Spare, Ticket, Vitals};
pub use crate::metrics::{CoreMetrics, LedMetrics, ShardMetrics};
pub use crate::notices::Notices;
pub use crate::peer::Peering;
