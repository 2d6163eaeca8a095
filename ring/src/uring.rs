//! One io_uring: its queues, its registered files and buffers, and the call that enters the kernel.
//!
//! An entry pushed here may name memory; who pushes promises that the memory stays (see
//! [`crate::flight`], the only caller). Everything else in this file is safe to call in any order.

use core::ptr;
use core::time::Duration;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, Probe, cqueue, opcode, squeue};

use crate::feature::{Feature, FeatureSet, Features};
use crate::memory::Mapping;
use crate::setup::{RingOptions, SetupError, make_ring};

/// See the module's description. Belongs to the thread that made it.
pub(crate) struct Uring {
    ring: IoUring,
    features: Features,
    /// Entries that found the submission queue full, oldest first.
    waiting: VecDeque<squeue::Entry>,
    /// The ring's place among the thread's registered rings.
    registered: Option<u32>,
    /// Unused places in the table of registered files.
    free_places: Vec<u32>,
    entered: u64,
}

/// A file as an operation names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A place in the ring's table of registered files.
    Registered(u32),
    Plain(RawFd),
}

/// What the kernel says about an operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Completion {
    pub(crate) user_data: u64,
    /// Bytes, or a negative `errno`.
    pub(crate) result: i32,
    flags: u32,
}

impl Completion {
    #[cfg(test)]
    pub(crate) fn of(user_data: u64, result: i32) -> Self {
        Self { user_data, result, flags: 0 }
    }

    /// Whether the same operation will complete again.
    pub(crate) fn more(&self) -> bool {
        cqueue::more(self.flags)
    }

    /// The provided buffer that holds the bytes.
    pub(crate) fn buffer(&self) -> Option<u16> {
        cqueue::buffer_select(self.flags)
    }
}

impl Uring {
    /// A ring for this thread, with places for `files` registered files.
    pub(crate) fn new(options: &RingOptions, files: u32) -> Result<Self, SetupError> {
        let (ring, mut found) = make_ring(options)?;
        let mut uring = Self {
            ring,
            features: Features::new(FeatureSet::EMPTY, options.disabled),
            waiting: VecDeque::with_capacity(options.submissions as usize),
            registered: None,
            free_places: Vec::new(),
            entered: 0,
        };
        let allowed = |feature| !options.disabled.contains(feature);
        if allowed(Feature::RegisteredRing) && uring.register_ring() {
            found = found.with(Feature::RegisteredRing);
        }
        if allowed(Feature::RegisteredFiles) && uring.register_places(files) {
            found = found.with(Feature::RegisteredFiles);
        }
        if allowed(Feature::NoIowait) && uring.ring.params().is_feature_no_iowait() {
            found = found.with(Feature::NoIowait);
        }
        if allowed(Feature::MsgRing) && uring.knows(opcode::MsgRingData::CODE) {
            found = found.with(Feature::MsgRing);
        }
        uring.features = Features::new(found, options.disabled);
        Ok(uring)
    }

    pub(crate) fn features(&self) -> Features {
        self.features
    }

    /// Records a feature whose trial is made elsewhere.
    pub(crate) fn note(&mut self, feature: Feature) {
        self.features = Features::new(self.features.found.with(feature), self.features.disabled);
    }

    pub(crate) fn allows(&self, feature: Feature) -> bool {
        !self.features.disabled.contains(feature)
    }

    /// Another descriptor of this ring, for peers that wake it.
    pub(crate) fn duplicate(&self) -> io::Result<OwnedFd> {
        self.ring.as_fd().try_clone_to_owned()
    }

    /// Lets operations name `file` by a place in the ring's table, if one is free.
    pub(crate) fn adopt(&mut self, file: BorrowedFd<'_>) -> Target {
        let plain = Target::Plain(file.as_raw_fd());
        let Some(place) = self.free_places.pop() else { return plain };
        let updated = self.ring.submitter().register_files_update(place, &[file.as_raw_fd()]);
        if updated.is_ok() {
            return Target::Registered(place);
        }
        self.free_places.push(place);
        plain
    }

