//! A user who may lock little memory.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use ring::{PollMode, plan::Registered};
use rustix::process::{Resource, Rlimit, getuid, setrlimit};

use crate::machine::{Echo, Route};
use crate::rig::{Core, config, folder, make_journal, round_trip, wait_until};

const CHILD: &str = "RING_TEST_MEMLOCK_FOLDER";
const NOBODY: u32 = 65534;

/// Root may lock any amount, so the test runs again as another user, in a copy of its binary that
/// this user may execute.
#[test]
fn an_arena_beyond_the_limit_is_written_from_unregistered() {
    if let Some(folder) = std::env::var_os(CHILD) {
        return run(folder.as_ref());
    }
    let folder = folder();
    if !getuid().is_root() {
        return run(folder.path());
    }
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).expect("ours");
    let copy = folder.path().join("test-binary");
    std::fs::copy(std::env::current_exe().expect("this test"), &copy).expect("room for a copy");
    let name = "memory::an_arena_beyond_the_limit_is_written_from_unregistered";
    let child = Command::new(&copy)
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, folder.path())
        .uid(NOBODY)
        .gid(NOBODY)
        .output();
    let output = match child {
        Ok(output) => output,
        Err(error) => {
            eprintln!("SKIPPED: cannot run as another user below {}: {error}", copy.display());
            return;
        }
    };
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{output:?}");
}

#[test]
fn a_large_arena_is_written_from_before_and_after_it_is_registered() {
    let folder = folder();
    let shard = folder.path().join("shard");
    make_journal(&shard);
    let core = Core::with_arena(config(PollMode::Park), &shard, 128 << 20, |arena| {
        Echo::new(Route::Durable, arena)
    });
    let [(_, registered)] = core.report.arenas[..] else { panic!("{:?}", core.report) };
    assert!(matches!(registered, Registered::Soon | Registered::Yes | Registered::No { .. }));
    let mut client = core.connect();
    round_trip(&mut client, b"written at once");
    if registered == Registered::Soon {
        wait_until(|| core.counters.registered_arenas.get() == 1);
    }
    round_trip(&mut client, b"written by its place in the ring");
    assert_eq!(core.counters.writes.get(), 2);
    drop(client);
    core.stop_cleanly();
}

fn run(folder: &std::path::Path) {
    let small = Some(2 << 20);
    setrlimit(Resource::Memlock, Rlimit { current: small, maximum: small }).expect("lowering");
    let folder = folder.join("shard");
    make_journal(&folder);
    let core =
        Core::with_shard(config(PollMode::Park), &folder, |arena| Echo::new(Route::Durable, arena));
    let [(_, registered)] = core.report.arenas[..] else { panic!("{:?}", core.report) };
    assert_eq!(registered, Registered::No { limit: small, wanted: 8 << 20 });
    let line = registered.to_string();
    assert!(line.contains("ulimit -l") && line.contains("2097152"), "{line}");
    round_trip(&mut core.connect(), b"written all the same");
    assert_ne!(core.counters.writes.get(), 0);
    core.stop_cleanly();
}
