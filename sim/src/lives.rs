//! The course of a world: a process starts, recovers, serves, and ends, again and again; at last
//! everything is healed and everything promised must be there.

use std::time::Duration;

use base::Instant;

use crate::disk::Injected;
use crate::host::{Host, Hosted, Turned};
use crate::knobs::Knobs;
use crate::random::Random;
use crate::violation::{Checker, Violation};

/// Virtual time that recovery, a clean stop or the last check may take.
const PATIENCE: Duration = Duration::from_secs(600);
/// Turns of one life before it is said never to end.
const TURNS_MAX: u64 = 500_000;

/// What a machine says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    Recovering,
    Open,
    /// It serves no more, and says why.
    Stopped(String),
}

/// One kind of machine and its clients.
pub trait World {
    type Machine: Hosted;

    /// Pages of files that the machine makes before it takes anything.
    fn reserve_pages(&self) -> u64;

    /// Starts a process on what the disk holds.
    fn boot(&mut self, host: &mut Host) -> Self::Machine;

    fn phase(&self, machine: &Self::Machine) -> Phase;

    /// What the machine waits for, if it says so.
    fn waits_for(&self, _: &Self::Machine) -> Option<String> {
        None
    }

    /// Recovery is over: checks what it found, and lets the clients come back.
    fn opened(&mut self, host: &mut Host, machine: &mut Self::Machine) -> Result<(), Violation>;

    /// Takes what the machine has to say after a turn: acks, reads that ended.
    fn observe(&mut self, host: &mut Host, machine: &mut Self::Machine) -> Result<(), Violation>;

    /// A client does something; returns the pause before the next step.
    fn step(&mut self, host: &mut Host, machine: &mut Self::Machine)
    -> Result<Duration, Violation>;

    /// Asks for a clean stop.
    fn close(&mut self, host: &Host, machine: &mut Self::Machine);

    /// Whether the clean stop is done.
    fn is_closed(&self, machine: &Self::Machine) -> bool;

    /// The process is gone: what was not acked is open.
    fn ended(&mut self, host: &mut Host, machine: Self::Machine);

    /// Looks at everything, in a life in which nothing goes wrong any more; called after each turn
    /// until it says that it is done.
    fn verify(&mut self, host: &mut Host, machine: &mut Self::Machine) -> Result<bool, Violation>;

    /// Whether the machine may have stopped without a fault in this life, because of what earlier
    /// ones left on the disk.
    fn may_stay_stopped(&self) -> bool {
        false
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Kill,
    PowerCut,
    Close,
}

/// Runs `world` from its first start to its last check.
pub fn run<W: World>(
    world: &mut W,
    host: &mut Host,
    knobs: &Knobs,
    mut random: Random,
) -> Result<(), Violation> {
    if 0 < knobs.disk_pages {
        host.disk.limit(world.reserve_pages() + knobs.disk_pages);
    }
    for life in 0..knobs.lives {
        host.say("BOOT", format_args!("life {life}"));
        Life::begin(world, host, knobs, &mut random).live()?;
    }
    host.heal();
    Life::begin(world, host, knobs, &mut random).check_all()
}

struct Life<'a, W: World> {
    world: &'a mut W,
    host: &'a mut Host,
    knobs: &'a Knobs,
    random: &'a mut Random,
    machine: W::Machine,
    opened: bool,
    injected_before: Injected,
    began: Instant,
    turns: u64,
}

/// Where a life stands after a turn.
enum Standing {
    Recovering,
    Open,
    Over,
}

impl<'a, W: World> Life<'a, W> {
    fn begin(
        world: &'a mut W,
        host: &'a mut Host,
        knobs: &'a Knobs,
        random: &'a mut Random,
    ) -> Self {
        let machine = world.boot(host);
        let (injected_before, began) = (host.disk.injected(), host.now().mono);
        let opened = false;
        Self { world, host, knobs, random, machine, opened, injected_before, began, turns: 0 }
    }

    fn live(mut self) -> Result<(), Violation> {
        let mut steps = self.random.exponential(self.knobs.life_steps) + 1;
        let end = self.draw_end();
        let dies_in_recovery = self.random.chance(self.knobs.recovery_crash);
        let dies_between_ops = end != End::Close && self.random.chance(500_000);
        if dies_in_recovery {
            self.host.die_after(Some(self.random.below(12)));
        } else if dies_between_ops {
            self.host.die_after(Some(self.random.below(self.knobs.life_steps * 2)));
        }
        let mut next_step = self.host.now().mono;
        while 0 < steps {
            match self.turn()? {
                Standing::Over => return self.end(end),
                Standing::Recovering => self.sleep(None)?,
                Standing::Open if next_step <= self.host.now().mono => {
                    let pause = self.world.step(self.host, &mut self.machine)?;
                    next_step = self.host.now().mono.plus(pause);
                    steps -= 1;
                    if self.host.submit_all(&mut self.machine)? == Turned::Died {
                        return self.end(end);
                    }
                }
                Standing::Open => self.sleep(Some(next_step))?,
            }
        }
        self.end(end)
    }

