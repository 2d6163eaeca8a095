//! A machine of the cluster: its disk, and the process that runs on it, if one does.

use std::sync::Arc;
use std::time::Duration;

use base::{BrokerTime, CoreId, FileKind, Instant, NodeId, Now, Seq, ShardId};
use engine::{Phase, Planted};
use replication::Uuid;
use replication::command::NodeRegistered;
use replication::link::Secret;
use replication::replica::Settings;
use shard::{Address, ControlSettings, Layout, Mail, Peering};

use super::machine::{Blueprint, Process};
use super::network::Life;
use crate::disk::{Disk, Injected};
use crate::knobs::Knobs;
use crate::random::Random;
use crate::trace::Trace;
use crate::violation::{Checker, Violation};
use crate::worlds::settings;

/// The wall clock when the world begins: 2026-01-01.
const EPOCH_MS: i64 = 1_767_225_600_000;
/// Ports of a node's shards begin behind this one.
const PORTS_FROM: u16 = 20_000;
const PORTS_EACH: u16 = 100;
/// How long a node that leaves waits for others to lead what it leads.
const LEAVE_MAX: Duration = Duration::from_secs(3);
/// How long a process may take to seal its logs.
const STOP_MAX: Duration = Duration::from_secs(1);

/// See the module's description.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: NodeId,
    blueprint: Blueprint,
    pub(super) disk: Disk,
    knobs: Knobs,
    process: Option<Process>,
    /// Counts processes.
    lives: u64,
    /// When the next process starts, while none runs.
    starts_at: Instant,
    paused_until: Instant,
    /// Since when it hands over what it leads, and since when it stops.
    leaving: Option<Instant>,
    stopping: Option<Instant>,
    /// It falls after so many more operations.
    doomed: Option<(u64, Fall)>,
    /// Something was given to the process since its last turn.
    touched: bool,
    is_calm: bool,
    injected_before: Injected,
    wall_ahead_ms: i64,
    /// Its largest ever.
    wall_ahead_most_ms: i64,
    random: Random,
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fall {
    /// Killed or stopped: its connections close.
    Ended,
    /// Its connections do nothing.
    PowerCut,
}

impl Node {
    pub(super) fn new(id: NodeId, blueprint: Blueprint, knobs: &Knobs, mut random: Random) -> Self {
        let wall_ahead_ms = EPOCH_MS + random.below(2_000) as i64;
        Self {
            id,
            blueprint,
            disk: Disk::new(knobs, random.fork()),
            knobs: knobs.clone(),
            process: None,
            lives: 0,
            starts_at: Instant(0),
            paused_until: Instant(0),
            leaving: None,
            stopping: None,
            doomed: None,
            touched: false,
            is_calm: true,
            injected_before: Injected::default(),
            wall_ahead_ms,
            wall_ahead_most_ms: wall_ahead_ms,
            random,
        }
    }

