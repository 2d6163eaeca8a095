//! What operations do to the files when they complete, and what may go wrong with them.

use std::ops::Range;

use base::crc::crc32c;
use base::{FileId, FileKind, Instant, IoError, Op, PAGE_BYTES, ShardId};

use super::platter::{Platter, SECTOR_BYTES};
use super::{Disk, Strike};
use crate::trace::Trace;

pub(super) const EIO: IoError = IoError::Errno(5);
pub(super) const ENOSPC: IoError = IoError::Errno(28);

/// A write on its way to the device after its process is gone, or past it.
#[derive(Debug)]
pub(super) struct Landing {
    pub(super) file: FileId,
    pub(super) at: usize,
    pub(super) bytes: Vec<u8>,
}

impl Disk {
    /// Flips a bit in a file for which `may_rot`, half of the time where something was written
    /// lately.
    pub fn rot(&mut self, now: Instant, may_rot: impl Fn(FileKind) -> bool, trace: &mut Trace) {
        let recent: Vec<_> = self.recent.iter().filter(|(file, _)| may_rot(file.kind)).collect();
        let files: Vec<_> = self.files.iter().filter(|(file, _)| may_rot(file.kind)).collect();
        let (file, at) = if !recent.is_empty() && self.random.chance(500_000) {
            *recent[self.random.below(recent.len() as u64) as usize]
        } else if files.is_empty() {
            return;
        } else {
            let (file, platter) = files[self.random.below(files.len() as u64) as usize];
            (*file, self.random.below(platter.len() as u64) as usize / PAGE_BYTES * PAGE_BYTES)
        };
        let at = at + self.random.below(PAGE_BYTES as u64) as usize;
        self.rot_at(now, file, at, trace);
    }

    /// Flips a bit of byte `at` of a file.
    pub fn rot_at(&mut self, now: Instant, file: FileId, at: usize, trace: &mut Trace) {
        let bit = self.random.below(8) as u32;
        self.injected.beyond += 1;
        trace.say(now, "rotted a bit", format_args!("{file:?} byte {at} bit {bit}"));
        self.strikes.push(Strike { file, bytes: at..at + 1 });
        self.platter(file).rot(at, bit);
    }

    /// Lets writes of the process before land, whatever its successor has put there since: those for
    /// which `may_land` says so, the others never do.
    pub fn land_late(
        &mut self,
        now: Instant,
        mut may_land: impl FnMut(FileId, Range<usize>) -> bool,
        trace: &mut Trace,
    ) {
        for Landing { file, at, bytes } in std::mem::take(&mut self.late) {
            let range = at..at + bytes.len();
            if may_land(file, range.clone()) {
                self.injected.beyond += 1;
                trace.say(now, "landed a zombie write late", format_args!("{file:?} at {at}"));
                self.strikes.push(Strike { file, bytes: range });
                self.platter(file).write_stable(at, &bytes);
            }
        }
    }

    /// What a read of a file would return now, if nothing forbade it.
    #[must_use]
    pub fn peek(&self, file: FileId, range: Range<usize>) -> &[u8] {
        self.files.get(&file).expect("only files that are there are looked at").peek(range)
    }

    /// Puts `bytes` on stable storage while no process looks; returns what stood there.
    pub fn overwrite(&mut self, file: FileId, at: usize, bytes: &[u8]) -> Vec<u8> {
        let before = self.peek(file, at..at + bytes.len()).to_vec();
        self.platter(file).write_stable(at, bytes);
        before
    }

    pub(super) fn write(
        &mut self,
        now: Instant,
        mut write: Landing,
        sync: bool,
        trace: &mut Trace,
    ) -> Result<(), IoError> {
        let (file, at, len) = (write.file, write.at, write.bytes.len());
        if self.random.chance(self.knobs.write_error) {
            trace.say(now, "failed a write", format_args!("{file:?} at {at}"));
            self.injected.errors += 1;
            self.refused.insert((file, at), crc32c(&write.bytes));
            let mut random = self.random.fork();
            self.cache(&write, |_| random.chance(500_000));
            return Err(EIO);
        }
        if self.is_retry(&write) && self.random.chance(self.knobs.retry_lies) {
            trace.say(now, "believed a retry", format_args!("{file:?} at {at}"));
            self.cache(&write, |_| true);
            let written = self.writes;
            self.platter(file).forsake(written);
            return Ok(());
        }
        if PAGE_BYTES < len && self.random.chance(self.knobs.write_short) {
            let got = self.random.below((len / PAGE_BYTES) as u64) as usize * PAGE_BYTES;
            trace.say(now, "cut a write short", format_args!("{file:?} at {at}, {got} bytes"));
            self.injected.errors += 1;
            self.refused.insert((file, at), crc32c(&write.bytes));
            self.cache(&write, |sector| sector * SECTOR_BYTES < got);
            return Err(IoError::Short { wanted: len as u32, got: got as u32 });
        }
        if self.random.chance(self.knobs.misdirect) {
            // Never ahead in the same file, nor where another write is about to land: that one
            // would hide it again.
            let stray = self.random.within(0..=(at / PAGE_BYTES) as u64) as usize * PAGE_BYTES;
            if stray != at && !self.is_busy(file, stray..stray + len) {
                trace.say(now, "misdirected", format_args!("{file:?} from {at} to {stray}"));
                self.injected.beyond += 1;
                self.strikes.extend([stray, at].map(|at| Strike { file, bytes: at..at + len }));
                write.at = stray;
            }
        }
        if sync && !self.lies(now, file, trace) {
            self.note_recent(file, write.at);
            self.platter(file).write_stable(write.at, &write.bytes);
        } else {
            self.cache(&write, |_| true);
        }
        Ok(())
    }

