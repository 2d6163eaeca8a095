//! From a shard's files to an open engine: the journal, then the bins, then the two joined.

use base::{Arena, Done, FileId, Now, Op};

use crate::config::EngineConfig;
use crate::engine::Phase;
use crate::journal::{Evidence, Recovered, Recovery, RecoveryError, RecoveryReport};
use crate::replay::Replay;
use crate::store::Store;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Restore {
    config: EngineConfig,
    /// `None` once it was handed on.
    arena: Option<Box<Arena>>,
    step: Step,
}

#[derive(Debug)]
enum Step {
    Journal(Box<Recovery>),
    /// Handed on.
    Over,
}

/// How a restoration ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub report: Option<RecoveryReport>,
    pub result: Result<Box<Store>, (Phase, Box<Arena>)>,
}

impl Restore {
    pub(crate) fn new(config: EngineConfig, arena: Arena, existing: &[(FileId, u64)]) -> Self {
        let evidence = Evidence { activated: config.activated, newest_stamp: None };
        let recovery = Recovery::new(config.journal.clone(), existing, evidence);
        Self { config, arena: Some(Box::new(arena)), step: Step::Journal(Box::new(recovery)) }
    }

    pub(crate) fn arena(&self) -> &Arena {
        self.arena.as_ref().expect("held until restoration is over")
    }

    pub(crate) fn poll_op(&mut self) -> Option<Op> {
        match &mut self.step {
            Step::Journal(recovery) => recovery.poll_op(),
            Step::Over => None,
        }
    }

    pub(crate) fn done(&mut self, _now: Now, done: Done) {
        let arena = self.arena.as_mut().expect("held until restoration is over");
        let left = match &mut self.step {
            Step::Journal(recovery) => recovery.done(arena, done),
            Step::Over => Err(done),
        };
        if let Err(done) = left {
            unreachable!("nobody asked for {done:?}");
        }
    }

    /// Goes on as far as it can without completions. The outcome, once there is one.
    pub(crate) fn advance(&mut self, now: Now) -> Option<Outcome> {
        if !matches!(&self.step, Step::Journal(recovery) if recovery.is_finished()) {
            return None;
        }
        let Step::Journal(recovery) = core::mem::replace(&mut self.step, Step::Over) else {
            unreachable!("just matched");
        };
        let mut arena = self.arena.take().expect("held until restoration is over");
        Some(match recovery.finish(&mut arena) {
            Ok(recovered) => self.open(now, arena, recovered),
            Err(error) => failed(arena, error),
        })
    }

    fn open(&self, now: Now, arena: Box<Arena>, recovered: Recovered) -> Outcome {
        let mut replay = Replay::run(now, &self.config, &recovered, &arena);
        let report = Some(recovered.report().clone());
        let journal = match recovered.into_journal() {
            Err(recovered) if self.config.accept_loss => recovered.accept_loss(),
            journal => journal,
        };
        let result = match journal {
            Ok(journal) => {
                replay.finish();
                Ok(Box::new(Store::new(self.config.clone(), *arena, journal, replay)))
            }
            Err(recovered) => Err((Phase::Halted(recovered.report().verdict), arena)),
        };
        Outcome { report, result }
    }
}

fn failed(arena: Box<Arena>, error: RecoveryError) -> Outcome {
    Outcome { report: None, result: Err((Phase::Failed(error), arena)) }
}
