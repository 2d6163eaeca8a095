use clap::Args;
use serde_json::json;

use crate::client::Cluster;
use crate::client::cluster::Wanted;
use crate::failure::Failure;
use crate::output;

pub(super) const EXAMPLES: &str = "\
Examples:
  chiplog topic list
  chiplog topic list --json -b kafka1:9092";

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Show the server's internal topics as well.
    #[arg(long)]
    internal: bool,
    /// One JSON array instead of a table.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(cluster: &mut Cluster, args: &ListArgs) -> Result<(), Failure> {
    let mut topics: Vec<_> =
        cluster.topics(Wanted::All, false)?.into_iter().collect::<Result<_, _>>()?;
    topics.retain(|topic| args.internal || !topic.is_internal);
    topics.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    if args.json {
        let topics: Vec<_> = topics
            .iter()
            .map(|topic| json!({ "name": topic.name, "partitions": topic.partitions.len() }))
            .collect();
        return output::line(format_args!("{}", json!(topics)));
    }
    let rows = topics.iter().map(|topic| [topic.name.clone(), topic.partitions.len().to_string()]);
    output::table(["TOPIC", "PARTITIONS"], rows)
}
