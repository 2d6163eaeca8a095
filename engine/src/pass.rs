//! A pass: extents go to one bin in large writes, one sync makes them stable, and only then the
//! journal says that they count.
//!
//! ```text
//!   filling ─▶ draining ─▶ syncing ─▶ committing ─┬─▶ over            the bin has room
//!   (writes)   (last one)  (fdatasync) (ExtentCommit) │
//!                                                 └─▶ footer ─▶ syncing ─▶ BinSealed ─▶ over
//! ```
//! There is one pass at a time. If the device refuses, the bin is written no more, and what was
//! staged stays in the journal.

use std::collections::VecDeque;

use base::{Done, IoError, Now, Offset, Op, PAGE_BYTES, Page, PartitionId, Seq, Token};
use zerocopy::IntoBytes;

use crate::bin_writer::BinWriter;
use crate::bins::{BinState, Bins, Class};
use crate::due::Due;
use crate::extent::{Extent, ExtentRecord};
use crate::footer;
use crate::journal::{EntryKind, JournalFull};
use crate::lifecycle::control;
use crate::page_pool::PagePool;
use crate::partitions::Slot;
use crate::store::Store;

/// The eighth byte of every token of a pass.
pub(crate) const TOKEN_TAG: u64 = 0x44 << 56;
const WRITE: Token = Token(TOKEN_TAG);
const SYNC: Token = Token(TOKEN_TAG | 1);

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Pass {
    bin: u32,
    writer: BinWriter,
    stage: PassStage,
    staged: Vec<(Staged, ExtentRecord)>,
    /// Of the staged, how many have their `ExtentCommit`.
    committed: usize,
    unsynced_bytes: u32,
    /// No extent fits any more: the footer is next.
    full: bool,
    failed: Option<IoError>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PassStage {
    Filling,
    Draining,
    Syncing,
    Committing,
    FooterDraining,
    FooterSyncing,
    Sealing,
    Over,
}

/// An extent on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Staged {
    pub slot: Slot,
    pub extent: Extent,
    /// Bin and page where it stood before, if it moves.
    pub from: Option<(u32, u32)>,
}

/// Why an extent could not be staged now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotStaged {
    /// The pass is at its limits, or past filling.
    Later,
    /// No bin is free.
    NoBin,
}

impl Store {
    /// Moves the pass on as far as it goes without a completion.
    pub(crate) fn advance_pass(&mut self, now: Now, nothing_more: bool) {
        let Some(mut pass) = self.destage.pass.take() else { return };
        while self.step_pass(now, &mut pass, nothing_more) {}
        if pass.stage == PassStage::Over {
            pass.staged.clear();
            self.destage.spare_staged = pass.staged;
        } else {
            self.destage.pass = Some(pass);
        }
    }

    pub(crate) fn pass_done(&mut self, now: Now, done: Done) {
        let pass = self.destage.pass.as_mut().expect("a pass with operations in flight stays");
        let res = match done {
            Done::WrotePages { pages, res, .. } => {
                pass.writer.wrote(pages, &mut self.pages);
                res
            }
            Done::Synced { res, .. } => {
                pass.synced();
                res
            }
            other => unreachable!("a pass never asks for {other:?}"),
        };
        if let Err(error) = res {
            pass.failed = Some(error);
        }
        self.advance_pass(now, false);
    }

    /// Makes sure that a pass of the class is filling and has room for an extent of `pages`.
    /// `paced`: it takes from the credit.
    pub(crate) fn prepare_pass(
        &mut self,
        now: Now,
        class: Class,
        pages: u32,
        paced: bool,
    ) -> Result<(), NotStaged> {
        if self.destage.pass.is_none() {
            self.begin_pass(now, class)?;
        }
        let starved = paced && self.is_starved();
        let writes_max = self.writes_max();
        let pass = self.destage.pass.as_mut().expect("begun");
        if self.bins.get(pass.bin).class != class && pass.stage == PassStage::Filling {
            pass.stage = PassStage::Draining;
        }
        if pass.stage != PassStage::Filling
            || self.config.unsynced_max_bytes <= pass.unsynced_bytes
            || writes_max <= pass.writer.in_flight
            || starved
        {
            return Err(NotStaged::Later);
        }
        if !self.bins.has_room(pass.bin, pass.staged.len(), pages) {
            assert!(0 < self.bins.get(pass.bin).filled, "{pages} pages fit no bin");
            pass.full = true;
            pass.stage = PassStage::Draining;
            return Err(NotStaged::Later);
        }
        Ok(())
    }