    /// Whether the same bytes were refused at the same place before: what fails is not clean, and a
    /// device (or a page cache) that calls it so has nothing to do when it is written again.
    fn is_retry(&self, write: &Landing) -> bool {
        let refused = self.refused.get(&(write.file, write.at));
        refused.is_some_and(|crc| *crc == crc32c(&write.bytes))
    }

    pub(super) fn read(
        &mut self,
        now: Instant,
        file: FileId,
        pos: u64,
        into: &mut [u8],
        trace: &mut Trace,
    ) -> Result<(), IoError> {
        let from = pos as usize;
        if self.random.chance(self.knobs.read_error) {
            let at = from + self.random.below(into.len() as u64) as usize;
            trace.say(now, "lost a sector", format_args!("{file:?} at {at}"));
            self.injected.beyond += 1;
            self.strikes.push(Strike { file, bytes: at..at + 1 });
            self.platter(file).lose_sector(at);
        }
        match self.platter(file).read(from..from + into.len()) {
            Some(bytes) => {
                into.copy_from_slice(bytes);
                Ok(())
            }
            None => {
                trace.say(now, "failed a read", format_args!("{file:?} at {pos}"));
                Err(EIO)
            }
        }
    }

    pub(super) fn sync(
        &mut self,
        now: Instant,
        file: FileId,
        until: u64,
        trace: &mut Trace,
    ) -> Result<(), IoError> {
        if self.random.chance(self.knobs.sync_error) {
            trace.say(now, "failed a sync", format_args!("{file:?}"));
            self.injected.errors += 1;
            self.platter(file).forsake(until);
            return Err(EIO);
        }
        if !self.lies(now, file, trace) {
            self.platter(file).sync(until);
        }
        Ok(())
    }

    pub(super) fn create(
        &mut self,
        now: Instant,
        file: FileId,
        bytes: u64,
        trace: &mut Trace,
    ) -> Result<(), IoError> {
        assert!(!self.files.contains_key(&file), "{file:?} was created twice");
        let used: usize = self.files.values().map(Platter::len).sum();
        let pages = (used as u64 + bytes) / PAGE_BYTES as u64;
        if self.pages_max.is_some_and(|max| max < pages) {
            self.full = true;
            trace.say(now, "ran out of space", format_args!("{file:?}, {bytes} bytes"));
            self.injected.errors += 1;
            return Err(ENOSPC);
        }
        self.files.insert(file, Platter::zeroed(bytes as usize));
        Ok(())
    }

    /// Whether a flush that is claimed to be done was not.
    ///
    /// The control shard's drive is honest: what topics it forgot, its data shards would mix up.
    fn lies(&mut self, now: Instant, file: FileId, trace: &mut Trace) -> bool {
        let honest = file.shard == ShardId::CONTROL;
        let lies = !honest && self.random.chance(self.knobs.lying_flush);
        if lies {
            self.injected.beyond += 1;
            trace.say(now, "lied about a flush", format_args!(""));
        }
        lies
    }

    pub(super) fn cache(&mut self, write: &Landing, taken: impl FnMut(usize) -> bool) {
        let number = self.writes;
        self.writes += 1;
        self.note_recent(write.file, write.at);
        self.platter(write.file).write(write.at, &write.bytes, number, taken);
    }

    /// Whether a write in flight touches `range` of `file`.
    fn is_busy(&self, file: FileId, range: Range<usize>) -> bool {
        self.in_flight.values().any(|flight| match &flight.op {
            Op::Write { file: other, pos, span, .. } => {
                let pos = *pos as usize;
                *other == file && pos < range.end && range.start < pos + span.len as usize
            }
            Op::WritePages { file: other, pos, pages, .. } => {
                let (pos, len) = (*pos as usize, pages.len() * PAGE_BYTES);
                *other == file && pos < range.end && range.start < pos + len
            }
            Op::Read { .. } | Op::Sync { .. } | Op::Create { .. } => false,
        })
    }

    fn note_recent(&mut self, file: FileId, at: usize) {
        if self.recent.len() == 64 {
            self.recent.pop_front();
        }
        self.recent.push_back((file, at));
    }
}
