use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use serde_json::{Value, json};

use crate::client::groups::{Group, Member, Offsets};
use crate::client::{Cluster, groups, offsets};
use crate::failure::Failure;
use crate::output;

pub(super) const EXAMPLES: &str = "\
Examples:
  chiplog group describe billing
  chiplog group describe billing --json";

#[derive(Debug, Args)]
pub(super) struct DescribeArgs {
    /// The groups to describe.
    #[arg(required = true)]
    names: Vec<String>,
    /// One JSON array instead of text.
    #[arg(long)]
    json: bool,
}

struct Description {
    group: Group,
    offsets: Offsets,
    /// One past the last record, by topic and partition; those of topics that are there.
    ends: BTreeMap<(String, i32), i64>,
}

pub(super) fn run(cluster: &mut Cluster, args: &DescribeArgs) -> Result<(), Failure> {
    let mut descriptions = Vec::new();
    for name in &args.names {
        descriptions.push(Description::of(cluster, name)?);
    }
    if args.json {
        let all: Vec<_> = descriptions.iter().map(Description::to_json).collect();
        return output::line(format_args!("{}", json!(all)));
    }
    descriptions.iter().try_for_each(Description::print)
}

impl Description {
    fn of(cluster: &mut Cluster, name: &str) -> Result<Self, Failure> {
        let group = groups::describe(cluster, name)?;
        let offsets = groups::offsets(cluster, name)?;
        let assigned = group.members.iter().flat_map(|member| &member.assigned);
        let topics: BTreeSet<String> =
            offsets.keys().chain(assigned).map(|(topic, _)| topic.clone()).collect();
        let mut ends = BTreeMap::new();
        for name in topics {
            // A topic may have been deleted since.
            let Ok(topic) = cluster.topic(&name, false) else { continue };
            let leaders =
                topic.partitions.iter().filter_map(|p| Some((p.index, p.leader?))).collect();
            let found = offsets::find(cluster, &name, &leaders, offsets::LATEST)?;
            ends.extend(found.into_iter().map(|(index, end)| ((name.clone(), index), end)));
        }
        Ok(Self { group, offsets, ends })
    }

    /// Every partition that has an offset or a member, with its member.
    fn places(&self) -> BTreeMap<&(String, i32), Option<&Member>> {
        let mut places: BTreeMap<_, _> = self.offsets.keys().map(|place| (place, None)).collect();
        for member in &self.group.members {
            places.extend(member.assigned.iter().map(|place| (place, Some(member))));
        }
        places
    }

    fn lag(&self, place: &(String, i32)) -> Option<i64> {
        let (offset, _) = self.offsets.get(place)?;
        Some((self.ends.get(place)? - offset).max(0))
    }

    fn print(&self) -> Result<(), Failure> {
        let Group { name, state, protocol, members, .. } = &self.group;
        let plural = if members.len() == 1 { "" } else { "s" };
        let by = if protocol.is_empty() { String::new() } else { format!(", by {protocol}") };
        output::line(format_args!("group {name}, {state}, {} member{plural}{by}", members.len()))?;
        let or_dash =
            |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |n| n.to_string());
        let rows = self.places().into_iter().map(|(place, member)| {
            [
                place.0.clone(),
                place.1.to_string(),
                or_dash(self.offsets.get(place).map(|(offset, _)| *offset)),
                or_dash(self.ends.get(place).copied()),
                or_dash(self.lag(place)),
                member.map_or_else(|| "-".to_owned(), |member| member.id.clone()),
            ]
        });
        output::table(["TOPIC", "PARTITION", "OFFSET", "END", "LAG", "MEMBER"], rows)
    }

    fn to_json(&self) -> Value {
        let member = |member: &Member| {
            let assigned = member.assigned.iter();
            json!({
                "id": member.id,
                "instance": member.instance,
                "client": member.client_id,
                "host": member.host,
                "assigned": assigned
                    .map(|(topic, partition)| json!({ "topic": topic, "partition": partition }))
                    .collect::<Vec<_>>(),
            })
        };
        let partition = |(place, member): (&(String, i32), Option<&Member>)| {
            let committed = self.offsets.get(place);
            json!({
                "topic": place.0,
                "partition": place.1,
                "offset": committed.map(|(offset, _)| offset),
                "metadata": committed.map(|(_, metadata)| metadata),
                "end_offset": self.ends.get(place),
                "lag": self.lag(place),
                "member": member.map(|member| &member.id),
            })
        };
        json!({
            "name": self.group.name,
            "state": self.group.state,
            "type": self.group.protocol_type,
            "protocol": self.group.protocol,
            "members": self.group.members.iter().map(member).collect::<Vec<_>>(),
            "partitions": self.places().into_iter().map(partition).collect::<Vec<_>>(),
        })
    }
}
