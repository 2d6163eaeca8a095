//! Messages between cores: one bounded single-producer queue per ordered pair of cores.
//!
//! ```text
//!            core 0     core 1     control
//!  core 0      –     ──▶ queue ──▶ queue       each arrow: outbox ▸ rtrb ring ▸ receiver
//!  core 1   queue        –         queue
//!  control  queue      queue        –          plus one bell per receiver
//! ```
//! Order between two cores is kept. A full queue delays, it never drops: messages wait in the
//! sender's outbox, and a sender whose outbox is full gets the message back.

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use base::CoreId;
use rtrb::{Consumer, Producer, PushError, RingBuffer};

use crate::bell::{Bell, Stopper};

/// Messages that wait behind a full queue, per pair of cores.
const OUTBOX: usize = 1 << 16;

/// The sending half of one pair.
#[derive(Debug)]
pub struct MailSender<T> {
    to: CoreId,
    queue: Producer<T>,
    outbox: VecDeque<T>,
    bell: Arc<Bell>,
    /// Something was put since the receiver was last woken.
    owed: bool,
}

/// The receiving half of one pair.
#[derive(Debug)]
pub struct MailReceiver<T> {
    from: CoreId,
    queue: Consumer<T>,
}

/// All halves that belong to one core.
#[derive(Debug)]
pub struct Mailboxes<T> {
    core: CoreId,
    bell: Arc<Bell>,
    pub(crate) inbound: Vec<MailReceiver<T>>,
    pub(crate) outbound: Vec<MailSender<T>>,
    /// Whom to ask first for the next message.
    next: usize,
}

/// Mailboxes of every data core and of the control core.
#[derive(Debug)]
pub struct Mesh<T> {
    pub data: Vec<Mailboxes<T>>,
    pub control: Mailboxes<T>,
}

/// Connects `data_cores` cores ([`CoreId`] 0, 1, …) and the control core with queues for `capacity`
/// messages each.
pub fn mesh<T>(data_cores: u16, capacity: usize) -> io::Result<Mesh<T>> {
    let names: Vec<CoreId> =
        (0..data_cores).map(CoreId).chain(core::iter::once(CoreId::CONTROL)).collect();
    let empty = |core: &CoreId| {
        let is_control = *core == CoreId::CONTROL;
        Ok(Mailboxes {
            core: *core,
            bell: if is_control { Bell::on_socket()? } else { Bell::new()? },
            inbound: Vec::new(),
            outbound: Vec::new(),
            next: 0,
        })
    };
    let mut boxes: Vec<Mailboxes<T>> = names.iter().map(empty).collect::<io::Result<_>>()?;
    for from in 0..names.len() {
        for to in (0..names.len()).filter(|to| *to != from) {
            let (sender, receiver) = RingBuffer::new(capacity);
            let bell = Arc::clone(&boxes[to].bell);
            boxes[from].outbound.push(MailSender::new(names[to], sender, bell));
            boxes[to].inbound.push(MailReceiver { from: names[from], queue: receiver });
        }
    }
    let control = boxes.pop().expect("the control core was added last");
    Ok(Mesh { data: boxes, control })
}

impl<T> MailSender<T> {
    fn new(to: CoreId, queue: Producer<T>, bell: Arc<Bell>) -> Self {
        Self { to, queue, outbox: VecDeque::new(), bell, owed: false }
    }

    #[must_use]
    pub fn to(&self) -> CoreId {
        self.to
    }

    /// Puts a message behind all earlier ones, or gives it back if the outbox is full. Says whether
    /// it went straight into the queue.
    pub fn send(&mut self, mail: T) -> Result<bool, T> {
        if self.outbox.is_empty() {
            match self.queue.push(mail) {
                Ok(()) => {
                    self.owed = true;
                    return Ok(true);
                }
                // A core that has ended takes no mail any more.
                Err(PushError::Full(_)) if self.queue.is_abandoned() => return Ok(true),
                Err(PushError::Full(mail)) => self.outbox.push_back(mail),
            }
        } else if self.is_full() {
            return Err(mail);
        } else {
            self.outbox.push_back(mail);
        }
        Ok(false)
    }

