//! A data folder without its server: to look at, or to repair.

use std::path::{Path, PathBuf};

use base::ShardId;

use super::lock::FolderLock;
use super::{FolderError, Meta, shard_path};

/// A folder that no server holds, nor can hold as long as this lives.
#[derive(Debug)]
pub struct StoppedFolder {
    path: PathBuf,
    meta: Meta,
    /// `None`: a copy that never was served from.
    _lock: Option<FolderLock>,
}

impl StoppedFolder {
    /// Takes the folder at `path` to look at it, and changes nothing in it. Others may look too.
    /// `waiting` is called with the recorded pid before a wait for a dead server's lock.
    pub fn look(path: &Path, waiting: impl FnOnce(u32)) -> Result<Self, FolderError> {
        let path = existing(path)?;
        let lock = FolderLock::share(&path, waiting)?;
        let meta = Meta::read(&path)?.ok_or_else(|| FolderError::NotFormatted(path.clone()))?;
        Ok(Self { path, meta, _lock: lock })
    }

    /// Takes the folder at `path` for itself.
    pub fn take(path: &Path, waiting: impl FnOnce(u32)) -> Result<Self, FolderError> {
        let path = existing(path)?;
        let lock = FolderLock::take(&path, waiting)?;
        let meta = Meta::read(&path)?.ok_or_else(|| FolderError::NotFormatted(path.clone()))?;
        Ok(Self { path, meta, _lock: Some(lock) })
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    #[must_use]
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The folder of one shard's files.
    #[must_use]
    pub fn shard_path(&self, shard: ShardId) -> PathBuf {
        shard_path(&self.path, shard)
    }

    /// Data shards, ascending.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.meta.shard_count()).map(ShardId)
    }

    /// Remembers that the shard's journal holds a durable frame.
    pub fn activate(&mut self, shard: ShardId) -> Result<(), FolderError> {
        self.meta.activate(&self.path, shard)
    }
}

/// The folder's absolute path. Refused before a lock is made in it if it is not ours.
fn existing(path: &Path) -> Result<PathBuf, FolderError> {
    let found = path.canonicalize();
    let path = found.map_err(|_| FolderError::NotFormatted(path.to_owned()))?;
    if path.join(super::meta::NAME).exists() {
        return Ok(path);
    }
    Err(FolderError::NotFormatted(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_ours_is_refused_and_left_alone() {
        let home = tempfile::tempdir().expect("a temporary folder");
        for path in [home.path().to_owned(), home.path().join("nowhere")] {
            let looked = StoppedFolder::look(&path, |_| ());
            assert!(matches!(looked, Err(FolderError::NotFormatted(_))), "{looked:?}");
            let taken = StoppedFolder::take(&path, |_| ());
            assert!(matches!(taken, Err(FolderError::NotFormatted(_))), "{taken:?}");
        }
        assert_eq!(std::fs::read_dir(home.path()).expect("readable").count(), 0);
    }
}