    pub(super) fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }

    /// The process, which is then given something.
    pub(super) fn touch(&mut self) -> Option<&mut Process> {
        self.touched = true;
        self.process.as_mut()
    }

    /// The process, from which something is taken.
    pub(super) fn untouched(&mut self) -> Option<&mut Process> {
        self.process.as_mut()
    }

    /// The running process.
    pub(super) fn life(&self) -> Option<Life> {
        self.process.is_some().then_some(self.last_life())
    }

    /// The running process, or the last.
    pub(super) fn last_life(&self) -> Life {
        (self.id, self.lives)
    }

    pub(super) fn now(&self, now: Now) -> Now {
        let wall = self.wall_ahead_ms + (now.mono.0 / 1_000_000) as i64;
        Now { mono: now.mono, wall: BrokerTime(wall) }
    }

    pub(super) fn tell_control(&mut self, now: Now, mail: Mail) {
        let now = self.now(now);
        if let Some(process) = self.touch() {
            process.tell_control(now, mail);
        }
    }

    /// Nothing goes wrong any more.
    pub(super) fn heal(&mut self, now: Instant) {
        self.disk.heal();
        (self.is_calm, self.doomed, self.paused_until) = (true, None, now);
        self.starts_at = self.starts_at.min(now.plus(Duration::from_millis(50)));
        self.wall_ahead_ms = self.wall_ahead_most_ms;
    }

    /// The disk's faults strike from now on.
    pub(super) fn trouble(&mut self) {
        self.disk.trouble(&self.knobs);
    }

    /// Steps the wall clock, and only it.
    pub(super) fn step_clock(&mut self, by_ms: i64) {
        self.wall_ahead_ms += by_ms;
        self.wall_ahead_most_ms = self.wall_ahead_most_ms.max(self.wall_ahead_ms);
    }

    /// Bits flip in data at rest.
    pub(super) fn rot(&mut self, now: Instant, trace: &mut Trace) {
        self.disk.rot(now, |kind| matches!(kind, FileKind::Bin(_)), trace);
    }

    /// It is gone until it is healed.
    pub(super) fn keep_down(&mut self, now: Instant, trace: &mut Trace) {
        self.fall(now, Fall::PowerCut, trace);
        self.starts_at = Instant(u64::MAX);
    }

    pub(super) fn pause(&mut self, until: Instant) {
        self.paused_until = until;
    }

    pub(super) fn doom(&mut self, ops: u64, fall: Fall) {
        self.is_calm = false;
        if self.process.is_some() {
            self.doomed = Some((ops, fall));
        }
    }

    /// Hands over what it leads, then stops.
    pub(super) fn leave(&mut self, now: Now) {
        self.is_calm = false;
        if self.process.is_some() && self.leaving.is_none() {
            self.leaving = Some(now.mono);
            self.tell_control(now, Mail::Leave);
        }
    }

    /// Its disk is replaced by a new one, under the same name.
    pub(super) fn wipe(&mut self, now: Instant, trace: &mut Trace) {
        if self.process.is_some() {
            self.fall(now, Fall::Ended, trace);
        }
        self.disk = Disk::new(&self.knobs, self.random.fork());
        for config in &mut self.blueprint.engines {
            config.journal.id = self.random.draw();
            config.activated = false;
        }
    }

    /// When something happens here next.
    pub(super) fn next_event(&self, now: Instant) -> Option<Instant> {
        let Some(process) = &self.process else { return Some(self.starts_at) };
        if now < self.paused_until {
            return Some(self.paused_until);
        }
        if self.touched || !process.ops.is_empty() {
            return Some(now);
        }
        let ends = self.leaving.or(self.stopping).map(|_| now.plus(Duration::from_millis(5)));
        [process.next_timeout(), self.disk.next_completion(), ends].into_iter().flatten().min()
    }

    /// Starts, or does what is due. How the process ended, if it did.
    pub(super) fn turn(&mut self, now: Now, trace: &mut Trace) -> Result<Option<Fall>, Violation> {
        if self.process.is_none() {
            if self.starts_at <= now.mono {
                self.start(now.mono, trace);
            }
            return Ok(None);
        }
        if now.mono < self.paused_until
            || self.next_event(now.mono).is_some_and(|next| now.mono < next)
        {
            return Ok(None);
        }
        let own = self.now(now);
        self.touched = false;
        let process = self.process.as_mut().expect("looked at just now");
        for _ in 0..self.random.within(1..=16) {
            let done = self.disk.complete(now.mono, process, trace)?;
            let Some((shard, done)) = done else { break };
            process.done(own, shard, done);
        }
        process.turn(own);
        while let Some(op) = process.ops.pop_front() {
            if let Some((left, fall)) = &mut self.doomed {
                if *left == 0 {
                    let fall = *fall;
                    self.fall(now.mono, fall, trace);
                    return Ok(Some(fall));
                }
                *left -= 1;
            }
            self.disk.submit(now.mono, op, process, trace)?;
        }
        self.note_engines()?;
        self.end_if_due(now, trace)
    }

    fn start(&mut self, now: Instant, trace: &mut Trace) {
        self.lives += 1;
        trace.say(now, "BOOT", format_args!("{} life {}", self.id, self.lives));
        self.blueprint.settings.seed = u128::from(self.random.draw());
        self.blueprint.control.seed = self.random.draw();
        self.injected_before = self.disk.injected();
        let random = self.random.fork();
        self.process = Some(Process::start(&self.blueprint, &self.disk.files(), random));
        (self.touched, self.leaving, self.stopping, self.doomed) = (true, None, None, None);
    }

    pub(super) fn fall(&mut self, now: Instant, fall: Fall, trace: &mut Trace) {
        let Some(process) = self.process.take() else { return };
        match fall {
            Fall::Ended => self.disk.kill(now, &process, trace),
            Fall::PowerCut => self.disk.cut_power(now, &process, trace),
        }
        let most_ms = if self.is_calm { 100 } else { self.random.pick(&[20, 500, 4_000]) };
        let rest = Duration::from_micros(self.random.within(1_000..=most_ms * 1_000));
        self.starts_at = now.plus(rest);
    }

    fn note_engines(&mut self) -> Result<(), Violation> {
        let process = self.process.as_ref().expect("it had its turn");
        for (shard, engine) in process.engines() {
            let configs = &mut self.blueprint.engines;
            let config = configs.iter_mut().find(|config| config.journal.shard == shard);
            let config = config.expect("every shard has a configuration");
            config.activated |= Seq(0) < engine.durable_seq();
            let is_sound = self.disk.injected().beyond == 0;
            if let Some((partition, halt)) = engine.halted().next().filter(|_| is_sound) {
                let what = format!("{partition} of {}/{shard} is halted: {halt}", self.id);
                return Err(Violation::new(Checker::Halt, what));
            }
        }
        Ok(())
    }

    /// A process that left or failed makes room for the next.
    fn end_if_due(&mut self, now: Now, trace: &mut Trace) -> Result<Option<Fall>, Violation> {
        let process = self.process.as_ref().expect("it had its turn");
        if let Some(why) = failure(process) {
            trace.say(now.mono, "STOPPED", format_args!("{}: {why}", self.id));
            let injected = self.disk.injected();
            // Damage outlives the process that it struck.
            if injected == self.injected_before && injected.beyond == 0 {
                return Err(Violation::new(Checker::Halt, format!("{}: {why}", self.id)));
            }
            self.fall(now.mono, Fall::Ended, trace);
            return Ok(Some(Fall::Ended));
        }
        if let Some(since) = self.stopping {
            let is_over = process.is_stopped() && self.disk.in_flight() == 0;
            if is_over || STOP_MAX <= now.mono.since(since) {
                let how = if is_over { "stopped whole" } else { "stopped late" };
                trace.say(now.mono, how, format_args!("{}", self.id));
                self.fall(now.mono, Fall::Ended, trace);
                return Ok(Some(Fall::Ended));
            }
        } else if let Some(since) = self.leaving {
            let has_left = process.control.has_left();
            if has_left || LEAVE_MAX <= now.mono.since(since) {
                let how = if has_left { "left" } else { "left late" };
                trace.say(now.mono, how, format_args!("{}", self.id));
                let own = self.now(now);
                self.stopping = Some(now.mono);
                self.touch().expect("it runs").stop(own);
            }
        }
        Ok(None)
    }
}

