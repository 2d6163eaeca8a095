//! The folder that one server owns: what it is made of, who holds it, and why it may be refused.
//!
//! ```text
//!  DATA/meta.toml            what was fixed at format: identity, shards, geometry
//!  DATA/lock                 flock + pid of the server that holds the folder
//!  DATA/shard-N/journal/     NNN.segment
//!  DATA/shard-N/bins/        NNNNN.bin
//!  DATA/control/journal|bins the control shard's
//! ```
//!
//! Nothing is written into a folder that is not ours: a folder with files but without `meta.toml`
//! is refused before the lock is made.

pub mod file_system;
mod geometry;
pub mod lock;
pub mod meta;
mod no_room;
mod stopped;

use std::io;
use std::path::{Path, PathBuf};

use base::{NodeId, ShardId};
use thiserror::Error;

use crate::config::{ByteSize, Config};
use lock::FolderLock;
pub use meta::Meta;
pub use no_room::NoRoom;
pub use stopped::StoppedFolder;

/// A folder that this process holds.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    meta: Meta,
    formatted_now: bool,
    lock: FolderLock,
}

/// Why a folder cannot be served from.
#[derive(Debug, Error)]
pub enum FolderError {
    #[error("cannot {action} {}: {source}{}", path.display(), advice(source))]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is not a folder: name another with --data", .0.display())]
    NotAFolder(PathBuf),
    #[error(
        "{} is no data folder of Chiplog (it has no meta.toml): name one with --data",
        .0.display()
    )]
    NotFormatted(PathBuf),
    #[error(
        "{} holds files that are not Chiplog's (it has no meta.toml): name an empty or new folder \
         with --data",
        .0.display()
    )]
    Foreign(PathBuf),
    #[error(
        "{} has format {found}, this chiplog ({}) reads up to format {}: run the newer chiplog \
         that wrote it",
        path.display(), env!("CARGO_PKG_VERSION"), meta::FORMAT
    )]
    NewerFormat { path: PathBuf, found: i64 },
    #[error(
        "{} is not readable as Chiplog's ({reason}): restore it from a copy, or name another \
         folder with --data",
        path.display()
    )]
    Damaged { path: PathBuf, reason: String },
    #[error(
        "{} is served by process {pid}: stop that one first, or name another folder with --data",
        path.display()
    )]
    InUse { path: PathBuf, pid: u32 },
    #[error(
        "{} is still locked after {} s although its server is gone: see who holds it with \
         `fuser -v {}`",
        path.display(), lock::PATIENCE.as_secs(), lock_file.display()
    )]
    StillLocked { path: PathBuf, lock_file: PathBuf },
    #[error(
        "{} lies on {name}, which forgets everything at a power cut: name a folder on a disk with \
         --data",
        path.display()
    )]
    Volatile { path: PathBuf, name: &'static str },
    #[error(
        "{} was formatted with {found} for {flag}, which cannot change: leave {flag} out, or format \
         another folder with --data",
        path.display()
    )]
    Formatted { path: PathBuf, flag: &'static str, found: String },
    #[error("a new data folder cannot be made: {0}")]
    NoRoom(NoRoom),
}

