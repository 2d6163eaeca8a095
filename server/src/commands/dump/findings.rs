//! What was found of one shard.

use base::{Arena, Committed, Epoch, LogEnd, LogStart, Page, PageMemory, PartitionId, ShardId};
use engine::journal::dump::{Dump, Dumped};
use engine::journal::{Evidence, RecoveryReport};
use engine::{BinSummary, Engine, ExtentSummary, Gap, Loss, Phase};

use super::DumpArgs;
use crate::commands::folder_args::image_of;
use crate::data_folder::StoppedFolder;
use crate::failure::Failure;
use crate::offline::{Image, OfflineShard, TopicNames, Unreadable};
use crate::output::Progress;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Findings {
    pub(super) shard: ShardId,
    /// Every frame with a sound header.
    pub(super) journal: Dumped,
    /// `None`: recovery could not even decide.
    pub(super) report: Option<RecoveryReport>,
    /// Why the shard would not be served at all.
    pub(super) refusal: Option<String>,
    pub(super) partitions: Vec<PartitionFindings>,
    pub(super) bins: Vec<BinSummary>,
    pub(super) extents: Vec<ExtentSummary>,
    pub(super) unreadable: Vec<Unreadable>,
}

#[derive(Debug)]
pub(super) struct PartitionFindings {
    pub(super) id: PartitionId,
    pub(super) log_start: LogStart,
    pub(super) log_end: LogEnd,
    pub(super) committed: Committed,
    /// The newest ever opened.
    pub(super) epoch: Option<Epoch>,
    /// Bytes of its batches in bins.
    pub(super) stored_bytes: u64,
    /// Losses that were accepted.
    pub(super) gaps: Vec<Gap>,
    /// A server would serve it read-only, up to here.
    pub(super) halted: bool,
    pub(super) loss: Option<Loss>,
}

impl Findings {
    pub(super) fn gather(
        args: &DumpArgs,
        folder: &StoppedFolder,
        shard: ShardId,
        topics: &TopicNames,
    ) -> Result<Self, Failure> {
        let mut config = folder.meta().engine_config(shard);
        let mut image = image_of(folder, shard)?;
        let evidence = Evidence { activated: config.activated, newest_stamp: None };
        let dump = Dump::new(config.journal.clone(), &image.existing());
        let journal = read_journal(dump, &mut image).finish(evidence);
        // In memory only: so that partitions are known whatever the verdict is.
        config.accept_loss = true;
        let mut offline = OfflineShard::open(config, image);
        let (bins, extents) = (offline.engine().bins(), offline.engine().extents());
        let mut ids: Vec<_> = offline.engine().partitions().collect();
        ids.sort_unstable();
        let mut unreadable = Vec::new();
        if args.verify {
            let mut progress = Progress::start();
            for id in &ids {
                progress.say(format_args!("reading {}", topics.name_of(*id)));
                let found = offline.read(*id, &mut |_| {});
                unreadable.extend(found.map_err(|stopped| Failure::shard(shard, stopped))?);
            }
        }
        let engine = offline.engine();
        let report = engine.recovery_report().cloned();
        Ok(Self {
            shard,
            journal,
            refusal: refusal(engine, report.as_ref()),
            report,
            partitions: ids.iter().map(|id| partition(engine, &extents, *id)).collect(),
            bins,
            extents,
            unreadable,
        })
    }
}

fn read_journal(mut dump: Dump, image: &mut Image) -> Dump {
    // A look asks for reads alone, which take no memory from an arena.
    let arena = Arena::new(PageMemory::Heap(Page::boxed(1)));
    while let Some(op) = dump.poll_op() {
        dump.done(image.perform(op, &arena)).expect("every read is the dump's own");
    }
    dump
}

/// Why a server would not serve the shard, if so.
fn refusal(engine: &Engine, report: Option<&RecoveryReport>) -> Option<String> {
    match (engine.phase(), report) {
        (_, Some(report)) if report.verdict.halts() => Some(report.verdict.to_string()),
        (Phase::Failed(error), _) => Some(error.to_string()),
        (Phase::Halted(verdict), _) => Some(verdict.to_string()),
        _ => None,
    }
}

fn partition(engine: &Engine, extents: &[ExtentSummary], id: PartitionId) -> PartitionFindings {
    let own = extents.iter().filter(|extent| extent.partition == id);
    PartitionFindings {
        id,
        log_start: engine.log_start(id).unwrap_or_default(),
        log_end: engine.log_end(id).unwrap_or_default(),
        committed: engine.committed(id).unwrap_or_default(),
        epoch: engine.epochs(id).and_then(|epochs| epochs.opened()),
        stored_bytes: own.map(|extent| u64::from(extent.bytes)).sum(),
        gaps: engine.gaps(id).to_vec(),
        halted: engine.halt(id).is_some(),
        loss: engine.loss(id),
    }
}
