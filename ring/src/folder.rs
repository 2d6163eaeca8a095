//! One shard's folder: its files by name, opened for direct I/O and locked.
//!
//! ```text
//!  FOLDER/journal/NNN.segment        FOLDER/bins/NNNNN.bin
//!  FOLDER/journal/NNN.segment.new    half made: removed at the next start
//! ```
//! Each file is locked (flock) for as long as anything holds it open, a killed process's ring
//! included: whoever reads the journal next knows that no write of its predecessor is still to come.

use core::fmt;
use core::time::Duration;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base::{FileId, FileKind, PAGE_BYTES, ShardId};
use rustix::fs::{FlockOperation, StatxFlags};
use rustix::io::Errno;

use crate::extents;

/// Behind the name of a file that is not finished.
pub(crate) const UNFINISHED: &str = ".new";

/// The folders of a shard's folder, and how the names of their files end.
const FOLDERS: [(&str, &str); 2] = [("journal", ".segment"), ("bins", ".bin")];

const RETRY: Duration = Duration::from_millis(20);

/// See the module's description.
#[derive(Debug)]
pub struct ShardFolder {
    shard: ShardId,
    path: PathBuf,
    files: Vec<ShardFile>,
}

#[derive(Debug)]
pub(crate) struct ShardFile {
    pub(crate) id: FileId,
    pub(crate) bytes: u64,
    pub(crate) file: OwnedFd,
}

/// Why a shard's folder cannot be used.
#[derive(Debug)]
pub enum FolderError {
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// The file system has no direct I/O, or not in units of 4 KiB.
    NoDirectIo {
        path: PathBuf,
        unit: Option<u32>,
    },
    /// A process that is gone, or another server, still holds a file.
    Locked {
        path: PathBuf,
        waited: Duration,
    },
}

impl fmt::Display for FolderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { action, path, source } => {
                write!(f, "cannot {action} {}: {source}", path.display())
            }
            Self::NoDirectIo { path, unit: None } => write!(
                f,
                "{} lies on a file system without direct I/O (O_DIRECT): name a folder on ext4 or \
                 XFS",
                path.display()
            ),
            Self::NoDirectIo { path, unit: Some(unit) } => write!(
                f,
                "{} lies on a device that takes direct I/O only in units of {unit} bytes, Chiplog \
                 writes units of {PAGE_BYTES}: name a folder on another device",
                path.display()
            ),
            Self::Locked { path, waited } => write!(
                f,
                "{} is still held by another process after {} s: see who with `fuser -v {}`",
                path.display(),
                waited.as_secs(),
                path.display()
            ),
        }
    }
}

impl std::error::Error for FolderError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Where a file lies below its shard's folder.
#[must_use]
pub fn relative_path(kind: FileKind) -> String {
    match kind {
        FileKind::Segment(number) => format!("journal/{number:03}.segment"),
        FileKind::Bin(number) => format!("bins/{number:05}.bin"),
    }
}

impl ShardFolder {
    /// Opens every file of the folder at `path` for reading and changes nothing. Others may look at
    /// the same time; waits up to `patience` for whoever writes.
    pub fn look(path: &Path, shard: ShardId, patience: Duration) -> Result<Self, FolderError> {
        let mut files = Vec::new();
        for (folder, suffix) in FOLDERS {
            let folder = path.join(folder);
            // A shard that never started has no folders.
            for name in if folder.is_dir() { names(&folder)? } else { Vec::new() } {
                if let Some(kind) = parse(&name, suffix) {
                    let id = FileId { shard, kind };
                    files.push(ShardFile::look(&folder.join(name), id, patience)?);
                }
            }
        }
        files.sort_by_key(|file| file.id);
        Ok(Self { shard, path: path.to_owned(), files })
    }

    /// Makes the folder at `path` if need be, and opens and locks every file of it. Waits up to
    /// `patience` for files that a killed process's ring has not let go of yet.
    pub fn open(path: &Path, shard: ShardId, patience: Duration) -> Result<Self, FolderError> {
        let mut files = Vec::new();
        for (folder, suffix) in FOLDERS {
            let folder = path.join(folder);
            std::fs::create_dir_all(&folder).map_err(explain("create", &folder))?;
            sync_folder(&folder).map_err(explain("sync", &folder))?;
            for name in names(&folder)? {
                if name.ends_with(UNFINISHED) {
                    let path = folder.join(&name);
                    std::fs::remove_file(&path).map_err(explain("remove", &path))?;
                } else if let Some(kind) = parse(&name, suffix) {
                    let id = FileId { shard, kind };
                    files.push(ShardFile::open(&folder.join(name), id, patience)?);
                }
            }
        }
        sync_folder(path).map_err(explain("sync", path))?;
        check_direct_io(path)?;
        files.sort_by_key(|file| file.id);
        Ok(Self { shard, path: path.to_owned(), files })
    }

    #[must_use]
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// Every file and its size in bytes, ascending by id.
    #[must_use]
    pub fn existing(&self) -> Vec<(FileId, u64)> {
        self.files.iter().map(|file| (file.id, file.bytes)).collect()
    }

