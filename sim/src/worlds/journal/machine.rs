//! The journal with its memory, from recovery on.

use std::collections::VecDeque;
use std::mem;

use base::{Arena, Done, FileId, Instant, Now, Op, PAGE_BYTES, PageMemory, Seq, ShardId, Span};
use engine::journal::verdict::Evidence;
use engine::journal::{
    Head, Journal, JournalConfig, JournalFull, NewEntry, Occupancy, Placed, Probe, RecoveredEntry,
    Recovery, RecoveryReport,
};

use super::frames::SentFrame;
use crate::disk::Memory;
use crate::host::Hosted;

/// See the module's description.
#[derive(Debug)]
pub struct JournalMachine {
    pub(super) stage: Stage,
    pub(super) arena: Arena,
    journal_id: u64,
    segment_bytes: u32,
    /// Frames in memory, oldest first, by their first bytes.
    held: VecDeque<(Seq, Span)>,
    /// Frames that went to the disk and nobody has noted yet.
    sent: Vec<SentFrame>,
    recovered: Option<(RecoveryReport, Vec<RecoveredEntry>)>,
    /// An operator said that acked data may be lost.
    accept_loss: bool,
}

#[derive(Debug)]
pub(super) enum Stage {
    Recovering(Box<Recovery>),
    Open(Box<Journal>),
    Stopped(String),
}

impl JournalMachine {
    pub(super) fn new(
        config: JournalConfig,
        memory: PageMemory,
        files: &[(FileId, u64)],
        evidence: Evidence,
        accept_loss: bool,
    ) -> Self {
        let (journal_id, segment_bytes) = (config.id, config.segment_bytes);
        let recovery = Recovery::new(config, files, evidence);
        let mut machine = Self {
            stage: Stage::Recovering(Box::new(recovery)),
            arena: Arena::new(memory),
            journal_id,
            segment_bytes,
            held: VecDeque::new(),
            sent: Vec::new(),
            recovered: None,
            accept_loss,
        };
        machine.settle();
        machine
    }

    pub(super) fn append(
        &mut self,
        now: Now,
        entry: NewEntry,
        payload: &[u8],
    ) -> Result<Placed, JournalFull> {
        let Stage::Open(journal) = &mut self.stage else { return Err(JournalFull::Poisoned) };
        let placed = journal.append(now, &mut self.arena, entry, &[payload])?;
        if self.held.back().is_none_or(|(seq, _)| *seq < placed.seq) {
            self.held.push_back((placed.seq, placed.span));
        }
        Ok(placed)
    }

    /// How full the journal is.
    pub(super) fn occupancy_percent(&self) -> u32 {
        match &self.stage {
            Stage::Open(journal) => journal.occupancy().percent(),
            Stage::Recovering(_) | Stage::Stopped(_) => 100,
        }
    }

    /// Bytes that frames find now, the reserve included.
    pub(super) fn room_bytes(&self) -> u32 {
        let Stage::Open(journal) = &self.stage else { return 0 };
        let Occupancy { used_bytes, free_segments, .. } = journal.occupancy();
        let used = used_bytes.next_multiple_of(PAGE_BYTES as u64) as u32;
        let left = used.next_multiple_of(self.segment_bytes) - used;
        u32::from(free_segments) * self.segment_bytes + left
    }

    /// Memory before frame `seq` is not needed.
    pub(super) fn release_before(&mut self, seq: Seq) {
        while self.held.front().is_some_and(|(held, _)| *held < seq) {
            self.held.pop_front();
        }
        match self.held.front() {
            Some((_, span)) => self.arena.release_before(*span),
            None => self.arena.release_all(),
        }
    }

    /// The frames that went to the disk since the last call.
    pub(super) fn take_sent(&mut self) -> Vec<SentFrame> {
        mem::take(&mut self.sent)
    }

    /// What recovery found. Panics if asked twice.
    pub(super) fn take_recovered(&mut self) -> (RecoveryReport, Vec<RecoveredEntry>) {
        self.recovered.take().expect("recovery ends once")
    }

    /// The frame that `op` writes.
    fn frame_in(&self, op: &Op) -> Option<SentFrame> {
        let Op::Write { file, pos, span, .. } = op else { return None };
        let bytes = self.arena.get(*span).expect("a frame under way is held");
        let Probe::Head(Head { stamp, .. }) = Head::probe(bytes, self.journal_id) else {
            panic!("a write that is no frame: {op:?}");
        };
        let (at, len) = (*pos as usize, bytes.len());
        Some(SentFrame { seq: stamp.seq, durable: stamp.durable, file: *file, at, len })
    }

    /// What recovery found if it was no log to go on with.
    pub(super) fn take_refusal(&mut self) -> Option<RecoveryReport> {
        let stopped = matches!(self.stage, Stage::Stopped(_));
        self.recovered.take_if(|_| stopped).map(|(report, _)| report)
    }

    fn settle(&mut self) {
        if !matches!(&self.stage, Stage::Recovering(recovery) if recovery.is_finished()) {
            return;
        }
        let stopped = Stage::Stopped(String::new());
        let Stage::Recovering(recovery) = mem::replace(&mut self.stage, stopped) else {
            unreachable!("looked at above");
        };
        self.stage = match recovery.finish(&mut self.arena) {
            Err(error) => Stage::Stopped(error.to_string()),
            Ok(recovered) => {
                let entries = recovered.entries(&self.arena).collect();
                self.held = recovered.frames().collect();
                self.recovered = Some((recovered.report().clone(), entries));
                let journal = match recovered.into_journal() {
                    Err(refused) if self.accept_loss => refused.accept_loss(),
                    journal => journal,
                };
                match journal {
                    Ok(journal) => Stage::Open(Box::new(journal)),
                    Err(back) => Stage::Stopped(format!("{:?}", back.report().verdict)),
                }
            }
        };
    }
}

impl Hosted for JournalMachine {
    fn done(&mut self, now: Now, _: ShardId, done: Done) {
        let left = match &mut self.stage {
            Stage::Recovering(recovery) => recovery.done(&mut self.arena, done),
            Stage::Open(journal) => journal.done(now, &mut self.arena, done),
            Stage::Stopped(_) => Ok(()),
        };
        left.expect("every operation was asked for");
        self.settle();
    }

    fn turn(&mut self, now: Now) {
        if let Stage::Open(journal) = &mut self.stage {
            journal.turn(now, &mut self.arena);
        }
    }

    fn poll_op(&mut self) -> Option<Op> {
        match &mut self.stage {
            Stage::Recovering(recovery) => recovery.poll_op(),
            Stage::Open(journal) => {
                let op = journal.poll_op()?;
                self.sent.extend(self.frame_in(&op));
                Some(op)
            }
            Stage::Stopped(_) => None,
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Open(journal) => journal.next_timeout(),
            Stage::Recovering(_) | Stage::Stopped(_) => None,
        }
    }
}

impl Memory for JournalMachine {
    fn arena(&self, _: ShardId) -> &Arena {
        &self.arena
    }
}
