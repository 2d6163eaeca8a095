//! Starts on a disk that is full before every file of the journals exists.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::command::{need, run};
use crate::scene::Scene;
use crate::{Context, FileSystem, Launch, Mount, Outcome, Server, Trouble, ensure};

const IMAGE_BYTES: u64 = 256 << 20;
/// Too little for the first files of a shard and of the control core: 4 and 1 MiB.
const TOO_LITTLE_BYTES: u64 = 3 << 20;
/// Room for the first files and a few more, far from all: 72 and 18 MiB.
const A_LITTLE_BYTES: u64 = 28 << 20;
/// Of a shard.
const SEGMENT_BYTES: u64 = 4 << 20;
const STARTS_MAX: usize = 60;
const REFUSAL: &str = "make room for at least";

/// First a new folder without room for its first files. Then one that fills its disk and whose server
/// is killed again and again, until no file is left to begin in or to empty a journal into.
pub(super) fn serve_or_say_what_is_missing(context: &Context) -> Outcome {
    need(&["fallocate"])?;
    let mount = Mount::of_new_image(context, FileSystem::Ext4, IMAGE_BYTES, "mount")?;
    let data = mount.folder().join("data");

    let ballast = Ballast::leave(mount.folder(), TOO_LITTLE_BYTES)?;
    let new = refusal(&Launch::new(context.server()?, &data, 1)?)?;
    ensure!(!data.join("meta.toml").exists(), "it formatted a folder that it could not serve");
    ballast.remove()?;

    let ballast = Ballast::leave(mount.folder(), A_LITTLE_BYTES)?;
    let mut scene = Scene::new(context, context.server()?, &data)?;
    scene.launch = scene.launch.flag("--shards", "1").flag("--cores", "1");
    let (server, producers) = scene.begin()?;
    await_full(mount.folder())?;
    server.kill()?;
    // Not `finish`: what a full disk does not take any more would be waited for.
    let ledger = producers.abandon()?;
    let mut old = None;
    let mut starts = 0;
    while old.is_none() && starts < STARTS_MAX {
        starts += 1;
        match start(&scene.launch)? {
            Ok(server) => server.kill()?,
            Err(said) => old = Some(said),
        }
    }
    // What the journals had room for before the disk was full can last for ever.
    let old = old.unwrap_or_else(|| "it served each time".to_owned());
    ballast.remove()?;
    let server = scene.launch.start()?;
    let kept = scene.expect_kept(&ledger)?;
    server.stop()?;
    mount.unmount()?;
    Ok(format!("{new} · after {starts} starts: {old} · with room again: {kept}"))
}

/// A server that serves, or the sentence of one that has no room.
fn start(launch: &Launch) -> Outcome<Result<Server, String>> {
    match launch.start() {
        Ok(server) => Ok(Ok(server)),
        Err(trouble) => {
            let said = trouble.to_string();
            let sentence = said.lines().find(|line| line.contains(REFUSAL));
            sentence.map(|sentence| Err(sentence.to_owned())).ok_or(trouble)
        }
    }
}

fn refusal(launch: &Launch) -> Outcome {
    start(launch)?
        .err()
        .ok_or_else(|| Trouble::failed("it serves without room for its first files"))
}

/// Waits until no file of a journal fits any more.
fn await_full(folder: &Path) -> Outcome<()> {
    for _ in 0..600 {
        if free_bytes(folder)? < SEGMENT_BYTES {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Err(Trouble::failed(format!("{} bytes are still free", free_bytes(folder)?)))
}

fn free_bytes(folder: &Path) -> Outcome<u64> {
    let stat = nix::sys::statvfs::statvfs(folder)?;
    Ok(stat.blocks_available() * stat.fragment_size())
}

/// A file that takes up room.
struct Ballast(PathBuf);

impl Ballast {
    /// Fills the disk of `folder` but for so many bytes.
    fn leave(folder: &Path, bytes: u64) -> Outcome<Self> {
        let path = folder.join("ballast");
        let length = free_bytes(folder)?.saturating_sub(bytes).to_string();
        run("fallocate", &["-l", &length, &path.display().to_string()])?;
        Ok(Self(path))
    }

    fn remove(self) -> Outcome<()> {
        std::fs::remove_file(self.0)?;
        Ok(())
    }
}
