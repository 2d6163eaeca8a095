//! One server per folder: a flock, and the pid of who took it.
//!
//! The pid alone decides nothing. It tells two cases of a held lock apart: a living server (refuse
//! at once, naming it) and a killed one whose ring still closes its files (wait: the kernel needs
//! up to a second).

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::FolderError;

pub const NAME: &str = "lock";

/// How long a dead server's lock is waited for.
pub const PATIENCE: Duration = Duration::from_secs(10);

const RETRY: Duration = Duration::from_millis(20);

/// The held lock; released when the last duplicate of its file is closed.
#[derive(Debug)]
pub struct FolderLock {
    file: File,
}

impl FolderLock {
    /// Takes the lock of `folder`. `waiting` is called once, with the recorded pid, before a wait.
    pub fn take(folder: &Path, waiting: impl FnOnce(u32)) -> Result<Self, FolderError> {
        let path = folder.join(NAME);
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).read(true).write(true).open(&path);
        let mut file = file.map_err(explain(&path))?;
        wait(&mut file, FlockOperation::NonBlockingLockExclusive, folder, waiting)?;
        // On a full disk the pid may not fit: the lock itself holds all the same.
        let _ = Owner::this_process().write(&mut file);
        Ok(Self { file })
    }

    /// Keeps servers out of `folder` while it is looked at, and changes nothing in it. `None` if no
    /// server ever was in it.
    pub fn share(folder: &Path, waiting: impl FnOnce(u32)) -> Result<Option<Self>, FolderError> {
        let path = folder.join(NAME);
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(explain(&path))?,
        };
        wait(&mut file, FlockOperation::NonBlockingLockShared, folder, waiting)?;
        Ok(Some(Self { file }))
    }

    /// Another handle of the same lock, for a ring that keeps files open beyond its process's death.
    pub fn duplicate(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}

/// Waits for `file`, the lock of `folder`, unless a living process holds it.
fn wait(
    file: &mut File,
    how: FlockOperation,
    folder: &Path,
    waiting: impl FnOnce(u32),
) -> Result<(), FolderError> {
    let path = folder.join(NAME);
    let give_up_at = Instant::now() + PATIENCE;
    let mut waiting = Some(waiting);
    while !try_lock(file, how).map_err(explain(&path))? {
        let owner = Owner::read(file).map_err(explain(&path))?;
        if owner.is_some_and(|owner| owner.is_alive()) {
            let pid = owner.map_or(0, |owner| owner.pid);
            return Err(FolderError::InUse { path: folder.to_owned(), pid });
        }
        if give_up_at < Instant::now() {
            return Err(FolderError::StillLocked { path: folder.to_owned(), lock_file: path });
        }
        if let (Some(owner), Some(waiting)) = (owner, waiting.take()) {
            waiting(owner.pid);
        }
        std::thread::sleep(RETRY);
    }
    Ok(())
}

fn explain(path: &Path) -> impl FnOnce(io::Error) -> FolderError + use<'_> {
    move |source| FolderError::Io { action: "lock", path: path.to_owned(), source }
}

