//! Wires of a cluster that break.

use std::time::Duration;

use crate::cluster::NODES;
use crate::{Cluster, Context, Outcome};

pub(super) fn isolation(context: &Context) -> Outcome {
    let mut cluster = Cluster::new(context)?;
    let producers = cluster.begin()?;
    let mut longest = Duration::ZERO;
    for _ in 0..2 {
        let leader = cluster.leader(0)?;
        cluster.network.plug(leader, false)?;
        longest = longest.max(cluster.await_flow(&producers)?);
        std::thread::sleep(Duration::from_secs(2));
        cluster.network.plug(leader, true)?;
        cluster.await_flow(&producers)?;
        cluster.await_sync()?;
    }
    let kept = cluster.conclude(producers)?;
    Ok(format!("all partitions acked again after {longest:.1?}; {kept}"))
}

/// Between the leader of partition 0 and one follower, one direction at a time.
pub(super) fn one_way_loss(context: &Context) -> Outcome {
    let mut cluster = Cluster::new(context)?;
    let producers = cluster.begin()?;
    let leader = cluster.leader(0)?;
    let other = (leader + 1) % NODES;
    for (from, to) in [(leader, other), (other, leader)] {
        cluster.network.cut(from, to)?;
        std::thread::sleep(Duration::from_secs(2));
        cluster.await_flow(&producers)?;
        cluster.network.mend(from, to)?;
        cluster.await_flow(&producers)?;
    }
    cluster.conclude(producers)
}

/// Each pair in turn hears nothing of each other.
pub(super) fn bridge(context: &Context) -> Outcome {
    let mut cluster = Cluster::new(context)?;
    let producers = cluster.begin()?;
    for middle in 0..NODES {
        let (one, other) = ((middle + 1) % NODES, (middle + 2) % NODES);
        cluster.network.cut(one, other)?;
        cluster.network.cut(other, one)?;
        std::thread::sleep(Duration::from_secs(2));
        cluster.await_flow(&producers)?;
        cluster.network.mend(one, other)?;
        cluster.network.mend(other, one)?;
    }
    cluster.conclude(producers)
}

pub(super) fn loss_and_jitter(context: &Context) -> Outcome {
    let mut cluster = Cluster::new(context)?;
    let producers = cluster.begin()?;
    let leader = cluster.leader(0)?;
    cluster.fault(leader, &["net", "loss", "5", "--for", "6s"])?;
    cluster.fault(leader, &["net", "delay", "5ms", "--jitter", "20ms", "--for", "6s"])?;
    std::thread::sleep(Duration::from_secs(3));
    cluster.await_flow(&producers)?;
    let other = (leader + 1) % NODES;
    cluster.fault(other, &["net", "cut", "--way", "in", "--for", "2s"])?;
    cluster.await_flow(&producers)?;
    cluster.fault(other, &["net", "reset", "--for", "1s"])?;
    std::thread::sleep(Duration::from_secs(2));
    cluster.conclude(producers)
}
