//! The rules of DESIGN §3 that a compiler does not check: who may use whom, no shared mutable memory
//! between cores, nothing but values under `shard`.

#![allow(clippy::unwrap_used, reason = "a test: clippy exempts only functions marked so")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The folders of the architecture and the members each may name.
const MAY_USE: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("engine", &["base"]),
    ("net", &["base"]),
    ("replication", &["base"]),
    ("shard", &["base", "engine", "net", "replication"]),
    ("ring", &["base"]),
    ("client", &["base", "net"]),
    ("sim", &["base", "engine", "net", "replication", "shard", "client"]),
    ("benches", &["base", "engine", "net", "replication", "shard", "ring", "client"]),
    (
        "server",
        &["base", "engine", "net", "replication", "shard", "ring", "client", "benches", "tuning"],
    ),
    ("trials", &["base", "net"]),
];

/// Deterministic crates: no clock, thread, file, socket or lock.
const SANS_IO: &[&str] = &["base", "engine", "net", "replication", "shard"];

/// Crates of others that do what a sans-IO crate must not.
const IMPURE: &[&str] = &[
    "async-std",
    "crossbeam",
    "fastrand",
    "getrandom",
    "glommio",
    "io-uring",
    "libc",
    "mio",
    "nix",
    "parking_lot",
    "polling",
    "rand",
    "rtrb",
    "rustix",
    "smol",
    "socket2",
    "tokio",
];

/// Paths of the standard library that a sans-IO crate must not name.
const IMPURE_PATHS: &[&str] = &[
    "std::env",
    "std::fs",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "std::time",
    "HashMap::new",
    "HashSet::new",
    "SystemTime",
    "thread_local!",
];

/// What two threads could share and change.
const SHARED: &[&str] = &["Mutex", "RwLock", "UnsafeCell", "Atomic"];

/// Where memory may be shared between threads, and why.
const MAY_SHARE: &[(&str, &str)] = &[
    ("ring/src/bell.rs", "wakes a core from another thread"),
    ("ring/src/buffer_ring.rs", "the tail of a ring that the kernel reads"),
    ("ring/src/counters.rs", "a core raises its own counters, the control core reads them"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn packages(metadata: &Value) -> Vec<(&str, &Value)> {
    let packages = metadata["packages"].as_array().unwrap();
    packages.iter().map(|package| (package["name"].as_str().unwrap(), package)).collect()
}

/// Names of the dependencies that are compiled into the crate.
fn dependencies(package: &Value) -> BTreeSet<&str> {
    let all = package["dependencies"].as_array().unwrap();
    all.iter()
        .filter(|dependency| dependency["kind"].as_str() != Some("dev"))
        .map(|dependency| dependency["name"].as_str().unwrap())
        .collect()
}

/// Every line of code under `folder`, as (file, line number, line), comments left out.
fn code_lines(folder: &Path) -> Vec<(String, usize, String)> {
    let mut lines = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().display().to_string();
                let text = std::fs::read_to_string(&path).unwrap();
                for (index, line) in text.lines().enumerate() {
                    let code = line.split("//").next().unwrap_or_default();
                    lines.push((name.clone(), index + 1, code.to_owned()));
                }
            }
        }
    }
    lines
}

fn members_in(crates: &[&str]) -> impl Iterator<Item = PathBuf> {
    crates.iter().map(|name| root().join(name).join("src")).filter(|folder| folder.is_dir())
}

#[test]
fn crates_use_only_what_the_architecture_lets_them() {
    let metadata = metadata();
    let packages = packages(&metadata);
    let members: BTreeSet<&str> = packages.iter().map(|(name, _)| *name).collect();
    let may_use: BTreeMap<&str, &[&str]> = MAY_USE.iter().copied().collect();
    for (name, package) in packages {
        let allowed = may_use.get(name).unwrap_or_else(|| panic!("{name} stands in no rule"));
        for used in dependencies(package).intersection(&members) {
            assert!(allowed.contains(used), "{name} must not use {used}");
        }
    }
}

#[test]
fn sans_io_crates_pull_in_nothing_impure() {
    let metadata = metadata();
    for (name, package) in packages(&metadata) {
        if SANS_IO.contains(&name) {
            for used in dependencies(package) {
                assert!(!IMPURE.contains(&used), "{name} must not use {used}");
            }
        }
    }
}

#[test]
fn sans_io_crates_name_no_clock_thread_file_or_socket() {
    let mut found = Vec::new();
    for folder in members_in(SANS_IO) {
        for (file, line, code) in code_lines(&folder) {
            // A file of tests may do what tests do.
            if file.ends_with("tests.rs") || file.contains("/tests/") {
                continue;
            }
            if let Some(path) = IMPURE_PATHS.iter().find(|path| code.contains(**path)) {
                found.push(format!("{file}:{line} names {path}"));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn cores_share_no_mutable_memory() {
    let mut sharing = BTreeMap::new();
    for folder in members_in(&["base", "engine", "net", "replication", "shard", "ring", "server"]) {
        for (file, line, code) in code_lines(&folder) {
            if SHARED.iter().any(|word| code.contains(word)) {
                sharing.entry(file).or_insert_with(|| format!("line {line}: {}", code.trim()));
            }
        }
    }
    let allowed: BTreeSet<&str> = MAY_SHARE.iter().map(|(file, _)| *file).collect();
    let new: Vec<_> = sharing.iter().filter(|(file, _)| !allowed.contains(file.as_str())).collect();
    assert!(new.is_empty(), "shared memory outside the allow-list: {new:#?}");
    for file in allowed.into_iter().filter(|file| root().join(file).is_file()) {
        assert!(sharing.contains_key(file), "{file} shares nothing any more: take it off the list");
    }
}

#[test]
fn unsafe_lives_in_ring_alone() {
    let metadata = metadata();
    for (name, package) in packages(&metadata) {
        let manifest = std::fs::read_to_string(package["manifest_path"].as_str().unwrap()).unwrap();
        let inherits = manifest.contains("[lints]\nworkspace = true");
        assert!(inherits || name == "ring", "{name} must inherit the workspace's lints");
    }
}
