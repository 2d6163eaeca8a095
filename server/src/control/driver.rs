//! Runs the control shard: mail and completions in, operations and mail out, then sleep.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use base::{CoreId, Input, Machine, Output};
use futures_lite::future;
use glommio::timer::Timer;
use ring::Mailboxes;
use shard::{ControlShard, Mail};

use super::bell::Bell;
use super::disk::Disk;
use super::links::{LinkEvent, Links};
use super::news;
use super::notifier::Notifier;
use crate::clock;
use crate::output;
use crate::serve::Event;
use crate::serve::watched::Watch;

/// How long the shard may take to seal its log after a stop was asked for: the data cores had their
/// time before, and the server promises to stop in a second.
const STOP_WITHIN: Duration = Duration::from_millis(200);
/// How long what the node leads may take to be led by others after a stop was announced.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);
/// How long a start is quiet about what it waits for.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two looks while a data core has no room for its mail.
const BEHIND: Duration = Duration::from_millis(1);

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Driver {
    shard: Rc<RefCell<ControlShard>>,
    disk: Rc<Disk>,
    boxes: Mailboxes<Mail>,
    /// To the other nodes of the cluster, if there are any.
    links: Option<Links>,
    bell: Rc<Bell>,
    events: Sender<Event>,
    watch: Watch,
    notifier: Notifier,
    /// Mail that found its core's outbox full, and everything behind it.
    held: VecDeque<(CoreId, Mail)>,
    stop_by: Option<base::Instant>,
    leaving: Leaving,
    was_ready: bool,
    /// When a start that is not done by then says what it waits for, and what it said last.
    impatient_at: base::Instant,
    waits_for: String,
    has_failed: bool,
}

/// How far the node is with handing over what it leads.
#[derive(Debug)]
enum Leaving {
    Not,
    Until(base::Instant),
    Has,
}

impl Driver {
    pub(crate) fn new(
        shard: Rc<RefCell<ControlShard>>,
        disk: Rc<Disk>,
        boxes: Mailboxes<Mail>,
        links: Option<Links>,
        bell: Rc<Bell>,
        (events, notifier): (Sender<Event>, Notifier),
    ) -> Self {
        Self {
            shard,
            disk,
            boxes,
            links,
            bell,
            watch: Watch::new(events.clone()),
            notifier,
            events,
            held: VecDeque::new(),
            stop_by: None,
            leaving: Leaving::Not,
            was_ready: false,
            impatient_at: clock::now().mono.plus(PATIENCE),
            waits_for: String::new(),
            has_failed: false,
        }
    }

    /// Runs until a stop was asked for and carried out.
    pub(crate) async fn run(mut self) {
        loop {
            self.turn();
            if self.is_over() {
                return;
            }
            if self.boxes.may_sleep() {
                self.sleep().await;
                self.boxes.woken();
            }
        }
    }

    fn turn(&mut self) {
        self.notifier.pause();
        let now = clock::now();
        let shard = Rc::clone(&self.shard);
        let mut shard = shard.borrow_mut();
        while let Some((from, mail)) = self.boxes.receive() {
            shard.handle(now, Input::Mail { from, mail });
        }
        while let Some(event) = self.links.as_ref().and_then(Links::next_event) {
            let mail = match event {
                LinkEvent::Up(node) => Mail::PeerUp { node },
                LinkEvent::Down(node) => Mail::PeerDown { node },
                LinkEvent::Said(node, message) => Mail::FromPeer { node, message },
            };
            shard.handle(now, Input::Mail { from: CoreId::PEERS, mail });
        }
        while let Some(done) = self.disk.completed() {
            shard.done(now, done);
        }
        if matches!(self.leaving, Leaving::Not) && self.boxes.leave_asked() {
            self.leaving = Leaving::Until(now.mono.plus(LEAVE_WITHIN));
            shard.handle(now, Input::Mail { from: CoreId::CONTROL, mail: Mail::Leave });
        }
        if self.stop_by.is_none() && self.boxes.stop_asked() {
            self.stop_by = Some(now.mono.plus(STOP_WITHIN));
            shard.handle(now, Input::Stop);
        }
        shard.turn(now);
        self.notifier.turn(now.mono, &shard);
        self.take_outputs(&mut shard);
        if let Leaving::Until(by) = self.leaving
            && (shard.has_left() || by <= now.mono)
        {
            self.leaving = Leaving::Has;
            self.tell(Event::Left);
        }
        self.watch.look(base::ShardId::CONTROL, shard.engine());
        self.report(&shard);
    }