    /// Gives an adopted file's place back. Operations in flight keep the file open.
    pub(crate) fn disown(&mut self, target: Target) {
        if let Target::Registered(place) = target {
            // A place that cannot be emptied is lost until the ring ends, with its file.
            if self.ring.submitter().register_files_update(place, &[-1]).is_ok() {
                self.free_places.push(place);
            }
        }
    }

    /// Keeps the kernel's own worker threads on `cpus` and few.
    pub(crate) fn confine_workers(&self, cpus: &[usize]) -> io::Result<()> {
        let mut set = rustix::thread::CpuSet::new();
        cpus.iter().for_each(|cpu| set.set(*cpu));
        const REGISTER_IOWQ_AFF: u32 = 17;
        let bytes = size_of_val(&set) as u32;
        // SAFETY: the kernel reads `bytes` bytes at `set`, which is plain and outlives the call.
        unsafe { self.register(REGISTER_IOWQ_AFF, (&raw const set).cast(), bytes) }?;
        self.ring.submitter().register_iowq_max_workers(&mut [8, 2])
    }

    /// Makes room for `count` registered buffers.
    pub(crate) fn reserve_buffers(&self, count: u32) -> io::Result<()> {
        self.ring.submitter().register_buffers_sparse(count)
    }

    /// Registers an arena's memory in a reserved place.
    pub(crate) fn register_arena(&self, place: u16, arena: &Mapping) -> io::Result<()> {
        let submitter = self.ring.submitter();
        // SAFETY: a mapping lasts as long as the process.
        unsafe { submitter.register_buffers_update(u32::from(place), &[arena.iovec()], None) }
    }

    /// Registers a ring of provided buffers as group `group`.
    ///
    /// # Safety
    /// `entries` entries at `address`, page-aligned, stay mapped until the ring is gone.
    pub(crate) unsafe fn register_buffer_ring(
        &self,
        address: u64,
        entries: u16,
        group: u16,
    ) -> io::Result<()> {
        let submitter = self.ring.submitter();
        // SAFETY: passed on to the caller.
        unsafe { submitter.register_buf_ring_with_flags(address, entries, group, 0) }
    }

