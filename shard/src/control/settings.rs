//! Which cluster a control shard belongs to, and who else does.

use core::time::Duration;

use base::NodeId;
use replication::cluster_log::Timing;
use replication::command::NodeRegistered;
use replication::detector::SUSPECT_MIN;
use replication::{LogSettings, Planted, Steward, Uuid};

/// See the module's description.
#[derive(Clone, Debug)]
pub struct ControlSettings {
    pub cluster: Uuid,
    /// How this node is registered.
    pub node: NodeRegistered,
    /// Its data cores.
    pub cores: u16,
    /// The nodes that shall vote in the cluster log: one, three or five.
    pub seats: Vec<NodeId>,
    /// All other nodes.
    pub peers: Vec<NodeId>,
    pub timing: Timing,
    /// The shortest silence of a shard that is suspicious.
    pub suspect_min: Duration,
    /// Drawn anew at each start.
    pub seed: u64,
    pub planted: Planted,
}

impl ControlSettings {
    /// A cluster of one node.
    #[must_use]
    pub fn alone(cluster: Uuid, node: NodeRegistered, cores: u16) -> Self {
        Self {
            cluster,
            cores,
            seats: vec![node.node],
            node,
            peers: Vec::new(),
            timing: Timing::default(),
            suspect_min: SUSPECT_MIN,
            seed: 0,
            planted: Planted::default(),
        }
    }

    pub(super) fn steward(&self) -> Steward {
        Steward::new(self.node.node, self.suspect_min, self.planted)
    }

    /// The part that the log needs.
    pub(super) fn of_log(&self) -> LogSettings {
        LogSettings {
            seats: self.seats.clone(),
            peers: self.peers.clone(),
            timing: self.timing,
            seed: self.seed,
            planted: self.planted,
            ..LogSettings::alone(self.cluster, self.node.node)
        }
    }
}
