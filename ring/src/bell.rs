//! How a core that sleeps is woken, and how it is told to stop.
//!
//! ```text
//!   sleeper                          waker
//!   asleep = true                    put the message
//!   fence (SeqCst)                   fence (SeqCst)
//!   look at all queues again         asleep? → swap(false) → ring
//!   sleep only if all are empty
//! ```
//! Either the sleeper sees the message or the waker sees the flag: both fences are full, so one of
//! the two loads comes after the other side's store. Whoever swaps the flag rings, the others need
//! not.

use core::sync::atomic::{AtomicBool, Ordering, fence};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, OnceLock};

use rustix::event::{EventfdFlags, eventfd};

/// Shared by one core and all who may wake it.
#[derive(Debug)]
pub(crate) struct Bell {
    asleep: AtomicBool,
    stop: AtomicBool,
    leave: AtomicBool,
    /// Readable once rung.
    event: OwnedFd,
    /// What is written to in order to ring.
    hammer: OwnedFd,
    /// The sleeper's ring, for those who wake by MSG_RING.
    ring: OnceLock<OwnedFd>,
}

impl Bell {
    /// A bell for a core with a ring of ours: an eventfd.
    pub(crate) fn new() -> io::Result<Arc<Self>> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let hammer = event.try_clone()?;
        Ok(Self::of(event, hammer))
    }

    /// A bell for the control core: a pair of sockets, since glommio adopts nothing else that could
    /// be waited for.
    pub(crate) fn on_socket() -> io::Result<Arc<Self>> {
        let (event, hammer) = UnixStream::pair()?;
        event.set_nonblocking(true)?;
        hammer.set_nonblocking(true)?;
        Ok(Self::of(event.into(), hammer.into()))
    }

    fn of(event: OwnedFd, hammer: OwnedFd) -> Arc<Self> {
        Arc::new(Self {
            asleep: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            leave: AtomicBool::new(false),
            event,
            hammer,
            ring: OnceLock::new(),
        })
    }

    /// Announces sleep. Only queues that are empty when looked at *after* this may be slept on.
    pub(crate) fn announce_sleep(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    pub(crate) fn awake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Whether the caller, having put a message, has to ring.
    pub(crate) fn must_ring(&self) -> bool {
        fence(Ordering::SeqCst);
        self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed)
    }

    /// Rings if the core sleeps: one system call.
    pub(crate) fn ring(&self) {
        if self.must_ring() {
            self.ring_event();
        }
    }

    /// Rings, asleep or not.
    pub(crate) fn ring_event(&self) {
        // Full only if nobody has listened for very many rings: then it rings already.
        let _ = rustix::io::write(&self.hammer, &1_u64.to_ne_bytes());
    }

    /// Takes back earlier rings, so that the next one is heard.
    pub(crate) fn quiet(&self) {
        let mut rings = [0_u8; 64];
        while rustix::io::read(&self.event, &mut rings) == Ok(rings.len()) {}
    }

    /// Readable once rung.
    pub(crate) fn event(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    /// Lets others wake by this ring.
    pub(crate) fn hang_on(&self, ring: OwnedFd) {
        // A core that is started again keeps the eventfd as its only bell.
        let _ = self.ring.set(ring);
    }

    pub(crate) fn sleepers_ring(&self) -> Option<BorrowedFd<'_>> {
        self.ring.get().map(AsFd::as_fd)
    }

    pub(crate) fn ask_to_stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.ring_event();
    }

    pub(crate) fn ask_to_leave(&self) {
        self.leave.store(true, Ordering::Release);
        self.ring_event();
    }

    pub(crate) fn leave_asked(&self) -> bool {
        self.leave.load(Ordering::Acquire)
    }

    pub(crate) fn stop_asked(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

/// Asks a core to stop. Cheap to clone, usable from any thread.
#[derive(Clone, Debug)]
pub struct Stopper(pub(crate) Arc<Bell>);

impl Stopper {
    /// The core stops accepting, tells its machine ([`base::Input::Stop`]), closes what is open and
    /// returns. Asking again changes nothing.
    pub fn stop(&self) {
        self.0.ask_to_stop();
    }
    /// Announces the stop: a core that serves for others hands that over first. Only the control core
    /// listens to it.
    pub fn leave(&self) {
        self.0.ask_to_leave();
    }
}
