//! `chiplog topic`: create, list, describe, alter, delete.

mod alter;
mod create;
mod delete;
mod describe;
mod list;

use clap::{Args, Subcommand};

use super::server_args::ServerArgs;
use crate::failure::Failure;

pub const EXAMPLES: &str = "\
Examples:
  chiplog topic create orders --partitions 4 --set retention.ms=86400000
  chiplog topic list
  chiplog topic describe orders --json
  chiplog topic alter orders --partitions 8 --unset retention.ms
  chiplog topic delete orders";

#[derive(Debug, Args)]
pub struct TopicArgs {
    #[command(subcommand)]
    command: TopicCommand,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Subcommand)]
enum TopicCommand {
    /// Create topics.
    #[command(after_help = create::EXAMPLES)]
    Create(create::CreateArgs),
    /// List topics.
    #[command(after_help = list::EXAMPLES)]
    List(list::ListArgs),
    /// Show partitions, leaders, offsets and settings of topics.
    #[command(after_help = describe::EXAMPLES)]
    Describe(describe::DescribeArgs),
    /// Change a topic's settings, or give it more partitions.
    #[command(after_help = alter::EXAMPLES)]
    Alter(alter::AlterArgs),
    /// Delete topics with all of their records.
    #[command(after_help = delete::EXAMPLES)]
    Delete(delete::DeleteArgs),
}

/// Does what the command line says.
pub fn run(args: &TopicArgs) -> Result<(), Failure> {
    let cluster = &mut args.server.connect()?;
    match &args.command {
        TopicCommand::Create(args) => create::run(cluster, args),
        TopicCommand::List(args) => list::run(cluster, args),
        TopicCommand::Describe(args) => describe::run(cluster, args),
        TopicCommand::Alter(args) => alter::run(cluster, args),
        TopicCommand::Delete(args) => delete::run(cluster, args),
    }
}

/// Reads `NAME=VALUE`.
fn assignment(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expects NAME=VALUE")?;
    Ok((name.trim().to_owned(), value.to_owned()))
}
