//! Whether a folder's file system can keep a promise: it must survive a power cut and take direct
//! I/O.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::FolderError;

/// A file made and removed at every start.
pub const PROBE: &str = "direct-io-probe";

const TMPFS_MAGIC: i64 = 0x0102_1994;
const RAMFS_MAGIC: i64 = 0x8584_58f6;

/// Refuses a folder that lies in memory or refuses O_DIRECT. A full disk is not this check's
/// business: such a folder must still serve reads.
pub fn check(folder: &Path) -> Result<(), FolderError> {
    let path = folder.to_owned();
    let stat = rustix::fs::statfs(folder).map_err(|error| FolderError::Io {
        action: "examine the file system of",
        path: path.clone(),
        source: error.into(),
    })?;
    match stat.f_type {
        TMPFS_MAGIC => return Err(FolderError::Volatile { path, name: "tmpfs" }),
        RAMFS_MAGIC => return Err(FolderError::Volatile { path, name: "ramfs" }),
        _ => {}
    }
    let probe = folder.join(PROBE);
    let opened = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .custom_flags(OFlags::DIRECT.bits().cast_signed())
        .open(&probe);
    let refused = match opened {
        Ok(_) => None,
        Err(source) => match Errno::from_io_error(&source) {
            Some(Errno::NOSPC | Errno::DQUOT) => None,
            Some(Errno::INVAL) => Some(FolderError::NoDirectIo(path)),
            _ => Some(FolderError::Io { action: "write to", path, source }),
        },
    };
    // Opening with a refused flag may have made the file all the same; one left behind is harmless.
    let _ = std::fs::remove_file(&probe);
    refused.map_or(Ok(()), Err)
}
