//! Runs a plan: one world, one seed, one answer.

use std::any::Any;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::panic::{self, AssertUnwindSafe};
use std::time::Duration;

use crate::host::Host;
use crate::knobs::Knobs;
use crate::lives::{self, World};
use crate::plan::{Plan, WorldKind};
use crate::random::Random;
use crate::trace::Trace;
use crate::violation::{Checker, Violation};
use crate::worlds::cluster::ClusterWorld;
use crate::worlds::engine::EngineWorld;
use crate::worlds::journal::JournalWorld;
use crate::worlds::node::NodeWorld;

/// What a run showed.
#[derive(Clone, Debug)]
pub struct Report {
    pub violation: Option<Violation>,
    /// Of everything that happened, in order.
    pub hash: u64,
    /// How often each thing happened.
    pub counts: BTreeMap<&'static str, u64>,
    /// Virtual time.
    pub lasted: Duration,
}

impl Report {
    /// Checker C13: `again` is of the same plan, so it must tell the same history.
    pub fn check_repeats(&self, again: &Self) -> Result<(), Violation> {
        if self.hash == again.hash {
            return Ok(());
        }
        Err(Violation::new(Checker::Determinism, "two histories of one seed".to_owned()))
    }
}

/// Runs `plan`; with `print`, tells what happens as it happens.
#[must_use]
pub fn run(plan: &Plan, print: bool) -> Report {
    let (knobs, mut random) = plan.draw();
    if print {
        let _ = writeln!(io::stdout(), "{knobs:#?}");
    }
    let mut host = Host::new(&knobs, &mut random, Trace::new(print));
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| play(plan, &knobs, random, &mut host)));
    let violation = match outcome {
        Ok(result) => result.err(),
        Err(payload) => Some(Violation::new(Checker::Panic, message(&*payload))),
    };
    if let (true, Some(violation)) = (print, &violation) {
        let _ = writeln!(io::stdout(), "VIOLATION {violation}");
    }
    Report {
        violation,
        hash: host.trace.hash(),
        counts: host.trace.counts().clone(),
        lasted: Duration::from_nanos(host.now().mono.0),
    }
}

fn play(plan: &Plan, knobs: &Knobs, mut random: Random, host: &mut Host) -> Result<(), Violation> {
    let planted = plan.planted();
    match plan.world {
        WorldKind::Journal => {
            let world = JournalWorld::new(knobs, &mut random, planted);
            play_world(world, host, knobs, random)
        }
        WorldKind::Engine => {
            let world = EngineWorld::new(knobs, &mut random, planted);
            play_world(world, host, knobs, random)
        }
        WorldKind::Node => {
            let world = NodeWorld::new(knobs, &mut random, planted);
            play_world(world, host, knobs, random)
        }
        WorldKind::Cluster => {
            let planted = (planted, plan.planted_in_replication());
            ClusterWorld::new(knobs, &mut random, planted).run(host)
        }
    }
}

fn play_world<W: World>(
    mut world: W,
    host: &mut Host,
    knobs: &Knobs,
    random: Random,
) -> Result<(), Violation> {
    lives::run(&mut world, host, knobs, random)
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without words".to_owned())
}
