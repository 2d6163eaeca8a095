//! Bins of which nothing is alive: freed, so that they can be written again.
//!
//! ```text
//!   sealed, live = 0 ───────────────────────────┐
//!   open or worn, live = 0, while bins are few ─┴─▶ freeing ── BinFree durable ─▶ free
//! ```
//! An open bin is useful as it is, until its class has died out or the disk is full.

use base::Now;

use crate::Mutant;
use crate::bins::BinState;
use crate::due::Due;
use crate::journal::{EntryKind, JournalFull};
use crate::store::Store;

impl Store {
    /// Asks for every dead bin to be freed: it is when the word for it is durable.
    pub(crate) fn free_dead_bins(&mut self, now: Now) {
        while let Some(bin) = self.dead_bins.last().copied() {
            if self.config.journal.planted.is(Mutant::ReuseBinBeforeFree) {
                drop(self.bins.set_free(bin));
                self.bins.open(self.bins.get(bin).class);
            } else if self.free_bin(now, bin).is_err() {
                return;
            }
            self.dead_bins.pop();
        }
        self.free_barren_bin(now);
    }

    /// While bins are few, frees one that holds nothing alive although it could take more.
    fn free_barren_bin(&mut self, now: Now) {
        // One more than must be free: the next that is opened makes none missing.
        if !self.bins.is_full(self.config.reserved_bins() + 1) {
            return;
        }
        let busy = self.destage.pass.as_ref().map(|pass| pass.bin());
        if let Some(bin) = self.bins.barren(busy, self.journal.durable_seq()) {
            // Without room for the word now, it is tried again in the next turn.
            let _ = self.free_bin(now, bin);
        }
    }

    fn free_bin(&mut self, now: Now, bin: u32) -> Result<(), JournalFull> {
        let seq = self.append_bin(now, EntryKind::BinFree, bin, BinState::Free)?;
        self.bins.get_mut(bin).state = BinState::Freeing;
        self.dues.push(seq, Due::BinFreed { bin });
        Ok(())
    }

    /// The word for it is durable.
    pub(crate) fn bin_freed(&mut self, bin: u32) {
        for commit in self.bins.set_free(bin) {
            self.frames.release(commit.seq);
        }
    }
}
