//! Sizes and times of replication.

use core::time::Duration;

use crate::mutant::Planted;

/// What a [`super::ReplicaSet`] is told once.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// A stream that says nothing for so long says that it lives.
    pub heartbeat: Duration,
    /// Bytes sent to one follower's shard and not acked.
    pub window_bytes: u64,
    /// Of these, for followers that catch up.
    pub bulk_window_bytes: u64,
    /// What followers that catch up may take per second and stream.
    pub bulk_bytes_per_s: u64,
    /// Bytes of batches in one message; a longer batch goes alone.
    pub append_bytes_max: u32,
    /// A follower that was level with the log end so lately is in sync.
    pub insync_lag_max: Duration,
    /// A follower that is busy or does not know the partition yet is asked again after that.
    pub retry: Duration,
    /// The same for one that is halted, or listens to a newer leader.
    pub retry_hopeless: Duration,
    /// What the cluster log does not say yet is announced again after that.
    pub announce: Duration,
    pub planted: Planted,
}

impl Default for Settings {
    /// Heartbeats of 10 ms, 8 MiB in flight, catch-up at 64 MiB/s.
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(10),
            window_bytes: 8 << 20,
            bulk_window_bytes: 2 << 20,
            bulk_bytes_per_s: 64 << 20,
            append_bytes_max: 256 << 10,
            insync_lag_max: Duration::from_secs(10),
            retry: Duration::from_millis(10),
            retry_hopeless: Duration::from_millis(500),
            announce: Duration::from_secs(1),
            planted: Planted::default(),
        }
    }
}

impl Settings {
    /// The throttle counts in stretches of that length.
    pub(super) fn bulk_stretch(&self) -> Duration {
        Duration::from_millis(5)
    }

    pub(super) fn bulk_stretch_bytes(&self) -> u64 {
        (self.bulk_bytes_per_s / 200).max(1)
    }
}
