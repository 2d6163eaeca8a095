//! A disk that forgets, tears and refuses, and a finite source of chance.

use std::collections::{BTreeMap, BTreeSet};

use super::super::dump::{Dump, Dumped};
use super::super::*;
use base::{FileId, FileKind, Page, PageMemory};

/// splitmix64.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// A write that the device may still be working on.
pub(crate) struct Flying {
    pub(crate) tok: Token,
    pin: Pin,
    segment: u16,
    pos: u64,
    bytes: Vec<u8>,
}

pub(crate) struct Disk {
    /// What survives a power cut.
    pub(crate) files: BTreeMap<u16, Vec<u8>>,
    /// Sectors that are read back, but not yet stable.
    volatile: Vec<(u16, usize, Vec<u8>)>,
    pub(crate) flying: Vec<Flying>,
    /// Places of failed writes: the device accepts them again, and forgets them again.
    failed: BTreeSet<(u16, u64)>,
    pub(crate) unreadable: BTreeSet<(u16, u64)>,
    pub(crate) block_reads: BTreeMap<(u16, u64), u32>,
    pub(crate) synced: BTreeSet<u16>,
}

pub(crate) const SECTOR: usize = 512;

impl Disk {
    pub(crate) fn new() -> Self {
        Self {
            files: BTreeMap::new(),
            volatile: Vec::new(),
            flying: Vec::new(),
            failed: BTreeSet::new(),
            unreadable: BTreeSet::new(),
            block_reads: BTreeMap::new(),
            synced: BTreeSet::new(),
        }
    }

    pub(crate) fn existing(&self, config: &JournalConfig) -> Vec<(FileId, u64)> {
        let file = |(segment, bytes): (&u16, &Vec<u8>)| (config.file(*segment), bytes.len() as u64);
        self.files.iter().map(file).collect()
    }

    /// Performs an operation; writes stay in flight until [`Disk::land`].
    pub(crate) fn perform(&mut self, arena: &Arena, op: Op) -> Option<Done> {
        match op {
            Op::Write { tok, file, pos, span, pin, sync } => {
                assert!(sync && pos.is_multiple_of(4096) && span.len.is_multiple_of(4096));
                let bytes = arena.get(span).unwrap().to_vec();
                self.flying.push(Flying { tok, pin, segment: number(file), pos, bytes });
                None
            }
            Op::Read { tok, file, pos, mut into } => {
                let res = self.read(number(file), pos, Page::bytes_mut(&mut into));
                Some(Done::Filled { tok, buf: into, res })
            }
            Op::Sync { tok, file } => {
                self.synced.insert(number(file));
                let (stable, rest) =
                    self.volatile.drain(..).partition(|write| write.0 == number(file));
                self.volatile = rest;
                self.apply(stable);
                Some(Done::Synced { tok, res: Ok(()) })
            }
            Op::Create { tok, file, bytes } => {
                self.files.insert(number(file), vec![0; bytes as usize]);
                Some(Done::Created { tok, res: Ok(()) })
            }
            Op::WritePages { .. } => panic!("the journal writes from the arena only"),
        }
    }

    /// The `index`-th write in flight reaches stable storage.
    pub(crate) fn land(&mut self, index: usize) -> Done {
        let Flying { tok, pin, segment, pos, bytes } = self.flying.remove(index);
        if !self.failed.contains(&(segment, pos)) {
            self.apply(vec![(segment, pos as usize, bytes)]);
        }
        Done::Wrote { tok, pin, res: Ok(()) }
    }

    /// All writes in flight reach the cache, and nobody hears of it.
    pub(crate) fn land_in_cache(&mut self) {
        for flying in self.flying.drain(..) {
            self.volatile.push((flying.segment, flying.pos as usize, flying.bytes));
        }
    }

    /// The power fails, and nothing that was volatile is kept.
    pub(crate) fn lose_cache(&mut self) {
        self.volatile.clear();
    }

