//! Runs the binary.

use std::path::Path;
use std::process::{Command, Output};

/// A command with a clean environment: no setting leaks in from the one who runs the tests.
pub(crate) fn chiplog(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chiplog"));
    command.env_clear().args(args);
    command
}

/// `serve` on a data folder and ports that the kernel picks.
pub(crate) fn serve(data: &Path, more: &[&str]) -> Command {
    let mut command = chiplog(&["serve", "--data"]);
    command.arg(data);
    for flag in ["--listen", "--core-listen", "--admin"] {
        if !more.contains(&flag) {
            command.args([flag, "127.0.0.1:0"]);
        }
    }
    command.args(more);
    command
}

/// A folder on the disk that holds the build: `/tmp` may be a tmpfs.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder")
}

/// Runs a command that must fail, and gives its exit code and its one sentence.
pub(crate) fn refusal(mut command: Command) -> (i32, String) {
    let output = command.output().expect("the binary runs");
    let code = output.status.code().expect("not killed");
    let sentence = stderr(&output);
    assert_ne!(code, 0, "must fail: {sentence}");
    assert!(sentence.starts_with("error: "), "{sentence}");
    assert_eq!(sentence.lines().count(), 1, "one sentence: {sentence}");
    assert!(output.stdout.is_empty(), "nothing on standard output");
    (code, sentence)
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}
