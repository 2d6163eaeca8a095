//! What one shard has lost, and how that is written off.

use base::{LogEnd, PartitionId, ShardId};
use engine::journal::Verdict;
use engine::{Engine, Gap, Loss, Phase};
use serde_json::{Value, json};

use crate::commands::dump::{Ranges, gaps};
use crate::data_folder::{Meta, shard_name};
use crate::failure::Failure;
use crate::offline::{Image, OfflineShard, OfflineStopped, TopicNames, Unreadable};
use crate::output::{self, Progress};

/// See the module's description.
#[derive(Debug)]
pub(super) struct Losses {
    pub(super) shard: ShardId,
    /// The journal's verdict, if it says that the whole shard is in doubt.
    verdict: Option<Verdict>,
    partitions: Vec<PartitionLoss>,
    /// Partitions of which nothing at all is left.
    gone: Vec<PartitionId>,
    /// What the device refuses to read now: it may come back, so it is not written off.
    pub(super) unreadable: Vec<Unreadable>,
}

/// What a partition has lost.
#[derive(Debug)]
struct PartitionLoss {
    id: PartitionId,
    ranges: Vec<Gap>,
    /// Records behind the last that is there may have been acked and lost.
    tail_in_doubt: bool,
    /// The offset of the next record.
    next: LogEnd,
}

/// Writes off all that the shard in `image` has lost, and seals its log.
pub(super) fn write_off(
    meta: &Meta,
    shard: ShardId,
    image: Image,
    topics: &TopicNames,
) -> Result<Losses, Failure> {
    let mut config = meta.engine_config(shard);
    config.accept_loss = true;
    let mut offline = OfflineShard::open(config, image);
    let stopped = |stopped: OfflineStopped| Failure::shard(shard, stopped);
    if *offline.engine().phase() != Phase::Open {
        return Err(stopped(offline.close().expect_err("it is not open")));
    }
    let report = offline.engine().recovery_report();
    let verdict = report.map(|report| report.verdict).filter(|verdict| verdict.halts());
    let mut ids: Vec<_> = offline.engine().partitions().collect();
    ids.sort_unstable();
    let mut gone = Vec::new();
    if verdict.is_some() {
        gone = topics.placed_on(meta, shard);
        gone.retain(|id| !ids.contains(id));
    }
    let mut losses =
        Losses { shard, verdict, partitions: Vec::new(), gone, unreadable: Vec::new() };
    let mut progress = Progress::start();
    for id in ids {
        progress.say(format_args!("reading {}", topics.name_of(id)));
        let mut unreadable = offline.read(id, &mut |_| {}).map_err(stopped)?;
        while let Some(loss) = PartitionLoss::of(offline.engine(), id) {
            losses.partitions.push(loss);
            offline.accept_loss(id).map_err(stopped)?;
            // Behind what was lost there may be more of it.
            unreadable = offline.read(id, &mut |_| {}).map_err(stopped)?;
        }
        losses.unreadable.append(&mut unreadable);
    }
    offline.close().map_err(stopped)?;
    Ok(losses)
}

impl Losses {
    pub(super) fn is_empty(&self) -> bool {
        self.verdict.is_none() && self.partitions.is_empty() && self.gone.is_empty()
    }

    pub(super) fn print(&self, topics: &TopicNames) -> Result<(), Failure> {
        let shard = shard_name(self.shard);
        if let Some(verdict) = self.verdict {
            output::line(format_args!(
                "{shard}: {verdict}; any partition of it may have lost its newest records"
            ))?;
        }
        for id in &self.gone {
            let name = topics.name_of(*id);
            output::line(format_args!("{shard}: {name} lost every record it had"))?;
        }
        for loss in &self.partitions {
            let name = topics.name_of(loss.id);
            let (known, tail) = loss.split();
            if !known.is_empty() {
                let ranges = Ranges(known);
                output::line(format_args!("{shard}: {name} lost offsets {ranges}"))?;
            }
            if let Some(tail) = tail {
                output::line(format_args!(
                    "{shard}: {name} may have lost records from offset {} on; the next record gets \
                     offset {}",
                    tail.from, loss.next.0
                ))?;
            }
        }
        for one in &self.unreadable {
            let name = topics.name_of(one.partition);
            let (from, last, error) = (one.from, one.to.0 - 1, one.error);
            output::line(format_args!(
                "{shard}: the device does not read offsets {from}–{last} of {name} ({error}); that is \
                 not written off: copy the folder to another device"
            ))?;
        }
        Ok(())
    }

    pub(super) fn to_json(&self, topics: &TopicNames) -> Value {
        let partitions = self.partitions.iter().map(|loss| {
            let (known, tail) = loss.split();
            json!({
                "name": topics.name_of(loss.id),
                "topic": topics.topic_of(loss.id),
                "partition": loss.id.index,
                "lost": gaps(known),
                "in_doubt_from": tail.map(|tail| tail.from.0),
                "next_offset": loss.next.0.0,
            })
        });
        let unreadable = self.unreadable.iter().map(|one| {
            json!({
                "name": topics.name_of(one.partition),
                "from": one.from.0,
                "to": one.to.0,
                "error": one.error.to_string(),
            })
        });
        json!({
            "shard": shard_name(self.shard),
            "verdict": self.verdict.map(|verdict| verdict.to_string()),
            "partitions": partitions.collect::<Vec<_>>(),
            "gone": self.gone.iter().map(|id| topics.name_of(*id)).collect::<Vec<_>>(),
            "unreadable": unreadable.collect::<Vec<_>>(),
        })
    }
}

impl PartitionLoss {
    fn of(engine: &Engine, id: PartitionId) -> Option<Self> {
        let Loss { ranges, log_end: next } = engine.loss(id)?;
        let tail_in_doubt = engine.log_end(id).is_some_and(|end| end < next);
        Some(Self { id, ranges, tail_in_doubt, next })
    }

    /// What is lost for certain, and the range behind the log end that is in doubt.
    fn split(&self) -> (&[Gap], Option<Gap>) {
        match self.ranges.split_last() {
            Some((tail, known)) if self.tail_in_doubt => (known, Some(*tail)),
            _ => (&self.ranges, None),
        }
    }
}
