//! What the main thread wants to know of an engine: how its recovery ended, when it first had
//! something durable, and whether it failed.

use std::collections::BTreeMap;
use std::sync::mpsc::Sender;

use base::{Arena, Done, Input, Instant, Machine, Now, Output, Seq, ShardId};
use engine::journal::RecoveryReport;
use engine::{Engine, Phase};
use replication::Boot;
use shard::{Core, Mail};

use super::Event;
use crate::faults::Interposer;

/// How a shard's recovery ended.
#[derive(Debug)]
pub struct Recovered {
    pub shard: ShardId,
    pub report: RecoveryReport,
}

/// Looks at engines and tells each change once.
#[derive(Debug)]
pub(crate) struct Watch {
    events: Sender<Event>,
    seen: BTreeMap<ShardId, Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    recovered: bool,
    opened: bool,
    activated: bool,
    failed: bool,
    lacks_segment: bool,
}

impl Watch {
    pub(crate) fn new(events: Sender<Event>) -> Self {
        Self { events, seen: BTreeMap::new() }
    }

    fn tell(&self, event: Event) {
        // The main thread no longer listens once it is ending.
        let _ = self.events.send(event);
    }

    /// To be called when a turn has ended.
    pub(crate) fn look(&mut self, shard: ShardId, engine: &Engine) {
        let Self { events, seen } = self;
        let seen = seen.entry(shard).or_default();
        let tell = |event| {
            let _ = events.send(event);
        };
        if !seen.recovered
            && let Some(report) = engine.recovery_report()
        {
            seen.recovered = true;
            tell(Event::Recovered(Box::new(Recovered { shard, report: report.clone() })));
        }
        if !seen.opened && *engine.phase() == Phase::Open {
            seen.opened = true;
            let boot = Boot { journal: engine.journal_id(), boot: engine.incarnation() };
            tell(Event::Opened { shard, boot });
        }
        if !seen.activated && Seq(0) < engine.durable_seq() {
            seen.activated = true;
            tell(Event::Activated(shard));
        }
        if !seen.lacks_segment
            && let Some(missing) = engine.missing_segment()
        {
            seen.lacks_segment = true;
            tell(Event::LacksSegment { shard, missing });
        }
        let reason = match engine.phase() {
            Phase::Recovering | Phase::Open => return,
            _ if seen.failed => return,
            Phase::Poisoned(cause) => cause.to_string(),
            Phase::Halted(verdict) => verdict.to_string(),
            Phase::Failed(error) => error.to_string(),
        };
        seen.failed = true;
        tell(Event::ShardFailed { shard, reason });
    }
}

/// A data core that is watched, and wronged where an operator may.
#[derive(Debug)]
pub(super) struct Watched {
    core: Core,
    watch: Watch,
    faults: Option<Box<Interposer>>,
}

impl Watched {
    pub(super) fn new(core: Core, events: Sender<Event>, faults: Option<Interposer>) -> Self {
        Self { core, watch: Watch::new(events), faults: faults.map(Box::new) }
    }
}

impl Machine for Watched {
    type Mail = Mail;

    fn handle(&mut self, now: Now, input: Input<'_, Mail>) {
        match &mut self.faults {
            None => self.core.handle(now, input),
            Some(faults) => faults.handle(now, input, &mut self.core),
        }
    }

    fn done(&mut self, now: Now, done: Done) {
        match &mut self.faults {
            None => self.core.done(now, done),
            Some(faults) => faults.done(now, done, &mut self.core),
        }
    }

    fn turn(&mut self, now: Now) {
        if let Some(faults) = &mut self.faults {
            faults.turn(now, &mut self.core);
        }
        self.core.turn(now);
        for (shard, engine) in self.core.engines() {
            self.watch.look(shard, engine);
        }
        while let Some(loss) = self.core.poll_loss() {
            self.watch.tell(Event::Lost(loss));
        }
    }

    fn poll(&mut self) -> Option<Output<Mail>> {
        match &mut self.faults {
            None => self.core.poll(),
            Some(faults) => faults.poll(&mut self.core),
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        let of_faults = self.faults.as_ref().and_then(|faults| faults.next_timeout());
        self.core.next_timeout().into_iter().chain(of_faults).min()
    }

    fn stopped(&self) -> bool {
        self.core.stopped()
    }

    fn arena(&self, shard: ShardId) -> &Arena {
        self.core.arena(shard)
    }
}
