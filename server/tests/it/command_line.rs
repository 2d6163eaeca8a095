use crate::chiplog::{chiplog, stderr, stdout};

#[test]
fn version_names_the_program() {
    let output = chiplog(&["--version"]).output().expect("the binary runs");
    assert_eq!(stdout(&output), concat!("chiplog ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn every_command_has_help_with_examples() {
    let help = stdout(&chiplog(&["--help"]).output().expect("the binary runs"));
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names: Vec<_> = commands
        .map_while(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| *name != "help")
        .collect();
    assert!(names.contains(&"completions"), "{help}");
    for name in names {
        let output = chiplog(&[name, "--help"]).output().expect("the binary runs");
        assert!(output.status.success());
        assert!(stdout(&output).contains("Examples:\n  "), "{name} shows no example");
    }
}

#[test]
fn help_of_serve_is_the_table() {
    let help = stdout(&chiplog(&["serve", "--help"]).output().expect("the binary runs"));
    for setting in server::config::table::SETTINGS {
        assert!(help.contains(&format!("--{} <{}>", setting.flag(), setting.value)), "{help}");
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
fn colours_are_for_terminals() {
    let output = chiplog(&["serve", "--cores", "none"]).output().expect("the binary runs");
    assert!(!stderr(&output).contains('\u{1b}'));
}

#[test]
fn completions_know_the_flags_of_serve() {
    for shell in ["bash", "zsh", "fish"] {
        let output = chiplog(&["completions", shell]).output().expect("the binary runs");
        assert!(stdout(&output).contains("core-listen"), "{shell}");
    }
}