    #[must_use]
    pub fn is_full(&self) -> bool {
        self.outbox.len() == OUTBOX
    }

    /// Moves what waits into the queue. Says whether anything still waits.
    pub fn flush(&mut self) -> bool {
        while let Some(mail) = self.outbox.pop_front() {
            match self.queue.push(mail) {
                Ok(()) => self.owed = true,
                Err(PushError::Full(_)) if self.queue.is_abandoned() => self.outbox.clear(),
                Err(PushError::Full(mail)) => {
                    self.outbox.push_front(mail);
                    return true;
                }
            }
        }
        false
    }

    /// Whether the receiver sleeps on something that was put since it was last asked.
    pub(crate) fn must_wake(&mut self) -> bool {
        core::mem::take(&mut self.owed) && self.bell.must_ring()
    }

    pub(crate) fn bell(&self) -> &Bell {
        &self.bell
    }
}

impl<T> MailReceiver<T> {
    #[must_use]
    pub fn from(&self) -> CoreId {
        self.from
    }

    pub fn receive(&mut self) -> Option<T> {
        self.queue.pop().ok()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

/// What a thread without a ring of ours, the control core, needs: put, take, sleep.
///
/// ```text
/// loop {
///     while let Some((from, mail)) = boxes.receive() { … boxes.send(to, answer) … }
///     boxes.wake();
///     if boxes.may_sleep() { wait until boxes.event() is readable; boxes.woken(); }
/// }
/// ```
impl<T> Mailboxes<T> {
    #[must_use]
    pub fn core(&self) -> CoreId {
        self.core
    }

    /// Puts a message for `to`, or gives it back if that core is too far behind. Panics if there is
    /// no such core. Call [`Mailboxes::wake`] when all are put.
    pub fn send(&mut self, to: CoreId, mail: T) -> Result<(), T> {
        self.sender(to).send(mail).map(drop)
    }

    /// The next message, taking from all cores in turn.
    pub fn receive(&mut self) -> Option<(CoreId, T)> {
        for _ in 0..self.inbound.len() {
            self.next = (self.next + 1) % self.inbound.len();
            let receiver = &mut self.inbound[self.next];
            if let Some(mail) = receiver.receive() {
                return Some((receiver.from, mail));
            }
        }
        None
    }

    /// Moves what waits in outboxes and wakes the cores that sleep on what was put.
    pub fn wake(&mut self) {
        for sender in &mut self.outbound {
            sender.flush();
            if sender.must_wake() {
                sender.bell.ring_event();
            }
        }
    }

    /// Announces sleep. `false`: there is mail to take, so do not sleep. `true`: the event becomes
    /// readable with the next message; call [`Mailboxes::woken`] then. While
    /// [`Mailboxes::is_behind`], sleep a millisecond at most.
    #[must_use]
    pub fn may_sleep(&mut self) -> bool {
        self.bell.announce_sleep();
        let idle = !self.has_mail();
        if !idle {
            self.bell.awake();
        }
        idle
    }

    /// Whether messages wait in an outbox for room in a queue.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.outbound.iter().any(|sender| !sender.outbox.is_empty())
    }

    /// Ends the sleep, however it ended.
    pub fn woken(&mut self) {
        self.bell.awake();
        self.bell.quiet();
    }

    /// What becomes readable when other cores ring: of the control core one end of a socket pair, of
    /// the others an eventfd. Non-blocking.
    #[must_use]
    pub fn event(&self) -> BorrowedFd<'_> {
        self.bell.event()
    }

