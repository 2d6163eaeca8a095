//! From a shard's files to an open engine: the journal, then the bins, then the two joined.
//!
//! ```text
//!  journal ─▶ entries, states of bins ─┬─▶ sealed bins: footer
//!                                      ├─▶ open bins: what stands behind the last extent?
//!                                      └─▶ free bins: what stands at their start?
//!  an extent that depends on a frame which the journal lacks: its tail was lost
//! ```

use std::collections::VecDeque;

use base::{Arena, Done, FileId, FileKind, Now, Op, PAGE_BYTES, Page, Seq, Token};

use crate::bins::BinState;
use crate::config::EngineConfig;
use crate::engine::Phase;
use crate::extent::ExtentRecord;
use crate::footer::{self, FooterError};
use crate::journal::{Evidence, Recovered, Recovery, RecoveryReport};
use crate::replay::Replay;
use crate::store::Store;

/// Pages of a footer read at first: enough for 2,700 extents.
const FOOTER_PAGES: u32 = 64;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Restore {
    config: EngineConfig,
    existing: Vec<(u32, u64)>,
    /// `None` once it was handed on.
    arena: Option<Box<Arena>>,
    step: Step,
}

#[derive(Debug)]
enum Step {
    Journal(Box<Recovery>),
    Bins(Box<BinScan>),
    Over,
}

/// Reads what every bin says about itself.
#[derive(Debug)]
struct BinScan {
    recovered: Recovered,
    replay: Replay,
    waiting: VecDeque<(u32, u32)>,
    in_flight: usize,
    reads_max: usize,
    newest_stamp: Option<Seq>,
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
        let bin = |(file, bytes): &(FileId, u64)| match file.kind {
            FileKind::Bin(number) => Some((number, *bytes)),
            FileKind::Segment(_) => None,
        };
        Self {
            existing: existing.iter().filter_map(bin).collect(),
            config,
            arena: Some(Box::new(arena)),
            step: Step::Journal(Box::new(recovery)),
        }
    }

    pub(crate) fn arena(&self) -> &Arena {
        self.arena.as_ref().expect("held until restoration is over")
    }

    pub(crate) fn poll_op(&mut self) -> Option<Op> {
        match &mut self.step {
            Step::Journal(recovery) => recovery.poll_op(),
            Step::Bins(scan) => scan.poll_op(),
            Step::Over => None,
        }
    }

    pub(crate) fn done(&mut self, done: Done) {
        let arena = self.arena.as_mut().expect("held until restoration is over");
        match &mut self.step {
            Step::Journal(recovery) => {
                if let Err(done) = recovery.done(arena, done) {
                    unreachable!("nobody asked for {done:?}");
                }
            }
            Step::Bins(scan) => scan.done(&self.config, done),
            Step::Over => unreachable!("nobody asked for {done:?}"),
        }
    }

    /// Goes on as far as it can without completions. The outcome, once there is one.
    pub(crate) fn advance(&mut self, now: Now) -> Option<Outcome> {
        let ready = match &self.step {
            Step::Journal(recovery) => recovery.is_finished(),
            Step::Bins(scan) => scan.is_finished(),
            Step::Over => false,
        };
        if !ready {
            return None;
        }
        match core::mem::replace(&mut self.step, Step::Over) {
            Step::Journal(recovery) => {
                let arena = self.arena.as_mut().expect("held until restoration is over");
                match recovery.finish(arena) {
                    Ok(recovered) => {
                        let scan =
                            BinScan::new(now, &self.config, recovered, arena, &self.existing);
                        self.step = Step::Bins(Box::new(scan));
                        self.advance(now)
                    }
                    Err(error) => Some(Outcome {
                        report: None,
                        result: Err((Phase::Failed(error), self.take_arena())),
                    }),
                }
            }
            Step::Bins(scan) => Some(self.open(now, *scan)),
            Step::Over => None,
        }
    }

    fn open(&mut self, now: Now, scan: BinScan) -> Outcome {
        let BinScan { mut recovered, mut replay, newest_stamp, .. } = scan;
        if let Some(stamp) = newest_stamp.max(replay.newest_stamp()) {
            recovered.heed_stamp(stamp);
        }
        let report = Some(recovered.report().clone());
        let halts = recovered.report().verdict.halts();
        let journal = match recovered.into_journal() {
            Err(recovered) if self.config.accept_loss => recovered.accept_loss(),
            journal => journal,
        };
        let arena = self.take_arena();
        let result = match journal {
            Ok(journal) => {
                replay.finish(&arena);
                let mut store = Store::new(self.config.clone(), *arena, journal, replay);
                if halts {
                    store.suspect_all(now);
                }
                Ok(Box::new(store))
            }
            Err(recovered) => Err((Phase::Halted(recovered.report().verdict), arena)),
        };
        Outcome { report, result }
    }

    fn take_arena(&mut self) -> Box<Arena> {
        self.arena.take().expect("held until restoration is over")
    }
}