    /// Queues an operation for the next [`Uring::enter`].
    ///
    /// # Safety
    /// All memory that `entry` names stays valid, and is not used in a way that conflicts with the
    /// operation, until the kernel has posted its last completion.
    pub(crate) unsafe fn push(&mut self, entry: squeue::Entry) {
        if !self.waiting.is_empty() {
            self.waiting.push_back(entry);
            return;
        }
        // SAFETY: passed on to the caller.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        if pushed.is_err() {
            self.waiting.push_back(entry);
        }
    }

    /// Posts a completion of `theirs` on another ring; one of `ours` here only if that failed.
    pub(crate) fn nudge(&mut self, ring: RawFd, theirs: u64, ours: u64) {
        let entry = opcode::MsgRingData::new(Fd(ring), 0, theirs, None)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(ours);
        // SAFETY: the entry names no memory.
        unsafe { self.push(entry) };
    }

    /// Whether an enter would do something: entries to submit, or completions to be made.
    pub(crate) fn wants_enter(&mut self) -> bool {
        let (features, queue) = (self.features, self.ring.submission());
        let lazy = features.has(Feature::DeferTaskrun) || features.has(Feature::CoopTaskrun);
        let pending = lazy && (!features.has(Feature::TaskrunFlag) || queue.taskrun());
        pending || !queue.is_empty() || queue.cq_overflow()
    }

    /// Whether completions lie in shared memory.
    pub(crate) fn has_completions(&mut self) -> bool {
        !self.ring.completion().is_empty()
    }

    /// Takes at most `limit` completions that lie in shared memory.
    pub(crate) fn reap(&mut self, limit: usize, mut take: impl FnMut(Completion)) {
        for entry in self.ring.completion().take(limit) {
            take(Completion {
                user_data: entry.user_data(),
                result: entry.result(),
                flags: entry.flags(),
            });
        }
    }

    /// Submits what is queued and lets the kernel post completions. With a `wait`, sleeps until
    /// there is a completion or that much time has passed.
    pub(crate) fn enter(&mut self, wait: Option<Duration>) -> io::Result<()> {
        loop {
            let before = self.waiting.len();
            self.move_waiting();
            match self.waiting.len() {
                0 => return self.enter_once(wait),
                // The kernel takes nothing before completions are taken.
                left if left == before => return self.enter_once(None),
                _ => self.enter_once(None)?,
            }
        }
    }

    fn enter_once(&mut self, wait: Option<Duration>) -> io::Result<()> {
        self.entered += 1;
        let submit = self.ring.submission().len() as u32;
        let time = Timespec::from(wait.unwrap_or_default());
        let args = SubmitArgs::new().timespec(&time);
        let mut flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
        if wait.is_some() && self.features.has(Feature::NoIowait) {
            flags |= EnterFlags::NO_IOWAIT;
        }
        let ring = match self.registered {
            Some(index) => {
                flags |= EnterFlags::REGISTERED_RING;
                index.cast_signed()
            }
            None => self.ring.as_raw_fd(),
        };
        let (wanted, bytes) = (u32::from(wait.is_some()), size_of_val(&args));
        let args = &raw const args;
        // SAFETY: `args` has the layout of `io_uring_getevents_arg` and lives, with the time it
        // points to, beyond the call; the memory named by entries is promised by `push`.
        let entered = unsafe {
            libc::syscall(libc::SYS_io_uring_enter, ring, submit, wanted, flags.bits(), args, bytes)
        };
        if 0 <= entered {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            // Nothing is lost: what was not submitted is still queued.
            Some(libc::EINTR | libc::ETIME | libc::EAGAIN | libc::EBUSY) => Ok(()),
            _ => Err(error),
        }
    }

    /// How often the kernel was entered.
    pub(crate) fn entered(&self) -> u64 {
        self.entered
    }

    fn move_waiting(&mut self) {
        while let Some(entry) = self.waiting.front() {
            // SAFETY: whoever handed the entry to `push` made its promise there.
            if unsafe { self.ring.submission().push(entry) }.is_err() {
                return;
            }
            self.waiting.pop_front();
        }
    }

    fn register_ring(&mut self) -> bool {
        const REGISTER_RING_FDS: u32 = 20;
        let mut update = RingUpdate { place: u32::MAX, reserved: 0, ring: 0 };
        update.ring = self.ring.as_raw_fd() as u64;
        // SAFETY: the kernel reads and writes one `update`, which outlives the call.
        let done = unsafe { self.register(REGISTER_RING_FDS, (&raw mut update).cast(), 1) };
        self.registered = done.is_ok().then_some(update.place);
        done.is_ok()
    }

    fn register_places(&mut self, files: u32) -> bool {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let files = limit.map_or(files, |limit| files.min(u32::try_from(limit).unwrap_or(files)));
        let registered = self.ring.submitter().register_files_sparse(files).is_ok();
        if registered {
            self.free_places = (0..files).rev().collect();
        }
        registered
    }

    fn knows(&self, operation: u8) -> bool {
        let mut probe = Probe::new();
        let probed = self.ring.submitter().register_probe(&mut probe);
        probed.is_ok() && probe.is_supported(operation)
    }

    /// # Safety
    /// `argument` is what `io_uring_register(2)` says of `operation`.
    unsafe fn register(
        &self,
        operation: u32,
        argument: *const libc::c_void,
        count: u32,
    ) -> io::Result<()> {
        let (number, ring) = (libc::SYS_io_uring_register, self.ring.as_raw_fd());
        // SAFETY: passed on to the caller.
        let done = unsafe { libc::syscall(number, ring, operation, argument, count) };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// `struct io_uring_rsrc_update` of the kernel.
#[repr(C)]
struct RingUpdate {
    place: u32,
    reserved: u32,
    ring: u64,
}

impl Drop for Uring {
    fn drop(&mut self) {
        const UNREGISTER_RING_FDS: u32 = 21;
        if let Some(place) = self.registered {
            let update = RingUpdate { place, reserved: 0, ring: 0 };
            // A registered ring would live as long as its thread.
            // SAFETY: the kernel reads one `update`, which outlives the call.
            let _ = unsafe { self.register(UNREGISTER_RING_FDS, ptr::from_ref(&update).cast(), 1) };
        }
    }
}

impl core::fmt::Debug for Uring {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Uring").field("features", &self.features).finish_non_exhaustive()
    }
}
