//! What a trial is given.

use std::path::{Path, PathBuf};

use crate::{Outcome, Trouble};

/// Names the server to try.
pub const SERVER_VARIABLE: &str = "CHIPLOG_BIN";
/// Names a server built with the feature `mutants`.
pub const MUTANTS_VARIABLE: &str = "CHIPLOG_MUTANTS_BIN";
/// The number that every draw of a trial comes from; drawn anew if not given.
pub const SEED_VARIABLE: &str = "TRIALS_SEED";

/// What a trial is given: a folder of its own, a seed, and where the servers are.
#[derive(Debug)]
pub struct Context {
    folder: PathBuf,
    seed: u64,
}

impl Context {
    /// Empties the folder of the trial called `name`.
    pub fn new(name: &str) -> Outcome<Self> {
        let folder = folder_of(name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(&folder)?;
        let given = std::env::var(SEED_VARIABLE).ok().and_then(|seed| seed.parse().ok());
        Ok(Self { folder, seed: given.unwrap_or_else(|| fastrand::u64(..1 << 32)) })
    }

    /// Removes what the trial called `name` left behind.
    pub fn clear(name: &str) {
        // A mount that would not go away keeps its folder: the next run says so.
        let _ = std::fs::remove_dir_all(folder_of(name));
    }

    /// A folder on a real file system, empty at the start of the trial.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Dice of the trial; `salt` tells one use from another.
    #[must_use]
    pub fn dice(&self, salt: u64) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.seed ^ salt.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// The server that users get.
    pub fn server(&self) -> Outcome<PathBuf> {
        binary(SERVER_VARIABLE, "release", "cargo build --release -p server")
    }

    /// The server that can be told to do wrong.
    pub fn mutants(&self) -> Outcome<PathBuf> {
        let build =
            "cargo build --release -p server --features mutants --target-dir target/mutants";
        binary(MUTANTS_VARIABLE, "mutants/release", build)
    }
}

fn folder_of(name: &str) -> PathBuf {
    target_folder().join("trials").join(name)
}

/// The folder that cargo builds into: this program lies in it.
pub(crate) fn target_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target")
}

fn binary(variable: &str, profile: &str, build: &str) -> Outcome<PathBuf> {
    let path = match std::env::var_os(variable) {
        Some(path) => PathBuf::from(path),
        None => target_folder().join(profile).join("chiplog"),
    };
    if path.is_file() {
        return Ok(path);
    }
    let why = format!("no server at {}: run `{build}`, or set {variable}", path.display());
    Err(Trouble::Skipped(why))
}
