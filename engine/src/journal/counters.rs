//! What a journal counts.

/// What a journal has done since it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Counters {
    pub frames: u64,
    /// Of the frames, those without entries.
    pub idle_seals: u64,
    pub entries: u64,
    /// Bytes that the entries which were not carried forward would take in frames of their own.
    pub appended_bytes: u64,
    /// Bytes of frames asked to be written, padding included.
    pub bytes: u64,
    pub writes_done: u64,
    pub write_ns_total: u64,
    pub write_ns_last: u64,
    /// Frames asked for and not yet written.
    pub in_flight: u32,
    pub failed_creations: u64,
}
