//! Trials of the disks that the other trials stand on.

use std::path::Path;

use crate::command::run;
use crate::drop_disk::Survivors;
use crate::{Context, DropDisk, FileSystem, LoopDevice, Mount, Outcome, ensure, loop_device};

const IMAGE_BYTES: u64 = 400 << 20;

/// On both file systems: a synced file survives each kind of cut, an unsynced one does not, and a
/// flush that lies loses what the kernel was told is safe.
pub(super) fn lose_what_was_not_flushed(context: &Context) -> Outcome {
    DropDisk::need()?;
    let mut seen = Vec::new();
    for kind in [FileSystem::Xfs, FileSystem::Ext4] {
        kind.need()?;
        let folder = context.folder().join(kind.to_string());
        shutdown_keeps_synced(kind, &folder.join("shutdown"))?;
        let flushes = cut_keeps_synced(kind, &folder.join("cut"))?;
        seen.push(format!("{kind}: {flushes} flushes reached the disk"));
    }
    Ok(seen.join(", "))
}

fn shutdown_keeps_synced(kind: FileSystem, folder: &Path) -> Outcome<()> {
    std::fs::create_dir_all(folder)?;
    let image = folder.join("image");
    loop_device::make_image(&image, IMAGE_BYTES)?;
    kind.make(&image)?;
    let mount = Mount::new(kind, &image, &folder.join("mount"))?;
    write(mount.folder(), "synced", true)?;
    write(mount.folder(), "unsynced", false)?;
    mount.shut_down()?;
    let mount = mount.remount()?;
    ensure!(holds(mount.folder(), "synced"), "{kind}: a shutdown lost a synced file");
    ensure!(!holds(mount.folder(), "unsynced"), "{kind}: a shutdown kept an unsynced file");
    mount.unmount()
}

fn cut_keeps_synced(kind: FileSystem, folder: &Path) -> Outcome<u64> {
    std::fs::create_dir_all(folder)?;
    let disk = DropDisk::start(&folder.join("media"), &folder.join("fuse"), IMAGE_BYTES)?;
    kind.make(disk.image())?;
    let device = LoopDevice::attach(disk.image())?;
    ensure!(device.has_volatile_cache()?, "the kernel must take the disk's cache for volatile");
    drop(device);

    let mount = Mount::new(kind, disk.image(), &folder.join("mount"))?;
    write(mount.folder(), "synced", true)?;
    write(mount.folder(), "unsynced", false)?;
    let mount = power_cycle(&disk, mount)?;
    ensure!(holds(mount.folder(), "synced"), "{kind}: the cut lost a synced file");
    ensure!(!holds(mount.folder(), "unsynced"), "{kind}: the cut kept an unsynced file");

    disk.lie(true);
    write(mount.folder(), "lied", true)?;
    disk.lie(false);
    let mount = power_cycle(&disk, mount)?;
    ensure!(holds(mount.folder(), "synced"), "{kind}: the second cut lost a synced file");
    ensure!(!holds(mount.folder(), "lied"), "{kind}: a lying flush kept its file");

    disk.fail_writes(true);
    ensure!(write(mount.folder(), "failed", true).is_err(), "{kind}: EIO did not arrive");
    disk.fail_writes(false);
    power_cycle(&disk, mount)?.unmount()?;
    Ok(disk.counts().flushes)
}

fn power_cycle(disk: &DropDisk, mount: Mount) -> Outcome<Mount> {
    disk.cut(Survivors::None);
    let (kind, image, folder) = (mount.kind(), disk.image(), mount.folder().to_path_buf());
    mount.unmount()?;
    disk.power_on();
    Mount::new(kind, image, &folder)
}

/// 64 KiB past the page cache; with `sync`, each write waits for stable storage, as the journal's do.
fn write(folder: &Path, name: &str, sync: bool) -> Outcome<()> {
    let path = folder.join(name);
    let flags = if sync { "oflag=direct,sync" } else { "oflag=direct" };
    let to = format!("of={}", path.display());
    run("dd", &["if=/dev/urandom", &to, "bs=4k", "count=16", flags, "status=none"])?;
    if sync {
        run("sync", &[&folder.to_string_lossy()])?; // the directory entry
    }
    Ok(())
}

fn holds(folder: &Path, name: &str) -> bool {
    std::fs::metadata(folder.join(name)).is_ok_and(|file| file.len() == 64 << 10)
}
