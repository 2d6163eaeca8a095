//! One file of the simulated disk, sector by sector.
//!
//! ```text
//!            sector 0   1     2     3
//!  view        C       b2    c     D      what a read returns
//!  volatile            b1,b2 c            completed writes that a power cut may undo, oldest first
//!  media       C       b0    c0    D      what is on stable storage
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::random::Random;

/// Bytes that a device writes whole or not at all.
pub(super) const SECTOR_BYTES: usize = 512;

#[derive(Debug)]
pub(super) struct Platter {
    view: Vec<u8>,
    media: Vec<u8>,
    volatile: BTreeMap<usize, Vec<Version>>,
    /// Sectors that cannot be read until they are written again.
    unreadable: BTreeSet<usize>,
}

/// What one write put into a sector.
#[derive(Clone, Debug)]
struct Version {
    write: u64,
    bytes: [u8; SECTOR_BYTES],
    /// A failed sync has passed over it: no later one makes it stable.
    forsaken: bool,
}

/// What becomes of a volatile write when the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Kept,
    Dropped,
    /// Each sector for itself.
    Torn,
}

impl Platter {
    /// `len` zero bytes, all stable.
    pub(super) fn zeroed(len: usize) -> Self {
        assert_eq!(len % SECTOR_BYTES, 0);
        // Not one cloned from the other: untouched, neither takes memory.
        Self {
            view: vec![0; len],
            media: vec![0; len],
            volatile: BTreeMap::new(),
            unreadable: BTreeSet::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.view.len()
    }

    pub(super) fn peek(&self, range: Range<usize>) -> &[u8] {
        &self.view[range]
    }

    /// What a read of `range` returns; `None` if a sector of it cannot be read.
    pub(super) fn read(&self, range: Range<usize>) -> Option<&[u8]> {
        let mut sectors = self.unreadable.range(sectors_of(&range));
        if sectors.next().is_some() { None } else { Some(&self.view[range]) }
    }

    /// Puts sectors of `bytes` into the volatile cache as write number `write`; `taken` says which
    /// of them arrive.
    pub(super) fn write(
        &mut self,
        at: usize,
        bytes: &[u8],
        write: u64,
        mut taken: impl FnMut(usize) -> bool,
    ) {
        for (index, sector) in bytes.chunks_exact(SECTOR_BYTES).enumerate() {
            if taken(index) {
                let place = at / SECTOR_BYTES + index;
                let version = Version {
                    write,
                    bytes: sector.try_into().expect("chunks are exact"),
                    forsaken: false,
                };
                self.volatile.entry(place).or_default().push(version);
                self.show(place, sector);
            }
        }
    }

    /// Puts `bytes` on stable storage, ahead of whatever the cache still held for their sectors.
    pub(super) fn write_stable(&mut self, at: usize, bytes: &[u8]) {
        let range = at..at + bytes.len();
        self.media[range.clone()].copy_from_slice(bytes);
        self.view[range.clone()].copy_from_slice(bytes);
        for place in sectors_of(&range) {
            self.volatile.remove(&place);
            self.unreadable.remove(&place);
        }
    }

    /// Makes every write before `until` stable, except forsaken ones.
    pub(super) fn sync(&mut self, until: u64) {
        let media = &mut self.media;
        self.volatile.retain(|place, versions| {
            let covered = |version: &&Version| version.write < until && !version.forsaken;
            if let Some(last) = versions.iter().rev().find(covered) {
                media[bytes_of(*place)].copy_from_slice(&last.bytes);
                let write = last.write;
                versions.retain(|version| write < version.write);
            }
            !versions.is_empty()
        });
    }

    /// What a failed sync leaves: the cache believes that everything is clean.
    pub(super) fn forsake(&mut self, until: u64) {
        for version in self.volatile.values_mut().flatten() {
            version.forsaken |= version.write < until;
        }
    }

    /// Decides for every volatile write whether it survives, and forgets the cache. Of a sector
    /// with several surviving versions, `reorder` may keep another than the last.
    pub(super) fn cut_power(
        &mut self,
        random: &mut Random,
        mut fate_of: impl FnMut(&mut Random, u64) -> Fate,
        reorder: u64,
    ) {
        for (place, mut versions) in std::mem::take(&mut self.volatile) {
            versions.retain(|version| match fate_of(random, version.write) {
                Fate::Kept => true,
                Fate::Dropped => false,
                Fate::Torn => random.chance(500_000),
            });
            if let Some(last) = versions.len().checked_sub(1) {
                let kept = if random.chance(reorder) {
                    random.below(versions.len() as u64) as usize
                } else {
                    last
                };
                self.media[bytes_of(place)].copy_from_slice(&versions[kept].bytes);
            }
            // Everywhere else the view is what is stable.
            self.view[bytes_of(place)].copy_from_slice(&self.media[bytes_of(place)]);
        }
    }

    /// Writes that a power cut could still undo.
    pub(super) fn volatile_writes(&self) -> impl Iterator<Item = u64> {
        self.volatile.values().flatten().map(|version| version.write)
    }

    /// Flips a bit of a byte for good.
    pub(super) fn rot(&mut self, at: usize, bit: u32) {
        self.media[at] ^= 1 << bit;
        self.view[at] ^= 1 << bit;
    }

    /// Makes the sector around byte `at` unreadable until it is written.
    pub(super) fn lose_sector(&mut self, at: usize) {
        self.unreadable.insert(at / SECTOR_BYTES);
    }

    fn show(&mut self, place: usize, sector: &[u8]) {
        self.view[bytes_of(place)].copy_from_slice(sector);
        self.unreadable.remove(&place);
    }
}

fn sectors_of(range: &Range<usize>) -> Range<usize> {
    range.start / SECTOR_BYTES..range.end.div_ceil(SECTOR_BYTES)
}

fn bytes_of(sector: usize) -> Range<usize> {
    sector * SECTOR_BYTES..(sector + 1) * SECTOR_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: fn(usize) -> bool = |_| true;

    fn after_cut(mut platter: Platter, fate: Fate) -> Vec<u8> {
        platter.cut_power(&mut Random::new(1), |_, _| fate, 0);
        platter.view
    }

    #[test]
    fn a_completed_write_is_read_but_not_stable() {
        let mut platter = Platter::zeroed(1024);
        platter.write(512, &[7; 512], 1, ALL);
        assert_eq!(platter.read(512..1024), Some(&[7; 512][..]));
        assert_eq!(after_cut(platter, Fate::Dropped), [0; 1024]);
    }

    #[test]
    fn a_sync_covers_only_earlier_writes() {
        let mut platter = Platter::zeroed(1024);
        platter.write(0, &[1; 1024], 1, ALL);
        platter.write(0, &[2; 512], 2, ALL);
        platter.sync(2);
        assert_eq!(platter.volatile_writes().collect::<Vec<_>>(), [2]);
        assert_eq!(after_cut(platter, Fate::Dropped), [1; 1024]);
    }

    #[test]
    fn a_stable_write_is_not_undone_by_an_older_volatile_one() {
        let mut platter = Platter::zeroed(512);
        platter.write(0, &[1; 512], 1, ALL);
        platter.write_stable(0, &[2; 512]);
        assert_eq!(after_cut(platter, Fate::Kept), [2; 512]);
    }

    #[test]
    fn what_a_failed_sync_passed_over_is_never_stable() {
        let mut platter = Platter::zeroed(512);
        platter.write(0, &[1; 512], 1, ALL);
        platter.forsake(2);
        platter.sync(2);
        assert_eq!(platter.read(0..512), Some(&[1; 512][..]), "the cache still shows it");
        assert_eq!(after_cut(platter, Fate::Dropped), [0; 512]);
    }

    #[test]
    fn a_synced_write_is_not_undone_by_a_forsaken_one() {
        let mut platter = Platter::zeroed(512);
        platter.write(0, &[1; 512], 1, ALL);
        platter.forsake(2);
        platter.write(0, &[2; 512], 2, ALL);
        platter.sync(3);
        assert_eq!(after_cut(platter, Fate::Kept), [2; 512]);
    }

    #[test]
    fn a_torn_write_leaves_some_sectors() {
        let mut platter = Platter::zeroed(64 * 512);
        platter.write(0, &[9; 64 * 512], 1, ALL);
        let left = after_cut(platter, Fate::Torn).iter().filter(|byte| **byte == 9).count();
        assert!(0 < left && left < 64 * 512 && left % 512 == 0, "{left}");
    }

    #[test]
    fn an_unreadable_sector_heals_when_written() {
        let mut platter = Platter::zeroed(1024);
        platter.lose_sector(600);
        assert_eq!((platter.read(0..1024), platter.read(0..512)), (None, Some(&[0; 512][..])));
        platter.write(512, &[1; 512], 1, ALL);
        assert!(platter.read(0..1024).is_some());
    }
}
