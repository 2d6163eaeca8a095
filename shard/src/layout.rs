//! Who is where: cores, shards and the two views that clients see.

use base::{CoreId, NodeId, ShardId};

/// The fixed facts of a running node, the same on every core.
#[derive(Clone, Debug)]
pub struct Layout {
    pub node: NodeId,
    pub cluster_id: String,
    /// The core that hosts each shard.
    pub shard_cores: Vec<CoreId>,
    pub control: CoreId,
    /// Advertised address of the node view.
    pub node_address: Address,
    /// Advertised address of shard 0 in the core view; shard N stands at port + N.
    pub core_address: Address,
    pub rack: Option<String>,
}

/// A host and a port as clients are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub host: String,
    pub port: u16,
}

impl Layout {
    #[must_use]
    pub fn core_of(&self, shard: ShardId) -> CoreId {
        self.shard_cores[usize::from(shard.0)]
    }

    /// Whether `id` names this node in either view: admin calls accept both.
    #[must_use]
    pub fn is_own_broker(&self, id: i32) -> bool {
        let first = (i32::from(self.node.0) + 1) * 1000;
        let shards = self.shard_cores.len() as i32;
        id == i32::from(self.node.0) || (first..first + shards).contains(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        Layout {
            node: NodeId(0),
            cluster_id: "c".into(),
            shard_cores: vec![CoreId(0), CoreId(1)],
            control: CoreId(2),
            node_address: Address { host: "a".into(), port: 9092 },
            core_address: Address { host: "b".into(), port: 9100 },
            rack: None,
        }
    }

    #[test]
    fn a_node_knows_its_ids_of_both_views() {
        let layout = layout();
        assert!(layout.is_own_broker(0) && layout.is_own_broker(1001));
        assert!(!layout.is_own_broker(1) && !layout.is_own_broker(1002));
    }
}
