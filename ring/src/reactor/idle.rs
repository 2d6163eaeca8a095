//! Waiting: look again for a while, then sleep.

use core::time::Duration;
use std::io;

use base::{Instant, Machine, Now};

use super::Reactor;
use crate::clock;
use crate::poll_mode::PollMode;

/// The longest sleep, and the longest spin between two turns. It bounds what a lost wake-up would cost, and the delay of retries.
const LONGEST_SLEEP: Duration = Duration::from_millis(10);

/// The longest sleep while mail waits for room in a peer's queue.
const RETRY_MAIL: Duration = Duration::from_micros(100);

#[derive(Debug)]
pub(super) struct Idle {
    mode: PollMode,
    /// When there last was something to do.
    busy_at: Instant,
}

impl Idle {
    pub(super) fn new(mode: PollMode) -> Self {
        Self { mode, busy_at: Instant::default() }
    }
}

impl<T> Reactor<T> {
    /// Submits, and waits as the mode says until there is something to do.
    pub(super) fn wait<M: Machine<Mail = T>>(
        &mut self,
        now: Now,
        progress: bool,
        machine: &M,
    ) -> io::Result<()> {
        if progress {
            self.idle.busy_at = now.mono;
        }
        let behind = self.mailboxes.is_behind();
        let unfinished = !self.network.is_empty() || self.files.has_done();
        let timeout = machine.next_timeout();
        let patience = self.idle.mode.patience();
        let entered = if unfinished || ((progress || behind) && patience != Duration::ZERO) {
            self.enter_now()
        } else if patience != Duration::ZERO && now.mono.since(self.idle.busy_at) < patience {
            self.spin(now, timeout)
        } else {
            self.sleep(behind, timeout)
        };
        self.io.counters.enters.set(self.io.uring.entered());
        entered
    }

    fn enter_now(&mut self) -> io::Result<()> {
        if self.io.uring.wants_enter() { self.io.uring.enter(None) } else { Ok(()) }
    }

    /// Looks again and again, until something happened, the timeout is due or patience ends.
    fn spin(&mut self, now: Now, timeout: Option<Instant>) -> io::Result<()> {
        let patience_ends = self.idle.busy_at.plus(self.idle.mode.patience());
        let ends = patience_ends.min(now.mono.plus(LONGEST_SLEEP));
        let ends = timeout.map_or(ends, |timeout| timeout.min(ends));
        loop {
            self.io.counters.spins.add(1);
            if self.io.uring.wants_enter() {
                self.io.uring.enter(None)?;
            }
            let due = ends <= clock::monotonic();
            if self.io.uring.has_completions() || self.has_other_work() || due {
                return Ok(());
            }
            // A device without FUA finishes durable writes by a kernel worker on this very CPU: were it
            // not let in, each write would wait for the end of our time slice, milliseconds.
            std::thread::yield_now();
        }
    }

    /// Submits and sleeps in one system call.
    fn sleep(&mut self, behind: bool, timeout: Option<Instant>) -> io::Result<()> {
        self.mailboxes.bell().announce_sleep();
        let entered = if self.has_other_work() {
            self.enter_now()
        } else {
            let longest = if behind { RETRY_MAIL } else { LONGEST_SLEEP };
            let until_due = timeout.map(|timeout| timeout.since(clock::monotonic()));
            let sleep = until_due.map_or(longest, |until_due| until_due.min(longest));
            if sleep.is_zero() {
                self.enter_now()
            } else {
                self.io.counters.parks.add(1);
                self.io.uring.enter(Some(sleep))
            }
        };
        self.mailboxes.bell().awake();
        entered
    }

    /// Whether anything but the ring has work.
    fn has_other_work(&self) -> bool {
        let stop = self.mailboxes.stop_asked() && self.is_serving();
        self.mailboxes.has_mail() || self.files.has_done() || stop
    }
}
