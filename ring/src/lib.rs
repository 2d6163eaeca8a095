//! The I/O shell: runs one [`base::Machine`] on one pinned thread with one io_uring.
//!
//! ```text
//!  main thread                             a core's own thread
//!  ──────────────────────────────────      ────────────────────────────────────────────
//!  probe(&RingOptions) ─▶ Features         plan.start()? ─▶ Reactor   (pins, makes the ring)
//!  mesh(cores, capacity) ─▶ mailboxes      let mut machine = …        (arenas from map_pages)
//!  ShardFolder::open(…) ─▶ existing()      reactor.run(&mut machine)? ─▶ Stopped
//!  map_pages(bytes) ─▶ memory, mapping
//!  Plan { listeners, shards, mailboxes }
//! ```
//! [`Plan::counters`] and [`Plan::stopper`] stay with the main thread; the control core keeps
//! [`Mesh::control`] and sleeps on its event. See `examples` in the tests of this crate for a
//! whole server of 60 lines.
//!
//! This is the only crate with `unsafe`. It stands in four files, each of which keeps one promise:
//! [`memory`] (mapped once, never unmapped), `flight` (an operation owns what the kernel touches),
//! `buffer_ring` (a buffer is the kernel's or ours), `uring` (system calls with plain arguments);
//! and one line in `gather`.

mod bell;
#[expect(unsafe_code, reason = "memory shared with the kernel")]
mod buffer_ring;
mod clock;
pub mod counters;
pub mod cpu;
pub mod device;
pub mod feature;
mod files;
#[expect(unsafe_code, reason = "operations name memory by address")]
mod flight;
pub mod folder;
#[expect(unsafe_code, reason = "the message header is the kernel's structure")]
mod gather;
mod io;
pub mod mailbox;
mod maker;
#[expect(unsafe_code, reason = "mappings")]
pub mod memory;
pub mod mutant;
mod net;
mod plan;
mod poll_mode;
mod probe;
mod reactor;
mod setup;
#[expect(unsafe_code, reason = "system calls")]
mod uring;

pub use bell::Stopper;
pub use counters::ReactorCounters;
pub use device::{DeviceReport, measure_dsync};
pub use feature::{Feature, FeatureSet, Features};
pub use folder::{FolderError, ShardFolder};
pub use mailbox::{Mailboxes, Mesh, mesh};
pub use memory::{Mapping, map_pages};
pub use net::NetOptions;
pub use plan::{Plan, PlannedShard, ReactorConfig, Registered, StartError, StartReport};
pub use poll_mode::{PollMode, UnknownPollMode};
pub use probe::probe;
pub use reactor::{Reactor, ReactorError, Stopped};
pub use setup::{RingOptions, SetupError};
