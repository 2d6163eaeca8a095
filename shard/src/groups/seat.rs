//! A coordinator in its partition: waiting for the epoch to open, reading the log, or serving.

use core::time::Duration;

use base::{Batch as LogBatch, Epoch, Instant, Now, Offset, batch};

use super::coordinator::Coordinator;
use super::mutant::Planted;
use super::settings::GroupSettings;

/// Before what failed is tried again.
const RETRY: Duration = Duration::from_millis(20);

/// See the module's description.
#[derive(Debug)]
pub(super) struct Seat {
    /// The epoch that the shard leads the partition in.
    pub epoch: Epoch,
    pub coordinator: Coordinator,
    pub phase: Phase,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// The epoch is not open yet.
    Waiting,
    Reading(Reading),
    Serving,
}

/// How far the log is read.
#[derive(Debug)]
pub(super) struct Reading {
    pub next: Offset,
    /// The log's end when the epoch was opened: all of it must be committed and read.
    pub end: Offset,
    bytes: usize,
    /// A question is with the shard.
    pub asked: bool,
    /// Nothing is committed at `next`: it is watched for.
    pub parked: bool,
    /// Nothing is asked before.
    pub not_before: Instant,
}

impl Seat {
    pub(super) fn new(epoch: Epoch, seed: u128, planted: Planted) -> Self {
        Self { epoch, coordinator: Coordinator::new(seed, planted), phase: Phase::Waiting }
    }

    /// The epoch is open: the log from `start` to `end` is to be read.
    pub(super) fn begin(&mut self, now: Now, settings: &GroupSettings, start: Offset, end: Offset) {
        self.phase = Phase::Reading(Reading {
            next: start,
            end,
            bytes: 0,
            asked: false,
            parked: false,
            not_before: Instant::default(),
        });
        self.finish_if_read(now, settings);
    }

    /// Takes whole batches in, the first of which may start before what is wanted.
    pub(super) fn read(&mut self, now: Now, settings: &GroupSettings, mut bytes: &[u8]) {
        let Phase::Reading(reading) = &mut self.phase else { return };
        reading.asked = false;
        reading.parked = bytes.is_empty();
        while let Ok((log_batch, rest)) = LogBatch::parse_prefix(bytes) {
            bytes = rest;
            reading.bytes += log_batch.bytes().len();
            for record in batch::records(log_batch.records()) {
                let offset = log_batch.base_offset().plus(record.offset_delta.into());
                if reading.next <= offset {
                    self.coordinator.load(record.key, record.value);
                }
            }
            reading.next = reading.next.max(log_batch.end_offset());
        }
        self.finish_if_read(now, settings);
    }

    /// The question failed: it is put again a little later.
    pub(super) fn retry(&mut self, now: Now) {
        if let Phase::Reading(reading) = &mut self.phase {
            reading.asked = false;
            reading.parked = false;
            reading.not_before = now.mono.plus(RETRY);
        }
    }

    /// Something is committed where nothing was.
    pub(super) fn wake(&mut self) {
        if let Phase::Reading(reading) = &mut self.phase {
            reading.asked = false;
            reading.parked = false;
        }
    }

    fn finish_if_read(&mut self, now: Now, settings: &GroupSettings) {
        let Phase::Reading(reading) = &self.phase else { return };
        if reading.end <= reading.next {
            let bytes = reading.bytes;
            self.phase = Phase::Serving;
            self.coordinator.loaded(now, settings, bytes);
        }
    }

    /// Whether questions are taken.
    pub(super) fn serves(&self) -> bool {
        matches!(self.phase, Phase::Serving)
    }

    /// When there is something to do without being told.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Waiting => None,
            Phase::Reading(reading) if reading.asked => None,
            Phase::Reading(reading) => Some(reading.not_before),
            Phase::Serving => self.coordinator.next_timeout(),
        }
    }
}

#[cfg(test)]
mod tests {
    use base::batch::BatchBuilder;

    use super::*;
    use crate::groups::record::{Key, OffsetValue};

    fn log_of(offsets: core::ops::Range<i64>) -> Vec<u8> {
        let mut log = Vec::new();
        for offset in offsets {
            let key = Key::Offset { group: "g", topic: "t", partition: 0 }.encode();
            let value = OffsetValue {
                offset,
                leader_epoch: -1,
                metadata: "".into(),
                committed_ms: 1,
                expires_ms: None,
            };
            let mut builder = BatchBuilder::new(0);
            builder.push(0, Some(&key), Some(&value.encode()), &[]);
            let mut batch = builder.build();
            batch[..8].copy_from_slice(&offset.to_be_bytes());
            log.extend(batch);
        }
        log
    }

    #[test]
    fn questions_are_taken_once_all_of_the_log_is_read() {
        let (now, settings) = (Now::default(), GroupSettings::default());
        let mut seat = Seat::new(Epoch(3), 1, Planted::default());
        assert!(!seat.serves(), "the epoch is not open");
        seat.begin(now, &settings, Offset(2), Offset(5));
        assert!(!seat.serves() && seat.next_timeout().is_some());
        // The first batch lies before what is wanted; the last one is not there yet.
        seat.read(now, &settings, &log_of(1..4));
        assert!(!seat.serves());
        seat.read(now, &settings, &[]);
        let parked = |seat: &Seat| matches!(&seat.phase, Phase::Reading(reading) if reading.parked);
        assert!(parked(&seat), "it waits for what is not committed yet");
        seat.wake();
        assert!(!parked(&seat));
        seat.retry(now);
        assert!(seat.next_timeout().is_some_and(|at| now.mono < at));
        seat.read(now, &settings, &log_of(4..5));
        assert!(seat.serves());
        assert_eq!(seat.coordinator.list().count(), 1);
    }

    #[test]
    fn an_empty_log_is_read_at_once() {
        let mut seat = Seat::new(Epoch(3), 1, Planted::default());
        seat.begin(Now::default(), &GroupSettings::default(), Offset(0), Offset(0));
        assert!(seat.serves());
    }
}
