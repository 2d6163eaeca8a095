//! Retention: moving log starts up by age and by size, and forgetting silent producers.
//!
//! Age counts from the largest timestamp of an extent or a run, as in Kafka, but never from later
//! than the broker's own clock saw it: a timestamp from the far future keeps nothing for ever.

use core::time::Duration;

use base::{Instant, Now, Offset};

use crate::partition::Partition;
use crate::partitions::Slot;
use crate::store::Store;

/// Every partition is looked at this often, one after the other.
const ROUND: Duration = Duration::from_secs(10);
/// Partitions looked at in one turn.
const TURN_PARTITIONS: usize = 256;
/// Pause between two turns of one round.
const PAUSE: Duration = Duration::from_millis(20);
const EXPIRED_PRODUCERS_MAX: usize = 1024;

/// Where the round stands.
#[derive(Debug, Default)]
pub(crate) struct Retention {
    next_slot: usize,
    due: Instant,
}

impl Retention {
    pub(crate) fn due(&self) -> Instant {
        self.due
    }
}

impl Store {
    /// Looks at the next partitions, if it is time to.
    pub(crate) fn retain(&mut self, now: Now) {
        if now.mono < self.retention.due {
            return;
        }
        let first = self.retention.next_slot;
        let last = (first + TURN_PARTITIONS).min(self.partitions.slot_count());
        for index in first..last {
            let expired = self
                .partitions
                .at(index)
                .and_then(|(slot, partition)| Some((slot, expired_before(partition, now.wall.0)?)));
            if let Some((slot, before)) = expired
                && !self.expire(now, slot, before)
            {
                // No room for the entry: go on here next time.
                self.retention.next_slot = index;
                self.retention.due = now.mono.plus(PAUSE);
                return;
            }
        }
        let over = last == self.partitions.slot_count();
        self.retention.next_slot = if over { 0 } else { last };
        self.retention.due = now.mono.plus(if over { ROUND } else { PAUSE });
        let silent_since = now.wall.0.saturating_sub(self.config.producer_expiry_ms);
        self.producers.expire(silent_since, EXPIRED_PRODUCERS_MAX);
        if over {
            self.bins.retry_creation();
        }
    }

    fn expire(&mut self, now: Now, slot: Slot, before: Offset) -> bool {
        let Some(partition) = self.partitions.get(slot) else { return true };
        let id = partition.id;
        !self.partitions.is_visible(slot) || self.delete_records(now, id, before).is_ok()
    }
}

/// Where the log start should be, if not where it is. Of a replicated partition only the leader says.
fn expired_before(partition: &Partition, now_ms: i64) -> Option<Offset> {
    if partition.settings.replicated && partition.reign.is_none() {
        return None;
    }
    let mut before = partition.log_start.0;
    let mut rest_bytes = partition.bytes() - deleted_bytes(partition);
    for (end, bytes, from_ms) in pieces(partition) {
        if !is_expired(partition, from_ms, now_ms) && !is_surplus(partition, rest_bytes, bytes) {
            break;
        }
        rest_bytes -= bytes;
        before = end;
    }
    (partition.log_start.0 < before).then_some(before)
}

/// Bytes before the log start that are still held: the word for their deletion is not durable yet.
fn deleted_bytes(partition: &Partition) -> u64 {
    let start = partition.log_start.0;
    let extents = partition.stored.extents().map(|one| (one.end, u64::from(one.len)));
    let runs = partition.tail.runs().map(|run| (run.end, u64::from(run.span.len)));
    let deleted = extents.chain(runs).take_while(|(end, _)| *end <= start);
    deleted.map(|(_, bytes)| bytes).sum()
}

/// What can expire, oldest first: end, bytes, and the time from which its age counts.
fn pieces(partition: &Partition) -> impl Iterator<Item = (Offset, u64, i64)> {
    let start = partition.log_start.0;
    let settled = partition.settled();
    let extents = partition.stored.extents();
    let extents = extents.map(|one| (one.end, u64::from(one.len), one.retention_from_ms()));
    // A run's own time of arrival is not kept: the partition's newest is late enough.
    let newest = partition.last_append_ms;
    let arrived = move |max: i64| if max < 0 { newest } else { max.min(newest) };
    let runs = partition.tail.runs().filter(move |run| run.end <= settled);
    let runs = runs.map(move |run| (run.end, u64::from(run.span.len), arrived(run.max_timestamp)));
    extents.chain(runs).skip_while(move |(end, ..)| *end <= start)
}

fn is_expired(partition: &Partition, from_ms: i64, now_ms: i64) -> bool {
    let retention = partition.settings.retention_ms;
    retention.is_some_and(|ms| (ms as i128) < i128::from(now_ms) - i128::from(from_ms))
}

fn is_surplus(partition: &Partition, rest_bytes: u64, bytes: u64) -> bool {
    partition.settings.retention_bytes.is_some_and(|limit| limit + bytes <= rest_bytes)
}
