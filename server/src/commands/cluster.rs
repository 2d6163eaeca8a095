//! `chiplog cluster`: several nodes as one.

mod demo;
mod moves;
mod overview;
mod show;

use clap::{Args, Subcommand};

use super::server_args::ServerArgs;
use crate::failure::Failure;
use overview::Overview;

pub const EXAMPLES: &str = "\
Examples:
  chiplog cluster demo                       three nodes on this machine, until Ctrl-C
  chiplog cluster status                     the whole on one screen, and what is wrong
  chiplog cluster health                     what is wrong; fails if anything is
  chiplog cluster partitions --json
  chiplog cluster partition move orders-0 --to 1,2,3
  chiplog cluster partition leader orders-0
  chiplog cluster elect orders-0 --unclean   when too few replicas are left for anything else";

#[derive(Debug, Args)]
pub struct ClusterArgs {
    #[command(subcommand)]
    command: ClusterCommand,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Subcommand)]
enum ClusterCommand {
    /// Run a whole cluster on this machine: one process per node, on loopback.
    #[command(after_help = demo::EXAMPLES)]
    Demo(demo::DemoArgs),
    /// Show the whole on one screen, and what is wrong.
    #[command(after_help = show::STATUS_EXAMPLES)]
    Status(show::ShowArgs),
    /// List nodes: whether they answer, what they lead and hold.
    #[command(after_help = show::NODES_EXAMPLES)]
    Nodes(show::ShowArgs),
    /// List partitions: who leads them, who holds them, who is in sync.
    #[command(after_help = show::PARTITIONS_EXAMPLES)]
    Partitions(show::ShowArgs),
    /// Say what is wrong; fails if anything is.
    #[command(after_help = show::HEALTH_EXAMPLES)]
    Health(show::ShowArgs),
    /// Move a partition, or its leadership.
    #[command(after_help = moves::EXAMPLES)]
    Partition(moves::PartitionArgs),
    /// Elect a leader where no clean election is possible.
    #[command(after_help = moves::ELECT_EXAMPLES)]
    Elect(moves::ElectArgs),
}

/// Does what the command line says.
pub fn run(args: &ClusterArgs) -> Result<(), Failure> {
    if let ClusterCommand::Demo(args) = &args.command {
        return demo::run(args);
    }
    let cluster = &mut args.server.connect()?;
    match &args.command {
        ClusterCommand::Demo(args) => demo::run(args),
        ClusterCommand::Partition(args) => moves::run(cluster, args),
        ClusterCommand::Elect(args) => moves::elect(cluster, args),
        ClusterCommand::Status(args) => show::status(&Overview::of(cluster)?, args),
        ClusterCommand::Nodes(args) => show::nodes(&Overview::of(cluster)?, args),
        ClusterCommand::Partitions(args) => show::partitions(&Overview::of(cluster)?, args),
        ClusterCommand::Health(args) => show::health(&Overview::of(cluster)?, args),
    }
}
