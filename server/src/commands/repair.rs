//! `chiplog repair`: writes off what a stopped data folder has lost, so that the rest serves again.
//!
//! ```text
//!   look, in memory ──▶ say what is lost ──▶ consent? ──▶ the same on the files ──▶ look again
//! ```
//! Both passes run the same code over the same engine, so that what is said is what is done.

mod losses;

use std::io::{self, IsTerminal, Write};

use base::ShardId;
use clap::Args;
use serde_json::json;

use super::folder_args::{FolderArgs, files_of, image_of, topic_names};
use crate::data_folder::StoppedFolder;
use crate::failure::Failure;
use crate::offline::TopicNames;
use crate::output;
use losses::{Losses, write_off};

pub const EXAMPLES: &str = "\
Examples:
  chiplog repair                                        say what is lost, ask before writing it off
  chiplog repair --data /srv/chiplog --accept-loss      write it off without asking
  chiplog repair --json                                 what is lost, for a program

A partition that may have lost records is served read-only up to the loss. Writing the loss off makes
the lost offsets a gap for ever: readers skip it, and its offsets are never given out again. Keep a
copy of the folder if you hope to get the records back by other means. The server must not run.
Exit codes: 0 nothing is lost any more, 1 something is.";

/// What to write off.
#[derive(Clone, Debug, Args)]
pub struct RepairArgs {
    #[command(flatten)]
    folder: FolderArgs,
    /// Write the loss off; without it a terminal is asked, and otherwise nothing is changed.
    #[arg(long)]
    accept_loss: bool,
    /// One JSON object instead of text; asks nothing.
    #[arg(long)]
    json: bool,
}

/// Looks, says what is lost, and writes it off if that is wanted.
pub fn run(args: &RepairArgs) -> Result<(), Failure> {
    let mut folder = args.folder.take()?;
    let data = folder.shards();
    let chosen = args.folder.chosen(&folder, data)?;
    let topics = topic_names(&folder)?;
    let found = find(&folder, &chosen, &topics)?;
    if args.folder.shard.is_none() || chosen.contains(&ShardId::CONTROL) {
        refuse_control(&folder, &topics)?;
    }
    let lost: Vec<&Losses> = found.iter().filter(|losses| !losses.is_empty()).collect();
    let written_off = !lost.is_empty() && (args.accept_loss || consents(args, &lost, &topics)?);
    if written_off {
        for losses in &lost {
            repair(&mut folder, losses.shard, &topics)?;
        }
    }
    say(args, &folder, &found, &topics, written_off)?;
    let unreadable = found.iter().any(|losses| !losses.unreadable.is_empty());
    match (lost.is_empty(), written_off) {
        (false, false) => Err(Failure::LossNotAccepted),
        _ if unreadable => Err(Failure::Unreadable),
        _ => Ok(()),
    }
}

/// What writing off would do, tried in memory.
fn find(
    folder: &StoppedFolder,
    shards: &[ShardId],
    topics: &TopicNames,
) -> Result<Vec<Losses>, Failure> {
    let of_data = shards.iter().filter(|shard| **shard != ShardId::CONTROL);
    let found = of_data.map(|shard| {
        let image = image_of(folder, *shard)?;
        write_off(folder.meta(), *shard, image, topics)
    });
    found.collect()
}

/// A gap in the cluster log would leave open which topics there are: that is no loss to accept.
fn refuse_control(folder: &StoppedFolder, topics: &TopicNames) -> Result<(), Failure> {
    let image = image_of(folder, ShardId::CONTROL)?;
    let found = write_off(folder.meta(), ShardId::CONTROL, image, topics)?;
    if found.is_empty() { Ok(()) } else { Err(Failure::ClusterLogLost) }
}

fn repair(folder: &mut StoppedFolder, shard: ShardId, topics: &TopicNames) -> Result<(), Failure> {
    let files = files_of(folder, shard)?;
    write_off(folder.meta(), shard, files, topics)?;
    folder.activate(shard)?;
    let image = image_of(folder, shard)?;
    let left = write_off(folder.meta(), shard, image, topics)?;
    if left.is_empty() { Ok(()) } else { Err(Failure::StillLost { shard }) }
}

/// Asks a terminal. Nobody there has consented to nothing.
fn consents(args: &RepairArgs, lost: &[&Losses], topics: &TopicNames) -> Result<bool, Failure> {
    if args.json || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(false);
    }
    for losses in lost {
        losses.print(topics)?;
    }
    eprint!("Write this off for ever? Type `yes`: ");
    io::stderr().flush().map_err(Failure::Output)?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(Failure::Answer)?;
    Ok(answer.trim() == "yes")
}

fn say(
    args: &RepairArgs,
    folder: &StoppedFolder,
    found: &[Losses],
    topics: &TopicNames,
    written_off: bool,
) -> Result<(), Failure> {
    if args.json {
        let shards: Vec<_> = found.iter().map(|losses| losses.to_json(topics)).collect();
        let value = json!({ "data": folder.path(), "written_off": written_off, "shards": shards });
        return output::line(format_args!("{value:#}"));
    }
    for losses in found {
        losses.print(topics)?;
    }
    if found.iter().all(Losses::is_empty) {
        output::line(format_args!("nothing is lost: there is nothing to repair"))
    } else if written_off {
        output::line(format_args!("this is written off; the server can start again"))
    } else {
        Ok(())
    }
}