/// Why the process cannot go on, if so.
fn failure(process: &Process) -> Option<String> {
    if let Some(reason) = process.control.failure() {
        return Some(reason.to_owned());
    }
    for (shard, engine) in process.engines() {
        match engine.phase() {
            Phase::Recovering | Phase::Open => {}
            Phase::Poisoned(cause) => return Some(format!("{shard}: {cause}")),
            Phase::Halted(verdict) => return Some(format!("{shard}: {verdict}")),
            Phase::Failed(error) => return Some(format!("{shard}: {error}")),
        }
    }
    let failed = process.control.failed_shards().next();
    failed.map(|(shard, reason)| format!("{shard}: {reason}"))
}

/// The shard that listens at this port, and its node.
pub(super) fn listener(port: u16) -> (NodeId, ShardId) {
    let behind = port - PORTS_FROM;
    (NodeId(behind / PORTS_EACH), ShardId(behind % PORTS_EACH - 1))
}

pub(super) fn blueprint(
    knobs: &Knobs,
    node: NodeId,
    count: u16,
    random: &mut Random,
    (planted, in_replication): (Planted, replication::Planted),
) -> Blueprint {
    let shards = knobs.shards.min(2) as u16;
    let cores = knobs.cores.min(u64::from(shards)) as u16;
    let address = |port| Address { host: format!("node-{node}"), port };
    let layout = Layout {
        node,
        cluster_id: "sim".to_owned(),
        shard_cores: (0..shards).map(|shard| CoreId(shard % cores)).collect(),
        control: CoreId::CONTROL,
        node_address: address(9092),
        core_address: address(9100),
        rack: None,
    };
    let registered = NodeRegistered {
        node,
        shards,
        host: format!("node-{node}"),
        port: 9092,
        core_host: format!("node-{node}"),
        core_port: 9100,
        rack: None,
    };
    let others = (0..count).map(NodeId).filter(|other| *other != node);
    let control = ControlSettings {
        seats: (0..count).map(NodeId).collect(),
        peers: others.collect(),
        planted: in_replication,
        ..ControlSettings::alone(Uuid([7; 16]), registered, cores)
    };
    let reached = |other: NodeId| {
        let port = PORTS_FROM + other.0 * PORTS_EACH;
        (other, core::net::SocketAddr::from(([127, 0, 0, 1], port)))
    };
    let peering = Peering {
        secret: Secret::new(b"sim"),
        nodes: (0..count).map(NodeId).map(reached).collect(),
        slow_disk_from: Duration::from_millis(50),
        settings: Settings { planted: in_replication, ..Settings::default() },
    };
    // Nothing is ever removed, and everything must fit.
    let mut data_engine =
        |shard| settings::data_engine(knobs, ShardId(shard), random.draw(), planted, 200);
    let mut engines: Vec<_> = (0..shards).map(&mut data_engine).collect();
    engines.push(settings::control_engine(knobs, random.draw(), planted, 64));
    Blueprint {
        layout: Arc::new(layout),
        control,
        settings: settings::core(Some(peering)),
        engines,
        mail_us: knobs.mail_us,
        spare_pages: knobs.arena_spare_pages,
    }
}