    /// Asks this core to stop.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.bell))
    }

    /// Whether a stop was asked for.
    #[must_use]
    pub fn stop_asked(&self) -> bool {
        self.bell.stop_asked()
    }

    /// Whether a stop was announced.
    #[must_use]
    pub fn leave_asked(&self) -> bool {
        self.bell.leave_asked()
    }

    pub(crate) fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    pub(crate) fn sender(&mut self, to: CoreId) -> &mut MailSender<T> {
        let core = self.core;
        let sender = self.outbound.iter_mut().find(|sender| sender.to == to);
        sender.unwrap_or_else(|| panic!("core {core} has no way to core {to}"))
    }

    /// Whether mail waits to be taken.
    pub(crate) fn has_mail(&self) -> bool {
        self.inbound.iter().any(|receiver| !receiver.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec};

    use super::*;

    const PATIENCE: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };

    #[test]
    fn a_full_queue_delays_and_keeps_order() {
        let mut mesh = mesh::<u32>(1, 2).unwrap();
        let data = &mut mesh.data[0];
        for number in 0..5 {
            data.send(CoreId::CONTROL, number).unwrap();
        }
        let mut taken = Vec::new();
        while taken.len() < 5 {
            while let Some((from, number)) = mesh.control.receive() {
                assert_eq!(from, CoreId(0));
                taken.push(number);
            }
            data.wake();
        }
        assert_eq!(taken, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_full_outbox_gives_the_message_back() {
        let mut mesh = mesh::<usize>(1, 1).unwrap();
        let data = &mut mesh.data[0];
        for number in 0..=OUTBOX {
            data.send(CoreId::CONTROL, number).unwrap();
        }
        assert_eq!(data.send(CoreId::CONTROL, 7), Err(7));
    }

    #[test]
    fn mail_to_a_core_that_has_ended_is_dropped() {
        let mut mesh = mesh::<u32>(1, 1).unwrap();
        let data = &mut mesh.data[0];
        for number in 0..3 {
            data.send(CoreId::CONTROL, number).unwrap();
        }
        assert!(data.is_behind());
        drop(mesh.control);
        data.wake();
        assert!(!data.is_behind());
        data.send(CoreId::CONTROL, 4).unwrap();
        assert!(!data.is_behind());
    }

    /// Two threads that sleep after each message: a lost wake-up would hang them.
    #[test]
    fn no_wake_up_is_lost() {
        const ROUNDS: u32 = 20_000;
        fn play(mut boxes: Mailboxes<u32>, peer: CoreId, starts: bool) {
            let mut next = 0;
            if starts {
                boxes.send(peer, 0).unwrap();
            }
            while next < ROUNDS {
                boxes.wake();
                while let Some((_, number)) = boxes.receive() {
                    assert_eq!(number, next);
                    next += 1;
                    let last = starts && number + 1 == ROUNDS;
                    if !last {
                        boxes.send(peer, number + u32::from(starts)).unwrap();
                    }
                    boxes.wake();
                }
                if next < ROUNDS && boxes.may_sleep() {
                    let event = boxes.event().try_clone_to_owned().unwrap();
                    let mut poll = [PollFd::new(&event, PollFlags::IN)];
                    assert_eq!(rustix::event::poll(&mut poll, Some(&PATIENCE)), Ok(1), "{next}");
                    boxes.woken();
                }
            }
        }
        let mut mesh = mesh::<u32>(2, 4).unwrap();
        let (one, zero) = (mesh.data.remove(1), mesh.data.remove(0));
        let peer = std::thread::spawn(move || play(one, CoreId(0), false));
        play(zero, CoreId(1), true);
        peer.join().unwrap();
    }

    #[test]
    fn a_sleeper_is_rung_once_and_only_if_asleep() {
        let mut mesh = mesh::<u32>(2, 8).unwrap();
        let readable =
            |boxes: &Mailboxes<u32>| rustix::io::read(boxes.event(), &mut [0; 8]).is_ok();
        mesh.data[0].send(CoreId::CONTROL, 1).unwrap();
        mesh.data[0].wake();
        assert!(!readable(&mesh.control), "awake");
        assert!(!mesh.control.may_sleep(), "there is mail");
        assert_eq!(mesh.control.receive(), Some((CoreId(0), 1)));
        assert!(mesh.control.may_sleep());
        mesh.data[1].send(CoreId::CONTROL, 2).unwrap();
        mesh.data[1].wake();
        assert!(readable(&mesh.control));
        mesh.data[0].send(CoreId::CONTROL, 3).unwrap();
        mesh.data[0].wake();
        assert!(!readable(&mesh.control), "one ring is enough");
    }
}
