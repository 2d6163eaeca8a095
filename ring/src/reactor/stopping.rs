//! From the wish to stop to the end.
//!
//! ```text
//!   Serving ── stop asked ──▶ Finishing ── machine.stopped() ──▶ Closing ── nothing in flight ──▶ end
//!                             listeners shut                     connections shut
//!                             machine told                       (or time is up)
//! ```

use core::fmt;

use base::{Input, Instant, Machine, Now};

use super::Reactor;

/// How a reactor that was asked to stop did so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The machine said that it was done, and nothing was in flight any more.
    Cleanly,
    /// Time was up.
    Late(Unfinished),
}

/// What a reactor left when its time was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// The machine was not done.
    pub machine: bool,
    pub connections: usize,
    /// What the kernel had.
    pub operations: usize,
    /// Operations on files among them, and files being made.
    pub disk: usize,
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { machine, connections, operations, disk } = self;
        let sealed = if *machine { "not sealed" } else { "sealed" };
        write!(
            f,
            "log {sealed}, {connections} connections, {operations} operations in flight, {disk} on \
             files"
        )
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Life {
    Serving,
    Finishing { until: Instant },
    Closing { until: Instant },
}

impl<T> Reactor<T> {
    pub(super) fn is_serving(&self) -> bool {
        matches!(self.life, Life::Serving)
    }

    /// Takes the next step of stopping that is due. The outcome, once there is nothing left to do.
    pub(super) fn live_on<M: Machine<Mail = T>>(
        &mut self,
        now: Now,
        machine: &mut M,
    ) -> Option<Stopped> {
        match self.life {
            Life::Serving if self.mailboxes.stop_asked() => {
                self.net.stop_listening();
                self.io.stop_populating();
                machine.handle(now, Input::Stop);
                machine.turn(now);
                self.take_outputs(now, machine);
                self.life = Life::Finishing { until: now.mono.plus(self.stop_within) };
                None
            }
            Life::Serving => None,
            Life::Finishing { until } => {
                if machine.stopped() || until <= now.mono {
                    self.net.close_all();
                    // Its completion finds nobody listening any more.
                    self.mailboxes.bell().ring_event();
                    self.life = Life::Closing { until };
                }
                None
            }
            Life::Closing { until } => {
                let idle = self.net.is_idle() && self.files.under_way() == 0;
                if idle && self.io.flights.count() == 0 && machine.stopped() {
                    Some(Stopped::Cleanly)
                } else {
                    let late = || Stopped::Late(self.unfinished(machine));
                    (until <= now.mono).then(late)
                }
            }
        }
    }

    fn unfinished<M: Machine<Mail = T>>(&self, machine: &M) -> Unfinished {
        Unfinished {
            machine: !machine.stopped(),
            connections: self.net.connections(),
            operations: self.io.flights.count(),
            disk: self.files.under_way(),
        }
    }

    /// Lets go of files, which would stay locked as long as the ring.
    pub(super) fn end(&mut self) {
        self.files.close(&mut self.io);
    }
}