impl BinScan {
    fn new(
        now: Now,
        config: &EngineConfig,
        recovered: Recovered,
        arena: &Arena,
        existing: &[(u32, u64)],
    ) -> Self {
        let mut replay = Replay::run(now, config, &recovered, arena);
        for (number, bytes) in existing {
            replay.found_bin(*number, *bytes);
        }
        replay.settle_bins();
        let mut scan = Self {
            recovered,
            replay,
            waiting: VecDeque::new(),
            in_flight: 0,
            reads_max: config.reads_max.max(1),
            newest_stamp: None,
        };
        for number in 0..scan.replay.bins.len() {
            scan.plan(number, existing);
        }
        scan
    }

    /// Decides what to read of a bin: from which page, to its end or one page.
    fn plan(&mut self, number: u32, existing: &[(u32, u64)]) {
        let bin = self.replay.bins.get(number);
        let is_there = existing.iter().any(|(there, _)| *there == number);
        let pages = bin.pages;
        match bin.state {
            BinState::Sealed | BinState::Open if !is_there => {
                self.replay.damaged_bins.push(number);
            }
            BinState::Sealed => {
                self.waiting.push_back((number, pages.saturating_sub(FOOTER_PAGES)));
            }
            BinState::Free | BinState::Open if is_there && bin.filled < pages => {
                self.waiting.push_back((number, bin.filled));
            }
            _ => {}
        }
    }

    fn poll_op(&mut self) -> Option<Op> {
        if self.reads_max <= self.in_flight {
            return None;
        }
        let (number, page) = self.waiting.pop_front()?;
        self.in_flight += 1;
        let bin = self.replay.bins.get(number);
        let pages = if bin.state == BinState::Sealed { bin.pages - page } else { 1 };
        Some(Op::Read {
            tok: Token(u64::from(number)),
            file: self.replay.bins.file(number),
            pos: u64::from(page) * PAGE_BYTES as u64,
            into: Page::boxed(pages as usize),
        })
    }

    fn done(&mut self, config: &EngineConfig, done: Done) {
        let Done::Filled { tok, buf, res } = done else {
            unreachable!("nobody asked for {done:?}");
        };
        self.in_flight -= 1;
        let number = tok.0 as u32;
        let bytes = Page::bytes(&buf);
        let bin = self.replay.bins.get(number);
        if bin.state != BinState::Sealed {
            // Unreadable: then it testifies nothing.
            let record = ExtentRecord::read(bytes, config.journal.id).filter(|_| res.is_ok());
            let stamp = record
                .filter(|record| record.extent().bin == number)
                .filter(|record| bin.generation <= record.generation())
                .map(|record| record.extent().stamp);
            self.newest_stamp = self.newest_stamp.max(stamp);
            return;
        }
        let owner = self.replay.bins.owner(number);
        let footer = footer::read(bytes, number, owner);
        match (res, footer) {
            (Ok(()), Ok(records)) => self.replay.found_footer(number, records),
            (Ok(()), Err(FooterError::Short { pages })) if pages <= bin.pages => {
                self.waiting.push_back((number, bin.pages - pages));
            }
            _ => self.replay.damaged_bins.push(number),
        }
    }

    fn is_finished(&self) -> bool {
        self.waiting.is_empty() && self.in_flight == 0
    }
}
