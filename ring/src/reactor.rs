//! The loop of one core.
//!
//! ```text
//!      ┌──▶ mailboxes ─▶ completions: disk, then network ─▶ turn ─▶ outputs ─▶ mail, wake-ups ─┐
//!      │                 handle / done                      machine                            │
//!      └──────────────── spin, or sleep in the kernel ◀──────────── one submit ◀───────────────┘
//! ```
//! A turn is bounded (messages per mailbox, completions, time), so that no source starves another;
//! what is left over comes first in the next.

mod idle;
mod stopping;

use core::fmt;
use core::time::Duration;
use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use base::{Input, Machine, Now, Output};

use crate::allocations;
use crate::clock;
use crate::counters::ReactorCounters;
use crate::files::Files;
use crate::flight::{Flight, Kind, Landed};
use crate::io::Io;
use crate::mailbox::Mailboxes;
use crate::net::{Net, Turn};
use crate::plan::{ReactorConfig, StartReport};
use crate::uring::{Completion, Target};

use idle::Idle;
use stopping::Life;
pub use stopping::{Stopped, Unfinished};

/// Bounds of one turn.
const MAIL_PER_BOX: usize = 64;
const COMPLETIONS: usize = 256;
const NETWORK_TIME: Duration = Duration::from_micros(50);
/// Network completions between two looks at the clock.
const CLOCK_EVERY: usize = 8;

/// A core, ready to run a machine whose mail is `T`. Made by [`crate::Plan::start`].
#[derive(Debug)]
pub struct Reactor<T> {
    io: Io,
    files: Files,
    net: Net,
    mailboxes: Mailboxes<T>,
    /// Disk completions taken and not handled yet.
    disk: Vec<Completion>,
    /// Network completions taken and not handled yet, oldest first.
    network: VecDeque<Completion>,
    /// An output that has to wait for room in an outbox, and so do all behind it.
    stalled: Option<Output<T>>,
    idle: Idle,
    life: Life,
    stop_within: Duration,
    report: StartReport,
}

/// The kernel refused to go on.
#[derive(Debug)]
pub struct ReactorError(pub io::Error);

impl fmt::Display for ReactorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "io_uring_enter failed: {}", self.0)
    }
}

impl std::error::Error for ReactorError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

impl<T> Reactor<T> {
    pub(crate) fn new(
        config: ReactorConfig,
        io: Io,
        files: Files,
        net: Net,
        mailboxes: Mailboxes<T>,
        report: StartReport,
    ) -> Self {
        Self {
            io,
            files,
            net,
            mailboxes,
            disk: Vec::with_capacity(COMPLETIONS),
            network: VecDeque::with_capacity(2 * COMPLETIONS),
            stalled: None,
            idle: Idle::new(config.poll),
            life: Life::Serving,
            stop_within: config.stop_within,
            report,
        }
    }

    /// What was found at the start.
    #[must_use]
    pub fn report(&self) -> &StartReport {
        &self.report
    }

    #[must_use]
    pub fn counters(&self) -> Arc<ReactorCounters> {
        Arc::clone(&self.io.counters)
    }

    /// Runs `machine` until a stop is asked for and has been carried out. Panics if the arena of a
    /// shard does not lie in the mapping that was planned for it.
    pub fn run<M: Machine<Mail = T>>(&mut self, machine: &mut M) -> Result<Stopped, ReactorError> {
        self.net.start(&mut self.io);
        self.listen_to_bell();
        loop {
            let now = clock::now();
            let progress = self.turn(now, machine);
            if let Some(stopped) = self.live_on(now, machine) {
                self.end();
                return Ok(stopped);
            }
            self.wait(now, progress, machine).map_err(ReactorError)?;
        }
    }

    /// One pass over everything that may have happened. Says whether anything had.
    fn turn<M: Machine<Mail = T>>(&mut self, now: Now, machine: &mut M) -> bool {
        self.io.register_arenas();
        let mut progress = self.take_mail(now, machine);
        progress |= self.finish_files(now, machine);
        self.reap();
        progress |= self.finish_disk(now, machine);
        progress |= self.finish_network(now, machine);
        machine.turn(now);
        progress |= self.take_outputs(now, machine);
        self.net.catch_up(&mut self.io, now);
        self.post_mail();
        self.io.counters.turns.add(u64::from(progress));
        self.io.counters.allocations.set(allocations::taken());
        progress
    }

    fn take_mail<M: Machine<Mail = T>>(&mut self, now: Now, machine: &mut M) -> bool {
        let mut taken = 0;
        for receiver in &mut self.mailboxes.inbound {
            for _ in 0..MAIL_PER_BOX {
                let Some(mail) = receiver.receive() else { break };
                machine.handle(now, Input::Mail { from: receiver.from(), mail });
                taken += 1;
            }
        }
        self.io.counters.mail_in.add(taken);
        taken != 0
    }

