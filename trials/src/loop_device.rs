//! A file as a block device.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::command::run;
use crate::{Outcome, Trouble};

/// A loop device; detached when dropped, or by the kernel once the last user of it is gone.
#[derive(Debug)]
pub struct LoopDevice {
    path: PathBuf,
}

impl LoopDevice {
    /// Attaches `image`, bypassing the page cache of the file system that holds it.
    pub fn attach(image: &Path) -> Outcome<Self> {
        let image = image.to_string_lossy();
        let said = run("losetup", &["--find", "--show", "--direct-io=on", &image])?;
        Ok(Self { path: PathBuf::from(said.trim()) })
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves the detaching to the kernel: it happens at the unmount, even if this process dies.
    pub(crate) fn detach_when_unused(&self) -> Outcome<()> {
        run("losetup", &["--detach", &self.path.to_string_lossy()]).map(drop)
    }

    /// Whether the kernel takes this device to have a write cache that must be flushed.
    pub fn has_volatile_cache(&self) -> Outcome<bool> {
        let name = self.path.file_name().ok_or_else(|| Trouble::failed("a device has a name"))?;
        let setting = Path::new("/sys/block").join(name).join("queue/write_cache");
        Ok(std::fs::read_to_string(setting)?.trim() == "write back")
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        // Already detached is as good.
        let _ = run("losetup", &["--detach", &self.path.to_string_lossy()]);
    }
}

/// Makes a sparse file of `bytes` zeros.
pub fn make_image(path: &Path, bytes: u64) -> Outcome<()> {
    let file = File::create(path)?;
    file.set_len(bytes)?;
    Ok(())
}
