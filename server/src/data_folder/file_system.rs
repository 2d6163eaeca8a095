//! Whether a folder's file system survives a power cut. Direct I/O is the ring's to check.

use std::path::Path;

use super::FolderError;

const TMPFS_MAGIC: i64 = 0x0102_1994;
const RAMFS_MAGIC: i64 = 0x8584_58f6;

/// Refuses a folder that lies in memory.
pub fn refuse_volatile(folder: &Path) -> Result<(), FolderError> {
    let path = folder.to_owned();
    match rustix::fs::statfs(folder) {
        Ok(stat) if stat.f_type == TMPFS_MAGIC => {
            Err(FolderError::Volatile { path, name: "tmpfs" })
        }
        Ok(stat) if stat.f_type == RAMFS_MAGIC => {
            Err(FolderError::Volatile { path, name: "ramfs" })
        }
        Ok(_) => Ok(()),
        Err(error) => {
            let action = "examine the file system of";
            Err(FolderError::Io { action, path, source: error.into() })
        }
    }
}
