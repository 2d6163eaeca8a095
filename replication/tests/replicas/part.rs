//! One partition's log, as the fold of the entries about it.

use base::{Epoch, EpochHistory, Offset, Seq};

use crate::memory_log::Content;

#[derive(Clone, Debug, Default)]
pub struct Part {
    pub log_start: Offset,
    pub records: Vec<(Epoch, Content, Seq)>,
    pub history: EpochHistory,
    pub promised: Epoch,
    pub committed: Offset,
    pub is_suspect: bool,
    pub is_rebuilding: bool,
    pub reign: Option<Epoch>,
}

impl Part {
    pub fn end(&self) -> Offset {
        self.log_start.plus(self.records.len() as u64)
    }

    pub fn truncate(&mut self, end: Offset) {
        self.records.truncate(end.0.saturating_sub(self.log_start.0) as usize);
        self.history.truncate(end);
        self.reign = None;
        self.committed = self.committed.min(self.end());
    }

    pub fn start_over(&mut self, at: Offset, keep_proof: bool) {
        (self.log_start, self.committed, self.reign) = (at, at, None);
        self.records.clear();
        self.history = EpochHistory::restore(Vec::new(), self.history.opened()).unwrap();
        self.is_rebuilding |= !keep_proof;
        self.is_suspect &= keep_proof;
    }

    pub fn move_start(&mut self, to: Offset) {
        let gone = to.0.saturating_sub(self.log_start.0).min(self.records.len() as u64);
        self.records.drain(..gone as usize);
        self.log_start = self.log_start.plus(gone);
        self.history.trim(self.log_start);
        self.committed = self.committed.max(self.log_start);
    }
}
