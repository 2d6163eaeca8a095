//! `chiplog cluster status|nodes|partitions|health`.

use clap::Args;
use serde_json::json;

use super::overview::{Overview, lagging, list, partition_to_json};
use crate::failure::Failure;
use crate::output;

pub(super) const STATUS_EXAMPLES: &str = "\
Examples:
  chiplog cluster status
  chiplog cluster status --json --bootstrap 127.0.0.1:19092,127.0.0.1:19102";

pub(super) const NODES_EXAMPLES: &str = "\
Examples:
  chiplog cluster nodes
  chiplog cluster nodes --bootstrap 127.0.0.1:19093     in the core view every shard is a broker";

pub(super) const PARTITIONS_EXAMPLES: &str = "\
Examples:
  chiplog cluster partitions
  chiplog cluster partitions --json";

pub(super) const HEALTH_EXAMPLES: &str = "\
Examples:
  chiplog cluster health && echo all is well
  chiplog cluster health --json

How shards are in one word (healthy, slow, suspect, dead, learner), and how far followers lag, is in
/metrics of each node's admin port.";

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// One JSON value instead of text.
    #[arg(long)]
    json: bool,
}

/// The whole on one screen.
pub(super) fn status(overview: &Overview, args: &ShowArgs) -> Result<(), Failure> {
    if args.json {
        return output::line(format_args!("{}", overview.to_json()));
    }
    let unknown = || "none".to_owned();
    let answering = overview.nodes.iter().filter(|node| node.answers).count();
    let led = overview.partitions.iter().filter(|(_, one)| one.leader.is_some()).count();
    let whole = overview.partitions.iter().filter(|(_, one)| lagging(one).is_empty()).count();
    let total = overview.partitions.len();
    output::line(format_args!("cluster     {}", overview.id.clone().unwrap_or_else(unknown)))?;
    output::line(format_args!(
        "log         led by node {}, voters {}",
        overview.controller.map_or_else(unknown, |id| id.to_string()),
        list(&overview.voters)
    ))?;
    output::line(format_args!("nodes       {answering} of {} answer", overview.nodes.len()))?;
    output::line(format_args!("partitions  {total}, {led} led, {whole} in sync everywhere"))?;
    problems(overview)
}

pub(super) fn nodes(overview: &Overview, args: &ShowArgs) -> Result<(), Failure> {
    if args.json {
        let nodes: Vec<_> = overview.nodes.iter().map(super::overview::Node::to_json).collect();
        return output::line(format_args!("{}", json!(nodes)));
    }
    let rows = overview.nodes.iter().map(|node| {
        [
            node.broker.id.to_string(),
            node.broker.address.clone(),
            node.broker.rack.clone().unwrap_or_else(|| "-".to_owned()),
            if node.answers { "yes" } else { "no" }.to_owned(),
            node.leads.to_string(),
            node.holds.to_string(),
            node.behind.to_string(),
        ]
    });
    output::table(["NODE", "ADDRESS", "RACK", "ANSWERS", "LEADS", "HOLDS", "BEHIND"], rows)
}

pub(super) fn partitions(overview: &Overview, args: &ShowArgs) -> Result<(), Failure> {
    if args.json {
        let all: Vec<_> = overview.partitions.iter().map(partition_to_json).collect();
        return output::line(format_args!("{}", json!(all)));
    }
    let rows = overview.partitions.iter().map(|(topic, partition)| {
        [
            topic.clone(),
            partition.index.to_string(),
            partition.leader.map_or_else(|| "none".to_owned(), |leader| leader.to_string()),
            partition.epoch.to_string(),
            list(&partition.replicas),
            list(&partition.in_sync),
        ]
    });
    output::table(["TOPIC", "PARTITION", "LEADER", "EPOCH", "REPLICAS", "IN SYNC"], rows)
}

/// Fails if anything is wrong, for scripts.
pub(super) fn health(overview: &Overview, args: &ShowArgs) -> Result<(), Failure> {
    if args.json {
        output::line(format_args!("{}", json!(overview.problems())))?;
    } else {
        problems(overview)?;
    }
    match overview.problems().len() {
        0 => Ok(()),
        problems => Err(Failure::Unhealthy { problems }),
    }
}

fn problems(overview: &Overview) -> Result<(), Failure> {
    let problems = overview.problems();
    if problems.is_empty() {
        return output::line(format_args!("healthy"));
    }
    problems.iter().try_for_each(|problem| output::line(format_args!("problem     {problem}")))
}
