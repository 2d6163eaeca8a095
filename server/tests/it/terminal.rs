//! What a person at a terminal sees, and a program does not.

use std::fs::File;
use std::io::Read;
use std::process::{Command, Output, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::chiplog::{chiplog, folder, stderr, stdout};

/// Runs `command` with a terminal as its standard error; how it ended, and what the terminal was
/// sent.
fn on_terminal(mut command: Command) -> (Output, String) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let screen = openpt(flags).expect("a pseudo-terminal");
    grantpt(&screen).expect("it is ours");
    unlockpt(&screen).expect("it is ours");
    let name = ptsname(&screen, Vec::new()).expect("it has a name");
    let end = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty());
    command.env("TERM", "xterm").stdout(Stdio::piped()).stderr(end.expect("it is unlocked"));
    let child = command.spawn().expect("the binary runs");
    // The last handle but the child's: the screen ends with the child.
    drop(command);
    let reader = std::thread::spawn(move || {
        let (mut shown, mut screen) = (Vec::new(), File::from(screen));
        // A terminal that nobody holds any more ends in EIO.
        let _ = screen.read_to_end(&mut shown);
        String::from_utf8(shown).expect("UTF-8")
    });
    let output = child.wait_with_output().expect("it ends");
    (output, reader.join().expect("it reads"))
}

fn floor(home: &std::path::Path) -> Command {
    let mut command = chiplog(&["floor", "--seconds", "0.05", "--poll", "park", "--json"]);
    command.arg("--folder").arg(home);
    command
}

#[test]
fn floor_shows_its_progress_on_a_terminal_and_leaves_no_trace_of_it() {
    let home = folder();
    let (output, shown) = on_terminal(floor(home.path()));
    assert!(output.status.success(), "{shown}");
    assert!(shown.contains("probe, parked, ") && shown.contains("durable "), "{shown:?}");
    assert!(shown.ends_with("\r\u{1b}[K"), "{shown:?}");
    let figures: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert!(figures["probe"].is_object(), "{figures}");
}

#[test]
fn floor_says_nothing_to_a_program() {
    let home = folder();
    let output = floor(home.path()).output().expect("the binary runs");
    assert!(output.status.success());
    assert_eq!(stderr(&output), "");
}

#[test]
fn a_load_shows_its_progress_on_a_terminal_alone() {
    let home = folder();
    let server = crate::server::Server::start(&home.path().join("data"), &[]);
    let flood = ["bench", "flood", "--seconds", "1", "--in-flight", "4", "--no-floor", "--park"];
    let (output, shown) = on_terminal(server.command(&flood));
    assert!(output.status.success(), "{shown}");
    assert!(shown.contains("load for 1.0 s, "), "{shown:?}");
    let quiet = server.run(&flood);
    assert!(quiet.status.success());
    assert_eq!(stderr(&quiet), "");
    assert!(!stdout(&quiet).contains('\u{1b}'));
}

#[test]
fn colours_are_for_terminals_and_for_those_who_want_them() {
    let mistake = || chiplog(&["serve", "--cores", "none"]);
    let (_, shown) = on_terminal(mistake());
    assert!(shown.contains("\u{1b}[31m") || shown.contains("\u{1b}[1m"), "{shown:?}");
    let mut plain = mistake();
    plain.env("NO_COLOR", "1");
    let (_, shown) = on_terminal(plain);
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
    let output = mistake().output().expect("the binary runs");
    assert!(!stderr(&output).contains('\u{1b}'));
}
