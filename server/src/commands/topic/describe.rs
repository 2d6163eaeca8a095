use std::collections::BTreeMap;

use clap::Args;
use serde_json::{Map, Value, json};

use crate::client::admin::TopicSetting;
use crate::client::{Cluster, Topic, admin, offsets};
use crate::failure::Failure;
use crate::output;

pub(super) const EXAMPLES: &str = "\
Examples:
  chiplog topic describe orders
  chiplog topic describe orders --all-settings --json";

#[derive(Debug, Args)]
pub(super) struct DescribeArgs {
    /// The topics to describe.
    #[arg(required = true)]
    names: Vec<String>,
    /// Show settings that have their default too.
    #[arg(long)]
    all_settings: bool,
    /// One JSON array instead of text.
    #[arg(long)]
    json: bool,
}

struct Description {
    topic: Topic,
    /// First offset and end, by partition.
    ends: BTreeMap<i32, (i64, i64)>,
    settings: Vec<TopicSetting>,
}

pub(super) fn run(cluster: &mut Cluster, args: &DescribeArgs) -> Result<(), Failure> {
    let mut descriptions = Vec::new();
    for name in &args.names {
        let mut description = Description::of(cluster, name)?;
        description.settings.retain(|setting| args.all_settings || setting.is_own);
        descriptions.push(description);
    }
    if args.json {
        let all: Vec<_> = descriptions.iter().map(Description::to_json).collect();
        return output::line(format_args!("{}", json!(all)));
    }
    descriptions.iter().try_for_each(Description::print)
}

impl Description {
    fn of(cluster: &mut Cluster, name: &str) -> Result<Self, Failure> {
        let topic = cluster.topic(name, false)?;
        let leaders: BTreeMap<i32, i32> = topic
            .partitions
            .iter()
            .map(|p| (p.index, p.leader.expect("a topic is taken once all are led")))
            .collect();
        let first = offsets::find(cluster, name, &leaders, offsets::EARLIEST)?;
        let end = offsets::find(cluster, name, &leaders, offsets::LATEST)?;
        let ends = first.into_iter().map(|(index, first)| (index, (first, end[&index]))).collect();
        let settings = admin::settings(cluster, name)?;
        Ok(Self { topic, ends, settings })
    }

    fn print(&self) -> Result<(), Failure> {
        let Topic { name, partitions, .. } = &self.topic;
        let plural = if partitions.len() == 1 { "" } else { "s" };
        output::line(format_args!("topic {name}, {} partition{plural}", partitions.len()))?;
        for setting in &self.settings {
            let value = setting.value.as_deref().unwrap_or("(kept secret)");
            let note = if setting.is_own { "" } else { "  (default)" };
            output::line(format_args!("  {} = {value}{note}", setting.name))?;
        }
        let rows = partitions.iter().map(|partition| {
            let (first, end) = self.ends[&partition.index];
            [
                partition.index.to_string(),
                partition.leader.map_or_else(|| "none".to_owned(), |leader| leader.to_string()),
                partition.epoch.to_string(),
                list(&partition.replicas),
                list(&partition.in_sync),
                first.to_string(),
                end.to_string(),
            ]
        });
        let heading = ["PARTITION", "LEADER", "EPOCH", "REPLICAS", "IN SYNC", "FIRST", "END"];
        output::table(heading, rows)
    }

    fn to_json(&self) -> Value {
        let partition = |partition: &crate::client::Partition| {
            let (first, end) = self.ends[&partition.index];
            json!({
                "partition": partition.index,
                "leader": partition.leader,
                "epoch": partition.epoch,
                "replicas": partition.replicas,
                "in_sync": partition.in_sync,
                "first_offset": first,
                "end_offset": end,
            })
        };
        let settings: Map<_, _> = self
            .settings
            .iter()
            .map(|setting| (setting.name.clone(), json!(setting.value)))
            .collect();
        json!({
            "name": self.topic.name,
            "internal": self.topic.is_internal,
            "settings": settings,
            "partitions": self.topic.partitions.iter().map(partition).collect::<Vec<_>>(),
        })
    }
}

fn list(brokers: &[i32]) -> String {
    brokers.iter().map(i32::to_string).collect::<Vec<_>>().join(",")
}
