//! What a damaged journal leaves in doubt: which partitions there were, and what some of them knew.
//!
//! ```text
//!   a frame is lost ─▶ start frozen ─▶ the owner names the partitions it knows (roll call) ─┐
//!   a snapshot is   ─▶      │      ─▶ the partition is written down as it was found        ─┤
//!                           └──────────────── all of it durable: the start moves on ◀───────┘
//! ```
//! A lost frame may have created partitions, and nobody but the owner knows their names. Until it has
//! named them the journal's start stays where it is, so that a crash finds the same doubt again; one
//! that is named and not known is halted rather than created anew and empty.

use base::{Offset, Seq};

use crate::halt::{Halt, HaltCause};
use crate::journal::{Damage, Touched};
use crate::partition::Partition;
use crate::store::Store;

/// See the module's description.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Doubt {
    /// The first frame of which nobody can tell whose entries it held, until the roll call is over.
    lost: Option<Seq>,
    /// Some partition may have no durable snapshot.
    unwritten: bool,
}

impl Doubt {
    pub(crate) fn about(damage: &[Damage]) -> Self {
        let unknown = damage.iter().find(|damage| damage.touched == Touched::All);
        Self { lost: unknown.map(|damage| damage.first), unwritten: !damage.is_empty() }
    }

    /// Whether there may have been partitions that the journal does not know any more.
    pub(crate) fn is_about_existence(&self) -> bool {
        self.lost.is_some()
    }

    /// A partition that the owner names during the roll call: it may have lost everything.
    pub(crate) fn suspect(&self, partition: &mut Partition) {
        let Some(lost) = self.lost else { return };
        partition.tail_suspect = true;
        partition.halt = Some(Halt { cause: HaltCause::Frame(lost), from: Offset::ZERO, to: None });
    }
}

impl Store {
    /// See [`crate::Engine::end_roll_call`].
    pub(crate) fn end_roll_call(&mut self) {
        self.doubt.lost = None;
        self.advance_start(self.journal.durable_seq());
    }

    /// Whether the journal's start must stay where it is.
    pub(crate) fn is_frozen(&mut self) -> bool {
        let Doubt { lost, unwritten } = &mut self.doubt;
        let partitions = &self.partitions;
        *unwritten = *unwritten && partitions.iter().any(|(_, one)| one.snapshot == Seq(0));
        *unwritten || lost.is_some()
    }
}
