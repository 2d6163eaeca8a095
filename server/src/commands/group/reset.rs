use std::collections::BTreeMap;

use clap::Args;
use serde_json::json;

use crate::client::{ClientError, Cluster, groups, offsets};
use crate::commands::consume::position::{self, Position};
use crate::failure::Failure;
use crate::output;

pub(super) const EXAMPLES: &str = "\
Examples:
  chiplog group reset billing orders --to beginning --dry-run
  chiplog group reset billing orders --to end
  chiplog group reset billing orders --partition 3 --to 1200
  chiplog group reset billing orders --to 2h           what came in the last two hours, once more";

#[derive(Debug, Args)]
pub(super) struct ResetArgs {
    /// The group, which must have no members now.
    group: String,
    /// The topic that it reads.
    topic: String,
    /// Where it shall go on: `beginning`, `end`, an offset, -N for the last N of each partition, a
    /// time (2026-11-22T10:00:00Z), or a duration ago (15m, 2h, 3days).
    #[arg(long, value_name = "WHERE", allow_hyphen_values = true, value_parser = position::parse)]
    to: Position,
    /// Only this partition; may be given several times.
    #[arg(short, long = "partition", value_name = "N")]
    #[arg(value_parser = clap::value_parser!(i32).range(0..))]
    partitions: Vec<i32>,
    /// Show what would be set, and set nothing.
    #[arg(long)]
    dry_run: bool,
    /// One JSON array instead of a table.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(cluster: &mut Cluster, args: &ResetArgs) -> Result<(), Failure> {
    let targets = targets(cluster, args)?;
    let before = groups::offsets(cluster, &args.group)?;
    let before = |index: i32| before.get(&(args.topic.clone(), index)).map(|(offset, _)| *offset);
    if !args.dry_run {
        groups::commit(cluster, &args.group, &args.topic, &targets)?;
    }
    if args.json {
        let rows: Vec<_> = targets
            .iter()
            .map(|(index, offset)| {
                json!({
                    "topic": args.topic,
                    "partition": index,
                    "offset_before": before(*index),
                    "offset": offset,
                })
            })
            .collect();
        return output::line(format_args!("{}", json!(rows)));
    }
    let rows = targets.iter().map(|(index, offset)| {
        let before = before(*index).map_or_else(|| "-".to_owned(), |offset| offset.to_string());
        [args.topic.clone(), index.to_string(), before, offset.to_string()]
    });
    output::table(["TOPIC", "PARTITION", "BEFORE", "OFFSET"], rows)
}

/// The offset for each partition, within what the partition holds.
fn targets(cluster: &mut Cluster, args: &ResetArgs) -> Result<BTreeMap<i32, i64>, Failure> {
    let topic = cluster.topic(&args.topic, false)?;
    let mut leaders: BTreeMap<i32, i32> =
        topic.partitions.iter().filter_map(|p| Some((p.index, p.leader?))).collect();
    if let Some(missing) = args.partitions.iter().find(|index| !leaders.contains_key(index)) {
        let (topic, partition) = (args.topic.clone(), *missing);
        return Err(ClientError::NoPartition { topic, partition }.into());
    }
    leaders.retain(|index, _| args.partitions.is_empty() || args.partitions.contains(index));
    let first = offsets::find(cluster, &args.topic, &leaders, offsets::EARLIEST)?;
    let end = offsets::find(cluster, &args.topic, &leaders, offsets::LATEST)?;
    let at = match args.to {
        Position::Time(since) => offsets::find(cluster, &args.topic, &leaders, since)?,
        _ => BTreeMap::new(),
    };
    let target = |(index, first): (i32, i64)| {
        let end = end[&index];
        let wanted = match args.to {
            Position::Beginning => first,
            Position::End => end,
            Position::Offset(offset) => offset,
            Position::Last(count) => end - count,
            // Nothing came since: from the end on.
            Position::Time(_) => at.get(&index).copied().filter(|at| 0 <= *at).unwrap_or(end),
        };
        (index, wanted.clamp(first, end))
    };
    Ok(first.into_iter().map(target).collect())
}