    fn take_outputs(&mut self, shard: &mut ControlShard) {
        while let Some(output) = shard.poll() {
            match output {
                Output::Disk(op) => self.disk.start(op, shard.arena(base::ShardId::CONTROL)),
                Output::Mail { to: CoreId::PEERS, mail } => {
                    let Mail::ToPeer { node, message } = mail else {
                        panic!("links carry control messages alone: {mail:?}")
                    };
                    if let Some(links) = &self.links {
                        links.send(node, &message);
                    }
                }
                Output::Mail { to, mail } => self.held.push_back((to, mail)),
                other => panic!("the control shard has no connections: {other:?}"),
            }
        }
        while let Some((to, mail)) = self.notifier.next_mail() {
            self.held.push_back((to, mail));
        }
        while let Some((to, mail)) = self.held.pop_front() {
            if let Err(mail) = self.boxes.send(to, mail) {
                self.held.push_front((to, mail));
                break;
            }
        }
        self.boxes.wake();
        while let Some(news) = shard.poll_news() {
            if let Some(text) = news::sentence(&shard.state(), &news) {
                output::note(format_args!("{text}"));
            }
        }
    }

    /// Tells the main thread once that clients are served, and once that they cannot be.
    fn report(&mut self, shard: &ControlShard) {
        if !self.has_failed
            && let Some(reason) = shard.failure()
        {
            self.has_failed = true;
            self.tell(Event::ControlFailed(reason.to_owned()));
        }
        if !self.was_ready && shard.is_settled() {
            self.was_ready = true;
            self.tell(Event::Ready);
        } else if !self.was_ready && !self.has_failed {
            self.say_what_for(shard);
        }
    }

    /// A start that takes long says what it waits for, each time that this is something else.
    fn say_what_for(&mut self, shard: &ControlShard) {
        if self.stop_by.is_some() || clock::now().mono < self.impatient_at {
            return;
        }
        if let Some(wanted_bytes) = shard.missing_file_bytes() {
            self.has_failed = true;
            self.tell(Event::LacksBin { shard: base::ShardId::CONTROL, wanted_bytes });
        } else if let Err(why) = shard.readiness()
            && why != self.waits_for
        {
            output::note(format_args!("not ready yet: {why}"));
            self.waits_for = why;
        }
    }

    fn tell(&self, event: Event) {
        // The main thread no longer listens once it is ending.
        let _ = self.events.send(event);
    }

    fn is_over(&self) -> bool {
        let Some(by) = self.stop_by else { return false };
        self.shard.borrow().stopped() || by <= clock::now().mono
    }

    async fn sleep(&self) {
        let timeout = self.shard.borrow().next_timeout();
        let leave_by = match self.leaving {
            Leaving::Until(by) => Some(by),
            Leaving::Not | Leaving::Has => None,
        };
        let wanted = [timeout, self.stop_by, leave_by].into_iter().flatten().min();
        let wait = wanted.map(|at| at.since(clock::now().mono));
        let is_behind = self.boxes.is_behind() || !self.held.is_empty();
        let behind = is_behind.then_some(BEHIND);
        match [wait, behind].into_iter().flatten().min() {
            None => self.bell.wait().await,
            Some(wait) if wait.is_zero() => glommio::executor().yield_task_queue_now().await,
            Some(wait) => {
                let alarm = async {
                    Timer::new(wait).await;
                };
                future::or(self.bell.wait(), alarm).await;
            }
        }
    }
}
