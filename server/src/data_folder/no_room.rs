//! A disk without room for the files that a journal begins in: how much is missing, and what to do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use base::IoError;
use engine::journal::MissingSegment;
use rustix::io::Errno;

use crate::config::ByteSize;

/// Files that could not be made in a folder.
#[derive(Debug)]
pub struct NoRoom {
    folder: PathBuf,
    wanted_bytes: u64,
    why: Why,
}

#[derive(Debug)]
enum Why {
    /// The disk has only so many bytes left.
    Full {
        free_bytes: u64,
    },
    Quota,
    Other(io::Error),
}

impl NoRoom {
    /// Why a segment of a journal below `folder` could not be made.
    pub(crate) fn of_segment(folder: &Path, missing: MissingSegment) -> Self {
        let why = match missing.error {
            IoError::Errno(code) if code == Errno::NOSPC.raw_os_error() => {
                Why::Full { free_bytes: free_bytes(folder).unwrap_or(0) }
            }
            IoError::Errno(code) if code == Errno::DQUOT.raw_os_error() => Why::Quota,
            IoError::Errno(code) => Why::Other(io::Error::from_raw_os_error(code)),
            short @ IoError::Short { .. } => Why::Other(io::Error::other(short)),
        };
        Self { folder: folder.to_owned(), wanted_bytes: missing.bytes.into(), why }
    }

    /// Why a full journal below `folder` cannot be emptied into a bin.
    pub(crate) fn of_bin(folder: &Path, wanted_bytes: u64) -> Self {
        let why = Why::Full { free_bytes: free_bytes(folder).unwrap_or(0) };
        Self { folder: folder.to_owned(), wanted_bytes, why }
    }

    /// Looks whether `folder` has room for files of `wanted_bytes` in all. A file system that does not
    /// say has.
    pub(crate) fn check(folder: &Path, wanted_bytes: u64) -> Result<(), Self> {
        match free_bytes(folder) {
            Some(free_bytes) if free_bytes < wanted_bytes => {
                let folder = folder.to_owned();
                Err(Self { folder, wanted_bytes, why: Why::Full { free_bytes } })
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (folder, wanted) = (self.folder.display(), self.wanted_bytes);
        let needs = mebibytes(wanted);
        match &self.why {
            Why::Full { free_bytes } => {
                // A file system needs some blocks for itself, or its free ones may be too scattered.
                let missing = mebibytes(wanted.saturating_sub(*free_bytes).max(1 << 20));
                let free = ByteSize(free_bytes >> 20 << 20);
                write!(
                    f,
                    "it needs {needs} for files of its log, and the disk of {folder} has \
                     {free} left: make room for at least {missing} more, then start again"
                )
            }
            Why::Quota => write!(
                f,
                "it needs {needs} for files of its log, and the disk quota of this user on \
                 {folder} is used up: raise it by at least {needs}, then start again"
            ),
            Why::Other(error) => {
                write!(f, "a journal file of {needs} cannot be made in {folder}: {error}")
            }
        }
    }
}

impl std::error::Error for NoRoom {}

/// Whole mebibytes, rounded up.
fn mebibytes(bytes: u64) -> ByteSize {
    ByteSize(bytes.next_multiple_of(1 << 20))
}

/// What `df` calls available on the disk of `folder`; `None` if the file system does not say.
fn free_bytes(folder: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(folder).ok().filter(|stat| stat.f_blocks != 0)?;
    Some(stat.f_bavail * stat.f_frsize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_by_what_it_lacks() {
        let no_room = NoRoom {
            folder: "/srv/log".into(),
            wanted_bytes: 32 << 20,
            why: Why::Full { free_bytes: (3 << 20) + 5 },
        };
        assert_eq!(
            no_room.to_string(),
            "it needs 32MiB for files of its log, and the disk of /srv/log has 3MiB left: \
             make room for at least 29MiB more, then start again"
        );
        let scattered = NoRoom { why: Why::Full { free_bytes: 40 << 20 }, ..no_room };
        assert!(scattered.to_string().contains("at least 1MiB more"), "{scattered}");
    }

    #[test]
    fn other_reasons_are_the_kernels_words() {
        let refused = |code| {
            let missing = MissingSegment { bytes: 1 << 20, error: IoError::Errno(code) };
            NoRoom::of_segment(Path::new("/srv/log"), missing).to_string()
        };
        let quota = refused(Errno::DQUOT.raw_os_error());
        assert!(quota.contains("quota") && quota.contains("1MiB"), "{quota}");
        let read_only = refused(Errno::ROFS.raw_os_error());
        assert!(read_only.contains("Read-only file system"), "{read_only}");
    }

    #[test]
    fn room_is_looked_for_where_the_folder_is() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        NoRoom::check(here, 1).expect("a disk with a byte left");
        let refused = NoRoom::check(here, 1 << 60).expect_err("no disk has that");
        assert!(refused.to_string().contains("make room"), "{refused}");
    }
}
