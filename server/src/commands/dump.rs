//! `chiplog dump`: what a stopped data folder holds, and what a recovery of it would decide.

mod findings;
mod json;
mod names;
mod text;

use base::ShardId;
use clap::Args;
use engine::journal::dump::Fate;
use serde_json::json;

use super::folder_args::{FolderArgs, topic_names};
use crate::failure::Failure;
use crate::output;
use findings::Findings;
pub(super) use json::gaps;
pub(super) use text::Ranges;

pub const EXAMPLES: &str = "\
Examples:
  chiplog dump                                    the verdict, partitions and bins of ./chiplog-data
  chiplog dump --data /srv/chiplog --verify       read every extent in the bins too, and check it
  chiplog dump --shard 0 --frames --entries       every journal frame, and what is in each
  chiplog dump --shard control --json             for a program

Nothing is written: damage is only named. `chiplog repair` writes it off. The server must not run.";

/// What to look at.
#[derive(Clone, Debug, Args)]
pub struct DumpArgs {
    #[command(flatten)]
    folder: FolderArgs,
    /// List every journal frame; otherwise only those that a recovery would not replay whole.
    #[arg(long)]
    frames: bool,
    /// List what is in each of those frames.
    #[arg(long)]
    entries: bool,
    /// List every extent in the bins.
    #[arg(long)]
    extents: bool,
    /// Read every extent in the bins and check its bytes.
    #[arg(long)]
    verify: bool,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
}

impl DumpArgs {
    /// Whether a frame with this fate is listed.
    fn lists(&self, fate: Fate) -> bool {
        self.frames || !matches!(fate, Fate::Accepted | Fate::Passed | Fate::Dead)
    }
}

/// Looks and prints.
pub fn run(args: &DumpArgs) -> Result<(), Failure> {
    let folder = args.folder.look()?;
    let all = std::iter::once(ShardId::CONTROL).chain(folder.shards());
    let shards = args.folder.chosen(&folder, all)?;
    let topics = topic_names(&folder)?;
    if !args.json {
        text::folder(&folder)?;
    }
    let mut told = Vec::new();
    for shard in shards {
        let findings = Findings::gather(args, &folder, shard, &topics)?;
        if args.json {
            told.push(json::shard(&findings, args, &topics));
        } else {
            text::shard(&findings, args, &topics)?;
        }
    }
    if args.json {
        let meta = folder.meta();
        let folder = json!({
            "data": folder.path(),
            "cluster": meta.cluster().to_string(),
            "shards": told,
        });
        return output::line(format_args!("{folder:#}"));
    }
    Ok(())
}
