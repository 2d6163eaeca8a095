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
//! [`Mesh::control`] and sleeps on its event.
//!
//! ```no_run
//! # use base::{Arena, Listener, Machine, ShardId};
//! # use ring::*;
//! # fn brain<'a>(_: Arena, _: Vec<(base::FileId, u64)>) -> impl Machine<Mail = ()> {
//! #     struct Idle(Arena);
//! #     impl Machine for Idle {
//! #         type Mail = ();
//! #         fn handle(&mut self, _: base::Now, _: base::Input<'_, ()>) {}
//! #         fn done(&mut self, _: base::Now, _: base::Done) {}
//! #         fn turn(&mut self, _: base::Now) {}
//! #         fn poll(&mut self) -> Option<base::Output<()>> { None }
//! #         fn next_timeout(&self) -> Option<base::Instant> { None }
//! #         fn arena(&self, _: ShardId) -> &Arena { &self.0 }
//! #     }
//! #     Idle(Arena::new(map_pages(4096).unwrap().0))
//! # }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (data, patience) = (std::path::Path::new("data"), std::time::Duration::from_secs(10));
//! let features = probe(&RingOptions::default())?;         // one clear sentence if there is none
//! println!("ring: {features}");
//! let mut mesh = mesh::<()>(1, 1024)?;                    // queues and bells of all cores
//! let mut plan = Plan::new(ReactorConfig::default(), mesh.data.remove(0));
//! plan.listeners.push((Listener::Node, std::net::TcpListener::bind("127.0.0.1:9092")?));
//! let folder = ShardFolder::open(&data.join("shard-0"), ShardId(0), patience)?;
//! let existing = folder.existing();                       // what the engine recovers from
//! let (memory, arena) = map_pages(256 << 20)?;            // huge pages, registered by `start`
//! plan.shards.push(PlannedShard { folder, arena });
//! let (stopper, counters) = (plan.stopper(), plan.counters());
//! let core = std::thread::spawn(move || {
//!     let mut reactor = plan.start().expect("probed above"); // pins this thread
//!     let mut machine = brain(Arena::new(memory), existing);
//!     reactor.run(&mut machine)
//! });
//! stopper.stop();                                         // on SIGTERM; returns within a second
//! core.join().expect("no panic")?;
//! println!("{} turns", counters.turns.get());
//! # Ok(()) }
//! ```
//!
//! This is the only crate with `unsafe`. It stands in six files, each of which keeps one promise:
//! [`memory`] (mapped once, never unmapped), `flight` (an operation owns what the kernel touches),
//! `buffer_ring` (a buffer is the kernel's or ours), `uring` (system calls with plain arguments),
//! `extents` (one call on a structure of its own), [`allocations`] (passes every call on); and in one
//! line of `gather`.

#[expect(unsafe_code, reason = "a global allocator is unsafe to implement")]
pub mod allocations;
mod bell;
#[expect(unsafe_code, reason = "memory shared with the kernel")]
mod buffer_ring;
mod clock;
pub mod counters;
pub mod cpu;
pub mod device;
#[expect(unsafe_code, reason = "an ioctl")]
mod extents;
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
pub mod plan;
mod poll_mode;
mod probe;
mod reactor;
mod setup;
#[expect(unsafe_code, reason = "system calls")]
mod uring;

pub use allocations::CountingAllocator;
pub use bell::Stopper;
pub use counters::ReactorCounters;
pub use device::{DeviceReport, measure_dsync};
pub use feature::{Feature, FeatureSet, Features};
pub use folder::{FolderError, ShardFolder};
pub use mailbox::{Mailboxes, Mesh, mesh};
pub use maker::make_file;
pub use memory::{Mapping, map_pages};
pub use net::NetOptions;
pub use plan::{Plan, PlannedShard, ReactorConfig, Registered, StartError, StartReport};
pub use poll_mode::{PollMode, UnknownPollMode};
pub use probe::probe;
pub use reactor::{Reactor, ReactorError, Stopped, Unfinished};
pub use setup::{RingOptions, SetupError};
