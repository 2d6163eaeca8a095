//! The files of a shard: what they are called, and which exist.

use std::io;
use std::path::{Path, PathBuf};

use base::{FileId, FileKind, ShardId};

/// Ends the name of a file that is still being made. One left behind by a crash is no file at all.
pub const UNFINISHED: &str = "new";

/// Where `file` lies in the data folder `root`.
#[must_use]
pub fn path_of(root: &Path, file: FileId) -> PathBuf {
    let shard = shard_path(root, file.shard);
    match file.kind {
        FileKind::Segment(number) => shard.join("journal").join(format!("{number:03}.segment")),
        FileKind::Bin(number) => shard.join("bins").join(format!("{number:05}.bin")),
    }
}

/// The folder of one shard's files.
#[must_use]
pub fn shard_path(root: &Path, shard: ShardId) -> PathBuf {
    if shard == ShardId::CONTROL {
        root.join("control")
    } else {
        root.join(format!("shard-{shard}"))
    }
}

/// The shard's finished files and their bytes, segments first, each kind in order of its numbers.
/// Makes the shard's folders where they are missing.
pub fn existing(root: &Path, shard: ShardId) -> io::Result<Vec<(FileId, u64)>> {
    let folder = shard_path(root, shard);
    let mut files = Vec::new();
    for (name, extension) in [("journal", "segment"), ("bins", "bin")] {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder)?;
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let path = entry.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let number = stem.and_then(|stem| stem.parse().ok());
            let is_kind = path.extension().is_some_and(|found| found == extension);
            let kind = number.and_then(|number| kind_of(extension, number));
            if let (true, Some(kind)) = (is_kind, kind) {
                files.push((FileId { shard, kind }, entry.metadata()?.len()));
            }
        }
    }
    files.sort_unstable();
    Ok(files)
}

fn kind_of(extension: &str, number: u32) -> Option<FileKind> {
    match extension {
        "segment" => u16::try_from(number).ok().map(FileKind::Segment),
        _ => Some(FileKind::Bin(number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_by_the_names_they_are_given() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let shard = ShardId(3);
        let kinds = [FileKind::Segment(2), FileKind::Segment(10), FileKind::Bin(100_000)];
        assert!(existing(root.path(), shard).expect("readable").is_empty());
        for kind in kinds {
            let path = path_of(root.path(), FileId { shard, kind });
            std::fs::write(&path, "abc").expect("the folders were made");
            let unfinished = format!("{}.{UNFINISHED}", path.display());
            std::fs::write(unfinished, "a").expect("writable");
        }
        let found = existing(root.path(), shard).expect("readable");
        assert_eq!(found, kinds.map(|kind| (FileId { shard, kind }, 3)));
        assert!(existing(root.path(), ShardId::CONTROL).expect("readable").is_empty());
    }
}