    fn draw_end(&mut self) -> End {
        if self.random.chance(self.knobs.power_cuts) {
            End::PowerCut
        } else if self.random.chance(300_000) {
            End::Close
        } else {
            End::Kill
        }
    }

    /// One turn of the machine, and what the world makes of it.
    fn turn(&mut self) -> Result<Standing, Violation> {
        self.turns += 1;
        if TURNS_MAX < self.turns {
            return Err(self.endless("serving"));
        }
        let turned = self.host.turn(&mut self.machine)?;
        match self.world.phase(&self.machine) {
            Phase::Recovering if turned == Turned::Died => Ok(Standing::Over),
            Phase::Recovering => self.wait_for("recovery", Standing::Recovering),
            Phase::Open => {
                if !self.opened {
                    self.opened = true;
                    self.began = self.host.now().mono;
                    self.host.say("OPEN", format_args!(""));
                    self.world.opened(self.host, &mut self.machine)?;
                }
                if turned == Turned::Died {
                    return Ok(Standing::Over);
                }
                self.world.observe(self.host, &mut self.machine)?;
                Ok(if self.host.is_doomed() { Standing::Over } else { Standing::Open })
            }
            Phase::Stopped(why) => {
                self.host.say("STOPPED", format_args!("{why}"));
                self.check_excuse(why)?;
                Ok(Standing::Over)
            }
        }
    }

    fn end(mut self, end: End) -> Result<(), Violation> {
        let stopped = matches!(self.world.phase(&self.machine), Phase::Stopped(_));
        if end == End::Close && self.opened && !stopped && !self.close()? {
            self.host.kill(&self.machine);
        } else if end == End::PowerCut {
            self.host.cut_power(&self.machine);
        } else {
            self.host.kill(&self.machine);
        }
        self.world.ended(self.host, self.machine);
        Ok(())
    }

    /// Stops cleanly; false if a fault forbids it.
    fn close(&mut self) -> Result<bool, Violation> {
        self.host.say("CLOSE", format_args!(""));
        self.world.close(self.host, &mut self.machine);
        self.began = self.host.now().mono;
        loop {
            if let Standing::Over = self.turn()? {
                return Ok(false);
            }
            if self.world.is_closed(&self.machine) && self.host.disk.in_flight() == 0 {
                return Ok(true);
            }
            if let Standing::Over = self.wait_for("a clean stop", Standing::Open)? {
                return Ok(false);
            }
            self.sleep(None)?;
        }
    }

    fn check_all(mut self) -> Result<(), Violation> {
        loop {
            match self.turn()? {
                Standing::Over => return Ok(()),
                Standing::Recovering => {}
                Standing::Open => {
                    if self.world.verify(self.host, &mut self.machine)? {
                        return Ok(());
                    }
                    let _ = self.wait_for("the last check", Standing::Open)?;
                    let _ = self.host.submit_all(&mut self.machine)?;
                }
            }
            let soon = self.host.now().mono.plus(Duration::from_millis(1));
            self.sleep(Some(soon))?;
        }
    }

    fn sleep(&mut self, other: Option<Instant>) -> Result<(), Violation> {
        if self.host.sleep(&self.machine, other) {
            return Ok(());
        }
        Err(self.endless("a machine that waits for nothing"))
    }

    /// Stands still, but not for ever: only a full disk may be waited for until the life is over.
    fn wait_for(&self, what: &str, standing: Standing) -> Result<Standing, Violation> {
        if self.host.now().mono.since(self.began) < PATIENCE {
            return Ok(standing);
        }
        if self.host.disk.is_full() { Ok(Standing::Over) } else { Err(self.endless(what)) }
    }

    fn endless(&self, what: &str) -> Violation {
        let why = self.world.waits_for(&self.machine);
        let why = why.map_or_else(String::new, |why| format!(": {why}"));
        let what = format!("{what} does not end, after {} turns{why}", self.turns);
        Violation::new(Checker::Liveness, what)
    }

    /// A machine may stop only because something went wrong.
    fn check_excuse(&self, why: String) -> Result<(), Violation> {
        let struck = self.host.disk.injected() != self.injected_before;
        if struck || self.world.may_stay_stopped() {
            return Ok(());
        }
        Err(Violation::new(Checker::Halt, why))
    }
}
