//! The shard's bins: which are free, which is written, how much of each is still alive.
//!
//! ```text
//!   absent ─▶ creating ─▶ free ─▶ open ─▶ sealing ─▶ sealed ─▶ freeing ─┐
//!                          ▲                (footer)   live = 0  (BinFree)│
//!                          └──────────────────────────────────────────────┘
//! ```
//! One bin is open per retention class, so that what a bin holds dies together. Each life of a bin
//! has a generation: what an earlier life left on the disk never passes for the present one's. The
//! table of states is itself in the journal, entry by entry and now and then as a whole.

use base::{FileId, FileKind, PAGE_BYTES, Seq, ShardId};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::extent::{Extent, ExtentRecord, Owner};
use crate::footer::footer_pages;

/// A bin of which less is alive is evacuated.
const SPARSE_PERCENT: u32 = 30;
/// The eighth byte of the token of every bin's creation.
pub(crate) const TOKEN_TAG: u64 = 0x42 << 56;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Bins {
    shard: ShardId,
    journal: u64,
    bin_bytes: u64,
    max: u32,
    bins: Vec<Bin>,
    /// The one freed last is written next: it is the likeliest to be in the device's cache.
    free: Vec<u32>,
    /// Bins that have no durable footer.
    open: Vec<u32>,
    creating: Option<u32>,
    /// No further bin can be made: the disk is full, or there are as many as may be.
    exhausted: bool,
    /// A creation is worth another attempt.
    retry: bool,
    /// The frame of the newest table that is durable; 0: none.
    pub(crate) table: Seq,
}

#[derive(Debug)]
pub(crate) struct Bin {
    pub state: BinState,
    /// What the newest entry in the journal says, durable or not: absent, free, open or sealed.
    said: BinState,
    pub generation: u64,
    pub class: Class,
    /// Size of the file.
    pub pages: u32,
    /// Pages of extents that a partition still refers to.
    pub live_pages: u32,
    /// Pages of all extents in it.
    pub filled: u32,
    /// Disk reads in flight: the bin is not written again before they end.
    pub readers: u32,
    /// The extents of a bin without a footer.
    pub commits: Vec<Commit>,
    /// No commit that is not being carried stands in an older frame.
    pub oldest_commit: Seq,
}

/// An extent that only an `ExtentCommit` speaks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Commit {
    pub record: ExtentRecord,
    /// The frame it stands in.
    pub seq: Seq,
    pub carrying: bool,
}

/// Where a bin is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinState {
    Absent,
    Creating,
    Free,
    Open,
    /// No extent is added any more; the footer is on its way.
    Sealing,
    Sealed,
    /// Nothing of it is alive; `BinFree` is on its way.
    Freeing,
    /// The device refused a write: what it holds is read, nothing is added.
    Worn,
}

/// How much of a bin is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vitality {
    /// Enough, or the bin has no footer yet.
    Dense,
    /// So little that it should move elsewhere.
    Sparse,
    Dead,
}

/// Partitions with about the same retention time: log₄ of the minutes. 255: for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Class(pub u8);

impl Class {
    pub(crate) const FOREVER: Self = Self(255);

    pub(crate) fn of(retention_ms: Option<u64>) -> Self {
        retention_ms.map_or(Self::FOREVER, |ms| Self(((ms / 60_000 + 1).ilog2() / 2) as u8))
    }
}

/// What an entry says about one bin: the payload of `BinOpened`, `BinSealed` and `BinFree`, and an
/// element of `BinTable`. Little-endian.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct BinBytes {
    bin: U32,
    state: u8,
    class: u8,
    reserved: [u8; 2],
    generation: U64,
}

impl Bins {
    pub(crate) fn new(shard: ShardId, journal: u64, bin_bytes: u64, max: u32) -> Self {
        Self {
            shard,
            journal,
            bin_bytes,
            max,
            bins: Vec::new(),
            free: Vec::new(),
            open: Vec::new(),
            creating: None,
            exhausted: false,
            retry: true,
            table: Seq(0),
        }
    }

    pub(crate) fn file(&self, bin: u32) -> FileId {
        FileId { shard: self.shard, kind: FileKind::Bin(bin) }
    }

    pub(crate) fn len(&self) -> u32 {
        self.bins.len() as u32
    }

    pub(crate) fn get(&self, bin: u32) -> &Bin {
        &self.bins[bin as usize]
    }

