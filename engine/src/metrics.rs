//! Numbers for people and for whoever paces the shard.

use base::LatencyHistogram;

use crate::bins::BinState;
use crate::journal::{Counters, Occupancy};
use crate::store::{Pressure, Store};

/// What an engine holds and has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineMetrics {
    pub journal: Occupancy,
    pub journal_counters: Counters,
    /// A moving average of the journal's write times.
    pub journal_write_ns: u64,
    /// How long journal frames took from their submission to stable storage.
    pub journal_write_times: LatencyHistogram,
    /// How long the oldest entries of frames waited for their frame to be sealed.
    pub journal_frame_waits: LatencyHistogram,
    /// Frames that may be in flight (K).
    pub journal_window: u8,
    pub pressure: Pressure,
    pub arena_used_bytes: u64,
    pub arena_bytes: u64,
    /// Journal frames from the oldest that is needed to the newest.
    pub frames_needed: u64,
    pub partitions: u64,
    pub halted_partitions: u64,
    pub producers: u64,
    pub extents: u64,
    /// Bytes of batches that went to bins.
    pub destaged_bytes: u64,
    pub destage_failures: u64,
    /// Bytes appended again so that the journal's start could move.
    pub carried_bytes: u64,
    /// Extents that left a sparse bin.
    pub extents_moved: u64,
    pub bins_free: u32,
    /// Bins that hold something, or are being written.
    pub bins_used: u32,
    /// Neither is a bin free for what the journal may hold, nor can one be made.
    pub disk_full: bool,
    pub disk_reads: u64,
    pub disk_read_bytes: u64,
    pub disk_reads_waiting: u64,
    /// How long reads of bins took the device.
    pub disk_read_times: LatencyHistogram,
}

impl Store {
    pub(crate) fn metrics(&self) -> EngineMetrics {
        let free = self.bins.count(BinState::Free);
        let unused = self.bins.count(BinState::Absent) + self.bins.count(BinState::Creating) + free;
        let halted = self.partitions.visible().filter(|one| one.halt.is_some());
        EngineMetrics {
            journal: self.journal.occupancy(),
            journal_counters: self.journal.counters(),
            journal_write_ns: self.journal.average_write_ns(),
            journal_write_times: self.journal.write_times(),
            journal_frame_waits: self.journal.frame_waits(),
            journal_window: self.config.journal.window,
            pressure: self.pressure,
            arena_used_bytes: self.arena.used_bytes(),
            arena_bytes: self.arena.capacity_bytes(),
            frames_needed: self.journal.open_seq().0 - self.frames.start().0,
            partitions: self.partitions.len() as u64,
            halted_partitions: halted.count() as u64,
            producers: self.producers.len() as u64,
            extents: self.destage.extents,
            destaged_bytes: self.destage.bytes,
            destage_failures: self.destage.failures,
            carried_bytes: self.carry.bytes,
            extents_moved: self.evacuation.extents_moved,
            bins_free: free,
            bins_used: self.bins.len() - unused,
            disk_full: self.bins.is_full(self.config.reserved_bins()),
            disk_reads: self.reads.reads,
            disk_read_bytes: self.reads.bytes,
            disk_reads_waiting: self.reads.waiting() as u64,
            disk_read_times: self.reads.times,
        }
    }
}
