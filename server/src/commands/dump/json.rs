//! A dump for programs.

use engine::Gap;
use engine::journal::dump::{DumpedEntry, DumpedFrame, Fate};
use engine::journal::{Body, Damage, EntryKind, Touched};
use serde_json::{Value, json};

use super::DumpArgs;
use super::findings::{Findings, PartitionFindings};
use super::names;
use crate::data_folder::shard_name;
use crate::offline::TopicNames;

pub(super) fn shard(found: &Findings, args: &DumpArgs, topics: &TopicNames) -> Value {
    let report = found.report.as_ref();
    let damage = report.into_iter().flat_map(|report| &report.damage);
    let misdirected = report.into_iter().flat_map(|report| &report.misdirected);
    let mut value = json!({
        "shard": shard_name(found.shard),
        "verdict": report.map(|report| names::verdict(report.verdict)),
        "sentence": report.map(|report| report.verdict.to_string()),
        "serves": found.refusal.is_none(),
        "refusal": found.refusal,
        "first_frame": report.map(|report| report.start.0),
        "next_frame": report.map(|report| report.cut.0),
        "sealed": report.map(|report| report.sealed),
        "frames_seen": found.journal.frames.len(),
        "frames_replayed": report.map(|report| report.frames_accepted),
        "unreadable_blocks": found.journal.unreadable_blocks,
        "damage": damage.map(|damage| damaged(damage, topics)).collect::<Vec<_>>(),
        "misdirected": misdirected
            .map(|place| json!({ "file": names::segment(place.segment), "pos": place.position }))
            .collect::<Vec<_>>(),
        "partitions":
            found.partitions.iter().map(|one| partition(one, topics)).collect::<Vec<_>>(),
        "bins": found.bins.iter().map(|bin| json!({
            "file": names::file(bin.file),
            "state": names::bin_state(bin.state),
            "generation": bin.generation,
            "bytes": bin.bytes,
            "filled_bytes": bin.filled_bytes,
            "live_bytes": bin.live_bytes,
        })).collect::<Vec<_>>(),
        "frames": frames(found, args, topics),
    });
    if args.extents {
        let extents = found.extents.iter().map(|extent| {
            json!({
                "partition": topics.name_of(extent.partition),
                "first_offset": extent.base.0,
                "end_offset": extent.end.0,
                "file": names::file(extent.file),
                "pos": extent.pos,
                "bytes": extent.bytes,
                "durable_frame": extent.stamp.0,
            })
        });
        value["extents"] = extents.collect();
    }
    if args.verify {
        let unreadable = found.unreadable.iter().map(|one| {
            json!({
                "partition": topics.name_of(one.partition),
                "from": one.from.0,
                "to": one.to.0,
                "error": one.error.to_string(),
            })
        });
        value["unreadable"] = unreadable.collect();
    }
    value
}

pub(in crate::commands) fn gaps(gaps: &[Gap]) -> Value {
    gaps.iter().map(|gap| json!({ "from": gap.from.0, "to": gap.to.0 })).collect()
}

fn damaged(damage: &Damage, topics: &TopicNames) -> Value {
    let partitions = match &damage.touched {
        Touched::All => Value::Null,
        Touched::Partitions(ids) => ids.iter().map(|id| topics.name_of(*id)).collect(),
    };
    json!({
        "first_frame": damage.first.0,
        "last_frame": damage.last.0,
        // null: any partition of the shard.
        "partitions": partitions,
    })
}

fn partition(found: &PartitionFindings, topics: &TopicNames) -> Value {
    json!({
        "name": topics.name_of(found.id),
        "topic": topics.topic_of(found.id),
        "topic_number": found.id.topic.0,
        "partition": found.id.index,
        "first_offset": found.log_start.0.0,
        "committed_offset": found.committed.0.0,
        "end_offset": found.log_end.0.0,
        "epoch": found.epoch.map(|epoch| epoch.0),
        "bin_bytes": found.stored_bytes,
        "accepted_losses": gaps(&found.gaps),
        "halted": found.halted,
        "lost": found.loss.as_ref().map(|loss| gaps(&loss.ranges)),
    })
}

fn frames(found: &Findings, args: &DumpArgs, topics: &TopicNames) -> Vec<Value> {
    let listed = found.journal.frames.iter().filter(|frame| args.lists(frame.fate));
    listed.map(|frame| self::frame(frame, args, topics)).collect()
}

fn frame(frame: &DumpedFrame, args: &DumpArgs, topics: &TopicNames) -> Value {
    let (seen, stamp) = (&frame.seen, &frame.seen.stamp);
    let body = match seen.body {
        Body::Intact => "whole",
        Body::Damaged(_) => "damaged",
        Body::Lost => "lost",
    };
    let mut value = json!({
        "frame": stamp.seq.0,
        "fate": names::fate(frame.fate),
        "file": names::segment(seen.found_at.segment),
        "pos": seen.found_at.position,
        "incarnation": stamp.inc.0,
        "incarnation_first_frame": stamp.inc_base.0,
        "durable_frame": stamp.durable.0,
        "start_frame": stamp.start.0,
        "bytes": seen.frame_bytes,
        "entries": seen.entries,
        "body": body,
    });
    if frame.fate == Fate::Misdirected {
        let place = stamp.place;
        value["belongs"] = json!({ "file": names::segment(place.segment), "pos": place.position });
    }
    if args.entries {
        value["list"] = frame.entries.iter().map(|entry| self::entry(entry, topics)).collect();
    }
    value
}

fn entry(dumped: &DumpedEntry, topics: &TopicNames) -> Value {
    let entry = &dumped.entry;
    let mut value = json!({
        "kind": names::entry_kind(entry.kind),
        "carried": entry.carried,
        "bytes": dumped.payload_bytes,
        "intact": dumped.intact,
    });
    if names::has_partition(entry.kind) {
        value["partition"] = topics.name_of(entry.partition).into();
        value["offset"] = entry.base.0.into();
    }
    if let EntryKind::Batch = entry.kind {
        value["end_offset"] = (entry.base.0 + u64::from(entry.count)).into();
    }
    if let EntryKind::Batch | EntryKind::EpochOpen = entry.kind {
        value["epoch"] = entry.epoch.0.into();
    }
    value
}