    fn finish_files<M: Machine<Mail = T>>(&mut self, now: Now, machine: &mut M) -> bool {
        let mut progress = false;
        while let Some(done) = self.files.next_done(&mut self.io) {
            machine.done(now, done);
            progress = true;
        }
        progress
    }

    /// Sorts what the kernel has completed: the journal's writes go first, acks wait for them.
    fn reap(&mut self) {
        let room = (2 * COMPLETIONS).saturating_sub(self.network.len()).min(COMPLETIONS);
        let Self { io, disk, network, mailboxes, .. } = self;
        let counters = &io.counters;
        io.uring.reap(room, |completion| {
            counters.completions.add(1);
            match Kind::of(completion.user_data) {
                Some(Kind::Disk) => disk.push(completion),
                Some(Kind::Net) => network.push_back(completion),
                Some(Kind::Nudge) => {}
                Some(Kind::NudgeFailed) => ring_instead(mailboxes, completion.user_data as u16),
                None => counters.strays.add(1),
            }
        });
    }

    fn finish_disk<M: Machine<Mail = T>>(&mut self, now: Now, machine: &mut M) -> bool {
        let progress = !self.disk.is_empty();
        for completion in self.disk.drain(..) {
            match self.io.flights.land(&completion) {
                Landed::Last(flight) => {
                    if let Some(done) = self.files.end(&mut self.io, flight, completion.result) {
                        machine.done(now, done);
                    }
                }
                _ => self.io.counters.strays.add(1),
            }
        }
        progress
    }

    fn finish_network<M: Machine<Mail = T>>(&mut self, now: Now, machine: &mut M) -> bool {
        let progress = !self.network.is_empty();
        let deadline = now.mono.plus(NETWORK_TIME);
        for number in 1..=COMPLETIONS {
            let Some(completion) = self.network.pop_front() else { break };
            let landed = self.io.flights.land(&completion);
            match landed {
                Landed::Stray => self.io.counters.strays.add(1),
                Landed::Last(Flight::Bell) => self.bell_rang(),
                landed => {
                    let mut turn = Turn { now, io: &mut self.io, machine };
                    self.net.landed(&mut turn, landed, &completion);
                }
            }
            if number % CLOCK_EVERY == 0 && deadline <= clock::monotonic() {
                break;
            }
        }
        progress
    }

    fn take_outputs<M: Machine<Mail = T>>(&mut self, now: Now, machine: &mut M) -> bool {
        let mut progress = false;
        while let Some(output) = self.stalled.take().or_else(|| machine.poll()) {
            match output {
                Output::Mail { to, mail } => {
                    if let Err(mail) = self.send_mail(to, mail) {
                        self.stalled = Some(Output::Mail { to, mail });
                        return progress;
                    }
                }
                Output::Disk(op) => self.files.start(&mut self.io, machine, op),
                Output::Send(send) => {
                    let mut turn = Turn { now, io: &mut self.io, machine };
                    self.net.send(&mut turn, send);
                }
                Output::Dial { dial, to } => {
                    let mut turn = Turn { now, io: &mut self.io, machine };
                    self.net.dial(&mut turn, dial, to);
                }
                Output::Pause(conn) => self.net.pause(&mut self.io, conn),
                Output::Resume(conn) => self.net.resume(&mut self.io, conn),
                Output::Close(conn) => self.net.close(conn),
            }
            progress = true;
        }
        let mut turn = Turn { now, io: &mut self.io, machine };
        progress | self.net.bury(&mut turn)
    }

    fn send_mail(&mut self, to: base::CoreId, mail: T) -> Result<(), T> {
        let at_once = self.mailboxes.sender(to).send(mail)?;
        self.io.counters.mail_out.add(1);
        self.io.counters.mail_delayed.add(u64::from(!at_once));
        Ok(())
    }

    /// Moves mail on and wakes those who sleep on it.
    fn post_mail(&mut self) {
        let Self { io, mailboxes, .. } = self;
        for sender in &mut mailboxes.outbound {
            sender.flush();
            if sender.must_wake() {
                io.counters.nudges.add(1);
                match sender.bell().sleepers_ring() {
                    Some(ring) if io.nudges() => io.nudge(ring.as_raw_fd(), sender.to()),
                    _ => sender.bell().ring_event(),
                }
            }
        }
    }

    fn listen_to_bell(&mut self) {
        let bell = Target::Plain(self.mailboxes.event().as_raw_fd());
        self.io.launch(bell, Flight::Bell);
    }

    fn bell_rang(&mut self) {
        self.mailboxes.bell().quiet();
        if !matches!(self.life, Life::Closing { .. }) {
            self.listen_to_bell();
        }
    }
}

/// A peer whose ring took no message has an eventfd as well.
fn ring_instead<T>(mailboxes: &Mailboxes<T>, core: u16) {
    if let Some(sender) = mailboxes.outbound.iter().find(|sender| sender.to().0 == core) {
        sender.bell().ring_event();
    }
}
