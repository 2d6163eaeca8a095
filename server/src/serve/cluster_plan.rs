//! What the cores of a node know of the other nodes: who there is, where, and by which secret.

use std::net::SocketAddr;

use base::{NodeId, ShardId};
use replication::command::NodeRegistered;
use replication::link::Secret;
use shard::{ControlSettings, Peering};

use crate::config::{ClusterSettings, Config, Peer};
use crate::control::LinkPlan;
use crate::data_folder::Meta;

/// The control shard's part.
pub(super) fn control_settings(
    config: &Config,
    meta: &Meta,
    node: NodeRegistered,
    cores: u16,
) -> ControlSettings {
    let alone = ControlSettings::alone(meta.cluster(), node, cores);
    if config.cluster.peers.is_empty() {
        return alone;
    }
    ControlSettings {
        seats: config.cluster.peers.iter().map(node_of).collect(),
        peers: others(&config.cluster, meta).map(|(node, _)| node).collect(),
        seed: random(),
        ..alone
    }
}

/// The control core's links; `None` for a single node.
pub(super) fn link_plan(
    config: &Config,
    meta: &Meta,
    listen: Option<SocketAddr>,
) -> Option<LinkPlan> {
    Some(LinkPlan {
        cluster: meta.cluster(),
        node: meta.node(),
        secret: Secret::new(&config.cluster.secret),
        journal: meta.journal_id(ShardId::CONTROL),
        listen: listen?,
        peers: others(&config.cluster, meta).collect(),
    })
}

/// How data shards meet those of other nodes; `None` for a single node.
pub(super) fn peering(config: &Config, meta: &Meta) -> Option<Peering> {
    let cluster = &config.cluster;
    let nodes = others(cluster, meta).collect();
    (!cluster.peers.is_empty()).then(|| Peering { secret: Secret::new(&cluster.secret), nodes })
}

/// The other nodes and their control cores.
pub(super) fn others(
    cluster: &ClusterSettings,
    meta: &Meta,
) -> impl Iterator<Item = (NodeId, SocketAddr)> {
    let own = meta.node();
    let peers = cluster.peers.iter().map(|peer| (node_of(peer), peer.address));
    peers.filter(move |(node, _)| *node != own)
}

fn node_of(peer: &Peer) -> NodeId {
    NodeId(peer.node.0)
}

fn random() -> u64 {
    getrandom::u64().expect("the kernel has randomness once it runs programs")
}
