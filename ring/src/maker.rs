//! Makes files in the background: zero-written, synced and locked before anyone hears of them.
//!
//! ```text
//!  NNN.segment.new: create ▸ fallocate ▸ write zeros ▸ fdatasync ▸ rename ▸ fsync the folder
//! ```
//! A write into written blocks changes no metadata, so that its durability costs one device write
//! and never a file system transaction. All of that would stop a core for a second; it happens on a
//! thread of its own, at a bounded rate, so that the journal's writes are not starved.

use core::time::Duration;
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Instant;

use base::{FileId, FileKind, IoError, Page, Token};
use rtrb::{Consumer, Producer, RingBuffer};
use rustix::fs::{FallocateFlags, FlockOperation};

use crate::bell::Bell;
use crate::folder::{UNFINISHED, relative_path, sync_folder};

const CHUNK_PAGES: usize = 256;
const RESULTS: usize = 256;
const STOP_CHECK: Duration = Duration::from_millis(20);

/// A file to make.
#[derive(Debug)]
struct Job {
    tok: Token,
    file: FileId,
    /// The shard's folder.
    folder: PathBuf,
    bytes: u64,
}

/// A file made, or not.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) tok: Token,
    pub(crate) file: FileId,
    pub(crate) result: Result<OwnedFd, IoError>,
}

/// The reactor's end of the background thread.
#[derive(Debug)]
pub(crate) struct Maker {
    jobs: mpsc::Sender<Job>,
    made: Consumer<Made>,
}

impl Maker {
    /// Starts the thread on `cpus` (anywhere if empty); it rings `bell` when a file is made and ends
    /// with the maker or when a stop is asked for.
    pub(crate) fn start(
        bell: Arc<Bell>,
        cpus: Vec<usize>,
        bytes_per_second: u64,
    ) -> io::Result<Self> {
        let (jobs, wanted) = mpsc::channel();
        let (results, made) = RingBuffer::new(RESULTS);
        let workshop = Workshop { wanted, results, bell, bytes_per_second };
        std::thread::Builder::new().name("file-maker".to_owned()).spawn(move || {
            if !cpus.is_empty() {
                // On the wrong CPU files are made all the same.
                let _ = crate::cpu::keep_on(&cpus);
            }
            workshop.run();
        })?;
        Ok(Self { jobs, made })
    }

    /// Asks for a file. The answer comes by [`Maker::take`].
    pub(crate) fn ask(&self, tok: Token, file: FileId, folder: &Path, bytes: u64) {
        let job = Job { tok, file, folder: folder.to_owned(), bytes };
        self.jobs.send(job).expect("the file maker runs as long as its reactor");
    }

    pub(crate) fn take(&mut self) -> Option<Made> {
        self.made.pop().ok()
    }

    pub(crate) fn has_made(&self) -> bool {
        !self.made.is_empty()
    }
}

/// The thread's end.
struct Workshop {
    wanted: mpsc::Receiver<Job>,
    results: Producer<Made>,
    bell: Arc<Bell>,
    bytes_per_second: u64,
}

impl Workshop {
    fn run(mut self) {
        let mut unsent = VecDeque::new();
        while let Ok(job) = self.wanted.recv() {
            let result = self
                .make(&job)
                .map_err(|error| IoError::Errno(error.raw_os_error().unwrap_or(libc::EIO)));
            unsent.push_back(Made { tok: job.tok, file: job.file, result });
            while let Some(made) = unsent.pop_front() {
                if let Err(rtrb::PushError::Full(made)) = self.results.push(made) {
                    unsent.push_front(made);
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            self.bell.ring();
        }
    }

    fn make(&self, job: &Job) -> io::Result<OwnedFd> {
        let started = Instant::now();
        let mut pace = |written| self.pace(started, written);
        make_file(&job.folder, job.file.kind, job.bytes, &mut pace).map(OwnedFd::from)
    }

    /// Waits until `written` bytes may have been written since `started`. Fails when a stop is
    /// asked for.
    fn pace(&self, started: Instant, written: u64) -> io::Result<()> {
        let earliest = Duration::from_secs_f64(written as f64 / self.bytes_per_second as f64);
        loop {
            if self.bell.stop_asked() {
                return Err(io::Error::from_raw_os_error(libc::ECANCELED));
            }
            let ahead = earliest.saturating_sub(started.elapsed());
            if ahead.is_zero() {
                return Ok(());
            }
            std::thread::sleep(ahead.min(STOP_CHECK));
        }
    }
}

/// Makes a file of the shard's `folder`: zero-written, synced, locked, and only then under its name.
/// `pace` is told how many bytes were written, and may wait or end it.
pub fn make_file(
    folder: &Path,
    kind: FileKind,
    bytes: u64,
    pace: &mut dyn FnMut(u64) -> io::Result<()>,
) -> io::Result<File> {
    let path = folder.join(relative_path(kind));
    let mut unfinished = path.clone().into_os_string();
    unfinished.push(UNFINISHED);
    let unfinished = PathBuf::from(unfinished);
    let made = write_zeros(&unfinished, bytes, pace).and_then(|file| {
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        std::fs::rename(&unfinished, &path)?;
        sync_folder(path.parent().expect("every file lies in a folder"))?;
        Ok(file)
    });
    if made.is_err() {
        // Its blocks may be what a full disk is waiting for.
        let _ = std::fs::remove_file(&unfinished);
    }
    made
}

fn write_zeros(
    path: &Path,
    bytes: u64,
    pace: &mut dyn FnMut(u64) -> io::Result<()>,
) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).read(true).write(true);
    let file = options.custom_flags(libc::O_DIRECT).open(path)?;
    // All blocks at once, so that they lie together; a full disk is found before any is written.
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes)?;
    let zeros = Page::boxed(CHUNK_PAGES);
    let zeros = Page::bytes(&zeros);
    let mut pos = 0;
    while pos < bytes {
        pace(pos)?;
        let chunk = (bytes - pos).min(zeros.len() as u64);
        file.write_all_at(&zeros[..chunk as usize], pos)?;
        pos += chunk;
    }
    // The longest wait of all.
    pace(bytes)?;
    file.sync_data()?;
    Ok(file)
}
