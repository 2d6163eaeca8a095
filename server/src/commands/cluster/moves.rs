//! `chiplog cluster partition move|leader` and `elect`.

use std::io::{IsTerminal, Write};

use clap::{Args, Subcommand};
use serde_json::json;

use crate::client::placement::{self, Election};
use crate::client::{Cluster, Partition};
use crate::failure::Failure;
use crate::output;

pub(super) const EXAMPLES: &str = "\
Examples:
  chiplog cluster partition move orders-0 --to 1,2,3
  chiplog cluster partition leader orders-0";

const MOVE_EXAMPLES: &str = "\
Examples:
  chiplog cluster partition move orders-0 --to 1,2,3
  chiplog cluster partition move orders-0 --to 2,0,1    the same nodes, another preferred leader

The new replicas catch up before the old ones go; `chiplog cluster partitions` shows it.";

const LEADER_EXAMPLES: &str = "\
Examples:
  chiplog cluster partition leader orders-0

A leader that stands elsewhere hands over without refusing anything.";

pub(super) const ELECT_EXAMPLES: &str = "\
Examples:
  chiplog cluster elect orders-0 --unclean
  chiplog cluster elect orders-0 --unclean --yes";

#[derive(Debug, Args)]
pub(super) struct PartitionArgs {
    #[command(subcommand)]
    command: PartitionCommand,
}

#[derive(Debug, Subcommand)]
enum PartitionCommand {
    /// Move a partition's replicas to other nodes.
    #[command(after_help = MOVE_EXAMPLES)]
    Move(MoveArgs),
    /// Hand a partition's leadership back to its preferred replica, the first.
    #[command(after_help = LEADER_EXAMPLES)]
    Leader(LeaderArgs),
}

#[derive(Debug, Args)]
struct MoveArgs {
    /// TOPIC-PARTITION, such as orders-0.
    #[arg(value_parser = place)]
    partition: (String, i32),
    /// The brokers that are to hold it, the preferred leader first.
    #[arg(long, value_name = "N,...", value_delimiter = ',', required = true)]
    to: Vec<i32>,
    /// One JSON value instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct LeaderArgs {
    /// TOPIC-PARTITION, such as orders-0.
    #[arg(value_parser = place)]
    partition: (String, i32),
    /// One JSON value instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ElectArgs {
    /// TOPIC-PARTITION, such as orders-0.
    #[arg(value_parser = place)]
    partition: (String, i32),
    /// Take whoever is left, though it may lack records that were acknowledged.
    #[arg(long, required = true)]
    unclean: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// One JSON value instead of text.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(cluster: &mut Cluster, args: &PartitionArgs) -> Result<(), Failure> {
    match &args.command {
        PartitionCommand::Move(args) => {
            let (topic, index) = &args.partition;
            placement::reassign(cluster, topic, *index, &args.to)?;
            tell(args.json, &args.partition, "move")
        }
        PartitionCommand::Leader(args) => {
            let (topic, index) = &args.partition;
            placement::elect(cluster, topic, *index, Election::Preferred)?;
            tell(args.json, &args.partition, "hand-over")
        }
    }
}

pub(super) fn elect(cluster: &mut Cluster, args: &ElectArgs) -> Result<(), Failure> {
    let (topic, index) = &args.partition;
    let names = [topic.clone()];
    let topics = cluster.topics(crate::client::cluster::Wanted::Named(&names), false)?;
    let found = topics.into_iter().next().transpose()?;
    let partition = found
        .and_then(|topic| topic.partitions.into_iter().find(|partition| partition.index == *index));
    if let Some(Partition { leader: Some(leader), .. }) = partition {
        return Err(Failure::StillLed { topic: topic.clone(), partition: *index, leader });
    }
    if !args.yes && !is_agreed(topic, *index)? {
        return Err(Failure::NotAgreed);
    }
    placement::elect(cluster, topic, *index, Election::Unclean)?;
    tell(args.json, &args.partition, "unclean election")
}

/// Asks whoever sits at the terminal; a script has to say `--yes`.
fn is_agreed(topic: &str, index: i32) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    eprint!(
        "The best of the replicas of {topic}-{index} that answer becomes its leader. Records that \
         only the others hold are lost, acknowledged or not. Go on? [y/N] "
    );
    std::io::stderr().flush().map_err(Failure::Output)?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(Failure::Answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn tell(json: bool, (topic, partition): &(String, i32), begun: &str) -> Result<(), Failure> {
    if json {
        let value = json!({ "topic": topic, "partition": partition, "begun": begun });
        return output::line(format_args!("{value}"));
    }
    output::summary(format_args!("the {begun} of {topic}-{partition} has begun"));
    Ok(())
}

fn place(text: &str) -> Result<(String, i32), String> {
    let parts = text.rsplit_once('-').filter(|(topic, _)| !topic.is_empty());
    let place = parts.and_then(|(topic, index)| Some((topic.to_owned(), index.parse().ok()?)));
    place.filter(|(_, index)| 0 <= *index).ok_or_else(|| "expects TOPIC-PARTITION".to_owned())
}
