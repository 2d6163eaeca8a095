//! Which CPUs there are, which one a core runs on, and whom the kernel hires to help.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The CPUs that this thread may run on, ascending.
pub fn allowed() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect())
}

/// Keeps this thread on one CPU.
pub fn pin_to(cpu: usize) -> io::Result<()> {
    keep_on(&[cpu])
}

/// Keeps this thread, and the threads it makes, on `cpus`.
pub fn keep_on(cpus: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for cpu in cpus {
        if CpuSet::MAX_CPU <= *cpu {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        set.set(*cpu);
    }
    Ok(sched_setaffinity(None, &set)?)
}

/// How many worker threads the kernel runs for the ring of thread `thread` at this moment. Writes
/// that it cannot do without blocking end there, as does every fdatasync.
pub fn io_workers(thread: u64) -> io::Result<u32> {
    let name = format!("iou-wrk-{thread}\n");
    let mut workers = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let comm = std::fs::read_to_string(task?.path().join("comm"));
        workers += u32::from(comm.is_ok_and(|comm| comm == name));
    }
    Ok(workers)
}

/// Raises the soft limit on open files to the hard one, and says what it is now. Each connection
/// needs one.
pub fn raise_open_files() -> io::Result<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

/// This thread's id.
pub(crate) fn thread_id() -> u64 {
    u64::from(rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs())
}

/// Lets sleeps end when they should: the default of 50 µs is what a timer may be late by.
pub(crate) fn sharpen_timers() {
    let _ = rustix::thread::set_current_timer_slack(core::num::NonZeroU64::new(1_000));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_may_run_on_one_cpu_only() {
        let before = allowed().unwrap();
        let last = *before.last().unwrap();
        pin_to(last).unwrap();
        assert_eq!(allowed().unwrap(), [last]);
        keep_on(&before).unwrap();
        assert_eq!(allowed().unwrap(), before);
        assert!(pin_to(1 << 20).is_err());
    }
}
