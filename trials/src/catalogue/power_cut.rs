//! The power goes at any moment; what was acked stays.

use std::time::Duration;

use crate::drop_disk::Survivors;
use crate::scene::{ACK_LIMIT, Scene};
use crate::{
    Context, DropDisk, FileSystem, Launch, Mount, Outcome, Trouble, ensure, loop_device, reader,
};

const CUTS: usize = 20;
const IMAGE_BYTES: u64 = 3 << 30;

pub(super) fn keep_every_ack_on_xfs(context: &Context) -> Outcome {
    shut_down_again_and_again(context, FileSystem::Xfs)
}

pub(super) fn keep_every_ack_on_ext4(context: &Context) -> Outcome {
    shut_down_again_and_again(context, FileSystem::Ext4)
}

/// Cuts below the file system: what the kernel had only in memory is gone, file sizes and directory
/// entries included.
fn shut_down_again_and_again(context: &Context, kind: FileSystem) -> Outcome {
    kind.need()?;
    let image = context.folder().join("image");
    loop_device::make_image(&image, IMAGE_BYTES)?;
    kind.make(&image)?;
    let mut mount = Mount::new(kind, &image, &context.folder().join("mount"))?;
    let scene = Scene::new(context, context.server()?, &mount.folder().join("data"))?;
    let (mut server, producers) = scene.begin()?;
    let mut dice = context.dice(2);
    for _ in 0..CUTS {
        std::thread::sleep(Duration::from_millis(dice.u64(0..800)));
        mount.shut_down()?;
        std::thread::sleep(Duration::from_millis(dice.u64(0..50))); // it meets EIO before it ends
        server.kill()?;
        mount = mount.remount()?;
        server = scene.launch.start()?;
    }
    producers.await_acks(100, ACK_LIMIT)?;
    let kept = scene.expect_kept(&producers.finish()?)?;
    server.stop()?;
    mount.unmount()?;
    Ok(format!("{CUTS} cuts on {kind}; {kept}"))
}

/// Cuts below the block device: a write that was completed and not flushed is gone, or torn.
pub(super) fn keep_every_ack_without_the_disk_cache(context: &Context) -> Outcome {
    let mut seen = Vec::new();
    for kind in [FileSystem::Xfs, FileSystem::Ext4] {
        let disk = VolatileDisk::new(context, kind)?;
        let mut mount = disk.mount()?;
        let scene = Scene::new(context, context.server()?, &mount.folder().join("data"))?;
        let (mut server, producers) = scene.begin()?;
        let mut dice = context.dice(3);
        for cut in 0..CUTS {
            std::thread::sleep(Duration::from_millis(dice.u64(0..800)));
            let seed = dice.u64(..);
            disk.drop.cut(if cut % 2 == 0 { Survivors::None } else { Survivors::Some { seed } });
            server.kill()?;
            mount = disk.power_on(mount)?;
            server = scene.launch.start()?;
        }
        producers.await_acks(100, ACK_LIMIT)?;
        let kept = scene.expect_kept(&producers.finish()?)?;
        server.stop()?;
        mount.unmount()?;
        let dropped = disk.drop.counts().pages_dropped;
        ensure!(0 < dropped, "the cuts dropped nothing: the disk was not put to the test");
        seen.push(format!("{kind}: {CUTS} cuts, {dropped} pages dropped; {kept}"));
    }
    Ok(seen.join(" · "))
}

/// The same disk under a server whose ring leaves RWF_DSYNC out: if that lost nothing, the trial
/// above would prove nothing.
pub(super) fn lose_acks_when_dsync_is_forgotten(context: &Context) -> Outcome {
    let program = context.mutants()?;
    let disk = VolatileDisk::new(context, FileSystem::Xfs)?;
    let mount = disk.mount()?;
    let mut scene = Scene::new(context, program, &mount.folder().join("data"))?;
    scene.launch = scene.launch.flag("--mutant", "forget-dsync");
    let (server, producers) = scene.begin()?;
    disk.await_no_flush()?;
    producers.await_acks(2000, ACK_LIMIT)?;
    disk.drop.cut(Survivors::None);
    let ledger = producers.ledger();
    server.kill()?;
    drop(producers);
    let mount = disk.power_on(mount)?;
    let seen = match lost(&scene, &scene.launch, &ledger)? {
        Some(0) => return Err(Trouble::failed("the mutant lost nothing")),
        Some(lost) => format!("{lost} of {} acked records are lost", ledger.acks.len()),
        None => format!("the server found a hole and serves none of {} acks", ledger.acks.len()),
    };
    mount.unmount()?;
    Ok(seen)
}

/// How many acked records are gone, or `None` if the server refuses to serve what is left.
fn lost(scene: &Scene, launch: &Launch, ledger: &crate::ledger::Ledger) -> Outcome<Option<usize>> {
    let Ok(server) = launch.start() else { return Ok(None) };
    let lost = match reader::audit(&scene.load, ledger) {
        Ok(verdict) => verdict.lost(),
        // Not even the topic is left.
        Err(_) => ledger.acks.len(),
    };
    server.kill()?;
    Ok(Some(lost))
}

/// A disk that forgets, with a file system on it.
struct VolatileDisk {
    drop: DropDisk,
    kind: FileSystem,
    folder: std::path::PathBuf,
}

impl VolatileDisk {
    fn new(context: &Context, kind: FileSystem) -> Outcome<Self> {
        DropDisk::need()?;
        kind.need()?;
        let folder = context.folder().join(kind.to_string());
        std::fs::create_dir_all(&folder)?;
        let drop = DropDisk::start(&folder.join("media"), &folder.join("fuse"), IMAGE_BYTES)?;
        kind.make(drop.image())?;
        Ok(Self { drop, kind, folder })
    }

    fn mount(&self) -> Outcome<Mount> {
        Mount::new(self.kind, self.drop.image(), &self.folder.join("mount"))
    }

    /// Waits until nothing is flushed for a while: the files that a new server makes are synced, and
    /// each flush makes durable whatever lies in the cache.
    fn await_no_flush(&self) -> Outcome<()> {
        for _ in 0..60 {
            let before = self.drop.counts().flushes;
            std::thread::sleep(Duration::from_secs(1));
            if self.drop.counts().flushes == before {
                return Ok(());
            }
        }
        Err(Trouble::failed("the mutant flushes every second: is it planted?"))
    }

    /// Takes the dead file system off, gives the disk its power back and mounts what it kept.
    fn power_on(&self, mount: Mount) -> Outcome<Mount> {
        mount.unmount()?;
        self.drop.power_on();
        self.mount()
    }
}
