//! Groups: offsets that outlive the server, the commands about them, and a stock client as a member.

use std::process::Command;

use serde_json::Value;

use crate::chiplog::{folder, stderr, stdout};
use crate::server::Server;

fn succeed(server: &Server, args: &[&str]) -> String {
    let output = server.run(args);
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    stdout(&output)
}

fn json(server: &Server, args: &[&str]) -> Value {
    let args = [args, &["--json"]].concat();
    serde_json::from_str(&succeed(server, &args)).expect("JSON")
}

/// A topic with two partitions of ten records each.
fn fill(server: &Server, home: &std::path::Path) {
    succeed(server, &["topic", "create", "orders", "--partitions", "2"]);
    let file = home.join("lines.txt");
    std::fs::write(&file, "line\n".repeat(10)).expect("writable");
    let file = file.to_str().expect("UTF-8");
    for partition in ["0", "1"] {
        succeed(server, &["produce", "orders", file, "--partition", partition]);
    }
}

#[test]
fn offsets_outlive_a_kill_and_go_when_the_group_is_deleted() {
    let home = folder();
    let data = home.path().join("data");
    let server = Server::start(&data, &["--shards", "2", "--cores", "1"]);
    fill(&server, home.path());
    let before =
        succeed(&server, &["group", "reset", "billing", "orders", "--to", "4", "--dry-run"]);
    assert!(before.contains("orders  0          -       4"), "{before}");
    assert_eq!(json(&server, &["group", "list"]), serde_json::json!([]), "a dry run sets nothing");
    succeed(&server, &["group", "reset", "billing", "orders", "--to", "4"]);
    succeed(&server, &["group", "reset", "billing", "orders", "--partition", "1", "--to", "-3"]);
    server.kill();

    let server = Server::start(&data, &[]);
    let described = &json(&server, &["group", "describe", "billing"])[0];
    assert_eq!(described["state"], "Empty");
    let partition = |index: usize| &described["partitions"][index];
    assert_eq!((&partition(0)["offset"], &partition(0)["lag"]), (&Value::from(4), &Value::from(6)));
    assert_eq!((&partition(1)["offset"], &partition(1)["lag"]), (&Value::from(7), &Value::from(3)));
    assert_eq!(json(&server, &["group", "list"])[0]["name"], "billing");
    assert_eq!(json(&server, &["group", "list", "--state", "stable"]), serde_json::json!([]));
    succeed(&server, &["group", "delete", "billing"]);
    let gone = server.run(&["group", "delete", "billing"]);
    assert_eq!(gone.status.code(), Some(1));
    succeed(&server, &["group", "delete", "billing", "--if-exists"]);
    server.kill();

    let server = Server::start(&data, &[]);
    assert_eq!(json(&server, &["group", "list"]), serde_json::json!([]));
}

#[test]
fn the_topic_of_groups_belongs_to_the_server() {
    let home = folder();
    let server = Server::start(home.path(), &[]);
    fill(&server, home.path());
    succeed(&server, &["group", "reset", "g", "orders", "--to", "end"]);
    assert!(!succeed(&server, &["topic", "list"]).contains("__consumer_offsets"));
    assert!(succeed(&server, &["topic", "list", "--internal"]).contains("__consumer_offsets  50"));
    for refused in [
        &["topic", "delete", "__consumer_offsets", "--yes"][..],
        &["topic", "alter", "__consumer_offsets", "--partitions", "60"],
        &["topic", "create", "__transaction_state"],
        &["produce", "__consumer_offsets", home.path().join("lines.txt").to_str().expect("UTF-8")],
    ] {
        assert!(!server.run(refused).status.success(), "{refused:?}");
    }
}

/// kcat reads as a member, is killed with the server, and goes on where it was.
#[test]
fn a_stock_member_goes_on_where_it_was_in_both_views() {
    if Command::new("kcat").arg("-V").output().is_err() {
        eprintln!("SKIPPED: kcat is not installed");
        return;
    }
    let home = folder();
    let data = home.path().join("data");
    let server = Server::start(&data, &["--shards", "2", "--cores", "2"]);
    fill(&server, home.path());
    for (group, address) in [("node", server.node_view()), ("core", server.core_view())] {
        assert_eq!(kcat(&address, group).lines().count(), 20, "{group}");
    }
    server.kill();
    let server = Server::start(&data, &[]);
    let more = home.path().join("more.txt");
    std::fs::write(&more, "more\n").expect("writable");
    let more = more.to_str().expect("UTF-8");
    succeed(&server, &["produce", "orders", more, "--partition", "1"]);
    for (group, address) in [("node", server.core_view()), ("core", server.node_view())] {
        assert_eq!(kcat(&address, group), "1 10 more\n", "{group}");
        let described = &json(&server, &["group", "describe", group])[0];
        assert_eq!(described["partitions"][1]["lag"], 0, "{described}");
    }
}

/// What a member of the group reads until the end of every partition.
fn kcat(address: &str, group: &str) -> String {
    let mut command = Command::new("timeout");
    command.args(["60", "kcat", "-q", "-b", address, "-X", "auto.offset.reset=earliest"]);
    command.args(["-e", "-f", "%p %o %s\\n", "-G", group, "orders"]);
    let output = command.output().expect("timeout runs");
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output)
}
