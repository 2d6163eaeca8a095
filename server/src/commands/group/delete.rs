use clap::Args;
use net::ErrorCode;

use crate::client::{ClientError, Cluster, groups};
use crate::failure::Failure;
use crate::output;

pub(super) const EXAMPLES: &str = "\
Examples:
  chiplog group delete billing
  chiplog group delete billing audit --if-exists";

#[derive(Debug, Args)]
pub(super) struct DeleteArgs {
    /// The groups to delete. They must have no members.
    #[arg(required = true)]
    names: Vec<String>,
    /// Be content if a group does not exist.
    #[arg(long)]
    if_exists: bool,
}

pub(super) fn run(cluster: &mut Cluster, args: &DeleteArgs) -> Result<(), Failure> {
    for name in &args.names {
        match groups::delete(cluster, name) {
            Ok(()) => output::summary(format_args!("group {name} is deleted")),
            Err(ClientError::Refused { code: ErrorCode::GroupIdNotFound, .. })
                if args.if_exists => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
