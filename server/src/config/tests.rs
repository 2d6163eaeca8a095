use super::table::{self, SETTINGS};
use super::*;

fn file(text: &str) -> (tempfile::NamedTempFile, RawConfig, Result<(), ConfigError>) {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), text).expect("the temporary file is writable");
    let mut raw = RawConfig::default();
    let read = raw.read_file(file.path());
    (file, raw, read)
}

pub(super) fn flags(pairs: &[(&str, &str)]) -> RawConfig {
    let mut raw = RawConfig::default();
    for (key, text) in pairs {
        raw.take_flag(table::find(key).expect("a key of the table"), (*text).to_owned());
    }
    raw
}

pub(super) fn refusal(pairs: &[(&str, &str)]) -> String {
    Config::resolve(&flags(pairs)).expect_err("must be refused").to_string()
}

#[test]
fn nothing_given_is_a_server_on_loopback() {
    let config = Config::resolve(&RawConfig::default()).expect("defaults are valid");
    assert_eq!(config.node_view.listen.to_string(), "127.0.0.1:9092");
    assert_eq!(config.core_view.advertise.0, "127.0.0.1");
    assert_eq!(config.admin.listen.port(), 9644);
    assert!(config.format.shards.is_none() && !config.format.journal_bytes.given);
}

#[test]
fn every_setting_of_the_table_is_read() {
    for setting in SETTINGS {
        let result = Config::resolve(&flags(&[(setting.key, "\u{0}")]));
        if ["data", "pid_file"].contains(&setting.key) {
            continue; // any text is a path
        }
        let error = result.expect_err(setting.key).to_string();
        let admin_token = setting.key == "admin_token_file" && error.contains("admin token");
        let secret = setting.key == "secret_file" && error.contains("secret from");
        let flag = error.contains(&format!("--{}", setting.flag()));
        assert!(flag || admin_token || secret, "{error}");
    }
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let (_file, mut raw, read) = file("cores = 2\npoll = 'park'\nlisten = '127.0.0.1:1'");
    read.expect("a valid file");
    let variables = [("CHIPLOG_CORES", "3"), ("CHIPLOG_POLL", "spin"), ("HOME", "/")];
    let variables = variables.map(|(name, text)| (name.to_owned(), text.to_owned()));
    raw.read_environment(variables.into_iter()).expect("known variables");
    raw.take_flag(table::find("cores").expect("a key"), "4".to_owned());
    let config = Config::resolve(&raw).expect("valid settings");
    assert_eq!(config.cores.get(), 4);
    assert_eq!(config.poll, PollMode::Spin);
    assert_eq!(config.node_view.listen.port(), 1);
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_name() {
    let (path, _, read) = file("[journal]\nbites = '1GiB'\n");
    let error = read.expect_err("an unknown key").to_string();
    let expected = format!(
        "`journal.bites` in {} is not a setting; did you mean `journal.bytes`?",
        path.path().display()
    );
    assert_eq!(error, expected);
    let (_file, _, read) = file("[ocean]\ncolour = 'blue'\n");
    assert!(read.expect_err("an unknown section").to_string().contains("docs/config.md"));
}

#[test]
fn a_mistyped_variable_is_refused_and_a_foreign_one_reported() {
    let mut raw = RawConfig::default();
    let one = |name: &str| std::iter::once((name.to_owned(), "x".to_owned()));
    let error = raw.read_environment(one("CHIPLOG_LISTN")).expect_err("a typo").to_string();
    assert_eq!(error, "CHIPLOG_LISTN is not a setting; did you mean CHIPLOG_LISTEN?");
    let foreign = raw.read_environment(one("CHIPLOG_SERVICE_HOST")).expect("not a typo");
    assert_eq!(foreign, ["CHIPLOG_SERVICE_HOST"]);
}

#[test]
fn a_syntax_error_names_the_line() {
    let (_file, _, read) = file("cores = 2\npoll = [");
    assert!(read.expect_err("not TOML").to_string().contains("line 2 is not valid TOML"));
}

#[test]
fn a_wildcard_must_be_advertised() {
    let error = refusal(&[("listen", "0.0.0.0:9092")]);
    assert!(error.contains("add --advertise HOST"), "{error}");
    let error = refusal(&[("core_listen", "[::]:9100")]);
    assert!(error.contains("add --core-advertise HOST"), "{error}");
    let both = [("listen", "0.0.0.0:1"), ("core_listen", "0.0.0.0:2"), ("advertise", "log.lan")];
    let config = Config::resolve(&flags(&both)).expect("one name serves both views");
    assert_eq!(config.core_view.advertise.0, "log.lan");
}

#[test]
fn the_admin_port_needs_a_token_beyond_loopback() {
    let error = refusal(&[("admin", "0.0.0.0:9644")]);
    assert!(error.contains("--admin-token-file"), "{error}");
    let token = tempfile::NamedTempFile::new().expect("a temporary file");
    let path = token.path().to_str().expect("a UTF-8 path");
    let open = [("admin", "0.0.0.0:9644"), ("admin_token_file", path)];
    std::fs::write(path, "short\n").expect("writable");
    assert!(refusal(&open).contains("at least 16"));
    std::fs::write(path, "0123456789abcdef\n").expect("writable");
    let config = Config::resolve(&flags(&open)).expect("a token of 16 characters");
    assert_eq!(config.admin.token.as_deref(), Some("0123456789abcdef"));
}

#[test]
fn sizes_have_limits() {
    let error = refusal(&[("journal.bytes", "1MiB")]);
    assert!(error.starts_with("--journal-bytes must be a multiple"), "{error}");
    let error = refusal(&[("bins.bytes", "16MiB")]);
    assert!(error.starts_with("--bins-bytes must be at least 32MiB"), "{error}");
    let small = [("bins.bytes", "4MiB"), ("journal.bytes", "64MiB")];
    Config::resolve(&flags(&small)).expect("a small bin for a small journal");
}
