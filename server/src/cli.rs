//! The command line: what can be said, and who does it.

pub mod serve_args;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::commands::{bench, cluster, consume, dump, fault, floor, group, produce, repair, topic};
use crate::failure::Failure;
use crate::{herald, output, serve};
use serve_args::ServeArgs;

/// A durable log that Kafka clients speak to.
#[derive(Debug, Parser)]
#[command(name = "chiplog", version, propagate_version = true, after_help = EXAMPLES)]
#[command(arg_required_else_help = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a server.
    #[command(after_help = serve_args::EXAMPLES)]
    Serve(ServeArgs),
    /// Create, list, describe, alter and delete topics.
    #[command(after_help = topic::EXAMPLES)]
    Topic(topic::TopicArgs),
    /// List, describe, reset and delete consumer groups.
    #[command(after_help = group::EXAMPLES)]
    Group(group::GroupArgs),
    /// Run a cluster on this machine to try things with.
    #[command(after_help = cluster::EXAMPLES)]
    Cluster(cluster::ClusterArgs),
    /// Make a node go wrong, to see what it and the others do.
    #[command(after_help = fault::EXAMPLES)]
    Fault(fault::FaultArgs),
    /// Write records to a topic, from lines or files.
    #[command(after_help = produce::EXAMPLES)]
    Produce(produce::ProduceArgs),
    /// Read records of a topic.
    #[command(after_help = consume::EXAMPLES)]
    Consume(consume::ConsumeArgs),
    /// Load a Kafka server and show the floor of the machine beside the result.
    #[command(after_help = bench::EXAMPLES)]
    Bench(bench::BenchArgs),
    /// Measure what this machine allows: loopback, durable writes, both together.
    #[command(after_help = floor::EXAMPLES)]
    Floor(floor::FloorArgs),
    /// Show what a stopped data folder holds, and what a recovery of it would decide.
    #[command(after_help = dump::EXAMPLES)]
    Dump(dump::DumpArgs),
    /// Write off what a stopped data folder has lost, so that the rest serves again.
    #[command(after_help = repair::EXAMPLES)]
    Repair(repair::RepairArgs),
    /// Watch over a server; servers start it themselves.
    #[command(hide = true)]
    Herald,
    /// Print a script that completes chiplog's commands in a shell.
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell to complete in.
        shell: clap_complete::Shell,
    },
}

const EXAMPLES: &str = "\
Examples:
  chiplog serve                        a server on loopback, its data in ./chiplog-data
  chiplog help serve                   every setting of a server
  echo hello | chiplog produce talk    write to a topic, made on first use
  chiplog consume talk --follow        read it, and go on reading
  chiplog topic describe talk --json   its partitions and settings, for a program

Exit codes: 0 done, 1 failed, 2 wrong usage or settings.";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  chiplog completions bash > /etc/bash_completion.d/chiplog
  chiplog completions zsh  > ~/.zfunc/_chiplog
  chiplog completions fish > ~/.config/fish/completions/chiplog.fish";

/// Does what the command line says.
#[must_use]
pub fn run() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::error(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve(args) => serve::run(&args),
        Command::Topic(args) => topic::run(&args),
        Command::Group(args) => group::run(&args),
        Command::Cluster(args) => cluster::run(&args),
        Command::Fault(args) => fault::run(&args),
        Command::Produce(args) => produce::run(&args),
        Command::Consume(args) => consume::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Floor(args) => floor::run(&args),
        Command::Dump(args) => dump::run(&args),
        Command::Repair(args) => repair::run(&args),
        Command::Herald => {
            herald::run();
            Ok(())
        }
        Command::Completions { shell } => completions(shell),
    }
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "chiplog", &mut script);
    std::io::stdout().write_all(&script).map_err(Failure::Output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
