//! Nodes of a cluster that die, stand still, or come back as others.

use std::time::Duration;

use crate::cluster::{NODES, orders};
use crate::{Cluster, Context, Outcome};

/// Kills whoever leads partition 0, three times over; each comes back.
pub(super) fn killed_leaders(context: &Context) -> Outcome {
    let mut cluster = Cluster::new(context)?;
    let producers = cluster.begin()?;
    let mut longest = Duration::ZERO;
    for _ in 0..3 {
        let leader = cluster.leader(0)?;
        cluster.kill(leader)?;
        longest = longest.max(cluster.await_flow(&producers)?);
        cluster.start(&[leader])?;
        cluster.await_sync()?;
    }
    let kept = cluster.conclude(producers)?;
    Ok(format!("all partitions acked again within {longest:.1?}; {kept}"))
}

pub(super) fn paused_leader(context: &Context) -> Outcome {
    let mut cluster = Cluster::new(context)?;
    let producers = cluster.begin()?;
    let leader = cluster.leader(0)?;
    cluster.server(leader)?.pause()?;
    let flowed = cluster.await_flow(&producers)?;
    std::thread::sleep(Duration::from_secs(5).saturating_sub(flowed));
    cluster.server(leader)?.resume()?;
    let kept = cluster.conclude(producers)?;
    Ok(format!("all partitions acked again after {flowed:.1?}; {kept}"))
}

/// Half of the times the nodes are killed all at once, half of the times they stop one by one.
pub(super) fn restarts_in_every_order(context: &Context) -> Outcome {
    let mut cluster = Cluster::new(context)?;
    let producers = cluster.begin()?;
    for (number, order) in orders().into_iter().enumerate() {
        for node in order {
            if number % 2 == 0 {
                cluster.kill(node)?;
            } else {
                cluster.stop(node)?;
            }
        }
        for node in order {
            cluster.spawn(node)?;
            std::thread::sleep(Duration::from_millis(300));
        }
        cluster.await_ready()?;
        cluster.await_flow(&producers)?;
    }
    cluster.conclude(producers)
}

pub(super) fn wiped_disk(context: &Context) -> Outcome {
    let mut cluster = Cluster::new(context)?;
    let producers = cluster.begin()?;
    let victim = cluster.leader(0)?;
    cluster.kill(victim)?;
    std::fs::remove_dir_all(cluster.data(victim))?;
    cluster.await_flow(&producers)?;
    cluster.start(&[victim])?;
    cluster.await_sync()?;
    // What it was given again counts: it is needed for each majority now.
    cluster.kill((victim + 1) % NODES)?;
    cluster.await_flow(&producers)?;
    cluster.start(&[(victim + 1) % NODES])?;
    cluster.conclude(producers)
}
