use crate::chiplog::{chiplog, stderr, stdout};

#[test]
fn version_names_the_program() {
    let output = chiplog(&["--version"]).output().expect("the binary runs");
    assert_eq!(stdout(&output), concat!("chiplog ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn every_command_has_help_with_examples() {
    let mut seen = Vec::new();
    check_help(&mut Vec::new(), &mut seen);
    for name in ["completions", "dump", "repair", "topic alter", "bench rate", "fault net cut"] {
        assert!(seen.iter().any(|one| one == name), "{name} is not among {seen:?}");
    }
}

/// Looks at the help of the command `path` and of those below it.
fn check_help(path: &mut Vec<String>, seen: &mut Vec<String>) {
    let args: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
    let output = chiplog(&args).output().expect("the binary runs");
    assert!(output.status.success(), "{path:?}");
    let help = stdout(&output);
    assert!(help.contains("Examples:\n  "), "{path:?} shows no example");
    seen.push(path.join(" "));
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = commands.map_while(|line| line.strip_prefix("  ")?.split(' ').next());
    for name in names.filter(|name| !name.is_empty() && *name != "help") {
        path.push(name.to_owned());
        check_help(path, seen);
        path.pop();
    }
}

#[test]
fn help_of_serve_is_the_table() {
    let help = stdout(&chiplog(&["serve", "--help"]).output().expect("the binary runs"));
    for setting in server::config::table::SETTINGS {
        let (flag, value) = (setting.flag(), setting.value);
        let shown = [format!("--{flag} <{value}>"), format!("--{flag} [<{value}>]")];
        assert!(shown.iter().any(|shown| help.contains(shown)), "{shown:?} in {help}");
    }
}

#[test]
fn wrong_usage_exits_with_2() {
    for args in [&["sreve"][..], &["serve", "--lisen", "x"], &[]] {
        let output = chiplog(args).output().expect("the binary runs");
        assert_eq!(output.status.code(), Some(2), "{args:?}");
    }
    let typo = stderr(&chiplog(&["serve", "--lisen", "x"]).output().expect("the binary runs"));
    assert!(typo.contains("--listen"), "{typo}");
}

#[test]
fn completions_know_the_flags_of_serve() {
    for shell in ["bash", "zsh", "fish"] {
        let output = chiplog(&["completions", shell]).output().expect("the binary runs");
        assert!(stdout(&output).contains("core-listen"), "{shell}");
    }
}
