//! Who a member of the cluster log is, and how long it waits.

use core::time::Duration;

use base::NodeId;

use super::message::APPEND_BYTES_MAX;
use crate::Uuid;

/// See the module's description.
#[derive(Clone, Debug)]
pub struct LogSettings {
    pub cluster: Uuid,
    /// This node.
    pub node: NodeId,
    /// The nodes that shall vote: at the first start of the cluster all of them must be there; later
    /// the leader admits those that are not yet, or no longer, voters. At most five.
    pub seats: Vec<NodeId>,
    /// All other nodes. Without any, the log of one voter leads from its start.
    pub peers: Vec<NodeId>,
    pub timing: Timing,
    /// Bytes of entries in one message, unless its first entry alone is longer.
    pub append_bytes_max: usize,
    /// Spreads elections; drawn anew at each start.
    pub seed: u64,
    pub planted: crate::Planted,
}

/// The waits of a member.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// A leader lets no more time pass between two messages to a member.
    pub heartbeat: Duration,
    /// A member takes its leader for alive so long.
    pub silence_min: Duration,
    /// By then a member that heard nothing stands for election, and a leader that hears no
    /// majority steps down.
    pub silence_max: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(40),
            silence_min: Duration::from_millis(200),
            silence_max: Duration::from_millis(400),
        }
    }
}

impl LogSettings {
    /// A cluster of one node.
    #[must_use]
    pub fn alone(cluster: Uuid, node: NodeId) -> Self {
        Self {
            cluster,
            node,
            seats: vec![node],
            peers: Vec::new(),
            timing: Timing::default(),
            append_bytes_max: APPEND_BYTES_MAX,
            seed: 0,
            planted: crate::Planted::default(),
        }
    }

    pub(super) fn is_alone(&self) -> bool {
        self.peers.is_empty()
    }
}

/// Spreads waits: splitmix64 from a seed that was given.
#[derive(Debug)]
pub(super) struct Jitter(u64);

impl Jitter {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Somewhere from `min` to below `max`.
    pub(super) fn between(&mut self, min: Duration, max: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        let span = u64::try_from(max.saturating_sub(min).as_nanos()).unwrap_or(u64::MAX);
        min + Duration::from_nanos(if span == 0 { 0 } else { bits % span })
    }
}
