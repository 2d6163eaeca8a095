//! Hosts that lack something: the server makes do, or says in one sentence what to do.

use std::net::TcpListener;
use std::path::Path;

use crate::command::{need, need_root, run};
use crate::scene::{ACK_LIMIT, Scene};
use crate::{Context, FileSystem, Launch, Mount, Outcome, Trouble, ensure, loop_device};

/// 0: rings for all; 1: for the privileged; 2: for nobody.
pub(super) const IO_URING_DISABLED: &str = "/proc/sys/kernel/io_uring_disabled";

const NOBODY: &str = "65534";
const AS_NOBODY: [&str; 7] =
    ["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--"];

/// The server as nobody, with the 8 MiB of lockable memory that many systems give.
pub(super) fn serve_with_little_lockable_memory(context: &Context) -> Outcome {
    need_root()?;
    need(&["prlimit", "setpriv", "chown"])?;
    // Nobody may not be able to read where the build put it.
    let program = context.folder().join("chiplog");
    std::fs::copy(context.server()?, &program)?;
    let data = context.folder().join("data");
    std::fs::create_dir(&data)?;
    run("chown", &[NOBODY, &data.display().to_string()])?;
    let mut scene = Scene::new(context, program, &data)?;
    let wrapper = [&["prlimit", "--memlock=8388608:8388608"][..], &AS_NOBODY].concat();
    scene.launch = scene.launch.through(&wrapper);
    let (mut server, producers) = scene.begin()?;
    producers.await_acks(1000, ACK_LIMIT)?;
    let kept = scene.expect_kept(&producers.finish()?)?;
    let said = server.said();
    ensure!(said.to_lowercase().contains("memlock"), "the limit's cost is not named in:\n{said}");
    server.stop()?;
    Ok(kept)
}

/// As on a machine that shrank: fewer cores than the folder has shards.
pub(super) fn serve_two_shards_on_one_core(context: &Context) -> Outcome {
    let mut scene = Scene::new(context, context.server()?, &context.folder().join("data"))?;
    let (mut server, producers) = scene.begin()?;
    for cores in ["1", "2"] {
        server.stop()?;
        scene.launch = scene.launch.flag("--cores", cores);
        server = scene.launch.start()?;
        let said = server.said();
        let wanted = if cores == "1" { "1 data core, 2 shards" } else { "2 data cores, 2 shards" };
        ensure!(said.contains(wanted), "{wanted:?} is not what it says:\n{said}");
        producers.await_acks(1000, ACK_LIMIT)?;
    }
    let kept = scene.expect_kept(&producers.finish()?)?;
    server.stop()?;
    Ok(kept)
}

/// The server itself names its features: in what it says to one that it does not know.
pub(super) fn serve_without_each_ring_feature(context: &Context) -> Outcome {
    let program = context.server()?;
    let data = context.folder().join("data");
    let unknown = Launch::new(program.clone(), &data, 2)?.flag("--ring-disable", "luck");
    let said = refused(&unknown, "an unknown feature", &["luck"])?;
    let (_, list) = said
        .split_once(": ")
        .and_then(|(_, rest)| rest.split_once(": "))
        .ok_or_else(|| Trouble::failed(format!("no list of features in: {said}")))?;
    let features: Vec<&str> =
        list.split(", ").take_while(|name| !name.starts_with("not ")).collect();
    ensure!(5 < features.len(), "few features in: {said}");
    let all = features.join(",");
    for disabled in features.iter().copied().chain([all.as_str()]) {
        let folder = context.folder().join(format!("without-{}", disabled.len()));
        let mut scene = Scene::new(context, program.clone(), &folder)?;
        scene.launch = scene.launch.flag("--ring-disable", disabled);
        let (mut server, producers) = scene.begin()?;
        let said = server.said();
        ensure!(said.contains("switched off"), "nothing is said to be switched off in:\n{said}");
        let kept = scene.expect_kept(&producers.finish()?);
        kept.map_err(|trouble| Trouble::failed(format!("without {disabled}: {trouble}")))?;
        server.stop()?;
        std::fs::remove_dir_all(&folder)?;
    }
    Ok(format!("served without each of {}, and without all", features.join(", ")))
}

