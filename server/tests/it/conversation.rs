//! The commands that talk to a server, in both views.

use std::io::Write;
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::chiplog::{folder, stderr, stdout};
use crate::server::Server;

fn feed(server: &Server, args: &[&str], input: &[u8]) -> Output {
    let mut command = server.command(args);
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("the binary runs");
    child.stdin.take().expect("it is piped").write_all(input).expect("it reads");
    child.wait_with_output().expect("it ends")
}

fn succeed(output: Output) -> String {
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output)
}

#[test]
fn records_come_back_as_they_went_in() {
    let home = folder();
    let server = Server::start(home.path(), &[]);
    let lines = b"apple:red\nplain\npear:\n";
    let args = ["produce", "fruit", "-k", ":", "-H", "source=test", "--empty-is-null"];
    succeed(feed(&server, &args, lines));
    assert_eq!(succeed(server.run(&["consume", "fruit", "-k", "="])), "apple=red\n=plain\npear=\n");
    let json = succeed(server.run(&["consume", "fruit", "--format", "json"]));
    let records: Vec<Value> =
        json.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(records[0]["key"], "apple");
    assert_eq!(records[1]["key"], Value::Null);
    assert_eq!(records[2]["value"], Value::Null);
    assert_eq!(records[2]["offset"], 2);
    assert_eq!(records[0]["headers"][0]["value"], "test");
}

#[test]
fn every_codec_is_taken_and_given_back() {
    let home = folder();
    let server = Server::start(home.path(), &[]);
    let lines = "the same line, again and again\n".repeat(500);
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        succeed(feed(&server, &["produce", codec, "--compression", codec], lines.as_bytes()));
        assert_eq!(succeed(server.run(&["consume", codec])), lines, "{codec}");
    }
}

#[test]
fn reading_begins_and_ends_where_it_was_told() {
    let home = folder();
    let server = Server::start(home.path(), &[]);
    let numbers: String = (0..100).map(|number| format!("{number}\n")).collect();
    succeed(feed(&server, &["produce", "n", "--batch-records", "7"], numbers.as_bytes()));
    let consume = |more: &[&str]| {
        let args: Vec<_> = ["consume", "n"].iter().chain(more).copied().collect();
        server.run(&args)
    };
    assert_eq!(succeed(consume(&["--from", "97"])), "97\n98\n99\n");
    assert_eq!(succeed(consume(&["--from", "-2"])), "98\n99\n");
    assert_eq!(succeed(consume(&["--from", "50", "-n", "2"])), "50\n51\n");
    assert_eq!(succeed(consume(&["--from", "end"])), "");
    assert_eq!(succeed(consume(&["--from", "1h", "-n", "1"])), "0\n");
    assert_eq!(succeed(consume(&["--from", "98", "--follow", "-n", "2"])), "98\n99\n");
    for (beyond, word) in [(["--from", "101"], "101"), (["--partition", "1"], "no partition 1")] {
        let output = consume(&beyond);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(word), "{}", stderr(&output));
    }
}

#[test]
fn keys_keep_to_their_partition_in_both_views() {
    let home = folder();
    let server = Server::start(home.path(), &["--shards", "2", "--cores", "1"]);
    succeed(server.run(&["topic", "create", "keyed", "--partitions", "4"]));
    let lines: String = (0..200).map(|n| format!("key{}:{n}\n", n % 10)).collect();
    let half = lines.len() / 2;
    let half = half + lines[half..].find('\n').expect("a line ends") + 1;
    succeed(feed(&server, &["produce", "keyed", "-k", ":"], &lines.as_bytes()[..half]));
    let core_view = server.core_view();
    let through_cores = ["produce", "keyed", "-k", ":", "-b", &core_view];
    succeed(feed(&server, &through_cores, &lines.as_bytes()[half..]));
    let read = |bootstrap: &str| {
        let args = ["consume", "keyed", "--format", "json", "-b", bootstrap];
        let json = succeed(server.run(&args));
        let records = json.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let mut records: Vec<_> = records
            .map(|r| (r["key"].to_string(), r["partition"].as_i64(), r["value"].to_string()))
            .collect();
        records.sort_by_key(|(key, partition, _)| (key.clone(), *partition));
        records
    };
    let records = read(&server.node_view());
    assert_eq!(records.len(), 200);
    for same_key in records.chunk_by(|one, other| one.0 == other.0) {
        assert_eq!(same_key.len(), 20, "a key's records are together");
        assert!(same_key.iter().all(|record| record.1 == same_key[0].1));
        let values =
            same_key.iter().map(|r| r.2.trim_matches('"').parse::<u32>().expect("a number"));
        assert!(values.is_sorted(), "and in order");
    }
    assert_eq!(read(&core_view), records);
}

#[test]
fn topics_are_created_described_altered_and_deleted() {
    let home = folder();
    let server = Server::start(home.path(), &[]);
    let topic = |args: &[&str]| {
        let args: Vec<_> = ["topic"].iter().chain(args).copied().collect();
        server.run(&args)
    };
    let settings = ["--partitions", "2", "--set", "retention.ms=60000"];
    succeed(topic(&[&["create", "orders"], &settings[..]].concat()));
    assert_eq!(topic(&["create", "orders"]).status.code(), Some(1));
    succeed(topic(&["create", "orders", "--if-not-exists"]));
    assert_eq!(succeed(topic(&["list"])), "TOPIC   PARTITIONS\norders  2\n");
    let altered = topic(&["alter", "orders", "--partitions", "3", "--unset", "retention.ms"]);
    assert!(stderr(&altered).contains("map to other partitions"), "{}", stderr(&altered));
    let described = succeed(topic(&["describe", "orders", "--json"]));
    let described: Value = serde_json::from_str(&described).expect("JSON");
    assert_eq!(described[0]["partitions"].as_array().map(Vec::len), Some(3));
    assert_eq!(described[0]["settings"], serde_json::json!({}));
    let unknown = topic(&["alter", "orders", "--set", "colour=blue"]);
    assert!(stderr(&unknown).contains("colour"), "{}", stderr(&unknown));
    succeed(topic(&["delete", "orders", "--yes"]));
    let gone = topic(&["describe", "orders"]);
    assert!(stderr(&gone).contains("does not exist"), "{}", stderr(&gone));
    succeed(topic(&["delete", "orders", "--yes", "--if-exists"]));
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = free.local_addr().expect("bound").to_string();
    drop(free);
    let mut command = crate::chiplog::chiplog(&["topic", "list", "-b", &address]);
    let output = command.output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(&address) && stderr(&output).contains("chiplog serve"));
}
