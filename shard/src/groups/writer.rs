//! From writes to batches, and back from committed batches to what follows.
//!
//! ```text
//!  writes ──▶ queue ──▶ one batch per turn ──▶ the partition's log ──▶ committed: what follows
//!                                  flights, in order
//! ```

use std::collections::VecDeque;
use std::sync::Arc;

use base::batch::BatchBuilder;

use super::effects::{Then, Write};

/// A batch is closed at this size; one write is never split, whatever its size.
const BATCH_BYTES: usize = 256 << 10;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Writer {
    queue: VecDeque<Write>,
    /// Batches that are not committed yet.
    pub in_flight: usize,
    /// Bytes of batches behind the last snapshot.
    pub bytes_since_snapshot: usize,
}

/// A batch on its way, and what follows of each write in it.
#[derive(Debug)]
pub(super) struct Flight {
    pub batch: Vec<u8>,
    pub follows: Vec<(Arc<str>, Then)>,
}

impl Writer {
    pub(super) fn push(&mut self, write: Write) {
        self.queue.push_back(write);
    }

    /// The next batch of what is queued.
    pub(super) fn next_flight(&mut self, now_ms: i64) -> Option<Flight> {
        let mut builder = BatchBuilder::new(now_ms);
        let mut follows = Vec::new();
        while let Some(write) = self.queue.front() {
            let bytes: usize = write
                .records
                .iter()
                .map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len) + 32)
                .sum();
            if !builder.is_empty() && BATCH_BYTES < builder.len_bytes() + bytes {
                break;
            }
            let write = self.queue.pop_front()?;
            for (key, value) in &write.records {
                builder.push(now_ms, Some(key), value.as_deref(), &[]);
            }
            follows.push((write.group, write.then));
        }
        if builder.is_empty() {
            return None;
        }
        let batch = builder.build();
        self.bytes_since_snapshot += batch.len();
        self.in_flight += 1;
        Some(Flight { batch, follows })
    }

    /// Takes out what is queued, to be pushed again behind a snapshot.
    pub(super) fn begin_snapshot(&mut self) -> VecDeque<Write> {
        self.bytes_since_snapshot = 0;
        core::mem::take(&mut self.queue)
    }

    /// Gives up all that is queued.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (Arc<str>, Then)> {
        self.queue.drain(..).map(|write| (write.group, write.then))
    }
}
