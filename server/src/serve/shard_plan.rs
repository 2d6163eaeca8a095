//! A shard before it is opened, and the opening: done by the thread that will run it, so that shards
//! open side by side and memory lies where it is used.

use std::path::PathBuf;
use std::time::Duration;

use base::ShardId;
use engine::{Engine, EngineConfig};
use ring::memory::MapError;
use ring::{Mapping, ShardFolder, map_pages};
use thiserror::Error;

/// How long files of a killed server are waited for, once its lock is free.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a shard is opened with.
#[derive(Debug)]
pub struct ShardPlan {
    pub shard: ShardId,
    pub path: PathBuf,
    pub engine: EngineConfig,
}

/// An open shard: its recovery is still to come.
#[derive(Debug)]
pub struct OpenShard {
    pub folder: ShardFolder,
    pub engine: Engine,
    /// The memory of the engine's arena.
    pub arena: Mapping,
}

/// Why a shard cannot be opened.
#[derive(Debug, Error)]
pub enum ShardError {
    #[error(transparent)]
    Folder(#[from] ring::FolderError),
    #[error(transparent)]
    Memory(#[from] MapError),
}

impl ShardPlan {
    /// Opens and locks the files, and maps the memory.
    pub fn open(self) -> Result<OpenShard, ShardError> {
        let folder = ShardFolder::open(&self.path, self.shard, PATIENCE)?;
        let (memory, arena) = map_pages(self.engine.arena_bytes() as usize)?;
        let engine = Engine::open(self.engine, memory, &folder.existing());
        Ok(OpenShard { folder, engine, arena })
    }
}