    pub(crate) fn get_mut(&mut self, bin: u32) -> &mut Bin {
        &mut self.bins[bin as usize]
    }

    /// The bin, made known as absent if it was not.
    pub(crate) fn known(&mut self, bin: u32) -> &mut Bin {
        if self.bins.len() <= bin as usize {
            self.bins.resize_with(bin as usize + 1, Bin::absent);
        }
        &mut self.bins[bin as usize]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Bin)> {
        self.bins.iter().enumerate().map(|(number, bin)| (number as u32, bin))
    }

    pub(crate) fn owner(&self, bin: u32) -> Owner {
        Owner { journal: self.journal, generation: self.get(bin).generation }
    }

    pub(crate) fn count(&self, state: BinState) -> u32 {
        self.bins.iter().filter(|bin| bin.state == state).count() as u32
    }

    pub(crate) fn free_count(&self) -> u32 {
        self.free.len() as u32
    }

    /// The open bin of a class.
    pub(crate) fn open_of(&self, class: Class) -> Option<u32> {
        let fits = |bin: &Bin| bin.state == BinState::Open && bin.class == class;
        self.open.iter().copied().find(|number| fits(self.get(*number)))
    }

    /// Begins the next life of a free bin that nobody reads.
    pub(crate) fn open(&mut self, class: Class) -> Option<u32> {
        let unread = |bin: &u32| self.bins[*bin as usize].readers == 0;
        let index = self.free.iter().rposition(unread)?;
        let number = self.free.remove(index);
        let bin = self.get_mut(number);
        bin.generation += 1;
        (bin.state, bin.class, bin.filled, bin.live_pages) = (BinState::Open, class, 0, 0);
        bin.oldest_commit = Seq(u64::MAX);
        self.open.push(number);
        Some(number)
    }

    /// Bins that have no durable footer.
    pub(crate) fn open_bins(&self) -> &[u32] {
        &self.open
    }

    /// A bin without a footer that replay found.
    pub(crate) fn reopen(&mut self, number: u32, commits: Vec<Commit>) {
        let bin = self.get_mut(number);
        let ends = commits.iter().map(|commit| commit.record.extent());
        bin.filled = ends.map(|extent| extent.page + extent.pages()).max().unwrap_or(0);
        bin.commits = commits;
        bin.rest();
        self.open.push(number);
    }

    /// The bin's footer is durable. Returns the commits that it takes over from.
    pub(crate) fn seal(&mut self, number: u32) -> Vec<Commit> {
        self.open.retain(|open| *open != number);
        let bin = self.get_mut(number);
        bin.state = BinState::Sealed;
        core::mem::take(&mut bin.commits)
    }

    /// Whether an open bin has room for an extent of `pages`, and for the footer behind it.
    pub(crate) fn has_room(&self, bin: u32, staged: usize, pages: u32) -> bool {
        let bin = self.get(bin);
        bin.filled + pages + footer_pages(bin.commits.len() + staged + 1) <= bin.pages
    }

    /// A partition refers to an extent from now on.
    pub(crate) fn retain(&mut self, extent: &Extent) {
        self.get_mut(extent.bin).live_pages += extent.pages();
    }

    /// A partition refers to an extent no more. Returns what its bin is then.
    pub(crate) fn release(&mut self, extent: &Extent) -> Vitality {
        let bin = self.get_mut(extent.bin);
        bin.live_pages = bin.live_pages.checked_sub(extent.pages()).expect("released once");
        bin.vitality()
    }

    /// The bin may be written again. Returns the commits that spoke for what it held.
    pub(crate) fn set_free(&mut self, number: u32) -> Vec<Commit> {
        self.open.retain(|open| *open != number);
        self.free.push(number);
        let bin = self.get_mut(number);
        bin.state = BinState::Free;
        core::mem::take(&mut bin.commits)
    }

    /// A bin without a footer, and not `busy`, of which nothing is alive or about to be, as far as
    /// frames up to `durable` tell.
    pub(crate) fn barren(&self, busy: Option<u32>, durable: Seq) -> Option<u32> {
        let is_barren = |number: &u32| {
            let bin = self.get(*number);
            matches!(bin.state, BinState::Open | BinState::Worn)
                && Some(*number) != busy
                && bin.live_pages == 0
                && bin.commits.iter().all(|commit| commit.seq <= durable)
        };
        self.open.iter().copied().find(is_barren)
    }