    /// Whether an extent has a chance to be staged now.
    pub(crate) fn pass_may_take(&self) -> bool {
        let accepts = |pass: &Pass| {
            pass.stage == PassStage::Filling
                && pass.unsynced_bytes < self.config.unsynced_max_bytes
                && pass.writer.in_flight < self.writes_max()
        };
        !self.is_starved() && self.destage.pass.as_ref().is_none_or(accepts)
    }

    fn begin_pass(&mut self, now: Now, class: Class) -> Result<(), NotStaged> {
        let bin = match self.bins.open_of(class) {
            Some(bin) => bin,
            None => self.open_bin(now, class)?,
        };
        let writer = BinWriter::new(self.bins.file(bin), WRITE, self.bins.get(bin).filled);
        self.destage.pass = Some(Pass {
            bin,
            writer,
            stage: PassStage::Filling,
            staged: core::mem::take(&mut self.destage.spare_staged),
            committed: 0,
            unsynced_bytes: 0,
            full: false,
            failed: None,
        });
        Ok(())
    }

    fn open_bin(&mut self, now: Now, class: Class) -> Result<u32, NotStaged> {
        if self.bins.table == Seq(0) {
            return Err(NotStaged::Later);
        }
        let bin = self.bins.open(class).ok_or(NotStaged::NoBin)?;
        if self.append_bin(now, EntryKind::BinOpened, bin, BinState::Open).is_err() {
            drop(self.bins.set_free(bin));
            return Err(NotStaged::Later);
        }
        Ok(bin)
    }

    /// One step of the pass; false if it must wait, or is over.
    fn step_pass(&mut self, now: Now, pass: &mut Pass, nothing_more: bool) -> bool {
        if pass.failed.is_some() {
            return self.abort_pass(pass);
        }
        match pass.stage {
            PassStage::Filling => {
                let worth_a_sync = self.config.unsynced_max_bytes <= pass.unsynced_bytes;
                if !worth_a_sync && !nothing_more {
                    return false;
                }
                pass.stage = PassStage::Draining;
            }
            PassStage::Draining => {
                pass.writer.flush(&mut self.pages, &mut self.ops);
                if 0 < pass.writer.in_flight {
                    return false;
                }
                self.ops.push_back(Op::Sync { tok: SYNC, file: self.bins.file(pass.bin) });
                pass.stage = PassStage::Syncing;
            }
            PassStage::Committing => return self.commit_staged(now, pass),
            PassStage::FooterDraining => {
                if 0 < pass.writer.in_flight {
                    return false;
                }
                self.ops.push_back(Op::Sync { tok: SYNC, file: self.bins.file(pass.bin) });
                pass.stage = PassStage::FooterSyncing;
            }
            PassStage::Sealing => return self.seal_bin(now, pass),
            PassStage::Syncing | PassStage::FooterSyncing | PassStage::Over => return false,
        }
        true
    }

    fn commit_staged(&mut self, now: Now, pass: &mut Pass) -> bool {
        while let Some((staged, record)) = pass.staged.get(pass.committed) {
            let entry = control(EntryKind::ExtentCommit, record.partition(), staged.extent.base);
            let payload = [record.as_bytes()];
            let Ok(placed) = self.journal.append(now, &mut self.arena, entry, &payload) else {
                return false;
            };
            self.frames.hold(placed.seq, placed.span);
            self.bins.get_mut(pass.bin).add_commit(*record, placed.seq);
            let Staged { slot, extent, from } = *staged;
            self.dues.push(placed.seq, Due::Stored { slot, extent, from });
            pass.committed += 1;
        }
        if pass.full {
            self.write_footer(pass);
            return true;
        }
        pass.stage = PassStage::Over;
        false
    }

