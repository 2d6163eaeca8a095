//! How many pieces of the device a file lies in.

use std::os::fd::{AsFd, AsRawFd};

/// `struct fiemap` of `linux/fiemap.h`, without room for extents: then they are only counted.
#[repr(C)]
#[derive(Default)]
struct Fiemap {
    start: u64,
    length: u64,
    flags: u32,
    mapped_extents: u32,
    extent_count: u32,
    reserved: u32,
}

/// `_IOWR('f', 11, struct fiemap)`.
const FS_IOC_FIEMAP: u64 = 0xc020_660b;

/// Extents of a file; `None` if its file system does not tell.
pub(crate) fn of(file: &impl AsFd) -> Option<u32> {
    let mut map = Fiemap { length: u64::MAX, ..Fiemap::default() };
    // SAFETY: the kernel reads and writes one `struct fiemap`, which `map` is, and with no room for
    // extents nothing behind it.
    let result = unsafe { libc::ioctl(file.as_fd().as_raw_fd(), FS_IOC_FIEMAP as _, &raw mut map) };
    (result == 0).then_some(map.mapped_extents)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn a_hole_parts_a_file_in_two() {
        let exe = std::env::current_exe().unwrap();
        let path = exe.with_file_name(format!("extents-{}", std::process::id()));
        let file = File::create(&path).unwrap();
        let mut counts = vec![of(&file)];
        for pos in [0, 4 << 20] {
            file.write_all_at(&[1; 4096], pos).unwrap();
            file.sync_all().unwrap();
            counts.push(of(&file));
        }
        std::fs::remove_file(&path).unwrap();
        let told = counts[0].is_some();
        assert!(counts == [Some(0), Some(1), Some(2)] || !told, "{counts:?}");
    }
}
