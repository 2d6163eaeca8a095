//! What keeps a server from starting: one sentence that says what to do, and an exit code.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::chiplog::{folder, refusal, serve};

#[test]
fn an_unknown_key_of_the_file_is_refused_with_the_nearest() {
    let home = folder();
    let file = home.path().join("chiplog.toml");
    std::fs::write(&file, "lissen = '127.0.0.1:1'\n").expect("writable");
    let file = file.to_str().expect("UTF-8");
    let (code, sentence) = refusal(serve(home.path(), &["--config", file]));
    assert_eq!(code, 2);
    assert!(sentence.contains("`lissen`") && sentence.contains("did you mean `listen`?"));
}

#[test]
fn an_unknown_section_of_the_file_is_refused_with_the_nearest() {
    let home = folder();
    let file = home.path().join("chiplog.toml");
    std::fs::write(&file, "[jurnal]\nbytes = '64MiB'\n").expect("writable");
    let file = file.to_str().expect("UTF-8");
    let (code, sentence) = refusal(serve(home.path(), &["--config", file]));
    assert_eq!(code, 2);
    assert!(sentence.contains("did you mean `[journal]`?"), "{sentence}");
}

#[test]
fn a_folder_that_cannot_be_made_is_named_with_what_to_do() {
    let home = folder();
    std::fs::write(home.path().join("file"), "").expect("writable");
    for wrong in ["file", "file/data"] {
        let (code, sentence) = refusal(serve(&home.path().join(wrong), &[]));
        assert_eq!(code, 1);
        assert!(sentence.contains(wrong) && sentence.contains("with --data"), "{sentence}");
    }
}

#[test]
fn a_folder_that_may_not_be_read_is_refused() {
    let home = folder();
    let data = home.path().join("data");
    std::fs::create_dir(&data).expect("writable");
    set_mode(&data, 0);
    let (code, sentence) = refusal(without_privileges(serve(&data, &[])));
    set_mode(&data, 0o700);
    assert_eq!(code, 1);
    assert!(sentence.contains("give it to the user that runs chiplog"), "{sentence}");
}

/// The command as somebody whom file modes bind: root loses what lifts him above them.
fn without_privileges(command: Command) -> Command {
    if !rustix::process::geteuid().is_root() {
        return command;
    }
    let mut bound = Command::new("setpriv");
    bound.env_clear().args(["--inh-caps=-all", "--bounding-set=-all", "--"]);
    bound.arg(command.get_program()).args(command.get_args());
    bound
}

fn set_mode(path: &Path, mode: u32) {
    let mode = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(path, mode).expect("it is ours");
}

#[test]
fn a_damaged_meta_is_named_and_left_alone() {
    let home = folder();
    let meta = home.path().join("meta.toml");
    std::fs::write(&meta, "garbage").expect("writable");
    let (code, sentence) = refusal(serve(home.path(), &[]));
    assert_eq!(code, 1);
    assert!(sentence.contains("meta.toml") && sentence.contains("restore it"), "{sentence}");
    assert_eq!(std::fs::read(&meta).expect("readable"), b"garbage");
}

#[test]
fn a_mistyped_variable_is_refused_with_the_nearest() {
    let home = folder();
    let mut command = serve(home.path(), &[]);
    command.env("CHIPLOG_COERS", "2");
    let (code, sentence) = refusal(command);
    assert_eq!(code, 2);
    assert!(sentence.contains("did you mean CHIPLOG_CORES?"), "{sentence}");
}

#[test]
fn a_wildcard_needs_an_advertised_host() {
    let home = folder();
    let (code, sentence) = refusal(serve(home.path(), &["--listen", "0.0.0.0:0"]));
    assert_eq!(code, 2);
    assert!(sentence.contains("--advertise HOST"), "{sentence}");
}

#[test]
fn an_open_admin_port_needs_a_token() {
    let home = folder();
    let (code, sentence) = refusal(serve(home.path(), &["--admin", "0.0.0.0:0"]));
    assert_eq!(code, 2);
    assert!(sentence.contains("--admin-token-file"), "{sentence}");
}

#[test]
fn a_port_in_use_names_port_and_flag() {
    let home = folder();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    for flag in ["--listen", "--core-listen", "--admin"] {
        let data = home.path().join(flag);
        let (code, sentence) = refusal(serve(&data, &["--cores", "1", flag, &address]));
        assert_eq!(code, 1);
        assert!(sentence.contains(flag), "{sentence}");
        assert!(sentence.contains(&taken.local_addr().expect("bound").port().to_string()));
    }
}

#[test]
fn a_foreign_folder_is_refused_and_left_alone() {
    let home = folder();
    std::fs::write(home.path().join("photo.jpg"), "a cat").expect("writable");
    let (code, sentence) = refusal(serve(home.path(), &[]));
    assert_eq!(code, 1);
    assert!(sentence.contains("--data"), "{sentence}");
    assert_eq!(std::fs::read_dir(home.path()).expect("readable").count(), 1);
}

#[test]
fn a_folder_in_memory_is_refused() {
    let home = tempfile::tempdir_in("/dev/shm").expect("/dev/shm is a tmpfs on every Linux");
    let (code, sentence) = refusal(serve(&home.path().join("data"), &[]));
    assert_eq!(code, 1);
    assert!(sentence.contains("tmpfs"), "{sentence}");
}