    fn write_footer(&mut self, pass: &mut Pass) {
        let bin = self.bins.get_mut(pass.bin);
        bin.state = BinState::Sealing;
        let records: Vec<_> = bin.commits.iter().map(|commit| commit.record).collect();
        let footer_pages = footer::footer_pages(records.len());
        let first = bin.pages - footer_pages;
        let mut pages = self.pages.take(footer_pages as usize);
        footer::write(&mut pages, pass.bin, self.bins.owner(pass.bin), &records);
        pass.writer = BinWriter::new(self.bins.file(pass.bin), WRITE, first);
        pass.writer.put(Page::bytes(&pages), &mut self.pages, &mut self.ops);
        pass.writer.flush(&mut self.pages, &mut self.ops);
        self.pages.give(pages);
        pass.stage = PassStage::FooterDraining;
    }

    fn seal_bin(&mut self, now: Now, pass: &mut Pass) -> bool {
        let bin = pass.bin;
        let Ok(seq) = self.append_bin(now, EntryKind::BinSealed, bin, BinState::Sealed) else {
            return false;
        };
        self.dues.push(seq, Due::BinSealed { bin });
        pass.stage = PassStage::Over;
        false
    }

    /// The device refused: the bin is written no more, what was staged stays in the journal.
    fn abort_pass(&mut self, pass: &mut Pass) -> bool {
        let syncing = matches!(pass.stage, PassStage::Syncing | PassStage::FooterSyncing);
        if 0 < pass.writer.in_flight || syncing {
            return false;
        }
        self.destage.failures += 1;
        self.bins.get_mut(pass.bin).state = BinState::Worn;
        for (staged, _) in pass.staged.drain(pass.committed..) {
            let Some(partition) = self.partitions.get_mut(staged.slot) else { continue };
            if staged.from.is_none() {
                partition.marks.staged = partition.marks.staged.min(staged.extent.base);
            }
            self.enqueue(staged.slot);
        }
        pass.stage = PassStage::Over;
        false
    }

    /// Says something about one bin in the journal.
    pub(crate) fn append_bin(
        &mut self,
        now: Now,
        kind: EntryKind,
        bin: u32,
        state: BinState,
    ) -> Result<Seq, JournalFull> {
        let payload = self.bins.to_bytes(bin, state);
        let entry = control(kind, PartitionId::default(), Offset::ZERO);
        let placed = self.journal.append(now, &mut self.arena, entry, &[payload.as_bytes()])?;
        self.bins.said(bin, state);
        Ok(placed.seq)
    }
}

impl Pass {
    pub(crate) fn bin(&self) -> u32 {
        self.bin
    }

    /// Gives an extent its place in the bin and writes it there: its record, then `batches`.
    pub(crate) fn put<'a>(
        &mut self,
        bins: &mut Bins,
        partition: PartitionId,
        mut staged: Staged,
        batches: impl IntoIterator<Item = &'a [u8]>,
        (pool, ops): (&mut PagePool, &mut VecDeque<Op>),
    ) {
        let extent = &mut staged.extent;
        extent.bin = self.bin;
        extent.page = bins.get(self.bin).filled;
        bins.get_mut(self.bin).filled += extent.pages();
        self.unsynced_bytes += extent.pages() * PAGE_BYTES as u32;
        let record = extent.to_record(partition, bins.owner(self.bin));
        self.writer.put(record.as_bytes(), pool, ops);
        for batches in batches {
            self.writer.put(batches, pool, ops);
        }
        self.writer.pad(pool, ops);
        self.staged.push((staged, record));
    }

    fn synced(&mut self) {
        self.stage = match self.stage {
            PassStage::Syncing => PassStage::Committing,
            PassStage::FooterSyncing => PassStage::Sealing,
            other => unreachable!("synced while {other:?}"),
        };
    }
}
