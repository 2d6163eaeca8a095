//! Which stopped data folder, and which of its shards, a command is about.

use std::path::PathBuf;
use std::time::Duration;

use base::ShardId;
use clap::Args;
use ring::ShardFolder;

use crate::data_folder::StoppedFolder;
use crate::failure::Failure;
use crate::offline::{Image, OfflineShard, TopicNames};
use crate::output;

/// How long files that another process still holds are waited for, once the folder's lock is free.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, Args)]
pub(super) struct FolderArgs {
    /// The data folder of a server that does not run.
    #[arg(long, value_name = "DIR", env = "CHIPLOG_DATA", default_value = "./chiplog-data")]
    pub data: PathBuf,
    /// One shard alone: its number, or `control`.
    #[arg(long, value_name = "SHARD", value_parser = shard_id)]
    pub shard: Option<ShardId>,
}

impl FolderArgs {
    /// The folder, to look at.
    pub(super) fn look(&self) -> Result<StoppedFolder, Failure> {
        Ok(StoppedFolder::look(&self.data, say_waiting)?)
    }

    /// The folder, to change.
    pub(super) fn take(&self) -> Result<StoppedFolder, Failure> {
        Ok(StoppedFolder::take(&self.data, say_waiting)?)
    }

    /// The shards asked for: `all` of them unless one was named.
    pub(super) fn chosen(
        &self,
        folder: &StoppedFolder,
        all: impl Iterator<Item = ShardId>,
    ) -> Result<Vec<ShardId>, Failure> {
        let Some(shard) = self.shard else { return Ok(all.collect()) };
        let shards = folder.meta().shard_count();
        if shard != ShardId::CONTROL && shards <= shard.0 {
            return Err(Failure::NoShard { shard, last: shards - 1 });
        }
        Ok(vec![shard])
    }
}

/// The files of a shard in memory: what is written there is forgotten.
pub(super) fn image_of(folder: &StoppedFolder, shard: ShardId) -> Result<Image, Failure> {
    let files = ShardFolder::look(&folder.shard_path(shard), shard, PATIENCE);
    Ok(Image::of_files(files.map_err(Failure::Files)?))
}

/// The files of a shard themselves, to write to.
pub(super) fn files_of(folder: &StoppedFolder, shard: ShardId) -> Result<Image, Failure> {
    let files = ShardFolder::open(&folder.shard_path(shard), shard, PATIENCE);
    Ok(Image::on_disk(files.map_err(Failure::Files)?))
}

/// What the folder's partitions are called.
pub(super) fn topic_names(folder: &StoppedFolder) -> Result<TopicNames, Failure> {
    let meta = folder.meta();
    let mut config = meta.engine_config(ShardId::CONTROL);
    config.accept_loss = true;
    let image = image_of(folder, ShardId::CONTROL)?;
    let names = TopicNames::read(meta, &mut OfflineShard::open(config, image));
    names.map_err(|stopped| Failure::shard(ShardId::CONTROL, stopped))
}

fn say_waiting(pid: u32) {
    output::note(format_args!(
        "process {pid}, which served this folder, is gone; waiting for the kernel to close its files"
    ));
}

fn shard_id(text: &str) -> Result<ShardId, String> {
    match text.parse() {
        _ if text == "control" => Ok(ShardId::CONTROL),
        Ok(number) if number != ShardId::CONTROL.0 => Ok(ShardId(number)),
        _ => Err("expects a shard's number, or `control`".to_owned()),
    }
}
