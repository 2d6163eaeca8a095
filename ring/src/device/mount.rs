//! Which mount a folder lies on.

use std::io;
use std::path::{Path, PathBuf};

/// A line of `/proc/self/mountinfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted, e. g. `/dev/nvme0n1p1`.
    pub source: String,
    /// The file system, e. g. `ext4`.
    pub kind: String,
    /// Comma-separated, of the mount and of the file system.
    pub options: String,
}

impl Mount {
    pub(super) fn of(folder: &Path) -> io::Result<Self> {
        let folder = std::fs::canonicalize(folder)?;
        let table = std::fs::read_to_string("/proc/self/mountinfo")?;
        let unknown = || io::Error::new(io::ErrorKind::NotFound, "no mount holds it");
        find(&table, &folder).ok_or_else(unknown)
    }

    /// Whether it is mounted with `option`.
    #[must_use]
    pub fn has(&self, option: &str) -> bool {
        self.options.split(',').any(|given| given == option)
    }
}

/// The mount nearest to `folder`: the longest path, and of equal ones the last.
fn find(table: &str, folder: &Path) -> Option<Mount> {
    let mounts = table.lines().filter_map(parse);
    let holding = mounts.filter(|(point, _)| folder.starts_with(point));
    Some(holding.max_by_key(|(point, _)| point.components().count())?.1)
}

/// `36 35 98:0 /root /point rw,noatime shared:1 - ext4 /dev/sda1 rw,errors=continue`; proc(5).
fn parse(line: &str) -> Option<(PathBuf, Mount)> {
    let (mount, super_block) = line.split_once(" - ")?;
    let mount: Vec<&str> = mount.split(' ').collect();
    let mut words = super_block.split(' ');
    let (kind, source, options) = (words.next()?, words.next()?, words.next()?);
    let point = unescape(mount.get(4)?);
    let options = format!("{},{options}", mount.get(5)?);
    let mount = Mount { source: unescape(source), kind: kind.to_owned(), options };
    Some((PathBuf::from(point), mount))
}

/// Blanks stand as `\040` and the like.
fn unescape(word: &str) -> String {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    escapes.iter().fold(word.to_owned(), |word, (code, plain)| word.replace(code, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
40 27 0:33 / /mnt rw - tmpfs tmpfs rw,size=1k
41 40 8:1 / /mnt/a\\040disk rw,noatime shared:5 master:2 - xfs /dev/sda1 rw,logbsize=256k
";

    #[test]
    fn the_nearest_mount_counts() {
        let root = find(TABLE, Path::new("/var/lib")).unwrap();
        assert_eq!((&*root.kind, &*root.source), ("ext4", "/dev/vda"));
        assert!(root.has("discard") && root.has("relatime") && !root.has("disc"));
        assert_eq!(find(TABLE, Path::new("/mnt/a")).unwrap().kind, "tmpfs");
        let disk = find(TABLE, Path::new("/mnt/a disk/chiplog")).unwrap();
        assert_eq!(disk.kind, "xfs");
        assert!(disk.has("noatime") && disk.has("logbsize=256k"));
    }
}
