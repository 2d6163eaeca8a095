use clap::Args;
use net::ErrorCode;

use super::assignment;
use crate::client::{ClientError, Cluster, admin};
use crate::failure::Failure;
use crate::output;

pub(super) const EXAMPLES: &str = "\
Examples:
  chiplog topic create orders
  chiplog topic create orders --replicas 3
  chiplog topic create orders --partitions 4 --set retention.ms=86400000
  chiplog topic create a b c --if-not-exists";

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// What the topics are to be called.
    #[arg(required = true)]
    names: Vec<String>,
    /// Partitions of each; by default what the server has set.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// Replicas of each partition, on different nodes; by default 3, or 1 with fewer nodes.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i16).range(1..))]
    replicas: Option<i16>,
    /// A setting of each topic, such as retention.ms=86400000; may be given several times.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = assignment)]
    settings: Vec<(String, String)>,
    /// Be content with a topic that exists already, whatever its settings.
    #[arg(long)]
    if_not_exists: bool,
}

pub(super) fn run(cluster: &mut Cluster, args: &CreateArgs) -> Result<(), Failure> {
    for name in &args.names {
        match admin::create_topic(cluster, name, args.partitions, args.replicas, &args.settings) {
            Ok(()) => output::summary(format_args!("topic {name} is created")),
            Err(ClientError::Refused { code: ErrorCode::TopicAlreadyExists, .. })
                if args.if_not_exists => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
