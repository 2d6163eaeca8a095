//! Everything one core needs, gathered on the main thread, and its start on the core's own.

use core::fmt;
use core::time::Duration;
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use base::{Listener, ShardId};

use crate::bell::Stopper;
use crate::clock;
use crate::counters::ReactorCounters;
use crate::cpu;
use crate::feature::{Feature, Features};
use crate::files::Files;
use crate::flight::Flights;
use crate::folder::ShardFolder;
use crate::io::{ArenaPlace, Io};
use crate::mailbox::Mailboxes;
use crate::maker::Maker;
use crate::memory::Mapping;
use crate::mutant::{Mutant, Planted};
use crate::net::{Net, NetOptions};
use crate::poll_mode::PollMode;
use crate::reactor::Reactor;
use crate::setup::{RingOptions, SetupError};
use crate::uring::Uring;

/// Places for journal segments and bins; files beyond that are used all the same.
const REGISTERED_FILES: u32 = 4096;

/// Settings of one core.
#[derive(Clone, Debug)]
pub struct ReactorConfig {
    /// The CPU to run on; `None` leaves it to the kernel.
    pub cpu: Option<usize>,
    /// CPUs for the threads that help this one: file making, the kernel's own workers. Empty: any.
    pub helper_cpus: Vec<usize>,
    pub poll: PollMode,
    pub ring: RingOptions,
    pub net: NetOptions,
    /// The most that zeroing new files may write per second.
    pub create_bytes_per_second: u64,
    /// After a stop was asked for, what is not finished by then is dropped. A server promises to stop
    /// in a second: its control core and the end of the process come after this.
    pub stop_within: Duration,
    pub planted: Planted,
}

impl Default for ReactorConfig {
    fn default() -> Self {
        Self {
            cpu: None,
            helper_cpus: Vec::new(),
            poll: PollMode::default(),
            ring: RingOptions::default(),
            net: NetOptions::default(),
            create_bytes_per_second: 400 << 20,
            stop_within: Duration::from_millis(600),
            planted: Planted::default(),
        }
    }
}

/// One shard of a core.
#[derive(Debug)]
pub struct PlannedShard {
    pub folder: ShardFolder,
    /// Of the memory that the shard's arena was made of.
    pub arena: Mapping,
}

/// A core that is not running yet. `T` is what cores say to each other.
#[derive(Debug)]
pub struct Plan<T> {
    pub config: ReactorConfig,
    pub listeners: Vec<(Listener, TcpListener)>,
    pub shards: Vec<PlannedShard>,
    pub mailboxes: Mailboxes<T>,
    /// A file (the data folder's lock) to be held open as long as the ring, which outlives a killed
    /// process by the operations that it has in flight.
    pub hold: Option<OwnedFd>,
    counters: Arc<ReactorCounters>,
}

/// What a core found at its start.
#[derive(Clone, Debug)]
pub struct StartReport {
    pub features: Features,
    /// How each shard's arena is known to the kernel.
    pub arenas: Vec<(ShardId, Registered)>,
    /// Journal segments that were there, and the pieces of the device that they lie in.
    pub segments: u64,
    pub segment_extents: u64,
}

/// Whether the kernel keeps an arena's pages at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    Yes,
    /// As soon as it is resident.
    Soon,
    /// Switched off or unknown to the kernel.
    Unavailable,
    /// More than RLIMIT_MEMLOCK lets this user lock.
    No {
        /// Bytes; `None` if there is no limit and the kernel refused all the same.
        limit: Option<u64>,
        wanted: u64,
    },
}

impl fmt::Display for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yes => write!(f, "registered"),
            Self::Soon => write!(f, "not registered yet"),
            Self::Unavailable => write!(f, "not registered: the ring lacks registered-buffers"),
            Self::No { limit, wanted } => {
                let limit = limit.map_or("no limit".to_owned(), |bytes| format!("{bytes} bytes"));
                write!(
                    f,
                    "not registered: {wanted} bytes are wanted, RLIMIT_MEMLOCK is {limit}; each \
                     journal write pins its pages anew (about a microsecond); raise it with \
                     `ulimit -l unlimited` or LimitMEMLOCK=infinity in the service file"
                )
            }
        }
    }
}

/// Why a core did not start.
#[derive(Debug)]
pub enum StartError {
    Setup(SetupError),
    Pin { cpu: usize, source: io::Error },
    Io { action: &'static str, source: io::Error },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setup(error) => error.fmt(f),
            Self::Pin { cpu, source } => write!(f, "cannot run on CPU {cpu}: {source}"),
            Self::Io { action, source } => write!(f, "cannot {action}: {source}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Setup(error) => Some(error),
            Self::Pin { source, .. } | Self::Io { source, .. } => Some(source),
        }
    }
}

fn failed(action: &'static str) -> impl FnOnce(io::Error) -> StartError {
    move |source| StartError::Io { action, source }
}