impl DataFolder {
    /// Takes the folder that `config` names, and formats it if it is new. `waiting` is called with
    /// the recorded pid before a wait for a dead server's lock.
    pub fn open(config: &Config, waiting: impl FnOnce(u32)) -> Result<Self, FolderError> {
        // Glommio opens absolute paths only.
        let path = make_folder(&config.data)?;
        refuse_foreign(&path)?;
        file_system::refuse_volatile(&path)?;
        let lock = FolderLock::take(&path, waiting)?;
        let existing = Meta::read(&path)?;
        let formatted_now = existing.is_none();
        let meta = match existing {
            Some(meta) => {
                agree(&path, &meta, config)?;
                meta
            }
            None => Meta::format(&path, config)?,
        };
        Ok(Self { path, meta, formatted_now, lock })
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    #[must_use]
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Remembers that the shard's journal holds a durable frame.
    pub fn activate(&mut self, shard: ShardId) -> Result<(), FolderError> {
        self.meta.activate(&self.path, shard)
    }

    /// Whether this start made it.
    #[must_use]
    pub fn formatted_now(&self) -> bool {
        self.formatted_now
    }

    /// The locked file: whoever keeps a duplicate open keeps the lock.
    #[must_use]
    pub fn lock(&self) -> &FolderLock {
        &self.lock
    }

    /// The folder of one shard's files.
    #[must_use]
    pub fn shard_path(&self, shard: ShardId) -> PathBuf {
        shard_path(&self.path, shard)
    }
}

/// What people call a shard.
#[must_use]
pub fn shard_name(shard: ShardId) -> String {
    if shard == ShardId::CONTROL { "control".to_owned() } else { format!("shard {shard}") }
}

fn shard_path(folder: &Path, shard: ShardId) -> PathBuf {
    if shard == ShardId::CONTROL {
        folder.join("control")
    } else {
        folder.join(format!("shard-{shard}"))
    }
}

/// What to do about a folder that this user may not use, or that has no room.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull => "; make room on its disk, or name another folder with --data",
        io::ErrorKind::PermissionDenied => {
            "; give it to the user that runs chiplog, or name another folder with --data"
        }
        io::ErrorKind::NotADirectory
        | io::ErrorKind::NotFound
        | io::ErrorKind::ReadOnlyFilesystem => "; name another folder with --data",
        _ => "",
    }
}

/// The folder's absolute path, once it exists.
fn make_folder(path: &Path) -> Result<PathBuf, FolderError> {
    match std::fs::create_dir_all(path).and_then(|()| path.canonicalize()) {
        Ok(path) => Ok(path),
        Err(_) if path.exists() => Err(FolderError::NotAFolder(path.to_owned())),
        Err(source) => Err(FolderError::Io { action: "create", path: path.to_owned(), source }),
    }
}

/// Names that a folder may hold before `meta.toml` does: a crash during format leaves the first
/// two, `mkfs` the last.
const HARMLESS: [&str; 3] = [lock::NAME, meta::DRAFT, "lost+found"];

fn refuse_foreign(path: &Path) -> Result<(), FolderError> {
    let io = |source| FolderError::Io { action: "read", path: path.to_owned(), source };
    let mut foreign = false;
    for entry in std::fs::read_dir(path).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        if name == meta::NAME {
            return Ok(());
        }
        foreign |= !HARMLESS.iter().any(|harmless| name == *harmless);
    }
    if foreign { Err(FolderError::Foreign(path.to_owned())) } else { Ok(()) }
}

/// Refuses settings that contradict what the folder was formatted with.
fn agree(path: &Path, meta: &Meta, config: &Config) -> Result<(), FolderError> {
    let differs = |flag, found| {
        let path = path.to_owned();
        Err(FolderError::Formatted { path, flag, found })
    };
    let wanted = &config.format;
    if wanted.shards.is_some_and(|shards| shards.get() != meta.shard_count()) {
        return differs("--shards", meta.shard_count().to_string());
    }
    let node = config.cluster.node;
    if node.given && NodeId(node.value.0) != meta.node() {
        return differs("--node-id", meta.node().to_string());
    }
    let sizes = [
        ("--journal-bytes", wanted.journal_bytes, meta.journal_bytes),
        ("--bins-bytes", wanted.bin_bytes, meta.bin_bytes),
    ];
    for (flag, wanted, found) in sizes {
        if wanted.given && wanted.value.0 != found {
            return differs(flag, ByteSize(found).to_string());
        }
    }
    Ok(())
}

/// Makes a change of names in `path` survive a power cut.
fn sync_folder(path: &Path) -> Result<(), FolderError> {
    std::fs::File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| FolderError::Io { action: "sync", path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;
