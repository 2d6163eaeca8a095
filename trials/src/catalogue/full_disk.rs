//! The disk fills up under load, and gets room again.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::command::{need, run};
use crate::scene::{ACK_LIMIT, Scene};
use crate::{Context, FileSystem, Load, Mount, Outcome, Producers, Trouble, ensure, topics};

const IMAGE_BYTES: u64 = 1536 << 20;
const BALLAST_BYTES: u64 = 640 << 20;
/// No ack for so long under load: the server takes no more.
const STALL: Duration = Duration::from_secs(4);

/// Fills a small disk; then readers and deletes must be served, and room must be found and used
/// without a restart, whether an operator makes it or a deleted topic.
pub(super) fn refuse_and_recover(context: &Context) -> Outcome {
    need(&["fallocate"])?;
    let mount = Mount::of_new_image(context, FileSystem::Ext4, IMAGE_BYTES, "mount")?;
    let ballast = mount.folder().join("ballast");
    run("fallocate", &["-l", &BALLAST_BYTES.to_string(), &ballast.display().to_string()])?;

    let mut scene = Scene::new(context, context.server()?, &mount.folder().join("data"))?;
    scene.load.body_bytes_max = 40_000;
    let mut server = scene.launch.start()?;
    let doomed = fill_topic(&scene.load, "doomed")?;
    topics::create(&scene.load.bootstrap, &scene.load.topic, scene.load.partitions)?;
    let producers = Producers::start(&scene.load)?;

    await_stall(&producers)?;
    server.check_alive()?;
    scene.expect_kept(&producers.ledger())?;
    let full_at = producers.acked();

    topics::delete_records(&scene.load.bootstrap, "doomed", &doomed)?;
    topics::delete(&scene.load.bootstrap, "doomed")?;
    producers.await_acks(1, Duration::from_secs(60))?;
    await_stall(&producers)?;

    std::fs::remove_file(&ballast)?;
    producers.await_acks(500, Duration::from_secs(60))?;
    server.check_alive()?;
    let kept = scene.expect_kept(&producers.finish()?)?;
    server.stop()?;
    mount.unmount()?;
    Ok(format!("full at {full_at} records, deleted a topic, then a file; {kept}"))
}

/// A topic with some hundred megabytes; the end of each partition.
fn fill_topic(like: &Load, name: &str) -> Outcome<HashMap<i32, i64>> {
    let load = Load { topic: name.into(), run: like.run + 1, ..like.clone() };
    topics::create(&load.bootstrap, name, load.partitions)?;
    let producers = Producers::start(&load)?;
    producers.await_acks(6000, ACK_LIMIT)?;
    producers.finish()?;
    let marks = topics::watermarks(&load.bootstrap, name, load.partitions)?;
    Ok(marks.into_iter().map(|(partition, (_, end))| (partition, end)).collect())
}

fn await_stall(producers: &Producers) -> Outcome<()> {
    let deadline = Instant::now() + Duration::from_secs(150);
    let mut last = (producers.acked(), Instant::now());
    while last.1.elapsed() < STALL {
        if deadline < Instant::now() {
            return Err(Trouble::failed("the disk did not fill up"));
        }
        std::thread::sleep(Duration::from_millis(50));
        let acked = producers.acked();
        if acked != last.0 {
            last = (acked, Instant::now());
        }
    }
    ensure!(0 < last.0, "nothing was acked at all");
    Ok(())
}
