//! Faults on purpose: refused without the flag, and with it seen, felt and ended.

use std::process::Output;
use std::time::{Duration, Instant};

use crate::chiplog::{chiplog, folder, refusal, stderr, stdout};
use crate::http::get;
use crate::server::Server;

fn fault(server: &Server, args: &[&str]) -> Output {
    let mut command = chiplog(&["fault", "--admin", &server.admin()]);
    command.args(args).output().expect("the binary runs")
}

#[test]
fn a_server_takes_no_faults_unless_it_was_started_for_them() {
    let home = folder();
    let server = Server::start(home.path(), &[]);
    let mut command = chiplog(&["fault", "disk", "freeze", "--admin", &server.admin()]);
    command.args(["--for", "1s"]);
    let (code, sentence) = refusal(command);
    assert_eq!(code, 1);
    assert!(sentence.contains("--enable-faults"), "{sentence}");
    let listed = stdout(&fault(&server, &["list"]));
    assert_eq!(listed, "off: the server was not started with --enable-faults\n");
}

#[test]
fn a_fault_is_shown_and_felt_until_it_ends() {
    let home = folder();
    let line = home.path().join("line");
    std::fs::write(&line, "one\n").expect("writable");
    let line = line.display().to_string();
    let server = Server::start(&home.path().join("data"), &["--enable-faults"]);
    assert!(server.run(&["produce", "talk", &line]).status.success());

    let injected = fault(&server, &["disk", "delay", "700ms", "--file", "journal", "--for", "1m"]);
    assert_eq!(stdout(&injected), "fault 1\n", "{}", stderr(&injected));
    let phrase = "disk delay of 700ms in the journal";
    assert!(stdout(&fault(&server, &["list"])).contains(phrase));
    let metrics = get(&server.admin(), "/metrics");
    assert!(metrics.contains(&format!("chiplog_injected_fault{{fault=\"{phrase}\"}} 1")));
    let start = Instant::now();
    assert!(server.run(&["produce", "talk", &line]).status.success());
    assert!(Duration::from_millis(700) <= start.elapsed(), "the disk was slow");
    let deadline = start + Duration::from_secs(20);
    while !stdout(&server.run(&["cluster", "health"])).contains(phrase) {
        assert!(Instant::now() < deadline, "health does not name the fault");
    }

    assert_eq!(stdout(&fault(&server, &["clear", "1"])), "cleared 1\n");
    assert!(stderr(&fault(&server, &["clear", "1"])).contains("no fault 1 holds"));
    assert!(!stdout(&fault(&server, &["list"])).contains(phrase));
    assert_eq!(stdout(&server.run(&["consume", "talk"])), "one\none\n");
}

#[test]
fn what_cannot_be_injected_is_one_sentence() {
    let home = folder();
    let server = Server::start(home.path(), &["--enable-faults"]);
    for (args, word) in [
        (&["pause", "--shard", "7", "--for", "1s"][..], "there is no shard 7"),
        (&["disk", "freeze", "--file", "log"], "`journal`"),
        (&["disk", "freeze", "--for", "2h"], "end by itself"),
    ] {
        let mut command = chiplog(&["fault", "--admin", &server.admin()]);
        command.args(args);
        let (_, sentence) = refusal(command);
        assert!(sentence.contains(word), "{sentence}");
    }
}
