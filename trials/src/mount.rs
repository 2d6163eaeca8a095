//! A file system on a loop device.

use core::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::command::{load, may_administer, need, need_device, run};
use crate::{Context, LoopDevice, Outcome, Trouble, loop_device};

/// Which file system to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    Xfs,
    Ext4,
}

/// A mounted image. Unmounted when dropped; the device goes with it.
#[derive(Debug)]
pub struct Mount {
    image: PathBuf,
    folder: PathBuf,
    kind: FileSystem,
    _device: LoopDevice,
}

impl FileSystem {
    /// Skips the trial where images of this file system cannot be made, mounted or shut down.
    pub fn need(self) -> Outcome<()> {
        if !may_administer() {
            return Err(Trouble::Skipped("only root can mount and attach loop devices".into()));
        }
        need(&["losetup", "mount", "umount", "mountpoint", "xfs_io", &format!("mkfs.{self}")])?;
        need_device("/dev/loop-control", "loop")?;
        if knows(self) || (load(&self.to_string()) && knows(self)) {
            return Ok(());
        }
        Err(Trouble::Skipped(format!("the kernel does not know {self}")))
    }

    /// Formats `image`. Never discards: the whole image counts as written. Nothing is set aside for
    /// root: full is full.
    pub fn make(self, image: &Path) -> Outcome<()> {
        let device = LoopDevice::attach(image)?;
        let path = device.path().to_string_lossy().into_owned();
        match self {
            Self::Xfs => run("mkfs.xfs", &["-q", "-f", "-K", &path])?,
            Self::Ext4 => run("mkfs.ext4", &["-q", "-F", "-m", "0", "-E", "nodiscard", &path])?,
        };
        Ok(())
    }
}

/// Whether the kernel has the file system's code at hand.
fn knows(kind: FileSystem) -> bool {
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    known.lines().any(|line| line.trim() == kind.to_string())
}

impl fmt::Display for FileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Xfs => "xfs",
            Self::Ext4 => "ext4",
        })
    }
}

impl Mount {
    /// Mounts `image`, which [`FileSystem::make`] formatted, on `folder`.
    pub fn new(kind: FileSystem, image: &Path, folder: &Path) -> Outcome<Self> {
        Self::with(kind, image, folder, "noatime")
    }

    /// The same with other options, divided by commas.
    pub fn with(kind: FileSystem, image: &Path, folder: &Path, options: &str) -> Outcome<Self> {
        std::fs::create_dir_all(folder)?;
        let device = LoopDevice::attach(image)?;
        let (source, target) = (device.path().to_string_lossy(), folder.to_string_lossy());
        run("mount", &["-t", &kind.to_string(), "-o", options, &source, &target])?;
        device.detach_when_unused()?;
        Ok(Self { image: image.to_path_buf(), folder: folder.to_path_buf(), kind, _device: device })
    }

    /// A small new disk of `bytes`: an image in the context's folder, mounted there as `name`.
    pub fn of_new_image(
        context: &Context,
        kind: FileSystem,
        bytes: u64,
        name: &str,
    ) -> Outcome<Self> {
        kind.need()?;
        let image = context.folder().join("image");
        loop_device::make_image(&image, bytes)?;
        kind.make(&image)?;
        Self::new(kind, &image, &context.folder().join(name))
    }

    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    #[must_use]
    pub fn kind(&self) -> FileSystem {
        self.kind
    }

    /// Cuts the power as the file system sees it: nothing reaches the device any more, and what the
    /// kernel had only in memory is gone. What runs on it gets EIO.
    pub fn shut_down(&self) -> Outcome<()> {
        run("xfs_io", &["-x", "-c", "shutdown", &self.folder.to_string_lossy()]).map(drop)
    }

    /// Unmounts and mounts again, as a machine that comes back.
    pub fn remount(self) -> Outcome<Self> {
        let (kind, image, folder) = (self.kind, self.image.clone(), self.folder.clone());
        self.unmount()?;
        Self::new(kind, &image, &folder)
    }

    /// Unmounts. A killed process keeps its files until its ring is gone: waits for that.
    pub fn unmount(self) -> Outcome<()> {
        let mut last = String::new();
        for _ in 0..100 {
            match run("umount", &[&self.folder.to_string_lossy()]) {
                Ok(_) => return Ok(()),
                Err(trouble) => last = trouble.to_string(),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err(Trouble::failed(format!("still in use after 10 s: {last}")))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let folder = self.folder.to_string_lossy();
        // Unmounted already, or by force: nothing may stay behind.
        let mounted = run("mountpoint", &["-q", &folder]).is_ok();
        if mounted && run("umount", &[&folder]).is_err() {
            let _ = run("umount", &["--lazy", &folder]);
        }
    }
}
