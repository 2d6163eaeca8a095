use clap::Args;
use serde_json::json;

use crate::client::{Cluster, groups};
use crate::failure::Failure;
use crate::output;

pub(super) const EXAMPLES: &str = "\
Examples:
  chiplog group list
  chiplog group list --state stable --json";

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only groups in this state, such as stable or empty.
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// One JSON array instead of a table.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(cluster: &mut Cluster, args: &ListArgs) -> Result<(), Failure> {
    let mut groups = groups::list(cluster)?;
    let wanted =
        |state: &str| args.state.as_deref().is_none_or(|only| only.eq_ignore_ascii_case(state));
    groups.retain(|group| wanted(&group.state));
    if args.json {
        let groups: Vec<_> = groups
            .iter()
            .map(|group| {
                json!({ "name": group.name, "type": group.protocol_type, "state": group.state })
            })
            .collect();
        return output::line(format_args!("{}", json!(groups)));
    }
    let rows = groups.into_iter().map(|group| [group.name, group.protocol_type, group.state]);
    output::table(["GROUP", "TYPE", "STATE"], rows)
}
