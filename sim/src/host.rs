//! The process that a state machine lives in: its disk, its clocks, its turns.

use std::ops::Range;
use std::time::Duration;

use base::{BrokerTime, Done, FileId, FileKind, Instant, Now, Op, ShardId};

use crate::disk::{Disk, Memory};
use crate::knobs::Knobs;
use crate::random::{MILLION, Random};
use crate::trace::Trace;
use crate::violation::{Checker, Violation};

/// Turns at one instant before the machine is said to spin.
const TURNS_AT_ONCE_MAX: u32 = 10_000;
/// The wall clock when the world begins: 2026-01-01.
const EPOCH_MS: i64 = 1_767_225_600_000;

/// What the host drives: the verbs of `base::Machine` that concern disk and time.
pub trait Hosted: Memory {
    fn done(&mut self, now: Now, shard: ShardId, done: Done);
    fn turn(&mut self, now: Now);
    fn poll_op(&mut self) -> Option<Op>;
    fn next_timeout(&self) -> Option<Instant>;
}

/// See the module's description.
#[derive(Debug)]
pub struct Host {
    mono: Instant,
    /// The wall clock's distance from the monotonic one, milliseconds.
    wall_ahead_ms: i64,
    /// Its largest ever.
    wall_ahead_most_ms: i64,
    pub disk: Disk,
    pub trace: Trace,
    random: Random,
    /// Operations that may still be submitted before the process dies between two of them.
    ops_to_live: Option<u64>,
    /// The process dies as soon as the turn is over.
    doomed: bool,
    healed: bool,
    turns_at_once: u32,
    /// When something happens outside disk and timers.
    expected: Option<Instant>,
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Turned {
    Whole,
    /// The process died between two operations.
    Died,
}

impl Host {
    #[must_use]
    pub fn new(knobs: &Knobs, random: &mut Random, trace: Trace) -> Self {
        Self {
            mono: Instant(0),
            wall_ahead_ms: EPOCH_MS,
            wall_ahead_most_ms: EPOCH_MS,
            disk: Disk::new(knobs, random.fork()),
            trace,
            random: random.fork(),
            ops_to_live: None,
            doomed: false,
            healed: false,
            turns_at_once: 0,
            expected: None,
        }
    }

    #[must_use]
    pub fn now(&self) -> Now {
        let wall = self.wall_ahead_ms + (self.mono.0 / MILLION) as i64;
        Now { mono: self.mono, wall: BrokerTime(wall) }
    }

    /// The files that a starting process finds.
    #[must_use]
    pub fn files(&self) -> Vec<(FileId, u64)> {
        self.disk.files()
    }

    pub fn say(&mut self, what: &'static str, details: std::fmt::Arguments<'_>) {
        self.trace.say(self.mono, what, details);
    }

    /// Makes sure to wake at `at`: something arrives that neither disk nor timer knows of.
    pub fn expect(&mut self, at: Option<Instant>) {
        self.expected = at;
    }

    /// Lets the process die after `ops` more operations.
    pub fn die_after(&mut self, ops: Option<u64>) {
        self.ops_to_live = ops;
    }

    /// Lets the process die before anything else happens, unless nothing goes wrong any more.
    pub fn doom(&mut self) {
        self.doomed = !self.healed;
    }

    #[must_use]
    pub fn is_doomed(&self) -> bool {
        self.doomed
    }

    /// Steps the wall clock, and only it.
    pub fn step_clock(&mut self, by_ms: i64) {
        self.wall_ahead_ms += by_ms;
        self.wall_ahead_most_ms = self.wall_ahead_most_ms.max(self.wall_ahead_ms);
        self.say("stepped the clock", format_args!("by {by_ms} ms"));
    }

    /// Ends all that goes wrong from outside: no fault strikes any more, and the clock shows what
    /// it showed at its most advanced, so that no record is from the future.
    pub fn heal(&mut self) {
        self.say("HEALED", format_args!(""));
        self.disk.heal();
        self.healed = true;
        self.wall_ahead_ms = self.wall_ahead_most_ms;
    }

    #[must_use]
    pub fn is_healed(&self) -> bool {
        self.healed
    }

    /// Lets writes of the process before land for which `may_land` says so.
    pub fn land_late(&mut self, may_land: impl FnMut(FileId, Range<usize>) -> bool) {
        self.disk.land_late(self.mono, may_land, &mut self.trace);
    }

    /// Flips a bit of a file for which `may_rot`.
    pub fn rot(&mut self, may_rot: impl Fn(FileKind) -> bool) {
        self.disk.rot(self.mono, may_rot, &mut self.trace);
    }

    /// Flips a bit of byte `at` of a file.
    pub fn rot_at(&mut self, file: FileId, at: usize) {
        self.disk.rot_at(self.mono, file, at, &mut self.trace);
    }

    /// Delivers some of the completions that are due, ends the turn, and submits what it asks for.
    pub fn turn(&mut self, hosted: &mut impl Hosted) -> Result<Turned, Violation> {
        self.turns_at_once += 1;
        if TURNS_AT_ONCE_MAX < self.turns_at_once {
            let what = format!("time stands still at {:?}", self.mono);
            return Err(Violation::new(Checker::Liveness, what));
        }
        let now = self.now();
        for _ in 0..self.random.within(1..=16) {
            let done = self.disk.complete(now.mono, hosted, &mut self.trace)?;
            let Some((shard, done)) = done else { break };
            hosted.done(now, shard, done);
        }
        hosted.turn(now);
        self.submit_all(hosted)
    }

    /// Submits what `hosted` asks for.
    pub fn submit_all(&mut self, hosted: &mut impl Hosted) -> Result<Turned, Violation> {
        loop {
            if self.ops_to_live == Some(0) {
                self.say("died between operations", format_args!(""));
                return Ok(Turned::Died);
            }
            let Some(op) = hosted.poll_op() else { return Ok(Turned::Whole) };
            if let Some(left) = &mut self.ops_to_live {
                *left -= 1;
            }
            self.disk.submit(self.mono, op, hosted, &mut self.trace)?;
        }
    }

    /// Sleeps until something is due: a completion, a timer, or `other`. False if nothing ever is.
    pub fn sleep(&mut self, hosted: &impl Hosted, other: Option<Instant>) -> bool {
        let late = Duration::from_nanos(self.random.below(20_000));
        let timer = hosted.next_timeout().map(|at| at.plus(late));
        let wake =
            [self.disk.next_completion(), timer, self.expected, other].into_iter().flatten().min();
        if let Some(wake) = wake.filter(|wake| self.mono < *wake) {
            self.mono = wake;
            self.turns_at_once = 0;
        }
        wake.is_some()
    }

    /// The process is killed.
    pub fn kill(&mut self, hosted: &impl Hosted) {
        self.say("KILL", format_args!(""));
        self.disk.kill(self.mono, hosted, &mut self.trace);
        self.rest();
    }

    /// The machine loses power.
    pub fn cut_power(&mut self, hosted: &impl Hosted) {
        self.say("POWER CUT", format_args!(""));
        self.disk.cut_power(self.mono, hosted, &mut self.trace);
        self.rest();
    }

    /// The time until the next process starts.
    fn rest(&mut self) {
        self.ops_to_live = None;
        self.doomed = false;
        self.expected = None;
        self.turns_at_once = 0;
        self.mono = self.mono.plus(Duration::from_micros(self.random.within(1_000..=100_000)));
    }
}
