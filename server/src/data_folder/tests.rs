use std::path::Path;

use super::*;
use crate::config::{RawConfig, table};

fn config(path: &Path, more: &[(&str, &str)]) -> Config {
    let mut raw = RawConfig::default();
    let data = path.to_str().expect("a UTF-8 path");
    for (key, text) in [("data", data)].iter().chain(more) {
        raw.take_flag(table::find(key).expect("a key of the table"), (*text).to_owned());
    }
    Config::resolve(&raw).expect("valid settings")
}

fn open(path: &Path, more: &[(&str, &str)]) -> Result<DataFolder, FolderError> {
    DataFolder::open(&config(path, more), |_| ())
}

/// Under the build folder: `/tmp` may be a tmpfs, which is refused.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(std::env::current_exe().expect("a path").parent().expect("a folder"))
        .expect("a temporary folder")
}

#[test]
fn a_formatted_folder_keeps_its_identity() {
    let home = folder();
    let path = home.path().join("deep/data");
    let first = open(&path, &[("shards", "3")]).expect("a new folder");
    assert!(first.formatted_now());
    let meta = first.meta().clone();
    drop(first);
    let second = open(&path, &[]).expect("the same folder");
    assert!(!second.formatted_now());
    assert_eq!(second.meta(), &meta);
    assert_eq!(meta.shard_count(), 3);
    assert_ne!(meta.journal_id(ShardId(0)), meta.journal_id(ShardId(1)));
    assert!(!meta.is_activated(ShardId(1)));
}

#[test]
fn a_journal_that_was_used_is_remembered() {
    let home = folder();
    let mut first = open(home.path(), &[("shards", "2")]).expect("a new folder");
    first.activate(ShardId(1)).expect("writable");
    first.activate(ShardId::CONTROL).expect("writable");
    drop(first);
    let second = open(home.path(), &[]).expect("the same folder");
    let activated =
        [ShardId(0), ShardId(1), ShardId::CONTROL].map(|s| second.meta().is_activated(s));
    assert_eq!(activated, [false, true, true]);
}

#[test]
fn what_was_fixed_at_format_cannot_be_changed() {
    let home = folder();
    drop(open(home.path(), &[("shards", "2")]).expect("a new folder"));
    let error = open(home.path(), &[("shards", "3")]).expect_err("two shards").to_string();
    assert!(error.contains("was formatted with 2 for --shards"), "{error}");
    let error = open(home.path(), &[("journal.bytes", "64MiB")]).expect_err("512 MiB").to_string();
    assert!(error.contains("512MiB for --journal-bytes"), "{error}");
    open(home.path(), &[("shards", "2"), ("cores", "1")]).expect("fewer cores than shards");
}

#[test]
fn a_foreign_folder_is_left_as_it_is() {
    let home = folder();
    std::fs::write(home.path().join("thesis.tex"), "years of work").expect("writable");
    assert!(matches!(open(home.path(), &[]), Err(FolderError::Foreign(_))));
    assert_eq!(std::fs::read_dir(home.path()).expect("readable").count(), 1);
}

#[test]
fn a_format_cut_short_is_done_again() {
    let home = folder();
    std::fs::write(home.path().join(meta::DRAFT), "format = ").expect("writable");
    std::fs::write(home.path().join(lock::NAME), "").expect("writable");
    open(home.path(), &[]).expect("nothing of value was there");
}

#[test]
fn a_newer_or_damaged_meta_is_refused() {
    let home = folder();
    let meta = home.path().join(meta::NAME);
    std::fs::write(&meta, "format = 2\nsecrets = 'of the future'\n").expect("writable");
    assert!(matches!(open(home.path(), &[]), Err(FolderError::NewerFormat { found: 2, .. })));
    for damage in [&b"\xff\xfe"[..], b"", b"format = 1\n", b"format = ["] {
        std::fs::write(&meta, damage).expect("writable");
        assert!(matches!(open(home.path(), &[]), Err(FolderError::Damaged { .. })));
    }
}

#[test]
fn a_file_is_not_a_folder() {
    let home = folder();
    let file = home.path().join("file");
    std::fs::write(&file, "").expect("writable");
    assert!(matches!(open(&file, &[]), Err(FolderError::NotAFolder(_))));
}

#[test]
fn memory_is_not_a_disk() {
    let home = tempfile::tempdir_in("/dev/shm").expect("/dev/shm is a tmpfs on every Linux");
    assert!(matches!(open(home.path(), &[]), Err(FolderError::Volatile { .. })));
}
