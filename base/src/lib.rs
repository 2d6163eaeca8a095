//! What every Chiplog crate shares: ids that do not convert into each other, time as a value,
//! page-aligned memory, the RecordBatch view, and the vocabulary between state machines and the
//! shell that runs them ([`Machine`], [`Op`], [`Done`]).
//!
//! Nothing here performs I/O, reads a clock or spawns a thread.

pub mod arena;
pub mod batch;
pub mod bounded;
pub mod crc;
pub mod decompress;
pub mod disk;
pub mod epoch_history;
pub mod framer;
pub mod histogram;
pub mod id;
pub mod machine;
mod mutant;
pub mod page;
pub mod time;

pub use arena::{Arena, Draft, Pin, Span};
pub use batch::{Batch, BatchError};
pub use decompress::decompress;
pub use disk::{Done, FileId, FileKind, IoError, Op, Token};
pub use epoch_history::{EpochHistory, Reign};
pub use framer::{DEFAULT_FRAME_BYTES_MAX, FrameError, Framer};
pub use histogram::LatencyHistogram;
pub use id::{
    Committed, CoreId, Durable, Epoch, Incarnation, LogEnd, LogStart, NodeId, Offset, PartitionId,
    ProducerEpoch, ProducerId, Seq, ShardId, TopicNumber,
};
pub use machine::{ConnId, DialId, Input, Listener, Machine, Output, Piece, Send};
pub use page::{PAGE_BYTES, Page, PageMemory};
pub use time::{BrokerTime, Instant, Now};
