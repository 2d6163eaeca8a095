//! From the wish to stop to the end.
//!
//! ```text
//!   Serving ── stop asked ──▶ Finishing ── machine.stopped() ──▶ Closing ── nothing in flight ──▶ end
//!                             listeners shut                     connections shut
//!                             machine told                       (or time is up)
//! ```

use base::{Input, Instant, Machine, Now};

use super::{Reactor, Stopped};

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
                let idle = self.net.is_idle() && self.files.is_idle();
                if idle && self.io.flights.count() == 0 && machine.stopped() {
                    Some(Stopped::Cleanly)
                } else {
                    (until <= now.mono).then_some(Stopped::Late)
                }
            }
        }
    }

    /// Lets go of files, which would stay locked as long as the ring.
    pub(super) fn end(&mut self) {
        self.files.close(&mut self.io);
    }
}
