//! Making a ring on a kernel of unknown age: ask for everything, and give up the newest flag that
//! the kernel refuses, one at a time.

use core::fmt;
use std::io;

use io_uring::{IoUring, Probe, opcode};

use crate::feature::{Feature, FeatureSet};

/// How a ring is made.
#[derive(Clone, Debug)]
pub struct RingOptions {
    /// Operations that one submit can carry.
    pub submissions: u32,
    /// Completions that the kernel can hold before it has to queue them elsewhere.
    pub completions: u32,
    /// Features not to use, for tests and for bisecting a kernel's bugs.
    pub disabled: FeatureSet,
}

impl Default for RingOptions {
    fn default() -> Self {
        Self { submissions: 1024, completions: 8192, disabled: FeatureSet::EMPTY }
    }
}

/// Why there is no ring.
#[derive(Debug)]
pub enum SetupError {
    /// `kernel.io_uring_disabled` is 1 (only root and one group) or 2 (nobody).
    Forbidden {
        setting: u8,
    },
    /// The system call is refused although the setting allows it.
    Filtered {
        errno: i32,
    },
    /// The kernel counts rings against RLIMIT_MEMLOCK, and the user has used it up.
    NoMemory {
        locked_limit: Option<u64>,
    },
    /// Operations that nothing can replace.
    TooOld {
        lacks: Vec<&'static str>,
    },
    Io {
        action: &'static str,
        source: io::Error,
    },
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden { setting: 1 } => write!(
                f,
                "io_uring is reserved to privileged users (kernel.io_uring_disabled = 1): allow it \
                 with `sysctl -w kernel.io_uring_disabled=0`, or add this user to the group whose \
                 number `sysctl kernel.io_uring_group` shows"
            ),
            Self::Forbidden { setting } => write!(
                f,
                "io_uring is switched off (kernel.io_uring_disabled = {setting}): allow it with \
                 `sysctl -w kernel.io_uring_disabled=0`"
            ),
            Self::Filtered { errno } => write!(
                f,
                "the kernel refuses io_uring ({}): in a container, run it with a seccomp profile \
                 that allows io_uring_setup, io_uring_enter and io_uring_register (docker and \
                 podman: `--security-opt seccomp=unconfined`); otherwise use a kernel built with \
                 CONFIG_IO_URING, 6.1 or newer",
                io::Error::from_raw_os_error(*errno)
            ),
            Self::NoMemory { locked_limit } => {
                let limit = locked_limit.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
                write!(
                    f,
                    "no memory for an io_uring (RLIMIT_MEMLOCK is {limit} bytes): raise it with \
                     `ulimit -l unlimited` or LimitMEMLOCK=infinity in the service file"
                )
            }
            Self::TooOld { lacks } => write!(
                f,
                "this kernel's io_uring lacks {}: Chiplog needs kernel 6.1 or newer",
                lacks.join(", ")
            ),
            Self::Io { action, source } => write!(f, "cannot {action}: {source}"),
        }
    }
}

impl std::error::Error for SetupError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Flags of `io_uring_setup` in the order in which they are given up: newest first.
const GIVEN_UP_IN_ORDER: [Feature; 7] = [
    Feature::NoSqarray,
    Feature::DeferTaskrun,
    Feature::SingleIssuer,
    Feature::TaskrunFlag,
    Feature::CoopTaskrun,
    Feature::SubmitAll,
    Feature::CqSize,
];

/// A ring with as many of the set-up features as the kernel takes, and which those are.
pub(crate) fn make_ring(options: &RingOptions) -> Result<(IoUring, FeatureSet), SetupError> {
    let allowed = |feature: &Feature| !options.disabled.contains(*feature);
    let mut offered: FeatureSet = GIVEN_UP_IN_ORDER.into_iter().filter(allowed).collect();
    loop {
        let wanted = consistent(offered);
        let error = match build(options, wanted) {
            Ok(ring) => {
                require_operations(&ring)?;
                return Ok((ring, wanted));
            }
            Err(error) => error,
        };
        let next = GIVEN_UP_IN_ORDER.into_iter().find(|feature| wanted.contains(*feature));
        match next {
            Some(feature) if error.raw_os_error() == Some(libc::EINVAL) => {
                offered = offered.without(feature);
            }
            _ => return Err(explain(error)),
        }
    }
}