    /// In how many pieces each journal segment lies on the device, where the file system tells.
    pub fn segment_extents(&self) -> impl Iterator<Item = u32> {
        let is_segment = |file: &&ShardFile| matches!(file.id.kind, FileKind::Segment(_));
        self.files.iter().filter(is_segment).filter_map(|file| extents::of(&file.file))
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every file by id, still locked, for whoever reads and writes without a ring.
    pub fn into_handles(self) -> impl Iterator<Item = (FileId, File)> {
        self.files.into_iter().map(|file| (file.id, file.file.into()))
    }

    pub(crate) fn into_files(self) -> Vec<ShardFile> {
        self.files
    }
}

impl ShardFile {
    fn look(path: &Path, id: FileId, patience: Duration) -> Result<Self, FolderError> {
        let open = |flags| OpenOptions::new().read(true).custom_flags(flags).open(path);
        let file = match open(libc::O_DIRECT) {
            // A copy may lie on a file system without direct I/O.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => open(0),
            opened => opened,
        };
        let file = file.map_err(explain("open", path))?;
        lock(&file, FlockOperation::NonBlockingLockShared, path, patience)?;
        let bytes = file.metadata().map_err(explain("examine", path))?.len();
        Ok(Self { id, bytes, file: file.into() })
    }

    fn open(path: &Path, id: FileId, patience: Duration) -> Result<Self, FolderError> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).custom_flags(libc::O_DIRECT).open(path);
        let file = file.map_err(|source| match source.raw_os_error() {
            Some(libc::EINVAL) => FolderError::NoDirectIo { path: path.to_owned(), unit: None },
            _ => FolderError::Io { action: "open", path: path.to_owned(), source },
        })?;
        lock(&file, FlockOperation::NonBlockingLockExclusive, path, patience)?;
        let bytes = file.metadata().map_err(explain("examine", path))?.len();
        Ok(Self { id, bytes, file: file.into() })
    }
}

/// Makes a change of names in `folder` survive a power cut.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Refuses a folder whose file system cannot write 4 KiB units past the page cache.
pub(crate) fn check_direct_io(folder: &Path) -> Result<(), FolderError> {
    let path = folder.join("direct-io-probe");
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).write(true).custom_flags(libc::O_DIRECT);
    let opened = options.open(&path);
    let unit = opened.as_ref().map_or(Ok(None), direct_io_unit);
    // One left behind is harmless.
    let _ = std::fs::remove_file(&path);
    match opened {
        Err(source) if source.raw_os_error() == Some(libc::EINVAL) => {
            return Err(FolderError::NoDirectIo { path: folder.to_owned(), unit: None });
        }
        // A full disk must still serve reads.
        Err(source) if matches!(source.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT)) => {}
        Err(source) => return Err(explain("write to", folder)(source)),
        Ok(_) => {}
    }
    match unit.map_err(explain("examine", folder))? {
        Some(0) => Err(FolderError::NoDirectIo { path: folder.to_owned(), unit: None }),
        Some(unit) if !(PAGE_BYTES as u32).is_multiple_of(unit) => {
            Err(FolderError::NoDirectIo { path: folder.to_owned(), unit: Some(unit) })
        }
        _ => Ok(()),
    }
}

/// What offsets and addresses must be multiples of; `None` if the file system does not say.
fn direct_io_unit(file: &File) -> io::Result<Option<u32>> {
    let flags = rustix::fs::AtFlags::EMPTY_PATH;
    let stat = rustix::fs::statx(file, "", flags, StatxFlags::DIOALIGN)?;
    let told = stat.stx_mask & StatxFlags::DIOALIGN.bits() != 0;
    Ok(told.then(|| stat.stx_dio_offset_align.max(stat.stx_dio_mem_align)))
}

fn lock(
    file: &File,
    how: FlockOperation,
    path: &Path,
    patience: Duration,
) -> Result<(), FolderError> {
    let started = std::time::Instant::now();
    loop {
        match rustix::fs::flock(file, how) {
            Ok(()) => return Ok(()),
            Err(Errno::WOULDBLOCK) if started.elapsed() < patience => std::thread::sleep(RETRY),
            Err(Errno::WOULDBLOCK) => {
                return Err(FolderError::Locked { path: path.to_owned(), waited: patience });
            }
            Err(error) => return Err(explain("lock", path)(error.into())),
        }
    }
}

fn names(folder: &Path) -> Result<Vec<String>, FolderError> {
    let read = || -> io::Result<Vec<String>> {
        let entries = std::fs::read_dir(folder)?;
        let name = |entry: io::Result<std::fs::DirEntry>| Ok(entry?.file_name());
        let names: io::Result<Vec<_>> = entries.map(name).collect();
        // What is not UTF-8 is not ours.
        Ok(names?.into_iter().filter_map(|name| name.into_string().ok()).collect())
    };
    read().map_err(explain("read", folder))
}

/// The file that `name` names; `None` for names that we do not give.
fn parse(name: &str, suffix: &str) -> Option<FileKind> {
    let number = name.strip_suffix(suffix)?;
    let kind = match suffix {
        ".segment" => FileKind::Segment(number.parse().ok()?),
        _ => FileKind::Bin(number.parse().ok()?),
    };
    relative_path(kind).ends_with(&format!("/{name}")).then_some(kind)
}

pub(crate) fn explain<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> FolderError + 'a {
    move |source| FolderError::Io { action, path: path.to_owned(), source }
}
