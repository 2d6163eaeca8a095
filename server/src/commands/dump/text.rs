//! A dump for people.

use std::fmt;

use engine::Gap;
use engine::journal::dump::{DumpedEntry, DumpedFrame};
use engine::journal::{Damage, EntryKind, RecoveryReport, Touched};

use super::DumpArgs;
use super::findings::{Findings, PartitionFindings};
use super::names;
use crate::config::ByteSize;
use crate::data_folder::{StoppedFolder, shard_name};
use crate::failure::Failure;
use crate::offline::TopicNames;
use crate::output::{line, table};

pub(super) fn folder(folder: &StoppedFolder) -> Result<(), Failure> {
    let meta = folder.meta();
    line(format_args!(
        "{}: cluster {}, shards {}, journal {} and bins of {} each",
        folder.path().display(),
        meta.cluster(),
        meta.shard_count(),
        ByteSize(meta.journal_bytes),
        ByteSize(meta.bin_bytes),
    ))
}

pub(super) fn shard(found: &Findings, args: &DumpArgs, topics: &TopicNames) -> Result<(), Failure> {
    line(format_args!("\n{}", shard_name(found.shard)))?;
    if let Some(report) = &found.report {
        verdict(report, topics)?;
    }
    if let Some(refusal) = &found.refusal {
        line(format_args!("  a server would not serve it: {refusal}"))?;
    }
    for one in &found.unreadable {
        let name = topics.name_of(one.partition);
        let (from, to, error) = (one.from, one.to, one.error);
        line(format_args!("  the device does not read {name}, offsets {from} to {to}: {error}"))?;
    }
    partitions(&found.partitions, topics)?;
    bins(found)?;
    if args.extents {
        extents(found, topics)?;
    }
    frames(found, args, topics)
}

fn verdict(report: &RecoveryReport, topics: &TopicNames) -> Result<(), Failure> {
    let sealed = if report.sealed { "; sealed" } else { "" };
    line(format_args!("  {}{sealed}", report.verdict))?;
    for because in report.rows.iter().filter_map(|row| names::because(*row)) {
        line(format_args!("    {because}"))?;
    }
    line(format_args!(
        "  frames: {} found, {} replayed from {} on, the next is {}",
        report.frames_seen, report.frames_accepted, report.start, report.cut
    ))?;
    for damage in &report.damage {
        line(format_args!("  damaged: {}", Damaged(damage, topics)))?;
    }
    for place in &report.misdirected {
        let (file, pos) = (names::segment(place.segment), place.position);
        line(format_args!("  misdirected by the device: the frame at byte {pos} of {file}"))?;
    }
    if 0 < report.unreadable_blocks {
        let blocks = report.unreadable_blocks;
        line(format_args!("  the device refuses to read {blocks} blocks of the journal"))?;
    }
    Ok(())
}

struct Damaged<'a>(&'a Damage, &'a TopicNames);

impl fmt::Display for Damaged<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Damage { first, last, touched }, topics) = self;
        if first == last {
            write!(f, "frame {first}, ")?;
        } else {
            write!(f, "frames {first} to {last}, ")?;
        }
        match touched {
            Touched::All => f.write_str("with records of any partition of the shard"),
            Touched::Partitions(ids) => {
                let names: Vec<_> = ids.iter().map(|id| topics.name_of(*id)).collect();
                write!(f, "with records of {}", names.join(", "))
            }
        }
    }
}

/// Offsets that are gone.
pub(in crate::commands) struct Ranges<'a>(pub &'a [Gap]);

impl fmt::Display for Ranges<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, gap) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            let last = gap.to.0 - 1;
            if gap.from.0 == last {
                write!(f, "{comma}{last}")?;
            } else {
                write!(f, "{comma}{}–{last}", gap.from)?;
            }
        }
        Ok(())
    }
}

fn partitions(found: &[PartitionFindings], topics: &TopicNames) -> Result<(), Failure> {
    if found.is_empty() {
        return Ok(());
    }
    let rows = found.iter().map(|one| {
        [
            topics.name_of(one.id),
            one.log_start.0.to_string(),
            one.committed.0.to_string(),
            one.log_end.0.to_string(),
            one.epoch.map_or_else(|| "-".to_owned(), |epoch| epoch.to_string()),
            one.stored_bytes.to_string(),
            state(one),
        ]
    });
    let heading = ["PARTITION", "FIRST", "COMMITTED", "END", "EPOCH", "BYTES IN BINS", "STATE"];
    table(heading, rows)
}

