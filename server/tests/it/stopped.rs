//! A stopped folder: what `dump` sees in it, and what `repair` writes off.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::chiplog::{chiplog, folder, refusal, stderr, stdout};
use crate::server::Server;

fn run(command: &str, data: &Path, more: &[&str]) -> Output {
    let mut command = chiplog(&[command, "--data"]);
    command.arg(data).args(more).output().expect("the binary runs")
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// Writes each line as a batch of its own.
fn produce(server: &Server, topic: &str, lines: &[&str]) {
    for line in lines {
        let mut command = server.command(&["produce", topic, "--batch-bytes", "100KiB"]);
        let mut child = command.stdin(Stdio::piped()).spawn().expect("the binary runs");
        let mut input = child.stdin.take().expect("it is piped");
        input.write_all(line.as_bytes()).expect("it reads");
        drop(input);
        assert!(child.wait().expect("it ends").success());
    }
}

/// Every file below `folder`, but for the lock, which names who held it last.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else if !path.ends_with("lock") {
            files.push(path);
        }
    }
    files
}

fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let read = |path: PathBuf| (path.clone(), std::fs::read(path).expect("readable"));
    files(folder).into_iter().map(read).collect()
}

/// Changes a byte of `wanted` wherever it stands below `folder`; how often that was.
fn damage(folder: &Path, wanted: &str) -> usize {
    let mut found = 0;
    for path in files(folder) {
        let mut bytes = std::fs::read(&path).expect("readable");
        let is_here = |at: &usize| bytes[*at..].starts_with(wanted.as_bytes());
        let places: Vec<usize> = (0..bytes.len()).filter(is_here).collect();
        for at in &places {
            bytes[at + 1] ^= 0x10;
        }
        if !places.is_empty() {
            std::fs::write(&path, bytes).expect("writable");
        }
        found += places.len();
    }
    found
}

fn shard<'a>(dump: &'a Value, name: &str) -> &'a Value {
    let shards = dump["shards"].as_array().expect("a list");
    shards.iter().find(|shard| shard["shard"] == name).expect("it is there")
}

fn partition<'a>(dump: &'a Value, name: &str) -> &'a Value {
    let partitions = shard(dump, "shard 0")["partitions"].as_array().expect("a list");
    partitions.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{dump:#}"))
}

/// A stopped folder with two topics, of one the second of three records damaged.
fn damaged_journal(data: &Path) {
    let server = Server::start(data, &["--shards", "1"]);
    produce(&server, "quotes", &["quote-one", "quote-two", "quote-three"]);
    produce(&server, "trades", &["trade-one"]);
    server.stop(Signal::TERM);
    assert_eq!(damage(&data.join("shard-0"), "quote-two"), 1);
}

#[test]
fn dump_names_what_is_damaged_and_changes_nothing() {
    let home = folder();
    let data = home.path().join("data");
    damaged_journal(&data);
    let before = contents(&data);
    let dump = json_of(&run("dump", &data, &["--json", "--frames", "--entries", "--extents"]));
    assert_eq!(contents(&data), before);
    let found = shard(&dump, "shard 0");
    assert_eq!(found["verdict"], "corrupt", "{found:#}");
    assert_eq!(found["serves"], true);
    assert_eq!(found["damage"][0]["partitions"], json!(["quotes-0"]));
    let quotes = partition(&dump, "quotes-0");
    assert_eq!(quotes["halted"], true);
    assert_eq!(quotes["lost"], json!([{ "from": 1, "to": 2 }]));
    let trades = partition(&dump, "trades-0");
    assert_eq!((&trades["halted"], &trades["lost"]), (&json!(false), &Value::Null));
    assert_eq!(trades["end_offset"], 1);
    let frames = found["frames"].as_array().expect("a list");
    let damaged: Vec<_> = frames.iter().filter(|frame| frame["fate"] == "damaged").collect();
    assert_eq!((damaged.len(), &damaged[0]["body"]), (1, &json!("damaged")));
    let entries = frames.iter().flat_map(|frame| frame["list"].as_array().expect("a list"));
    let damaged: Vec<_> = entries.filter(|entry| entry["intact"] == false).collect();
    assert_eq!(damaged.len(), 1, "{damaged:#?}");
    assert_eq!((&damaged[0]["partition"], &damaged[0]["offset"]), (&json!("quotes-0"), &json!(1)));
    assert_eq!(shard(&dump, "control")["verdict"], "clean");
    let text = stdout(&run("dump", &data, &[]));
    assert!(text.contains("with records of quotes-0"), "{text}");
    assert!(text.contains("halted, lost or in doubt: 1"), "{text}");
}

