//! Measures a server and the machine under it, in the same run.
//!
//! ```text
//!   Schedule ──▶ Driver ──▶ Lane ──▶ Wire ══ TCP ══▶ any Kafka server      Produce asks it
//!   window, rate   │          └────▶ Wire ══ TCP ══▶ the probe             Ping asks that
//!                  ▼
//!               Latency: from the moment a request was due to its answer
//! ```
//! The same driver asks both, so what it costs itself is in both figures. Latency counts from the
//! intended send time: a server that stalls is charged for every request that it held up.

pub mod device;
pub mod driver;
pub mod error;
pub mod floor;
pub mod kafka;
pub mod latency;
pub mod load;
pub mod probe;
pub mod question;
pub mod rig;
pub mod wire;

pub use driver::{Driver, Schedule, Wait};
pub use error::BenchError;
pub use latency::{Latency, Quantiles};
pub use probe::Probe;
pub use rig::Place;