fn try_lock(file: &File, how: FlockOperation) -> io::Result<bool> {
    match rustix::fs::flock(file, how) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A process, told apart from a later one with the same pid by when it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Owner {
    pid: u32,
    /// Clock ticks since boot; field 22 of `/proc/PID/stat`.
    started: u64,
}

impl Owner {
    fn this_process() -> Self {
        let pid = std::process::id();
        Self { pid, started: Stat::of(pid).map_or(0, |stat| stat.started) }
    }

    fn read(file: &mut File) -> io::Result<Option<Self>> {
        let mut text = String::new();
        file.rewind()?;
        file.take(64).read_to_string(&mut text)?;
        let mut words = text.split_whitespace();
        let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
        let (pid, started) = (number(), number());
        Ok(pid.zip(started).map(|(pid, started)| Self { pid: pid as u32, started }))
    }

    fn write(self, file: &mut File) -> io::Result<()> {
        file.rewind()?;
        let text = format!("{}\n{}\n", self.pid, self.started);
        file.write_all(text.as_bytes())?;
        file.set_len(text.len() as u64)
    }

    fn is_alive(self) -> bool {
        Stat::of(self.pid).is_some_and(|stat| stat.started == self.started && !stat.is_dying())
    }
}

/// What `/proc/PID` says of a process.
struct Stat {
    state: char,
    flags: u64,
    started: u64,
    killed: bool,
}

const PF_EXITING: u64 = 0x4;
const SIGKILL_BIT: u64 = 1 << 8;

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field, the name, may hold anything, so count from its closing parenthesis.
        let (_, behind_name) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = behind_name.split(' ').collect();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let pending = |line: &str| {
            let mask = line.strip_prefix("SigPnd:").or_else(|| line.strip_prefix("ShdPnd:"));
            mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
        };
        Some(Self {
            state: fields.first()?.chars().next()?,
            flags: fields.get(6)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
            killed: status.lines().any(|line| pending(line) & SIGKILL_BIT != 0),
        })
    }

    /// Dead but not yet gone: a zombie, or still giving its memory back.
    fn is_dying(&self) -> bool {
        matches!(self.state, 'Z' | 'X') || self.flags & PF_EXITING != 0 || self.killed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_owner_is_named_at_once() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let held = FolderLock::take(folder.path(), |_| ()).expect("nobody holds it");
        let refused = FolderLock::take(folder.path(), |_| panic!("must not wait"));
        let pid = std::process::id();
        assert!(matches!(refused, Err(FolderError::InUse { pid: named, .. }) if named == pid));
        drop(held);
        FolderLock::take(folder.path(), |_| ()).expect("released");
    }

    #[test]
    fn many_may_look_but_nobody_may_take_meanwhile() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert!(FolderLock::share(folder.path(), |_| ()).expect("readable").is_none());
        assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 0);
        drop(FolderLock::take(folder.path(), |_| ()).expect("nobody holds it"));
        let before = std::fs::read(folder.path().join(NAME)).expect("readable");
        let looking = [(); 2].map(|()| FolderLock::share(folder.path(), |_| ()));
        assert!(looking.iter().all(|lock| matches!(lock, Ok(Some(_)))));
        let taken = FolderLock::take(folder.path(), |_| ());
        assert!(matches!(taken, Err(FolderError::InUse { .. })), "{taken:?}");
        drop(looking);
        assert_eq!(std::fs::read(folder.path().join(NAME)).expect("readable"), before);
        let taken = FolderLock::take(folder.path(), |_| ()).expect("released");
        let looked = FolderLock::share(folder.path(), |_| ());
        assert!(matches!(looked, Err(FolderError::InUse { .. })), "{looked:?}");
        drop(taken);
    }

    #[test]
    fn a_dead_owners_lock_is_waited_for() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let held = FolderLock::take(folder.path(), |_| ()).expect("nobody holds it");
        let mut file = held.duplicate().expect("a duplicate");
        Owner { pid: u32::MAX - 1, started: 1 }.write(&mut file).expect("writable");
        let releaser = std::thread::spawn(move || {
            std::thread::sleep(3 * RETRY);
            drop((held, file));
        });
        let mut waited_for = 0;
        FolderLock::take(folder.path(), |pid| waited_for = pid).expect("released while waiting");
        assert_eq!(waited_for, u32::MAX - 1);
        releaser.join().expect("no panic");
    }

    #[test]
    fn a_recycled_pid_is_not_the_owner() {
        let this = Owner::this_process();
        assert!(this.is_alive());
        assert!(!Owner { started: this.started + 1, ..this }.is_alive());
    }

    #[test]
    fn a_zombie_is_not_alive() {
        let mut child = std::process::Command::new("true").spawn().expect("`true` exists");
        let gone = || Stat::of(child.id()).is_some_and(|stat| stat.is_dying());
        while !gone() {
            std::thread::yield_now();
        }
        child.wait().expect("our own child");
    }
}