fn state(found: &PartitionFindings) -> String {
    let mut states = Vec::new();
    if let Some(loss) = &found.loss {
        let halted = if found.halted { "halted, " } else { "" };
        states.push(format!("{halted}lost or in doubt: {}", Ranges(&loss.ranges)));
    }
    if !found.gaps.is_empty() {
        states.push(format!("losses accepted: {}", Ranges(&found.gaps)));
    }
    if states.is_empty() { "whole".to_owned() } else { states.join("; ") }
}

fn bins(found: &Findings) -> Result<(), Failure> {
    if found.bins.is_empty() {
        return Ok(());
    }
    let rows = found.bins.iter().map(|bin| {
        [
            names::file(bin.file),
            names::bin_state(bin.state).to_owned(),
            bin.generation.to_string(),
            bin.live_bytes.to_string(),
            bin.filled_bytes.to_string(),
            bin.bytes.to_string(),
        ]
    });
    table(["BIN", "STATE", "GENERATION", "LIVE", "FILLED", "BYTES"], rows)
}

fn extents(found: &Findings, topics: &TopicNames) -> Result<(), Failure> {
    let rows = found.extents.iter().map(|extent| {
        [
            topics.name_of(extent.partition),
            extent.base.to_string(),
            extent.end.to_string(),
            names::file(extent.file),
            extent.pos.to_string(),
            extent.bytes.to_string(),
            extent.stamp.to_string(),
        ]
    });
    table(["EXTENT OF", "FIRST", "END", "FILE", "AT", "BYTES", "DURABLE FRAME"], rows)
}

fn frames(found: &Findings, args: &DumpArgs, topics: &TopicNames) -> Result<(), Failure> {
    let listed: Vec<_> =
        found.journal.frames.iter().filter(|frame| args.lists(frame.fate)).collect();
    let heading =
        ["FRAME", "FATE", "FILE", "AT", "BYTES", "ENTRIES", "DURABLE", "START", "INCARNATION"];
    if !args.entries {
        let rows = listed.iter().map(|frame| row(frame));
        return if listed.is_empty() { Ok(()) } else { table(heading, rows) };
    }
    for frame in listed {
        table(heading, std::iter::once(row(frame)))?;
        frame.entries.iter().try_for_each(|entry| self::entry(entry, topics))?;
    }
    Ok(())
}

fn row(frame: &DumpedFrame) -> [String; 9] {
    let (seen, stamp) = (&frame.seen, &frame.seen.stamp);
    [
        stamp.seq.to_string(),
        names::fate(frame.fate).to_owned(),
        names::segment(seen.found_at.segment),
        seen.found_at.position.to_string(),
        seen.frame_bytes.to_string(),
        seen.entries.to_string(),
        stamp.durable.to_string(),
        stamp.start.to_string(),
        stamp.inc.to_string(),
    ]
}

fn entry(dumped: &DumpedEntry, topics: &TopicNames) -> Result<(), Failure> {
    let entry = &dumped.entry;
    let mut text = names::entry_kind(entry.kind);
    if names::has_partition(entry.kind) {
        text += &format!(" of {}", topics.name_of(entry.partition));
    }
    match entry.kind {
        EntryKind::Batch => {
            let last = entry.base.0 + u64::from(entry.count).saturating_sub(1);
            text += &format!(", offsets {}–{last}, epoch {}", entry.base, entry.epoch);
        }
        EntryKind::EpochOpen => text += &format!(" {} at offset {}", entry.epoch, entry.base),
        EntryKind::LogStart | EntryKind::Truncate => text += &format!(" at offset {}", entry.base),
        _ => {}
    }
    let carried = if entry.carried { ", carried" } else { "" };
    let damaged = if dumped.intact { "" } else { ", damaged" };
    line(format_args!("  {text}, {} bytes{carried}{damaged}", dumped.payload_bytes))
}
