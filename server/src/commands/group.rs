//! `chiplog group`: list, describe, reset, delete.

mod delete;
mod describe;
mod list;
mod reset;

use clap::{Args, Subcommand};

use super::server_args::ServerArgs;
use crate::failure::Failure;

pub const EXAMPLES: &str = "\
Examples:
  chiplog group list
  chiplog group describe billing                       lag and members
  chiplog group reset billing orders --to beginning --dry-run
  chiplog group delete billing";

#[derive(Debug, Args)]
pub struct GroupArgs {
    #[command(subcommand)]
    command: GroupCommand,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Subcommand)]
enum GroupCommand {
    /// List groups.
    #[command(after_help = list::EXAMPLES)]
    List(list::ListArgs),
    /// Show the members of groups, and how far they are behind.
    #[command(after_help = describe::EXAMPLES)]
    Describe(describe::DescribeArgs),
    /// Set how far a group without members has come.
    #[command(after_help = reset::EXAMPLES)]
    Reset(reset::ResetArgs),
    /// Delete groups without members, with their offsets.
    #[command(after_help = delete::EXAMPLES)]
    Delete(delete::DeleteArgs),
}

/// Does what the command line says.
pub fn run(args: &GroupArgs) -> Result<(), Failure> {
    let cluster = &mut args.server.connect()?;
    match &args.command {
        GroupCommand::List(args) => list::run(cluster, args),
        GroupCommand::Describe(args) => describe::run(cluster, args),
        GroupCommand::Reset(args) => reset::run(cluster, args),
        GroupCommand::Delete(args) => delete::run(cluster, args),
    }
}
