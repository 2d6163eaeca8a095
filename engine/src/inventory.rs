//! What an engine holds, piece by piece: for operators, not for the data path.

use base::{FileId, LogEnd, Offset, PAGE_BYTES, PartitionId, Seq};

use crate::bins::{Bin, BinState};
use crate::engine::Engine;
use crate::extent::Extent;
use crate::partition::Gap;

/// A bin file and how much of it is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BinSummary {
    pub file: FileId,
    pub state: BinState,
    /// How often it has been written anew.
    pub generation: u64,
    pub bytes: u64,
    /// Bytes of all extents in it.
    pub filled_bytes: u64,
    /// Bytes of extents that a partition still refers to.
    pub live_bytes: u64,
}

/// A stretch of a partition's batches in a bin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtentSummary {
    pub partition: PartitionId,
    pub base: Offset,
    /// One past its last record.
    pub end: Offset,
    pub file: FileId,
    /// Its first byte within the file.
    pub pos: u64,
    /// Bytes of its batches.
    pub bytes: u32,
    /// The youngest journal frame that was durable when it was written.
    pub stamp: Seq,
}

/// What [`Engine::accept_loss`] would write off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Offsets that hold, or may have held, records that are gone; ascending.
    pub ranges: Vec<Gap>,
    /// The offset that the next record would get.
    pub log_end: LogEnd,
}

impl Engine {
    /// Every bin that exists, ascending by number.
    #[must_use]
    pub fn bins(&self) -> Vec<BinSummary> {
        let Some(store) = self.store() else { return Vec::new() };
        let bins = store.bins.iter().filter(|(_, bin)| bin.state != BinState::Absent);
        bins.map(|(number, bin)| summary(bin, store.bins.file(number))).collect()
    }

    /// Every extent that a partition refers to, by partition and offset.
    #[must_use]
    pub fn extents(&self) -> Vec<ExtentSummary> {
        let Some(store) = self.store() else { return Vec::new() };
        let mut extents: Vec<_> = store
            .partitions
            .visible()
            .flat_map(|partition| partition.stored.extents().map(|extent| (partition.id, extent)))
            .map(|(id, extent)| located(id, extent, store.bins.file(extent.bin)))
            .collect();
        extents.sort_unstable_by_key(|extent| (extent.partition, extent.base));
        extents
    }

    /// The offsets of a partition whose loss was accepted, ascending.
    #[must_use]
    pub fn gaps(&self, id: PartitionId) -> &[Gap] {
        self.partition(id).map_or(&[], |partition| &partition.gaps)
    }

    /// What is known to be lost of a partition and not accepted yet: a halt, and extents that were
    /// found damaged when they were read. `None` if nothing is.
    #[must_use]
    pub fn loss(&self, id: PartitionId) -> Option<Loss> {
        let partition = self.partition(id)?;
        if partition.halt.is_none() && partition.lost.is_empty() {
            return None;
        }
        let (mut ranges, log_end) = partition.losses().into_ranges();
        ranges.retain(|gap| !partition.gaps.contains(gap));
        Some(Loss { ranges, log_end })
    }
}

fn summary(bin: &Bin, file: FileId) -> BinSummary {
    let bytes = |pages: u32| u64::from(pages) * PAGE_BYTES as u64;
    BinSummary {
        file,
        state: bin.state,
        generation: bin.generation,
        bytes: bytes(bin.pages),
        filled_bytes: bytes(bin.filled),
        live_bytes: bytes(bin.live_pages),
    }
}

fn located(partition: PartitionId, extent: &Extent, file: FileId) -> ExtentSummary {
    ExtentSummary {
        partition,
        base: extent.base,
        end: extent.end,
        file,
        pos: u64::from(extent.page) * PAGE_BYTES as u64,
        bytes: extent.len,
        stamp: extent.stamp,
    }
}
