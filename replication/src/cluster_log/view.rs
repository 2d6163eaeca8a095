//! What others may know of the log.

use std::sync::Arc;

use base::NodeId;

use super::{ClusterLog, LogRole, Role};
use crate::{ClusterState, LogIndex, Term, Voters};

impl ClusterLog {
    /// The last committed entry: the version of [`ClusterLog::snapshot`].
    #[must_use]
    pub fn committed(&self) -> LogIndex {
        self.committed.version()
    }

    /// The last entry that the log holds, committed or not.
    #[must_use]
    pub fn last(&self) -> LogIndex {
        self.entries.last()
    }

    #[must_use]
    pub fn term(&self) -> Term {
        self.ballot.term
    }

    /// The entry as it stands in the journal, if the log holds it.
    #[must_use]
    pub fn entry(&self, index: LogIndex) -> Option<&[u8]> {
        (LogIndex(0) < index && index <= self.last()).then(|| self.entries.encoded(index))
    }

    /// The term of the entry, if the log holds it.
    #[must_use]
    pub fn term_of(&self, index: LogIndex) -> Option<Term> {
        self.entries.term(index)
    }

    /// Why this member cannot take what its leader sends, if so: a newer version leads.
    #[must_use]
    pub fn complaint(&self) -> Option<&str> {
        self.complaint.as_deref()
    }

    #[must_use]
    pub fn role(&self) -> LogRole {
        match &self.role {
            Role::Leader(_) => LogRole::Leader,
            Role::Candidate(_) => LogRole::Candidate,
            Role::Follower(follower) => LogRole::Follower { leader: follower.leader_node() },
            Role::Replaying => LogRole::Follower { leader: None },
        }
    }

    /// The leader, as far as this member knows.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        match self.role() {
            LogRole::Leader => Some(self.me.node),
            LogRole::Follower { leader } => leader,
            LogRole::Candidate => None,
        }
    }

    #[must_use]
    pub fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    /// The committed state, for every core to keep.
    #[must_use]
    pub fn snapshot(&self) -> Arc<ClusterState> {
        Arc::clone(&self.committed)
    }

    /// The state that all entries so far will have made: what `validate_only` is held against.
    #[must_use]
    pub fn proposed(&self) -> &ClusterState {
        self.proposed.as_ref().unwrap_or(&self.committed)
    }

    /// Who votes, by all entries that this member holds. Empty if it cannot know.
    #[must_use]
    pub fn voters(&self) -> Voters {
        let (state, me) = (self.proposed(), self.me);
        if !state.voters().is_empty() {
            return state.voters().clone();
        }
        if self.entries.last() == LogIndex(0) {
            return self.founding.agreed().cloned().unwrap_or_default();
        }
        // Formed by a node for itself: the first to register, as all others come by its leave.
        let founder = state.nodes().next().map(crate::Node::id);
        let is_mine = self.settings.is_alone() || founder == Some(me.node);
        Voters::new(is_mine.then_some(me)).expect("one voter")
    }
}