    /// The `index`-th write in flight fails, and none of it arrives.
    pub(crate) fn fail(&mut self, index: usize) -> Done {
        let Flying { tok, pin, segment, pos, .. } = self.flying.remove(index);
        self.failed.insert((segment, pos));
        Done::Wrote { tok, pin, res: Err(IoError::Errno(5)) }
    }

    /// The process is killed: each sector in flight is lost, or in the cache, or stable.
    pub(crate) fn kill(&mut self, chance: &mut Chance) {
        self.failed.clear();
        for flying in std::mem::take(&mut self.flying) {
            let survives = chance.below(101);
            for (index, sector) in flying.bytes.chunks(SECTOR).enumerate() {
                if chance.below(100) < survives {
                    let at = flying.pos as usize + index * SECTOR;
                    self.volatile.push((flying.segment, at, sector.to_vec()));
                }
            }
        }
    }

    /// The power fails after [`Disk::kill`]: each volatile sector is kept or dropped.
    pub(crate) fn cut_power(&mut self, chance: &mut Chance) {
        let kept = chance.below(101);
        let volatile = std::mem::take(&mut self.volatile);
        self.apply(volatile.into_iter().filter(|_| chance.below(100) < kept).collect());
    }

    /// Flips a bit.
    pub(crate) fn rot(&mut self, place: Place, byte: u64) {
        let at = (place.position + byte) as usize;
        self.files.get_mut(&place.segment).unwrap()[at] ^= 0x10;
    }

    fn apply(&mut self, writes: Vec<(u16, usize, Vec<u8>)>) {
        for (segment, at, bytes) in writes {
            let file = self.files.get_mut(&segment).unwrap();
            file[at..at + bytes.len()].copy_from_slice(&bytes);
        }
    }

    fn read(&mut self, segment: u16, pos: u64, into: &mut [u8]) -> Result<(), IoError> {
        let blocks = (pos..pos + into.len() as u64).step_by(4096).map(|at| (segment, at / 4096));
        let mut res = Ok(());
        for block in blocks {
            *self.block_reads.entry(block).or_default() += 1;
            if self.unreadable.contains(&block) {
                res = Err(IoError::Errno(5));
            }
        }
        let at = pos as usize;
        into.copy_from_slice(&self.files[&segment][at..at + into.len()]);
        for (from, start, bytes) in &self.volatile {
            if *from == segment && at <= *start && start + bytes.len() <= at + into.len() {
                into[start - at..start - at + bytes.len()].copy_from_slice(bytes);
            }
        }
        res
    }
}

pub(crate) fn arena(pages: usize) -> Arena {
    Arena::new(PageMemory::Heap(Page::boxed(pages)))
}

/// Runs a recovery to its end.
pub(crate) fn recover(
    disk: &mut Disk,
    arena: &mut Arena,
    config: &JournalConfig,
    evidence: Evidence,
) -> Result<Recovered, RecoveryError> {
    let mut recovery = Recovery::new(config.clone(), &disk.existing(config), evidence);
    while let Some(op) = recovery.poll_op() {
        let done = disk.perform(arena, op).unwrap_or_else(|| disk.land(disk.flying.len() - 1));
        recovery.done(arena, done).unwrap();
    }
    recovery.finish(arena)
}

/// What the disk holds, as `chiplog dump` sees it.
pub(crate) fn dump(disk: &mut Disk, config: &JournalConfig) -> Dumped {
    let mut dump = Dump::new(config.clone(), &disk.existing(config));
    let unused = arena(1);
    while let Some(op) = dump.poll_op() {
        dump.done(disk.perform(&unused, op).expect("a dump only reads")).unwrap();
    }
    dump.finish(Evidence::default())
}

fn number(file: FileId) -> u16 {
    let FileKind::Segment(number) = file.kind else { panic!("{file:?} is no segment") };
    number
}
