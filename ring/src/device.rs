//! The device under a folder, as found and as measured: a part of the start-up report.

mod block;
mod mount;

use core::fmt;
use core::time::Duration;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use base::{PAGE_BYTES, Page, Token};

use crate::clock;
use crate::cpu;
use crate::flight::{Flight, Flights, Landed};
use crate::folder::{FolderError, check_direct_io, explain};
use crate::setup::{RingOptions, SetupError};
use crate::uring::{Target, Uring};

pub use block::Cache;
pub use mount::Mount;

/// The scratch file and how long each kind of write is measured: 150 ms in all on a usual disk.
const SCRATCH_PAGES: usize = 256;
const DURABLE_TIME: Duration = Duration::from_millis(70);
const PLAIN_TIME: Duration = Duration::from_millis(20);
const MOST_WRITES: usize = 1000;
const FEWEST_WRITES: usize = 5;

/// What writes to a folder cost, and why.
#[derive(Clone, Debug)]
pub struct DeviceReport {
    /// 4 KiB direct overwrites, durable on completion (RWF_DSYNC), one in flight, in nanoseconds.
    pub dsync_ns_p50: u64,
    pub dsync_ns_p99: u64,
    /// The same without RWF_DSYNC.
    pub plain_ns_p50: u64,
    /// Durable writes that were measured.
    pub writes: usize,
    /// Whether the kernel handed writes to a worker thread, which costs a wake-up each.
    pub punted: bool,
    pub mount: Mount,
    /// `None` for a file system without a block device of its own.
    pub cache: Option<Cache>,
}

/// Something that an operator should know about a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceWarning {
    Punted,
    Discard,
    FlushesAll,
    ProtectedOrLying,
    UnknownFileSystem,
}

/// Why a device could not be measured.
#[derive(Debug)]
pub enum DeviceError {
    Folder(FolderError),
    Setup(SetupError),
    Write(io::Error),
}

impl DeviceError {
    /// Whether there was no room for the file that is written: on a full disk a log can still be read.
    #[must_use]
    pub fn is_full_disk(&self) -> bool {
        let Self::Folder(FolderError::Io { source, .. }) = self else { return false };
        matches!(source.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT))
    }
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(error) => error.fmt(f),
            Self::Setup(error) => error.fmt(f),
            Self::Write(error) => write!(f, "cannot measure durable writes: {error}"),
        }
    }
}

impl std::error::Error for DeviceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Folder(error) => Some(error),
            Self::Setup(error) => Some(error),
            Self::Write(error) => Some(error),
        }
    }
}

/// Measures durable writes in `folder` for about 100 ms, in a file that is gone afterwards.
pub fn measure_dsync(folder: &Path, options: &RingOptions) -> Result<DeviceReport, DeviceError> {
    check_direct_io(folder).map_err(DeviceError::Folder)?;
    let scratch = make_scratch(folder).map_err(DeviceError::Folder)?;
    let mut bench = Bench::new(&scratch, options).map_err(DeviceError::Setup)?;
    let durable = bench.run(true, DURABLE_TIME).map_err(DeviceError::Write)?;
    let punted = cpu::io_workers(cpu::thread_id()).is_ok_and(|workers| workers != 0);
    let plain = bench.run(false, PLAIN_TIME).map_err(DeviceError::Write)?;
    Ok(DeviceReport {
        dsync_ns_p50: percentile(&durable, 50),
        dsync_ns_p99: percentile(&durable, 99),
        plain_ns_p50: percentile(&plain, 50),
        writes: durable.len(),
        punted,
        mount: Mount::of(folder)
            .map_err(explain("find the mount of", folder))
            .map_err(DeviceError::Folder)?,
        cache: Cache::under(&scratch),
    })
}

impl DeviceReport {
    /// What is worth saying, most important first.
    #[must_use]
    pub fn warnings(&self) -> Vec<DeviceWarning> {
        let volatile = self.cache.as_ref().is_some_and(|cache| cache.volatile);
        let fua = self.cache.as_ref().is_some_and(|cache| cache.fua);
        let as_cheap_as_plain = self.dsync_ns_p50 * 10 <= self.plain_ns_p50 * 11;
        let all = [
            (self.punted, DeviceWarning::Punted),
            (volatile && as_cheap_as_plain, DeviceWarning::ProtectedOrLying),
            (volatile && !fua && !as_cheap_as_plain, DeviceWarning::FlushesAll),
            (self.mount.has("discard"), DeviceWarning::Discard),
            (!matches!(&*self.mount.kind, "ext4" | "xfs"), DeviceWarning::UnknownFileSystem),
        ];
        all.into_iter().filter(|(holds, _)| *holds).map(|(_, warning)| warning).collect()
    }
}

/// `/dev/vda (ext4): durable write p50 120 µs, p99 300 µs (n = 500), plain 40 µs; volatile cache,
/// no FUA; not punted`.
impl fmt::Display for DeviceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, plain] = [self.dsync_ns_p50, self.dsync_ns_p99, self.plain_ns_p50]
            .map(|nanoseconds| nanoseconds as f64 / 1000.0);
        write!(
            f,
            "{} ({}): durable write p50 {p50:.0} µs, p99 {p99:.0} µs (n = {}), plain {plain:.0} µs; ",
            self.mount.source, self.mount.kind, self.writes
        )?;
        match &self.cache {
            Some(cache) => cache.fmt(f)?,
            None => f.write_str("cache unknown")?,
        }
        f.write_str(if self.punted { "; punted to a worker" } else { "; not punted" })
    }
}

