//! What things are called in a dump: by people and programs alike, so never renamed.

use base::{FileId, FileKind};
use engine::BinState;
use engine::journal::dump::Fate;
use engine::journal::table::{Row, TABLE};
use engine::journal::{EntryKind, Verdict};
use ring::folder::relative_path;

pub(super) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Fresh => "fresh",
        Verdict::Clean => "clean",
        Verdict::Torn => "torn",
        Verdict::Corrupt { .. } => "corrupt",
        Verdict::Suspect => "suspect",
        Verdict::LostTail { .. } => "lost-tail",
        Verdict::Fork { .. } => "fork",
        Verdict::CorruptAll { .. } => "corrupt-all",
        Verdict::UnknownVersion { .. } => "unknown-version",
    }
}

/// The grounds of a decision, in words.
pub(super) fn because(row: Row) -> Option<&'static str> {
    TABLE.iter().find(|rule| rule.row == row).map(|rule| rule.because)
}

pub(super) fn fate(fate: Fate) -> &'static str {
    match fate {
        Fate::Accepted => "replayed",
        Fate::Damaged => "damaged",
        Fate::CutOff => "cut off",
        Fate::Dead => "dead",
        Fate::Passed => "passed",
        Fate::Misdirected => "misdirected",
    }
}

pub(super) fn bin_state(state: BinState) -> &'static str {
    match state {
        BinState::Absent => "absent",
        BinState::Creating => "creating",
        BinState::Free => "free",
        BinState::Open => "open",
        BinState::Sealing => "sealing",
        BinState::Sealed => "sealed",
        BinState::Freeing => "freeing",
        BinState::Worn => "worn",
    }
}

pub(super) fn entry_kind(kind: EntryKind) -> String {
    let name = match kind {
        EntryKind::Batch => "batch",
        EntryKind::EpochOpen => "epoch-open",
        EntryKind::Truncate => "truncate",
        EntryKind::LogStart => "log-start",
        EntryKind::PartitionCreated => "partition",
        EntryKind::PartitionDeleted => "partition-deleted",
        EntryKind::Producers => "producers",
        EntryKind::ExtentCommit => "extent-commit",
        EntryKind::BinFree => "bin-free",
        EntryKind::BinSealed => "bin-sealed",
        EntryKind::BinOpened => "bin-opened",
        EntryKind::BinTable => "bin-table",
        EntryKind::Promise => "promise",
        EntryKind::StartOver => "start-over",
        EntryKind::State(number) => return format!("state-{number}"),
    };
    name.to_owned()
}

/// A file below its shard's folder.
pub(super) fn file(file: FileId) -> String {
    relative_path(file.kind)
}

pub(super) fn segment(number: u16) -> String {
    relative_path(FileKind::Segment(number))
}

/// Whether an entry is about a partition. What extents belong to stands in their records.
pub(super) fn has_partition(kind: EntryKind) -> bool {
    !matches!(
        kind,
        EntryKind::BinTable
            | EntryKind::BinOpened
            | EntryKind::BinSealed
            | EntryKind::BinFree
            | EntryKind::State(_)
    )
}
