//! Every broker of the cluster as one of the two views shows it: nodes, or the shards of nodes.

use base::{Listener, NodeId, ShardId};
use replication::{ClusterState, Node, Partition, Placement};

/// One broker as a client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broker<'a> {
    pub id: i32,
    pub host: &'a str,
    pub port: u16,
    pub rack: Option<&'a str>,
    /// It is taken for dead or out of reach.
    pub is_fenced: bool,
}

/// Kafka's id of the broker that stands for a shard in the view of `listener`: the node's number,
/// or (node + 1) × 1000 + shard.
#[must_use]
pub fn broker_id(listener: Listener, at: Placement) -> i32 {
    if let Listener::Core(_) = listener {
        return (i32::from(at.node.0) + 1) * 1000 + i32::from(at.shard.0);
    }
    i32::from(at.node.0)
}

/// What a broker id of either view names: a node, or one of its shards.
pub(crate) fn named_by(id: i32) -> Option<(NodeId, Option<ShardId>)> {
    let id = u16::try_from(id).ok()?;
    Some(match id {
        0..1000 => (NodeId(id), None),
        _ => (NodeId(id / 1000 - 1), Some(ShardId(id % 1000))),
    })
}

/// All brokers of the view, by id.
pub fn brokers(state: &ClusterState, listener: Listener) -> Vec<Broker<'_>> {
    let node_view = |node| vec![node_broker(node)];
    let core_view = |node| shard_brokers(node).collect();
    let of_node =
        |node| if let Listener::Core(_) = listener { core_view(node) } else { node_view(node) };
    state.nodes().flat_map(of_node).collect()
}

/// The leader that clients are sent to: none while electing, and none that is known to be down.
pub(crate) fn reachable_leader(state: &ClusterState, partition: &Partition) -> Option<Placement> {
    let placement = partition.leader?.placement;
    (!is_down(state, placement)).then_some(placement)
}

/// Whether the shard has yet to start, or is taken for dead.
pub(crate) fn is_down(state: &ClusterState, placement: Placement) -> bool {
    !state.is_up(placement)
}

fn node_broker(node: &Node) -> Broker<'_> {
    let known = &node.registered;
    Broker {
        id: i32::from(known.node.0),
        host: &known.host,
        port: known.port,
        rack: known.rack.as_deref(),
        is_fenced: !node.shards.is_empty() && node.shards.iter().all(|shard| shard.fenced),
    }
}

fn shard_brokers(node: &Node) -> impl Iterator<Item = Broker<'_>> {
    let known = &node.registered;
    node.shards.iter().zip(node.placements()).map(move |(shard, at)| Broker {
        id: broker_id(Listener::Core(at.shard), at),
        host: &known.core_host,
        port: known.core_port + at.shard.0,
        rack: known.rack.as_deref(),
        is_fenced: shard.fenced,
    })
}

#[cfg(test)]
mod tests {
    use replication::command::NodeRegistered;
    use replication::{Boot, Command, Uuid};

    use super::*;

    fn state() -> ClusterState {
        let mut state = ClusterState::new(Uuid([1; 16]));
        let register = |node: u16| {
            Command::NodeRegistered(NodeRegistered {
                node: NodeId(node),
                shards: 2,
                host: format!("n{node}"),
                port: 9092,
                core_host: format!("c{node}"),
                core_port: 9100,
                rack: None,
            })
        };
        let boot = |node| Command::ShardBooted {
            node: NodeId(node),
            shard: ShardId(1),
            journal: 1,
            boot: base::Incarnation(1),
        };
        let (cluster, voters) = (Uuid([1; 16]), replication::Voters::default());
        let formed = Command::ClusterFormed { cluster, feature_level: 1, voters };
        for command in [formed, register(0), register(4), boot(0), boot(4)] {
            let index = state.version().next();
            state.apply(index, &command).unwrap();
        }
        state
    }

    #[test]
    fn each_view_has_the_brokers_of_every_node() {
        let mut state = state();
        let seen = |state: &ClusterState, listener| -> Vec<_> {
            let seen = brokers(state, listener).into_iter();
            seen.map(|b| (b.id, b.host.to_owned(), b.port, b.is_fenced)).collect()
        };
        let node_view = [(0, "n0".to_owned(), 9092, false), (4, "n4".to_owned(), 9092, false)];
        assert_eq!(seen(&state, Listener::Node), node_view);
        let boot = Boot { journal: 1, boot: base::Incarnation(1) };
        let fenced = Command::ShardFenced { node: NodeId(4), shard: ShardId(1), boot };
        state.apply(state.version().next(), &fenced).unwrap();
        let cores: Vec<_> = seen(&state, Listener::Core(ShardId(0)))
            .into_iter()
            .map(|(id, _, port, fenced)| (id, port, fenced))
            .collect();
        let expected =
            [(1000, 9100, false), (1001, 9101, false), (5000, 9100, false), (5001, 9101, true)];
        assert_eq!(cores, expected);
        assert!(!seen(&state, Listener::Node)[1].3, "a node lives while a shard of it may");
    }

    #[test]
    fn ids_of_both_views_name_their_shards() {
        let at = Placement { node: NodeId(4), shard: ShardId(1) };
        let id = broker_id(Listener::Core(ShardId(0)), at);
        assert_eq!(named_by(id), Some((at.node, Some(at.shard))));
        assert_eq!(named_by(broker_id(Listener::Node, at)), Some((at.node, None)));
        assert_eq!(named_by(-1), None);
    }
}