/// Starts that must fail; each with a word that its sentence must hold.
pub(super) fn refuse_clearly(context: &Context) -> Outcome {
    let program = context.server()?;
    let data = context.folder().join("data");
    let launch = || Launch::new(program.clone(), &data, 1);
    let first = launch()?.start()?;
    let second = refused(&launch()?, "a second server", &["pid", "process"])?;
    drop(first);

    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let port = refused(&launch()?.flag("--listen", &address), "a taken port", &["in use"])?;

    let foreign = context.folder().join("foreign");
    std::fs::create_dir(&foreign)?;
    std::fs::write(foreign.join("thesis.txt"), "not a log")?;
    let foreign = Launch::new(program.clone(), &foreign, 1)?;
    refused(&foreign, "a foreign folder", &["foreign"])?;

    let config = context.folder().join("chiplog.toml");
    std::fs::write(&config, "lisen = \"127.0.0.1:9092\"\n")?;
    let typo = launch()?.flag("--config", &config.display().to_string());
    refused(&typo, "an unknown key", &["lisen", "listen"])?;

    let open = launch()?.flag("--listen", "0.0.0.0:0");
    refused(&open, "a wildcard address", &["--advertise"])?;
    if Path::new("/dev/shm").is_dir() {
        let memory = Path::new("/dev/shm/chiplog-trial");
        refused(&Launch::new(program.clone(), memory, 1)?, "a folder in memory", &["tmpfs"])?;
        let _ = std::fs::remove_dir_all(memory);
    }
    let closed = refuse_a_closed_folder(context, &program)?;
    let buffered = refuse_a_buffered_disk(context, &program)?;
    Ok(format!("{second} · {port} · {closed} · {buffered}"))
}

/// A file system that takes direct I/O for a word and writes through its page cache all the same.
fn refuse_a_buffered_disk(context: &Context, program: &Path) -> Outcome {
    if let Err(trouble) = FileSystem::Ext4.need() {
        return Ok(format!("NOT a disk without direct I/O: {trouble}"));
    }
    let image = context.folder().join("image");
    loop_device::make_image(&image, 128 << 20)?;
    FileSystem::Ext4.make(&image)?;
    let folder = context.folder().join("mount");
    let mount = Mount::with(FileSystem::Ext4, &image, &folder, "data=journal")?;
    let launch = Launch::new(program.to_owned(), &mount.folder().join("data"), 1)?;
    let said = refused(&launch, "a disk without direct I/O", &["O_DIRECT"])?;
    mount.unmount()?;
    Ok(said)
}

/// A folder that belongs to somebody else.
fn refuse_a_closed_folder(context: &Context, program: &Path) -> Outcome {
    if need_root().and_then(|()| need(&["setpriv", "chmod"])).is_err() {
        return Ok("NOT a folder of another user: only root can play another".into());
    }
    let copy = context.folder().join("chiplog");
    std::fs::copy(program, &copy)?;
    let folder = context.folder().join("closed");
    std::fs::create_dir(&folder)?;
    run("chmod", &["700", &folder.display().to_string()])?;
    let launch = Launch::new(copy, &folder, 1)?.through(&AS_NOBODY);
    refused(&launch, "a folder of another user", &["give it to the user"])
}

/// Only where CI says that nothing else runs: for some milliseconds no process of the machine gets a
/// new ring. The setting is put back here, and by the runner if this is ended before.
pub(super) fn refuse_without_io_uring(context: &Context) -> Outcome {
    need_root()?;
    if !is_in_ci() {
        return Err(Trouble::Skipped(
            "it turns io_uring off for the whole machine: set CI=1 where nothing else runs".into(),
        ));
    }
    let program = context.server()?;
    let launch = Launch::new(program, &context.folder().join("data"), 1)?;
    let setting = Setting::change(IO_URING_DISABLED, "2").map_err(|error| {
        Trouble::Skipped(format!("{IO_URING_DISABLED} cannot be changed here: {error}"))
    })?;
    let said = refused(&launch, "no io_uring", &["kernel.io_uring_disabled=0"]);
    setting.put_back()?;
    let said = said?;
    launch.start()?.stop()?;
    Ok(said)
}

fn is_in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"))
}

/// A changed setting of the kernel; put back when dropped.
struct Setting {
    path: &'static str,
    before: String,
}

impl Setting {
    fn change(path: &'static str, value: &str) -> std::io::Result<Self> {
        let before = std::fs::read_to_string(path)?;
        std::fs::write(path, value)?;
        Ok(Self { path, before })
    }

    fn put_back(self) -> Outcome<()> {
        std::fs::write(self.path, &self.before)?;
        let now = std::fs::read_to_string(self.path)?;
        ensure!(now == self.before, "{} is {now:?} and not {:?}", self.path, self.before);
        Ok(())
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        // The runner looks again.
        let _ = std::fs::write(self.path, &self.before);
    }
}

/// Starts a server that must refuse with a non-zero exit, in few words that hold one of `words`.
fn refused(launch: &Launch, case: &str, words: &[&str]) -> Outcome {
    let (status, said) = launch.start_refused()?;
    ensure!(!status.success(), "{case}: it ended in success, and said: {said}");
    let complaint = said.lines().last().unwrap_or_default().to_owned();
    ensure!(
        words.iter().any(|word| complaint.contains(word)),
        "{case}: {words:?} expected in: {said}"
    );
    ensure!(complaint.len() < 400, "{case}: not one sentence: {complaint}");
    Ok(complaint)
}
