use std::io::{self, IsTerminal, Write};

use clap::Args;

use crate::client::{ClientError, Cluster, admin};
use crate::failure::Failure;
use crate::output;

pub(super) const EXAMPLES: &str = "\
Examples:
  chiplog topic delete orders
  chiplog topic delete orders trades --yes --if-exists";

#[derive(Debug, Args)]
pub(super) struct DeleteArgs {
    /// The topics to delete.
    #[arg(required = true)]
    names: Vec<String>,
    /// Do not ask on a terminal.
    #[arg(short, long)]
    yes: bool,
    /// Be content if a topic does not exist.
    #[arg(long)]
    if_exists: bool,
}

pub(super) fn run(cluster: &mut Cluster, args: &DeleteArgs) -> Result<(), Failure> {
    if !args.yes && io::stdin().is_terminal() && !confirmed(&args.names)? {
        return Ok(());
    }
    for name in &args.names {
        match admin::delete_topic(cluster, name) {
            Ok(()) => output::summary(format_args!("topic {name} is deleted")),
            Err(ClientError::NoTopic(_)) if args.if_exists => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn confirmed(names: &[String]) -> Result<bool, Failure> {
    eprint!("Delete {} with all records? [y/N] ", names.join(", "));
    io::stderr().flush().map_err(Failure::Output)?;
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    read.map_err(|source| Failure::Input { path: "standard input".into(), source })?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
