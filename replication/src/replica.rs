//! Replication of one shard's partitions: what leaders and followers say to each other, without I/O.
//!
//! ```text
//!            appended, advanced                        handle ◀── EpochOpen, Append, Heartbeat
//!  shard ──────────────────────▶ ReplicaSet ◀─────────────────────────────────────────── peers
//!        ◀── Outgoing (poll) ───     │       ──▶ Ack, Nack
//!                                    ▼
//!                              trait Log (the engine)
//! ```
//! [`ReplicaSet`] is the facade; [`log`] what it needs of the log, [`assignment`] what it is told by
//! the cluster log, [`message`] what goes over the wire, [`outgoing`] what it wants done.

pub mod assignment;
mod codec;
mod committing;
mod divergence;
mod feeding;
mod fences;
mod following;
mod inbound;
mod leading;
pub mod log;
pub mod message;
mod outbound;
pub mod outgoing;
pub mod replica_set;
pub mod settings;
pub mod status;
mod table;
mod talk;

pub use assignment::{Assignment, Config};
pub use codec::{Frame, split_frame};
pub use log::{Log, LogView, Proof, Refusal};
pub use message::{Message, StreamId, StreamSeq};
pub use outbound::Lane;
pub use outgoing::{Event, FenceAnswer, Fenced, Outgoing, ReadOrder};
pub use replica_set::ReplicaSet;
pub use settings::Settings;
pub use status::{Answerable, Progress, Standing};
