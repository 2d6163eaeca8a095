use clap::{ArgGroup, Args};

use super::assignment;
use crate::client::admin::SettingChange;
use crate::client::{Cluster, admin};
use crate::failure::Failure;
use crate::output;

pub(super) const EXAMPLES: &str = "\
Examples:
  chiplog topic alter orders --set retention.ms=3600000 --set cleanup.policy=delete
  chiplog topic alter orders --unset retention.ms
  chiplog topic alter orders --partitions 8     keys map to other partitions from then on";

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("change").required(true).multiple(true))]
pub(super) struct AlterArgs {
    /// The topic to change.
    name: String,
    /// Grow the topic to N partitions. Records with keys go to other partitions from then on.
    #[arg(short, long, value_name = "N", group = "change")]
    #[arg(value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// Set a setting, such as retention.ms=86400000; may be given several times.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = assignment, group = "change")]
    set: Vec<(String, String)>,
    /// Return a setting to its default; may be given several times.
    #[arg(long = "unset", value_name = "NAME", group = "change")]
    unset: Vec<String>,
}

pub(super) fn run(cluster: &mut Cluster, args: &AlterArgs) -> Result<(), Failure> {
    let set = args.set.iter().map(|(name, value)| (name.clone(), Some(value.clone())));
    let unset = args.unset.iter().map(|name| (name.clone(), None));
    let changes: Vec<SettingChange> = set.chain(unset).collect();
    if !changes.is_empty() {
        admin::alter_settings(cluster, &args.name, &changes)?;
        output::summary(format_args!("topic {} is changed", args.name));
    }
    if let Some(total) = args.partitions {
        let before = cluster.topic(&args.name, false)?.partitions.len();
        admin::add_partitions(cluster, &args.name, total)?;
        output::note(format_args!(
            "topic {} has {total} partitions instead of {before}: from now on most keys map to other \
             partitions, so records of one key are in order only within the old and within the new \
             ones",
            args.name
        ));
    }
    Ok(())
}