#[test]
fn repair_writes_a_loss_off_only_if_told_to_and_the_server_skips_it() {
    let home = folder();
    let data = home.path().join("data");
    damaged_journal(&data);
    let before = contents(&data);
    let asked = run("repair", &data, &[]);
    assert_eq!(asked.status.code(), Some(1));
    assert_eq!(stdout(&asked), "shard 0: quotes-0 lost offsets 1\n");
    assert!(stderr(&asked).contains("--accept-loss"), "{}", stderr(&asked));
    assert_eq!(contents(&data), before);

    let repaired = run("repair", &data, &["--accept-loss", "--json"]);
    assert!(repaired.status.success(), "{repaired:?}");
    let told = json_of(&repaired);
    assert_eq!(told["written_off"], true);
    let lost = &told["shards"][0]["partitions"][0];
    assert_eq!(
        (&lost["name"], &lost["lost"]),
        (&json!("quotes-0"), &json!([{"from": 1, "to": 2}]))
    );
    let dump = json_of(&run("dump", &data, &["--json"]));
    let quotes = partition(&dump, "quotes-0");
    assert_eq!((&quotes["halted"], &quotes["lost"]), (&json!(false), &Value::Null));
    assert_eq!(quotes["accepted_losses"], json!([{ "from": 1, "to": 2 }]));
    let again = run("repair", &data, &["--accept-loss"]);
    assert_eq!(stdout(&again), "nothing is lost: there is nothing to repair\n");

    for round in 0..2 {
        let server = Server::start(&data, &[]);
        produce(&server, "quotes", &["quote-new"]);
        let json = stdout(&server.run(&["consume", "quotes", "--format", "json"]));
        let read = json.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let read: Vec<_> = read.map(|r| (r["offset"].clone(), r["value"].clone())).collect();
        let old = [(json!(0), json!("quote-one")), (json!(2), json!("quote-three"))];
        assert_eq!(read[..2], old, "round {round}");
        assert_eq!(read[2], (json!(3), json!("quote-new")));
        assert_eq!(read.len(), 3 + round);
        assert_eq!(stdout(&server.run(&["consume", "trades"])), "trade-one\n");
        server.stop(Signal::TERM);
    }
}

#[test]
fn a_damaged_extent_is_found_by_reading_it_and_written_off() {
    let home = folder();
    let data = home.path().join("data");
    let server = Server::start(&data, &["--shards", "1"]);
    let lines = |from: u32| -> String {
        (from..from + 40_000).map(|n| format!("record {n:08} {}\n", "x".repeat(200))).collect()
    };
    produce(&server, "bulk", &[&lines(0), &lines(40_000)]);
    server.stop(Signal::TERM);
    assert_ne!(damage(&data.join("shard-0").join("bins"), "record 00001234"), 0);
    let shallow = json_of(&run("dump", &data, &["--json"]));
    assert_eq!(partition(&shallow, "bulk-0")["lost"], Value::Null, "nobody has read it");
    let dump = json_of(&run("dump", &data, &["--json", "--verify"]));
    let lost = partition(&dump, "bulk-0")["lost"].clone();
    let range = |key: &str| lost[0][key].as_u64().unwrap_or_else(|| panic!("{lost}"));
    let (from, to) = (range("from"), range("to"));
    assert!(from <= 1234 && 1234 < to && to < 40_000, "{lost}");
    assert_eq!(lost.as_array().map(Vec::len), Some(1));

    let server = Server::start(&data, &[]);
    let refused = server.run(&["consume", "bulk", "--timeout", "1"]);
    assert_eq!(refused.status.code(), Some(1), "the damage is no gap yet");
    assert!(stderr(&refused).contains("reading bulk-0 at "), "{}", stderr(&refused));
    server.stop(Signal::TERM);
    let repaired = run("repair", &data, &["--accept-loss"]);
    assert!(repaired.status.success(), "{}", stderr(&repaired));
    let server = Server::start(&data, &[]);
    let read = server.run(&["consume", "bulk"]);
    assert!(read.status.success(), "{}", stderr(&read));
    let read = stdout(&read);
    assert_eq!(read.lines().count() as u64, 80_000 - (to - from));
    assert!(!read.contains("record 00001234"));
}

#[test]
fn a_folder_that_is_served_is_neither_dumped_nor_repaired() {
    let home = folder();
    let server = Server::start(home.path(), &[]);
    for command in ["dump", "repair"] {
        let mut refused = chiplog(&[command, "--data"]);
        refused.arg(home.path());
        let (code, sentence) = refusal(refused);
        assert_eq!(code, 1);
        assert!(sentence.contains(&format!("process {}", server.pid())), "{sentence}");
    }
}

#[test]
fn a_lost_cluster_log_is_not_written_off() {
    let home = folder();
    let data = home.path().join("data");
    let server = Server::start(&data, &["--shards", "1"]);
    produce(&server, "quotes", &["quote-one"]);
    produce(&server, "trades", &["trade-one"]);
    server.stop(Signal::TERM);
    assert_ne!(damage(&data.join("control"), "quotes"), 0);
    let before = contents(&data);
    let mut command = chiplog(&["repair", "--accept-loss", "--data"]);
    command.arg(&data);
    let (code, sentence) = refusal(command);
    assert_eq!(code, 1);
    assert!(sentence.contains("cluster log"), "{sentence}");
    assert_eq!(contents(&data), before);
    let dump = json_of(&run("dump", &data, &["--json"]));
    let control = &shard(&dump, "control")["partitions"][0];
    assert_eq!((&control["name"], &control["halted"]), (&json!("cluster log"), &json!(true)));
}

#[test]
fn what_is_no_data_folder_is_left_alone() {
    let home = folder();
    for command in ["dump", "repair"] {
        let mut refused = chiplog(&[command, "--data"]);
        refused.arg(home.path());
        let (code, sentence) = refusal(refused);
        assert_eq!(code, 1);
        assert!(sentence.contains("meta.toml") && sentence.contains("--data"), "{sentence}");
    }
    assert_eq!(std::fs::read_dir(home.path()).expect("readable").count(), 0);
}
