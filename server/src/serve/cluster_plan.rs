//! What the cores of a node know of the other nodes: who there is, where, and by which secret.

use std::net::SocketAddr;
use std::time::Duration;

use base::{NodeId, ShardId};
use replication::command::NodeRegistered;
use replication::link::Secret;
use replication::replica::Settings;
use ring::DeviceReport;
use shard::{ControlSettings, Peering};

use crate::config::{ClusterSettings, Config, Peer};
use crate::control::LinkPlan;
use crate::data_folder::Meta;

/// No disk is slow whose journal takes less than this for half of its writes, and every one is that
/// takes the other.
const SLOW_DISK_MIN: Duration = Duration::from_millis(10);
const SLOW_DISK_MAX: Duration = Duration::from_millis(50);

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

/// How data shards meet others; `None` for a single node.
pub(super) fn peering(config: &Config, device: Option<&DeviceReport>) -> Option<Peering> {
    let cluster = &config.cluster;
    (!cluster.peers.is_empty()).then(|| Peering {
        secret: Secret::new(&cluster.secret),
        nodes: cluster.peers.iter().map(|peer| (node_of(peer), peer.address)).collect(),
        slow_disk_from: slow_disk_from(device),
        settings: Settings::default(),
    })
}

/// Frames are longer than what was measured at the start, and wait for each other: only what is far
/// beyond the slowest of then is slow.
fn slow_disk_from(device: Option<&DeviceReport>) -> Duration {
    let slowest = device.map_or(0, |device| device.dsync_ns_p99);
    (Duration::from_nanos(slowest) * 8).clamp(SLOW_DISK_MIN, SLOW_DISK_MAX)
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
