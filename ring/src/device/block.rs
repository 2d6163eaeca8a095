//! What the kernel knows about a block device's write cache.

use core::fmt;
use std::fs::File;
use std::path::PathBuf;

use rustix::fs::{major, minor};

/// See `Documentation/block/writeback_cache_control.rst` of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Completed writes are lost with the power unless flushed.
    pub volatile: bool,
    /// A single write can be made to bypass the cache.
    pub fua: bool,
}

impl Cache {
    /// Of the device that holds `file`; `None` if the file system has no single block device.
    pub(super) fn under(file: &File) -> Option<Self> {
        let queue = queue_of(rustix::fs::fstat(file).ok()?.st_dev)?;
        let read = |name: &str| std::fs::read_to_string(queue.join(name)).ok();
        Some(Self {
            volatile: read("write_cache")?.trim() == "write back",
            fua: read("fua")?.trim() == "1",
        })
    }
}

/// The folder of a device's queue; a partition's is its disk's.
fn queue_of(device: u64) -> Option<PathBuf> {
    let path = format!("/sys/dev/block/{}:{}", major(device), minor(device));
    let device = std::fs::canonicalize(path).ok()?;
    let candidates = [device.join("queue"), device.parent()?.join("queue")];
    candidates.into_iter().find(|queue| queue.is_dir())
}

impl fmt::Display for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.volatile, self.fua) {
            (true, true) => "volatile cache, FUA",
            (true, false) => "volatile cache, no FUA",
            (false, _) => "no volatile cache",
        })
    }
}