    /// The bin to create next, one at a time, so that `reserve` are free.
    pub(crate) fn start_creating(&mut self, reserve: u32) -> Option<(FileId, u64)> {
        if self.creating.is_some() || !self.retry || reserve <= self.free_count() {
            return None;
        }
        let absent = |(_, bin): &(u32, &Bin)| bin.state == BinState::Absent;
        let number = self.iter().find(absent).map_or(self.bins.len() as u32, |(number, _)| number);
        if self.max <= number {
            (self.exhausted, self.retry) = (true, false);
            return None;
        }
        let bytes = self.bin_bytes;
        let bin = self.known(number);
        (bin.state, bin.pages) = (BinState::Creating, (bytes / PAGE_BYTES as u64) as u32);
        self.creating = Some(number);
        Some((self.file(number), bytes))
    }

    pub(crate) fn created(&mut self, ok: bool) {
        let number = self.creating.take().expect("a creation is in progress");
        (self.exhausted, self.retry) = (!ok, ok);
        if ok {
            drop(self.set_free(number));
        } else {
            self.get_mut(number).state = BinState::Absent;
        }
    }

    /// Space may have been made since a creation failed.
    pub(crate) fn retry_creation(&mut self) {
        self.retry = true;
    }

    /// Whether fewer than `reserve` bins are free and no more can be made.
    pub(crate) fn is_full(&self, reserve: u32) -> bool {
        self.exhausted && self.free_count() < reserve
    }

    /// What an entry says that makes the bin free, open or sealed.
    pub(crate) fn to_bytes(&self, number: u32, state: BinState) -> BinBytes {
        let bin = self.get(number);
        BinBytes {
            bin: number.into(),
            state: state.to_u8(),
            class: bin.class.0,
            reserved: [0; 2],
            generation: bin.generation.into(),
        }
    }

    /// The entry went into the journal.
    pub(crate) fn said(&mut self, number: u32, state: BinState) {
        self.get_mut(number).said = state;
    }

    /// Writes the whole table down, as the journal would have it if it were read up to here.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        for (number, bin) in self.iter().filter(|(_, bin)| bin.said != BinState::Absent) {
            out.extend_from_slice(self.to_bytes(number, bin.said).as_bytes());
        }
    }

    /// Takes over what [`Bins::to_bytes`] or [`Bins::encode`] wrote, one or many. `None` if the bytes
    /// are neither.
    pub(crate) fn replay(&mut self, bytes: &[u8]) -> Option<()> {
        for one in <[BinBytes]>::ref_from_bytes(bytes).ok()? {
            let state = BinState::from_u8(one.state)?;
            let bin = self.known(one.bin.get());
            (bin.state, bin.said, bin.class) = (state, state, Class(one.class));
            bin.generation = one.generation.get();
        }
        Some(())
    }
}

impl Bin {
    fn absent() -> Self {
        Self {
            state: BinState::Absent,
            said: BinState::Absent,
            generation: 0,
            class: Class::FOREVER,
            pages: 0,
            live_pages: 0,
            filled: 0,
            readers: 0,
            commits: Vec::new(),
            oldest_commit: Seq(u64::MAX),
        }
    }

    pub(crate) fn add_commit(&mut self, record: ExtentRecord, seq: Seq) {
        self.commits.push(Commit { record, seq, carrying: false });
        self.oldest_commit = self.oldest_commit.min(seq);
    }

    /// Finds the oldest commit again.
    pub(crate) fn rest(&mut self) {
        let waiting = self.commits.iter().filter(|commit| !commit.carrying);
        self.oldest_commit = waiting.map(|commit| commit.seq).min().unwrap_or(Seq(u64::MAX));
    }

    pub(crate) fn vitality(&self) -> Vitality {
        match self.live_pages {
            _ if self.state != BinState::Sealed => Vitality::Dense,
            0 => Vitality::Dead,
            live if live * 100 < self.filled * SPARSE_PERCENT => Vitality::Sparse,
            _ => Vitality::Dense,
        }
    }
}

impl BinState {
    fn to_u8(self) -> u8 {
        match self {
            Self::Free => 1,
            Self::Open => 2,
            Self::Sealed => 3,
            other => unreachable!("the journal never says {other:?}"),
        }
    }

    fn from_u8(byte: u8) -> Option<Self> {
        [None, Some(Self::Free), Some(Self::Open), Some(Self::Sealed)]
            .get(byte as usize)
            .copied()?
    }
}
