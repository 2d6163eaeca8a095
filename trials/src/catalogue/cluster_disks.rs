//! Disks of a cluster's nodes that stand still or fill up.

use std::time::{Duration, Instant};

use crate::cluster::LIMIT;
use crate::command::{need, run};
use crate::{Cluster, Context, FileSystem, Mount, Outcome, ensure};

const IMAGE_BYTES: u64 = 1 << 30;

pub(super) fn frozen(context: &Context) -> Outcome {
    let mut cluster = Cluster::new(context)?;
    let producers = cluster.begin()?;
    let leader = cluster.leader(0)?;
    cluster.fault(leader, &["disk", "freeze", "--for", "3s"])?;
    let flowed = cluster.await_flow(&producers)?;
    std::thread::sleep(Duration::from_secs(3).saturating_sub(flowed));
    cluster.await_flow(&producers)?;
    cluster.fault(leader, &["disk", "delay", "60ms", "--on", "writes", "--for", "20s"])?;
    await_word(&cluster, "slow(disk)")?;
    await_word(&cluster, "disk delay of 60ms of writes")?;
    cluster.fault(leader, &["clear"])?;
    let kept = cluster.conclude(producers)?;
    Ok(format!("all partitions acked while it stood still after {flowed:.1?}; {kept}"))
}

fn await_word(cluster: &Cluster, word: &str) -> Outcome<()> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let health = cluster.health();
        if health.contains(word) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{word} is not in the health:\n{health}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Node 1 stands on a small disk of its own, which is filled behind its back.
pub(super) fn full(context: &Context) -> Outcome {
    need(&["fallocate"])?;
    let mount = Mount::of_new_image(context, FileSystem::Ext4, IMAGE_BYTES, "node-1")?;
    let mut cluster = Cluster::new(context)?;
    cluster.load.body_bytes_max = 40_000;
    let producers = cluster.begin()?;
    let ballast = mount.folder().join("ballast");
    fill(&ballast, mount.folder())?;
    // Until its bins are full and its journal cannot go round.
    let until = Instant::now() + Duration::from_secs(12);
    while Instant::now() < until {
        cluster.await_flow(&producers)?;
    }
    cluster.server(1)?.check_alive()?;
    std::fs::remove_file(&ballast)?;
    let kept = cluster.conclude(producers)?;
    mount.unmount()?;
    Ok(kept)
}

/// Takes all the room that is left.
fn fill(ballast: &std::path::Path, folder: &std::path::Path) -> Outcome<()> {
    let free = run("stat", &["-f", "-c", "%a %S", &folder.display().to_string()])?;
    let numbers: Vec<u64> = free.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let room = numbers.iter().product::<u64>().saturating_sub(4 << 20);
    run("fallocate", &["-l", &room.to_string(), &ballast.display().to_string()])?;
    Ok(())
}