impl<T> Plan<T> {
    /// A core without listeners and shards.
    #[must_use]
    pub fn new(config: ReactorConfig, mailboxes: Mailboxes<T>) -> Self {
        Self {
            config,
            listeners: Vec::new(),
            shards: Vec::new(),
            mailboxes,
            hold: None,
            counters: Arc::default(),
        }
    }

    /// The counters that the core will raise.
    #[must_use]
    pub fn counters(&self) -> Arc<ReactorCounters> {
        Arc::clone(&self.counters)
    }

    /// The handle by which the core is asked to stop.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.mailboxes.stopper()
    }

    /// Pins this thread, makes its ring and registers what can be. To be called on the thread that
    /// will run the reactor.
    pub fn start(self) -> Result<Reactor<T>, StartError> {
        let Self { config, listeners, shards, mailboxes, hold, counters } = self;
        let maker = start_maker(&config, &mailboxes)?;
        if let Some(cpu) = config.cpu {
            cpu::pin_to(cpu).map_err(|source| StartError::Pin { cpu, source })?;
        }
        cpu::sharpen_timers();
        counters.thread.set(cpu::thread_id());
        let mut uring = make_uring(&config)?;
        let (folders, arenas) = register_arenas(&mut uring, shards);
        let registered =
            arenas.iter().map(|(place, registered)| (place.shard, *registered)).collect();
        let ring = uring.duplicate().map_err(failed("duplicate the ring's descriptor"))?;
        mailboxes.bell().hang_on(ring);
        // A receive and a send per connection, and what the disk side has.
        let expected = config.net.connections as usize * 2 + 1024;
        let incarnation = clock::monotonic().0 >> 10;
        let mut io = Io {
            uring,
            flights: Flights::new(expected, incarnation),
            counters,
            forgets_dsync: config.planted.is(Mutant::ForgetDsync),
            arenas: arenas.into_iter().map(|(place, _)| place).collect(),
        };
        let files = Files::new(&mut io, folders, maker, hold);
        let net = Net::new(&mut io, &config.net, listeners)
            .map_err(failed("prepare listeners and receive buffers"))?;
        let report = StartReport {
            features: io.uring.features(),
            arenas: registered,
            segments: io.counters.segments.get(),
            segment_extents: io.counters.segment_extents.get(),
        };
        Ok(Reactor::new(config, io, files, net, mailboxes, report))
    }
}

/// Started before this thread is pinned, so that its helper is not.
fn start_maker<T>(config: &ReactorConfig, mailboxes: &Mailboxes<T>) -> Result<Maker, StartError> {
    let (cpus, rate) = (config.helper_cpus.clone(), config.create_bytes_per_second);
    Maker::start(Arc::clone(mailboxes.bell()), cpus, rate).map_err(failed("start a thread"))
}

fn make_uring(config: &ReactorConfig) -> Result<Uring, StartError> {
    let uring = Uring::new(&config.ring, REGISTERED_FILES).map_err(StartError::Setup)?;
    if !config.helper_cpus.is_empty() {
        uring.confine_workers(&config.helper_cpus).map_err(failed("place the kernel's workers"))?;
    }
    Ok(uring)
}

type Places = Vec<(ArenaPlace, Registered)>;

/// Registers each arena on its own, so that one too large leaves the others registered.
fn register_arenas(uring: &mut Uring, shards: Vec<PlannedShard>) -> (Vec<ShardFolder>, Places) {
    let available = uring.allows(Feature::RegisteredBuffers)
        && !shards.is_empty()
        && uring.reserve_buffers(shards.len() as u32).is_ok();
    if available {
        uring.note(Feature::RegisteredBuffers);
    }
    let place = |(number, planned): (usize, PlannedShard)| {
        let PlannedShard { folder, arena } = planned;
        let number = number as u16;
        let registered = match available {
            true => register(uring, number, &arena),
            false => Registered::Unavailable,
        };
        let buffer = (registered == Registered::Yes).then_some(number);
        let wanted = (registered == Registered::Soon).then_some(number);
        let place = ArenaPlace { shard: folder.shard(), mapping: arena, buffer, wanted };
        (folder, (place, registered))
    };
    shards.into_iter().enumerate().map(place).unzip()
}

fn register(uring: &Uring, number: u16, arena: &Mapping) -> Registered {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Memlock).current;
    let wanted = arena.bytes() as u64;
    if limit.is_some_and(|limit| limit < wanted) && !may_lock_any() {
        return Registered::No { limit, wanted };
    }
    if !arena.is_resident() {
        return Registered::Soon;
    }
    match uring.register_arena(number, arena) {
        Ok(()) => Registered::Yes,
        Err(_) => Registered::No { limit, wanted },
    }
}

/// Whether RLIMIT_MEMLOCK does not hold for this thread.
fn may_lock_any() -> bool {
    let sets = rustix::thread::capabilities(None);
    sets.is_ok_and(|sets| sets.effective.contains(rustix::thread::CapabilitySet::IPC_LOCK))
}
