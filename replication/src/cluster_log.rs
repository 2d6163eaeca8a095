//! The cluster log of one voter.
//!
//! ```text
//!   propose ─▶ entry n ─poll_append─▶ bytes into the control journal
//!                 │ waits                      │
//!                 ▼                            ▼
//!   committed ◀─────────── durable(n) ◀── the journal is durable
//!       └─▶ applied in order ─▶ a new snapshot
//! ```
//!
//! Every start is a new term. A proposal is checked against the state that all earlier proposals
//! will have made, so two wishes for one name never both get in.

pub mod message;

use core::fmt;
use std::collections::VecDeque;
use std::sync::Arc;

use crate::cluster_state::FEATURE_LEVEL_MAX;
use crate::{
    ClusterState, Command, DecodeError, Entry, LogIndex, Proposal, Rejected, Term, Uuid, Voters,
};

/// Entries that may wait for the journal at one time.
pub const PENDING_MAX: usize = 1024;

/// See the module's description.
#[derive(Debug)]
pub struct ClusterLog {
    role: Role,
    /// The newest term seen.
    term: Term,
    /// The fold of all committed entries.
    committed: Arc<ClusterState>,
    /// The fold of all entries; `None` while none is pending: it would equal `committed`.
    proposed: Option<ClusterState>,
    /// Proposed and not committed, oldest first.
    pending: VecDeque<Entry>,
    /// How many of `pending` [`ClusterLog::poll_append`] has given out.
    given_out: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Reading what the journal holds.
    Replaying,
    Leader,
}

/// Why the entries in the journal are not a cluster log of ours. Each one stops the node: an
/// operator must look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplayError {
    /// The bytes are not an entry.
    Decode { after: LogIndex, error: DecodeError },
    /// An entry is missing or stands twice.
    Order { expected: LogIndex, found: LogIndex },
    /// A term below its predecessor's, or 0.
    Term { index: LogIndex, known: Term, found: Term },
    /// The entry contradicts those before it.
    Rejected { index: LogIndex, reason: Rejected },
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decode { after, error } => {
                write!(f, "the cluster log is unreadable after entry {}: {error}", after.0)
            }
            Self::Order { expected, found } => {
                write!(f, "the cluster log has entry {} where {} belongs", found.0, expected.0)
            }
            Self::Term { index, known, found } => write!(
                f,
                "entry {} of the cluster log is of term {}, after term {}",
                index.0, found.0, known.0
            ),
            Self::Rejected { index, reason } => {
                write!(f, "entry {} of the cluster log cannot be: {reason}", index.0)
            }
        }
    }
}

impl core::error::Error for ReplayError {}

impl ClusterLog {
    /// An empty log of `cluster`, ready for [`ClusterLog::replay`].
    #[must_use]
    pub fn new(cluster: Uuid) -> Self {
        Self {
            role: Role::Replaying,
            term: Term(0),
            committed: Arc::new(ClusterState::new(cluster)),
            proposed: None,
            pending: VecDeque::new(),
            given_out: 0,
        }
    }

    /// Takes the next entry that the journal holds. Panics after [`ClusterLog::lead`].
    pub fn replay(&mut self, bytes: &[u8]) -> Result<(), ReplayError> {
        assert_eq!(self.role, Role::Replaying, "only a log that does not lead yet is replayed");
        let after = self.committed.version();
        let entry = Entry::decode(bytes).map_err(|error| ReplayError::Decode { after, error })?;
        let Entry { term, index, ref command } = entry;
        if index != after.next() {
            return Err(ReplayError::Order { expected: after.next(), found: index });
        }
        if term < self.term || term == Term(0) {
            return Err(ReplayError::Term { index, known: self.term, found: term });
        }
        let state = Arc::make_mut(&mut self.committed);
        state.apply(index, command).map_err(|reason| ReplayError::Rejected { index, reason })?;
        self.term = term;
        Ok(())
    }

    /// Begins a new term, all of the journal being replayed. A log without entries forms the
    /// cluster.
    pub fn lead(&mut self) {
        assert_eq!(self.role, Role::Replaying, "a log begins to lead once");
        self.role = Role::Leader;
        self.term = Term(self.term.0 + 1);
        if self.committed.version() == LogIndex(0) {
            let cluster = self.committed.cluster();
            let (feature_level, voters) = (FEATURE_LEVEL_MAX, Voters::default());
            self.push(Command::ClusterFormed { cluster, feature_level, voters });
        }
    }

    /// Appends the command that fulfils `proposal`; it holds once [`ClusterLog::committed`]
    /// reaches the index.
    pub fn propose(&mut self, proposal: &Proposal) -> Result<LogIndex, Rejected> {
        if self.role != Role::Leader {
            return Err(Rejected::NotLeader);
        }
        if PENDING_MAX <= self.pending.len() {
            return Err(Rejected::Busy);
        }
        let command = self.proposed().plan(proposal)?;
        Ok(self.push(command))
    }

    /// The next entry to append to the control journal, as bytes.
    pub fn poll_append(&mut self) -> Option<(LogIndex, Vec<u8>)> {
        let entry = self.pending.get(self.given_out)?;
        self.given_out += 1;
        Some((entry.index, entry.encode()))
    }

    /// Says that the journal holds every entry up to `index` for good: with one voter they are
    /// committed. Panics if the entry was not given out.
    pub fn durable(&mut self, index: LogIndex) {
        while self.pending.front().is_some_and(|entry| entry.index <= index) {
            assert!(0 < self.given_out, "{index:?} is durable before it was written");
            let entry = self.pending.pop_front().expect("the loop saw it");
            self.given_out -= 1;
            let state = Arc::make_mut(&mut self.committed);
            state.apply(entry.index, &entry.command).expect("checked when proposed");
        }
        if self.pending.is_empty() {
            self.proposed = None;
        }
    }

    /// The last committed entry: the version of [`ClusterLog::snapshot`].
    #[must_use]
    pub fn committed(&self) -> LogIndex {
        self.committed.version()
    }

    #[must_use]
    pub fn term(&self) -> Term {
        self.term
    }

    /// The committed state, for every core to keep.
    #[must_use]
    pub fn snapshot(&self) -> Arc<ClusterState> {
        Arc::clone(&self.committed)
    }

    /// The state that all proposals so far will have made: what `validate_only` is held against.
    #[must_use]
    pub fn proposed(&self) -> &ClusterState {
        self.proposed.as_ref().unwrap_or(&self.committed)
    }

    fn push(&mut self, command: Command) -> LogIndex {
        let state = self.proposed.get_or_insert_with(|| ClusterState::clone(&self.committed));
        let index = state.version().next();
        state.apply(index, &command).expect("a planned command holds");
        self.pending.push_back(Entry { term: self.term, index, command });
        index
    }
}
