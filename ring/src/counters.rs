//! What a core counts, read by the control core for metrics.

use core::sync::atomic::{AtomicU64, Ordering};

/// A number that one thread raises and others read. No lock prefix: there is one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, count: u64) {
        self.set(self.get().wrapping_add(count));
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// One core's counters, all since its start except where noted. Written by the core alone.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ReactorCounters {
    /// The thread's id, by which [`crate::cpu::io_workers`] finds its workers; 0 before the start.
    pub thread: Counter,
    /// Times that it took memory from the heap, as far as [`crate::CountingAllocator`] is in use.
    pub allocations: Counter,
    /// Times that the loop did something.
    pub turns: Counter,
    /// Times that it looked for work and found none, without sleeping.
    pub spins: Counter,
    /// Times that it slept.
    pub parks: Counter,
    /// System calls that submit, collect or sleep.
    pub enters: Counter,
    /// Operations begun.
    pub submissions: Counter,
    /// Completions taken.
    pub completions: Counter,
    /// Completions that belonged to no operation.
    pub strays: Counter,
    pub accepted: Counter,
    /// Connections to peers that came to stand.
    pub dialed: Counter,
    /// Connections closed at once because the core had its limit.
    pub refused: Counter,
    /// Connections open now.
    pub connections: Counter,
    pub received_bytes: Counter,
    pub receives: Counter,
    pub sent_bytes: Counter,
    /// Sends that ended well.
    pub sends: Counter,
    /// Receives that found no buffer and were begun again.
    pub starved: Counter,
    /// Arenas whose pages the kernel keeps at hand.
    pub registered_arenas: Counter,
    pub written_bytes: Counter,
    pub writes: Counter,
    /// Writes of journal frames that the kernel could not begin at once and gave to a worker thread.
    pub punts: Counter,
    /// Journal segments of this core, and the pieces (extents) that they lie in: a frame across two
    /// pieces waits for the file's exclusive lock.
    pub segments: Counter,
    pub segment_extents: Counter,
    pub read_bytes: Counter,
    pub reads: Counter,
    pub syncs: Counter,
    /// Files made.
    pub created: Counter,
    pub mail_in: Counter,
    pub mail_out: Counter,
    /// Messages that found their ring full and waited in the outbox.
    pub mail_delayed: Counter,
    /// Peers woken.
    pub nudges: Counter,
}

impl ReactorCounters {
    /// Counts segments, each by its number of extents.
    pub(crate) fn count_extents(&self, segments: impl Iterator<Item = u32>) {
        for extents in segments {
            self.segments.add(1);
            self.segment_extents.add(u64::from(extents));
        }
    }
}
