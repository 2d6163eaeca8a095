//! A disk whose unflushed writes are really dropped when its power is cut.
//!
//! ```text
//!   server ─▶ XFS or ext4 ─▶ /dev/loopN ─▶ FUSE: one file "disk" ─▶ Platter
//!                              flush   ───▶ fsync ───────────────▶ volatile pages become media
//! ```
//!
//! The kernel sees a device with a volatile write cache. A completed write lies in that cache until
//! a flush; a cut drops it, wholly or in part. The disk can also lie (answer a flush and do nothing)
//! and fail (EIO). It must run as root and ends with the process that made it.

mod files;
mod platter;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fuser::{BackgroundSession, MountOption};

use crate::Outcome;
use crate::command::need_device;
use files::Files;
use platter::Platter;
pub use platter::{Counts, Survivors};

/// The handle of a running disk.
#[derive(Debug)]
pub struct DropDisk {
    platter: Arc<Mutex<Platter>>,
    image: PathBuf,
    _session: BackgroundSession,
}

impl DropDisk {
    /// Skips the trial where there can be no such disk.
    pub fn need() -> Outcome<()> {
        need_device("/dev/fuse", "fuse")
    }

    /// A disk of `bytes` zeros kept in the file `media`, shown as a file in `folder`.
    pub fn start(media: &Path, folder: &Path, bytes: u64) -> Outcome<Self> {
        std::fs::create_dir_all(folder)?;
        let platter = Arc::new(Mutex::new(Platter::create(media, bytes)?));
        let mut config = fuser::Config::default();
        config.mount_options = vec![MountOption::FSName("drop_disk".into()), MountOption::NoAtime];
        let files = Files::new(Arc::clone(&platter), bytes);
        let session = fuser::spawn_mount(files, folder, &config)?;
        Ok(Self { platter, image: folder.join(files::DISK_NAME), _session: session })
    }

    /// The file to attach as a loop device.
    #[must_use]
    pub fn image(&self) -> &Path {
        &self.image
    }

    /// Cuts the power: every request fails until [`DropDisk::power_on`], and of the unflushed pages
    /// only the survivors are found then.
    pub fn cut(&self, survivors: Survivors) {
        self.platter().cut(survivors);
    }

    pub fn power_on(&self) {
        self.platter().power_on();
    }

    /// Whether a flush is answered without being done.
    pub fn lie(&self, lying: bool) {
        self.platter().lying = lying;
    }

    /// Whether writes and flushes fail with EIO.
    pub fn fail_writes(&self, failing: bool) {
        self.platter().failing = failing;
    }

    /// What the disk has been asked so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.platter().counts
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.platter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
