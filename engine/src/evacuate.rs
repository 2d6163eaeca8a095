//! Evacuation: what little is alive in a sparse bin moves, so that the bin can be written again.
//!
//! ```text
//!   sealed bin, live < 30 %            open bin
//!   ┌──┬──┬──┬──┬──┬──┬──┐             ┌──┬──┬─ ─
//!   │  │▓▓│  │  │  │▓▓│  │ ── read ──▶ │▓▓│▓▓│      then ExtentCommit, durable: the partition
//!   └──┴──┴──┴──┴──┴──┴──┘             └──┴──┴─ ─   refers to the copy, the bin is dead
//! ```
//! One bin at a time, one extent at a time: nobody waits for it.

use base::{Done, Now, Op, PAGE_BYTES, Page, Token};

use crate::bins::Vitality;
use crate::disk_reads::{self, Ended, ReadToken, Wanted};
use crate::extent::{Extent, ExtentRecord};
use crate::footer::{self, FooterError};
use crate::partitions::Slot;
use crate::read::Purpose;
use crate::store::Store;

/// The eighth byte of the token of a footer's read.
pub(crate) const TOKEN_TAG: u64 = 0x45 << 56;
/// Pages of a footer read at first.
const FOOTER_PAGES: u32 = 64;

/// The bin that is being emptied.
#[derive(Debug, Default)]
pub(crate) struct Evacuation {
    current: Option<Current>,
    /// Bins that may have become sparse.
    candidates: Vec<u32>,
    pub(crate) extents_moved: u64,
}

#[derive(Debug)]
struct Current {
    bin: u32,
    generation: u64,
    records: Vec<ExtentRecord>,
    next: usize,
    step: Step,
}

#[derive(Debug)]
enum Step {
    ReadingFooter,
    Choosing,
    Reading(ReadToken),
    /// Read, and waiting for a place.
    Placing(Slot, Extent, Box<[Page]>),
}

impl Evacuation {
    fn suggest(&mut self, bin: u32) {
        if !self.candidates.contains(&bin) {
            self.candidates.push(bin);
        }
    }

    /// Whether an extent is on its way to the pass.
    pub(crate) fn is_reading(&self) -> bool {
        self.current.as_ref().is_some_and(|current| matches!(current.step, Step::Reading(_)))
    }
}

impl Store {
    /// Moves on as far as it goes without a completion.
    pub(crate) fn evacuate(&mut self, now: Now) {
        if self.evacuation.current.is_none() {
            self.choose_bin();
        }
        while self.step_evacuation(now) {}
    }

    /// The footer of the bin that is to be emptied was read.
    pub(crate) fn footer_read(&mut self, done: Done) {
        let Done::Filled { buf, res, .. } = done else {
            unreachable!("a footer is only read: {done:?}");
        };
        let current = self.evacuation.current.as_mut().expect("it waits for its footer");
        let bin = current.bin;
        let owner = self.bins.owner(bin);
        let stale = owner.generation != current.generation;
        match (res, footer::read(Page::bytes(&buf), bin, owner)) {
            (Ok(()), Ok(records)) if !stale => {
                current.records = records.to_vec();
                current.step = Step::Choosing;
            }
            (Ok(()), Err(FooterError::Short { pages })) if !stale => self.read_footer(bin, pages),
            // Not readable now: the bin keeps what it has.
            _ => self.evacuation.current = None,
        }
        self.pages.give(buf);
    }

    /// An extent of the bin was read.
    pub(crate) fn extent_to_move(&mut self, now: Now, ended: Ended<Purpose>) {
        let Ended { token, wanted, pages, result } = ended;
        match &mut self.evacuation.current {
            Some(current) if matches!(current.step, Step::Reading(of) if of == token) => {
                current.step = match result {
                    Ok(()) => Step::Placing(wanted.slot, wanted.extent, pages),
                    // It cannot move, so neither can the bin be emptied; the others may still go.
                    Err(_) => Step::Choosing,
                };
            }
            _ => self.pages.give(pages),
        }
        self.evacuate(now);
    }

    /// A bin lost an extent, or was sealed.
    pub(crate) fn bin_is(&mut self, bin: u32, vitality: Vitality) {
        match vitality {
            Vitality::Dense => {}
            Vitality::Sparse => self.evacuation.suggest(bin),
            Vitality::Dead => self.dead_bins.push(bin),
        }
    }

    fn choose_bin(&mut self) {
        let Some(bin) = self.evacuation.candidates.pop() else { return };
        let about = self.bins.get(bin);
        if about.vitality() == Vitality::Sparse {
            let generation = about.generation;
            let step = Step::ReadingFooter;
            let records = Vec::new();
            self.evacuation.current = Some(Current { bin, generation, records, next: 0, step });
            self.read_footer(bin, FOOTER_PAGES);
        }
    }

    fn read_footer(&mut self, bin: u32, pages: u32) {
        let all = self.bins.get(bin).pages;
        let pages = pages.min(all);
        self.ops.push_back(Op::Read {
            tok: Token(TOKEN_TAG),
            file: self.bins.file(bin),
            pos: u64::from(all - pages) * PAGE_BYTES as u64,
            into: self.pages.take(pages as usize),
        });
    }

    /// One step; false if it must wait, or there is nothing to do.
    fn step_evacuation(&mut self, now: Now) -> bool {
        let Some(mut current) = self.evacuation.current.take() else { return false };
        match current.step {
            Step::Choosing => {
                let Some(record) = current.records.get(current.next).copied() else { return false };
                current.next += 1;
                if let Some(wanted) = self.alive(&record) {
                    if let Some(token) = self.reads.request(&mut self.bins, wanted) {
                        current.step = Step::Reading(token);
                    } else {
                        current.next -= 1;
                        self.evacuation.current = Some(current);
                        return false;
                    }
                }
                self.evacuation.current = Some(current);
                true
            }
            Step::Placing(slot, extent, pages) => {
                let batches = disk_reads::batches(&extent, &pages);
                if self.stage_moved(now, slot, extent, batches).is_ok() {
                    self.evacuation.extents_moved += 1;
                    self.pages.give(pages);
                    current.step = Step::Choosing;
                    self.evacuation.current = Some(current);
                    return true;
                }
                current.step = Step::Placing(slot, extent, pages);
                self.evacuation.current = Some(current);
                false
            }
            Step::ReadingFooter | Step::Reading(_) => {
                self.evacuation.current = Some(current);
                false
            }
        }
    }

    /// The extent of a record, if a partition still refers to it.
    fn alive(&self, record: &ExtentRecord) -> Option<Wanted<Purpose>> {
        let slot = self.partitions.slot(record.partition())?;
        let stored = self.partitions.get(slot)?.stored.at_or_behind(record.extent().base)?;
        let same = *stored == record.extent();
        same.then_some(Wanted { slot, extent: *stored, purpose: Purpose::Move })
    }
}
