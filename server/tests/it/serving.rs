//! A server's life: started, restarted, killed, stopped, refused a second time.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use rustix::process::Signal;

use crate::chiplog::{folder, refusal, serve, stdout};
use crate::http::get;
use crate::server::Server;

#[test]
fn the_report_says_what_was_found_and_then_ready() {
    let home = folder();
    let server = Server::start(&home.path().join("data"), &[]);
    for label in
        ["data ", "cores ", "clients ", "admin ", "ring ", "device ", "memory ", "recovery "]
    {
        assert!(server.report.lines().any(|line| line.starts_with(label)), "{}", server.report);
    }
    let ready = server.report.lines().filter(|line| line.starts_with("ready")).count();
    assert_eq!(ready, 1, "{}", server.report);
    assert!(server.report.contains("formatted now"));
}

#[test]
fn both_signals_seal_the_log_and_a_restart_finds_it_sealed() {
    let home = folder();
    let one_line = home.path().join("one-line.txt").display().to_string();
    std::fs::write(&one_line, "one\n").expect("writable");
    let data = home.path().join("data");
    for signal in [Signal::TERM, Signal::INT] {
        let server = Server::start(&data, &[]);
        assert!(server.run(&["produce", "lines", &one_line]).status.success());
        let said = server.stop(signal);
        assert_eq!(said, "stopped; the log is sealed\n");
    }
    let server = Server::start(&data, &[]);
    let recovery: Vec<_> =
        server.report.lines().filter(|line| line.starts_with("recovery")).collect();
    assert_eq!(recovery.len(), 2, "{}", server.report);
    assert!(recovery.iter().all(|line| line.ends_with("; sealed")), "{}", server.report);
    assert_eq!(stdout(&server.run(&["consume", "lines"])), "one\none\n");
}

/// `timeout` and many a shell tell a process and then its whole group.
#[test]
fn two_wishes_to_stop_in_one_moment_are_one() {
    let home = folder();
    let server = Server::start(home.path(), &[]);
    let pid = rustix::process::Pid::from_raw(server.pid().cast_signed()).expect("not 0");
    rustix::process::kill_process(pid, Signal::INT).expect("it runs");
    assert_eq!(server.stop(Signal::TERM), "stopped; the log is sealed\n");
}

#[test]
fn a_lock_that_a_dead_server_still_holds_is_waited_for() {
    let home = folder();
    Server::start(home.path(), &[]).stop(Signal::TERM);
    // As the kernel does while it closes the files of a killed process.
    let lock = std::fs::File::options().read(true).write(true).open(home.path().join("lock"));
    let lock = lock.expect("a server was here");
    let exclusively = rustix::fs::FlockOperation::NonBlockingLockExclusive;
    rustix::fs::flock(&lock, exclusively).expect("the server is gone");
    let mut command = serve(home.path(), &[]);
    command.args(["--pin", "false"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut waiting = command.spawn().expect("the binary runs");
    let mut notes = BufReader::new(waiting.stderr.take().expect("it is piped"));
    let mut note = String::new();
    notes.read_line(&mut note).expect("UTF-8");
    assert!(note.contains("is gone; waiting for the kernel to close its files"), "{note}");
    drop(lock);
    let report = BufReader::new(waiting.stdout.take().expect("it is piped"));
    let is_ready = |line: std::io::Result<String>| line.expect("UTF-8").starts_with("ready");
    assert!(report.lines().any(is_ready), "it serves once the lock is free");
    waiting.kill().expect("it runs");
    waiting.wait().expect("it is our child");
}

#[test]
fn what_was_acked_is_there_after_a_kill() {
    let home = folder();
    let mut expected = String::new();
    for round in 0..3 {
        let server = Server::start(&home.path().join("data"), &[]);
        let file = home.path().join("line.txt");
        let line = format!("round {round}\n");
        std::fs::write(&file, &line).expect("writable");
        let file = file.to_str().expect("UTF-8");
        let output = server.run(&["produce", "rounds", file]);
        assert!(output.status.success(), "{output:?}");
        expected.push_str(&line);
        assert_eq!(stdout(&server.run(&["consume", "rounds"])), expected);
        server.kill();
    }
}

#[test]
fn a_second_server_on_the_folder_is_refused_and_names_the_first() {
    let home = folder();
    let server = Server::start(home.path(), &[]);
    let (code, sentence) = refusal(serve(home.path(), &[]));
    assert_eq!(code, 1);
    assert!(sentence.contains(&format!("process {}", server.pid())), "{sentence}");
}

#[test]
fn a_relative_folder_and_settings_from_everywhere_work() {
    let home = folder();
    let config = home.path().join("chiplog.toml");
    std::fs::write(&config, "data = 'nested/data'\ncores = 7\n[journal]\nbytes = '16MiB'\n")
        .expect("writable");
    let mut command = crate::chiplog::chiplog(&["serve", "--config", "chiplog.toml"]);
    command.current_dir(home.path()).env("CHIPLOG_CORES", "1").env("CHIPLOG_SHARDS", "2");
    for flag in ["--listen", "--core-listen", "--admin"] {
        command.args([flag, "127.0.0.1:0"]);
    }
    command.args(["--pin", "false", "--poll", "park"]);
    let server = Server::spawn(command);
    assert!(server.report.contains("1 data core, 2 shards; poll park"), "{}", server.report);
    assert!(home.path().join("nested/data/shard-1/journal").is_dir());
    assert!(server.run(&["topic", "create", "t", "--partitions", "2"]).status.success());
}

#[test]
fn the_admin_port_tells_health_readiness_and_numbers() {
    let home = folder();
    let server = Server::start(home.path(), &[]);
    for path in ["/healthz", "/readyz"] {
        let answer = get(&server.admin(), path);
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\nok\n"), "{answer}");
    }
    let metrics = get(&server.admin(), "/metrics");
    assert!(metrics.contains("\nchiplog_ready 1\n"), "{metrics}");
    assert!(metrics.contains("\nchiplog_core_parks_total{core=\"0\"} "), "{metrics}");
    assert!(metrics.contains("\nchiplog_journal_bytes{shard=\"control\"} "), "{metrics}");
    for family in [
        "chiplog_core_punts_total{core=\"0\"}",
        "chiplog_core_spins_total{core=\"0\"}",
        "chiplog_journal_segments{core=\"0\"}",
        "chiplog_journal_window{shard=\"0\"}",
        "chiplog_journal_used_bytes{shard=\"0\"}",
        "chiplog_bins_used{shard=\"0\"}",
        "chiplog_waiting_acks{shard=\"0\"}",
        "chiplog_ack_seconds_count{shard=\"0\"}",
        "chiplog_frame_wait_seconds_count{shard=\"0\"}",
        "chiplog_journal_write_seconds_count{shard=\"0\"}",
        "chiplog_bin_read_seconds_count{shard=\"0\"}",
    ] {
        assert!(metrics.contains(&format!("\n{family} ")), "{family} is not in\n{metrics}");
    }
    let acks = |metrics: &str| {
        let line = metrics.lines().find(|line| line.starts_with("chiplog_ack_seconds_count"));
        line.and_then(|line| line.split(' ').next_back()?.parse::<u64>().ok())
    };
    assert_eq!(acks(&metrics), Some(0));
    let line = home.path().join("line.txt");
    std::fs::write(&line, "one\n").expect("writable");
    assert!(server.run(&["produce", "t", line.to_str().expect("UTF-8")]).status.success());
    assert_eq!(acks(&get(&server.admin(), "/metrics")), Some(1));
}
