//! `chiplog cluster`: several nodes as one.

mod demo;

use clap::{Args, Subcommand};

use crate::failure::Failure;

pub const EXAMPLES: &str = "\
Examples:
  chiplog cluster demo                       three nodes on this machine, until Ctrl-C
  chiplog cluster demo --nodes 5 --data /srv/demo --base-port 20000";

#[derive(Debug, Args)]
pub struct ClusterArgs {
    #[command(subcommand)]
    command: ClusterCommand,
}

#[derive(Debug, Subcommand)]
enum ClusterCommand {
    /// Run a whole cluster on this machine: one process per node, on loopback.
    #[command(after_help = demo::EXAMPLES)]
    Demo(demo::DemoArgs),
}

/// Does what the command line says.
pub fn run(args: &ClusterArgs) -> Result<(), Failure> {
    match &args.command {
        ClusterCommand::Demo(args) => demo::run(args),
    }
}