/// Drops what cannot stand alone.
fn consistent(mut set: FeatureSet) -> FeatureSet {
    if !set.contains(Feature::SingleIssuer) {
        set = set.without(Feature::DeferTaskrun);
    }
    if set.contains(Feature::DeferTaskrun) {
        set = set.without(Feature::CoopTaskrun);
    } else if !set.contains(Feature::CoopTaskrun) {
        set = set.without(Feature::TaskrunFlag);
    }
    set
}

fn build(options: &RingOptions, wanted: FeatureSet) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.dontfork().setup_clamp();
    for feature in wanted.iter() {
        match feature {
            Feature::NoSqarray => builder.setup_no_sqarray(),
            Feature::DeferTaskrun => builder.setup_defer_taskrun(),
            Feature::SingleIssuer => builder.setup_single_issuer(),
            Feature::TaskrunFlag => builder.setup_taskrun_flag(),
            Feature::CoopTaskrun => builder.setup_coop_taskrun(),
            Feature::SubmitAll => builder.setup_submit_all(),
            Feature::CqSize => builder.setup_cqsize(options.completions),
            other => unreachable!("{} is not a set-up flag", other.name()),
        };
    }
    builder.build(options.submissions)
}

/// Everything the reactor cannot do without is in kernel 5.11 or older.
fn require_operations(ring: &IoUring) -> Result<(), SetupError> {
    let mut probe = Probe::new();
    ring.submitter()
        .register_probe(&mut probe)
        .map_err(|source| SetupError::Io { action: "probe io_uring's operations", source })?;
    let operations = [
        ("read", opcode::Read::CODE),
        ("write", opcode::Write::CODE),
        ("fsync", opcode::Fsync::CODE),
        ("recv", opcode::Recv::CODE),
        ("send", opcode::Send::CODE),
        ("sendmsg", opcode::SendMsg::CODE),
        ("poll", opcode::PollAdd::CODE),
        ("cancel", opcode::AsyncCancel::CODE),
    ];
    let absent = |(_, code): &(_, u8)| !probe.is_supported(*code);
    let mut lacks: Vec<_> = operations.into_iter().filter(absent).map(|(name, _)| name).collect();
    if !ring.params().is_feature_ext_arg() {
        lacks.push("a wait with a time limit");
    }
    if !ring.params().is_feature_nodrop() {
        lacks.push("completions that are never dropped");
    }
    if lacks.is_empty() { Ok(()) } else { Err(SetupError::TooOld { lacks }) }
}

fn explain(error: io::Error) -> SetupError {
    let setting = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
    let setting = setting.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    let locked = rustix::process::getrlimit(rustix::process::Resource::Memlock);
    explain_with(error, setting, locked.current)
}

fn explain_with(error: io::Error, setting: u8, locked_limit: Option<u64>) -> SetupError {
    match error.raw_os_error() {
        Some(libc::EPERM) if setting != 0 => SetupError::Forbidden { setting },
        Some(errno @ (libc::EPERM | libc::ENOSYS | libc::EACCES)) => SetupError::Filtered { errno },
        Some(libc::ENOMEM) => SetupError::NoMemory { locked_limit },
        _ => SetupError::Io { action: "make an io_uring", source: error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_how_to_allow_it() {
        let told = |errno, setting| {
            explain_with(io::Error::from_raw_os_error(errno), setting, Some(8192)).to_string()
        };
        assert!(told(libc::EPERM, 2).contains("sysctl -w kernel.io_uring_disabled=0"));
        assert!(told(libc::EPERM, 1).contains("kernel.io_uring_group"));
        assert!(told(libc::EPERM, 0).contains("seccomp"));
        assert!(told(libc::ENOSYS, 0).contains("CONFIG_IO_URING"));
        assert!(told(libc::ENOMEM, 0).contains("8192 bytes"));
        assert!(told(libc::EMFILE, 0).contains("make an io_uring"));
    }

    #[test]
    fn what_cannot_stand_alone_is_dropped() {
        let all: FeatureSet = GIVEN_UP_IN_ORDER.into_iter().collect();
        let kept = consistent(all);
        assert!(kept.contains(Feature::DeferTaskrun) && !kept.contains(Feature::CoopTaskrun));
        let kept = consistent(all.without(Feature::SingleIssuer));
        assert!(!kept.contains(Feature::DeferTaskrun) && kept.contains(Feature::TaskrunFlag));
        let kept = consistent(all.without(Feature::DeferTaskrun).without(Feature::CoopTaskrun));
        assert!(!kept.contains(Feature::TaskrunFlag));
    }
}
