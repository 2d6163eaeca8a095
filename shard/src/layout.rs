//! Who is where: cores, shards and the two views that clients see.

use base::{CoreId, Listener, NodeId, ShardId};

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

/// One broker as a client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broker<'a> {
    pub id: i32,
    pub host: &'a str,
    pub port: u16,
    pub rack: Option<&'a str>,
}

impl Layout {
    #[must_use]
    pub fn core_of(&self, shard: ShardId) -> CoreId {
        self.shard_cores[usize::from(shard.0)]
    }

    /// Kafka's id of the broker that leads a partition of `shard`, in the view of `listener`:
    /// the node's number, or (node + 1) × 1000 + shard.
    #[must_use]
    pub fn broker_id(&self, listener: Listener, node: NodeId, shard: ShardId) -> i32 {
        match listener {
            Listener::Node => i32::from(node.0),
            Listener::Core(_) | Listener::Peer(_) => {
                (i32::from(node.0) + 1) * 1000 + i32::from(shard.0)
            }
        }
    }

    /// Every broker of the view.
    pub fn brokers(&self, listener: Listener) -> impl ExactSizeIterator<Item = Broker<'_>> {
        let count = match listener {
            Listener::Node => 1,
            Listener::Core(_) | Listener::Peer(_) => self.shard_cores.len(),
        };
        (0..count).map(move |index| self.broker(listener, ShardId(index as u16)))
    }

    /// The broker of this node that stands for `shard` in the view.
    #[must_use]
    pub fn broker(&self, listener: Listener, shard: ShardId) -> Broker<'_> {
        let (address, port) = match listener {
            Listener::Node => (&self.node_address, self.node_address.port),
            Listener::Core(_) | Listener::Peer(_) => {
                (&self.core_address, self.core_address.port + shard.0)
            }
        };
        let id = self.broker_id(listener, self.node, shard);
        Broker { id, host: &address.host, port, rack: self.rack.as_deref() }
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
    fn each_view_has_its_own_brokers() {
        let layout = layout();
        let node: Vec<_> = layout.brokers(Listener::Node).map(|b| (b.id, b.port)).collect();
        let cores: Vec<_> =
            layout.brokers(Listener::Core(ShardId(0))).map(|b| (b.id, b.port)).collect();
        assert_eq!(node, [(0, 9092)]);
        assert_eq!(cores, [(1000, 9100), (1001, 9101)]);
        assert!(layout.is_own_broker(0) && layout.is_own_broker(1001));
        assert!(!layout.is_own_broker(1) && !layout.is_own_broker(1002));
    }
}