impl fmt::Display for DeviceWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Punted => {
                "the kernel hands durable writes to a worker thread: use ext4 mounted with \
                 lazytime, or XFS on kernel 7.0 or newer"
            }
            Self::Discard => {
                "mounted with discard: removing a file stalls every write; remount with nodiscard \
                 and run fstrim at quiet hours"
            }
            Self::FlushesAll => {
                "a volatile cache without FUA: each durable write flushes the whole cache, others' \
                 data included; a drive with power-loss protection is many times faster"
            }
            Self::ProtectedOrLying => {
                "a cache that calls itself volatile, yet durable writes cost no more than plain \
                 ones: the drive is protected against power loss, or it lies"
            }
            Self::UnknownFileSystem => "neither ext4 nor XFS: not tested with Chiplog",
        })
    }
}

/// One write after the other on a ring of its own.
struct Bench {
    uring: Uring,
    flights: Flights,
    target: Target,
    page: Option<Box<[Page]>>,
    next: u64,
}

impl Bench {
    fn new(scratch: &File, options: &RingOptions) -> Result<Self, SetupError> {
        let options = RingOptions { submissions: 8, completions: 16, ..options.clone() };
        let mut uring = Uring::new(&options, 1)?;
        let target = uring.adopt(scratch.as_fd());
        let page = Some(Page::boxed(1));
        Ok(Self { uring, flights: Flights::new(1, 0), target, page, next: 0 })
    }

    /// Nanoseconds of each write, ascending.
    fn run(&mut self, sync: bool, time: Duration) -> io::Result<Vec<u64>> {
        let started = clock::monotonic();
        let mut taken = Vec::with_capacity(MOST_WRITES);
        // The first one pays for what the file system has put off.
        self.write(sync)?;
        while taken.len() < FEWEST_WRITES
            || (taken.len() < MOST_WRITES && clock::monotonic().since(started) < time)
        {
            let begun = clock::monotonic();
            self.write(sync)?;
            taken.push(clock::monotonic().since(begun).as_nanos() as u64);
        }
        taken.sort_unstable();
        Ok(taken)
    }

    fn write(&mut self, sync: bool) -> io::Result<()> {
        let pages = self.page.take().ok_or_else(lost)?;
        let pos = self.next % SCRATCH_PAGES as u64 * PAGE_BYTES as u64;
        self.next += 1;
        let flight = Flight::WritePages { tok: Token(0), pages, pos, sync };
        self.flights.launch(&mut self.uring, self.target, flight);
        let mut completion = None;
        while completion.is_none() {
            self.uring.enter(Some(Duration::from_secs(1)))?;
            self.uring.reap(1, |landed| completion = Some(landed));
        }
        let completion = completion.ok_or_else(lost)?;
        if let Landed::Last(Flight::WritePages { pages, .. }) = self.flights.land(&completion) {
            self.page = Some(pages);
        }
        match completion.result {
            error @ ..0 => Err(io::Error::from_raw_os_error(-error)),
            written if written as usize == PAGE_BYTES => Ok(()),
            _ => Err(io::ErrorKind::WriteZero.into()),
        }
    }
}

fn lost() -> io::Error {
    io::Error::other("a write landed without its page")
}

/// A pre-written file without a name.
fn make_scratch(folder: &Path) -> Result<File, FolderError> {
    let path = folder.join("device-probe");
    let make = || -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).read(true).write(true);
        let file = options.custom_flags(libc::O_DIRECT).open(&path)?;
        std::fs::remove_file(&path)?;
        file.write_all_at(Page::bytes(&Page::boxed(SCRATCH_PAGES)), 0)?;
        file.sync_all()?;
        Ok(file)
    };
    make().map_err(explain("write", &path))
}

/// The smallest value that `percent` of `ascending` do not exceed.
fn percentile(ascending: &[u64], percent: usize) -> u64 {
    ascending[(ascending.len() * percent).div_ceil(100).saturating_sub(1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let all: Vec<u64> = (1..=200).collect();
        assert_eq!([percentile(&all, 50), percentile(&all, 99)], [100, 198]);
        assert_eq!([percentile(&[7], 50), percentile(&[7], 99)], [7, 7]);
    }

    #[test]
    fn warnings_follow_from_what_was_found() {
        let mount = Mount {
            source: "/dev/x".to_owned(),
            kind: "ext4".to_owned(),
            options: "rw,relatime".to_owned(),
        };
        let mut report = DeviceReport {
            dsync_ns_p50: 300,
            dsync_ns_p99: 900,
            plain_ns_p50: 100,
            writes: 5,
            punted: false,
            mount,
            cache: Some(Cache { volatile: true, fua: false }),
        };
        assert_eq!(report.warnings(), [DeviceWarning::FlushesAll]);
        report.dsync_ns_p50 = 110;
        assert_eq!(report.warnings(), [DeviceWarning::ProtectedOrLying]);
        report.cache = Some(Cache { volatile: false, fua: false });
        assert_eq!(report.warnings(), []);
        report.punted = true;
        report.mount.kind = "btrfs".to_owned();
        report.mount.options.push_str(",discard");
        let all = [DeviceWarning::Punted, DeviceWarning::Discard, DeviceWarning::UnknownFileSystem];
        assert_eq!(report.warnings(), all);
    }
}
