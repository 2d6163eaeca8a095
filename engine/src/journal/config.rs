//! The size and pace of a journal.

use core::fmt;
use core::time::Duration;

use base::{FileId, FileKind, PAGE_BYTES, ShardId};

use super::frame::{Descriptor, FrameHeader};
use crate::Planted;

/// Fixed when the data folder is formatted, except `window`, `idle_seal` and `frame_max_bytes`.
#[derive(Clone, Debug)]
pub struct JournalConfig {
    pub shard: ShardId,
    /// Random; distinguishes this journal's frames from whatever else a disk may hold.
    pub id: u64,
    /// Bytes of one segment file: a multiple of 16 KiB, below 1 GiB.
    pub segment_bytes: u32,
    /// Segments that data may fill. At least 2.
    pub segments: u16,
    /// Further segments for control entries, so that a full journal can still be emptied.
    pub reserved_segments: u16,
    /// The largest frame: a multiple of 4096, at most a quarter of a segment.
    pub frame_max_bytes: u32,
    /// K: frames that may be in flight, 1–4.
    pub window: u8,
    /// How long the journal rests before an empty frame says that everything before it is durable.
    pub idle_seal: Duration,
    pub planted: Planted,
}

/// Why a [`JournalConfig`] cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigError {
    SegmentBytes(u32),
    Segments(u16),
    FrameMaxBytes { frame_max: u32, segment: u32 },
    Window(u8),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SegmentBytes(bytes) => {
                write!(f, "a journal segment of {bytes} bytes: use a multiple of 16384 below 1 GiB")
            }
            Self::Segments(count) => write!(f, "{count} journal segments: use at least 2"),
            Self::FrameMaxBytes { frame_max, segment } => write!(
                f,
                "journal frames of up to {frame_max} bytes: use a multiple of 4096, at most a \
                 quarter of a segment's {segment} bytes"
            ),
            Self::Window(frames) => {
                write!(f, "a journal window of {frames} frames: use 1, 2, 3 or 4")
            }
        }
    }
}

impl std::error::Error for ConfigError {}

impl JournalConfig {
    /// 512 MiB in 16 segments, two more for control entries, frames of at most 8 MiB, K = 2.
    #[must_use]
    pub fn new(shard: ShardId, id: u64) -> Self {
        Self {
            shard,
            id,
            segment_bytes: 32 << 20,
            segments: 16,
            reserved_segments: 2,
            frame_max_bytes: 8 << 20,
            window: 2,
            idle_seal: Duration::from_millis(1),
            planted: Planted::default(),
        }
    }

    /// Finds the first value out of range.
    pub fn check(&self) -> Result<(), ConfigError> {
        let page = PAGE_BYTES as u32;
        if self.segment_bytes == 0
            || !self.segment_bytes.is_multiple_of(4 * page)
            || 1 << 30 <= self.segment_bytes
        {
            return Err(ConfigError::SegmentBytes(self.segment_bytes));
        }
        if self.segments < 2 || u16::MAX - self.segments <= self.reserved_segments {
            return Err(ConfigError::Segments(self.segments));
        }
        if self.frame_max_bytes == 0
            || !self.frame_max_bytes.is_multiple_of(page)
            || self.segment_bytes / 4 < self.frame_max_bytes
        {
            let (frame_max, segment) = (self.frame_max_bytes, self.segment_bytes);
            return Err(ConfigError::FrameMaxBytes { frame_max, segment });
        }
        if !(1..=4).contains(&self.window) {
            return Err(ConfigError::Window(self.window));
        }
        Ok(())
    }

    /// The largest payload of one entry; `max.message.bytes` must not exceed it.
    #[must_use]
    pub fn max_payload_bytes(&self) -> u32 {
        self.frame_max_bytes - (size_of::<FrameHeader>() + size_of::<Descriptor>()) as u32
    }

    /// Data segments and reserved ones.
    #[must_use]
    pub fn all_segments(&self) -> u16 {
        self.segments + self.reserved_segments
    }

    pub(super) fn file(&self, segment: u16) -> FileId {
        FileId { shard: self.shard, kind: FileKind::Segment(segment) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_out_of_range_is_named() {
        let good = JournalConfig::new(ShardId(0), 1);
        assert_eq!(good.check(), Ok(()));
        assert_eq!(good.max_payload_bytes(), (8 << 20) - 136);
        let bad = JournalConfig { segment_bytes: 20_000, ..good.clone() };
        assert_eq!(bad.check(), Err(ConfigError::SegmentBytes(20_000)));
        let bad = JournalConfig { segments: 1, ..good.clone() };
        assert_eq!(bad.check(), Err(ConfigError::Segments(1)));
        let bad = JournalConfig { frame_max_bytes: (8 << 20) + 4096, ..good.clone() };
        assert!(matches!(bad.check(), Err(ConfigError::FrameMaxBytes { .. })));
        let bad = JournalConfig { window: 5, ..good };
        assert_eq!(bad.check(), Err(ConfigError::Window(5)));
    }
}
