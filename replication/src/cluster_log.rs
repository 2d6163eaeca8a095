//! The cluster log: a log on which one, three or five voters agree, after Raft (Ongaro and
//! Ousterhout, 2014) with trial votes, durable ballots and leaders that step down without a quorum.
//!
//! ```text
//!            silence             majority              majority
//!  Follower ────────▶ Candidate ─────────▶ Candidate ───────────▶ Leader
//!     ▲               (trial: would        (ballot is             │ propose ─▶ entries ─▶ members
//!     │                you vote?)           durable)              │ durable on a majority,
//!     └──── a leader of this term, or any higher term ◀───────────┘ one of this term: committed
//!
//!   poll_write ─▶ Write::{Ballot, Entry} ─▶ control journal ─▶ durable
//!   poll_message ─▶ to members                                handle ◀─ from members
//! ```
//!
//! A voter is a node with the journal it was admitted with ([`Voters`]); who votes is what the log
//! says, committed or not, one change at a time. Members that do not vote learn. Nothing that
//! promises leaves before the journal holds it: a vote waits for its ballot, an acknowledgement for
//! its entries.
//!
//! A proposal is checked against the state that all earlier entries will have made, so two wishes
//! for one name never both get in. The log of a node without peers leads from its start, and each
//! start is a new term.

mod ballot;
mod election;
mod entries;
mod follower;
mod founding;
mod leader;
mod membership;
pub mod message;
mod replay_error;
mod settings;
mod view;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use base::{Incarnation, Instant, NodeId};

pub use self::ballot::Ballot;
use self::election::Candidate;
use self::entries::Entries;
use self::follower::Follower;
use self::founding::Founding;
use self::leader::{Leader, Missing};
use self::message::{ENTRY_BYTES_MAX, RaftBody, RaftMessage};
pub use self::replay_error::ReplayError;
use self::settings::Jitter;
pub use self::settings::{LogSettings, Timing};
use crate::node::Boot;
use crate::{ClusterState, Command, Entry, LogIndex, Proposal, Rejected, Term, Voter};

/// Entries of a leader that may wait for a majority at one time.
pub const PENDING_MAX: u64 = 1024;

/// See the module's description.
#[derive(Debug)]
pub struct ClusterLog {
    settings: LogSettings,
    jitter: Jitter,
    /// This node and its control journal.
    me: Voter,
    /// How often that was started.
    boot: Incarnation,
    role: Role,
    ballot: Ballot,
    ballot_given_out: Ballot,
    ballot_durable: Ballot,
    /// What [`ClusterLog::poll_write`] gave out and is not durable, but for entries cut off since.
    writing: VecDeque<(WriteNumber, Written)>,
    next_write: WriteNumber,
    entries: Entries,
    /// The last entry that [`ClusterLog::poll_write`] has given out.
    given_out: LogIndex,
    durable: LogIndex,
    /// The fold of all committed entries.
    committed: Arc<ClusterState>,
    /// The fold of all entries; `None` while all are committed: it would equal `committed`.
    proposed: Option<ClusterState>,
    founding: Founding,
    /// When the leader is missed.
    silence_until: Instant,
    /// A candidate whose vote waits for its ballot.
    vote_owed: Option<Voter>,
    /// Answers to leaders so far.
    answers: u64,
    /// The newest start of each journal that spoke: an older one is a disk that was put back.
    boots: BTreeMap<Voter, Incarnation>,
    messages: VecDeque<(NodeId, RaftMessage)>,
    complaint: Option<String>,
}

#[derive(Debug)]
enum Role {
    /// Reading what the journal holds.
    Replaying,
    Follower(Follower),
    Candidate(Candidate),
    Leader(Leader),
}

/// What a member of the cluster log does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogRole {
    Follower { leader: Option<NodeId> },
    Candidate,
    Leader,
}

/// Counts writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct WriteNumber(pub u64);

/// What a write that is not durable will have made durable.
#[derive(Clone, Copy, Debug)]
enum Written {
    Ballot(Ballot),
    Entry(LogIndex),
}

/// What the control journal is to hold, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// The one to remember: the last counts.
    Ballot(Ballot),
    /// The entry of this index. It takes the place of an older one of that index, which goes with all
    /// that were behind it.
    Entry(LogIndex, Vec<u8>),
}

impl ClusterLog {
    /// An empty log, ready for [`ClusterLog::replay`].
    #[must_use]
    pub fn new(settings: LogSettings) -> Self {
        let node = settings.node;
        Self {
            jitter: Jitter::new(settings.seed),
            committed: Arc::new(ClusterState::new(settings.cluster)),
            settings,
            me: Voter { node, journal: 0 },
            boot: Incarnation(0),
            role: Role::Replaying,
            ballot: Ballot::default(),
            ballot_given_out: Ballot::default(),
            ballot_durable: Ballot::default(),
            writing: VecDeque::new(),
            next_write: WriteNumber::default(),
            entries: Entries::default(),
            given_out: LogIndex(0),
            durable: LogIndex(0),
            proposed: None,
            founding: Founding::default(),
            silence_until: Instant::default(),
            vote_owed: None,
            answers: 0,
            boots: BTreeMap::new(),
            messages: VecDeque::new(),
            complaint: None,
        }
    }

    /// Takes the next entry that the journal holds: the one behind the last, or one of a newer term
    /// in place of what a deposed leader had written. Panics after [`ClusterLog::start`].
    pub fn replay(&mut self, bytes: &[u8]) -> Result<(), ReplayError> {
        assert!(matches!(self.role, Role::Replaying), "only a log that has not begun is replayed");
        let after = self.entries.last();
        let entry = Entry::decode(bytes).map_err(|error| ReplayError::Decode { after, error })?;
        let Entry { term, index, .. } = entry;
        let replaced = self.entries.term(index);
        if index == LogIndex(0)
            || after.next() < index
            || replaced.is_some_and(|replaced| term <= replaced)
        {
            return Err(ReplayError::Order { expected: after.next(), found: index });
        }
        let known = self
            .entries
            .term(LogIndex(index.0 - 1))
            .expect("the log reaches up to the entry before");
        if term < known || term == Term(0) {
            return Err(ReplayError::Term { index, known, found: term });
        }
        if replaced.is_some() {
            self.truncate(index);
        }
        self.take_in(&entry, bytes).map_err(|reason| ReplayError::Rejected { index, reason })
    }

    /// Takes the last ballot that the journal holds.
    pub fn replay_ballot(&mut self, ballot: Ballot) {
        assert!(matches!(self.role, Role::Replaying), "only a log that has not begun is replayed");
        self.ballot = ballot;
    }

    /// Takes part, all of the journal being replayed; `own` is that journal, and which start of it
    /// this is. The first `committed` entries are known to be committed. A log without peers leads from now on, and forms its
    /// cluster if it has no entries.
    pub fn start(&mut self, now: Instant, own: Boot, committed: LogIndex) {
        assert!(matches!(self.role, Role::Replaying), "a log begins once");
        (self.me.journal, self.boot) = (own.journal, own.boot);
        let last = self.entries.last_position();
        (self.ballot_given_out, self.ballot_durable) = (self.ballot, self.ballot);
        (self.given_out, self.durable) = (last.index, last.index);
        self.follow(now, self.ballot.term.max(last.term), None);
        self.commit_to(committed.min(last.index));
        self.begin_founding(now);
        if self.is_alone() {
            self.begin_alone(now);
        } else if self.decides_alone() {
            self.silence_until = now;
        }
    }

    /// What happens because time passed or because of what was handled: call it at the end of a
    /// turn.
    pub fn turn(&mut self, now: Instant) {
        match &self.role {
            Role::Replaying => return,
            Role::Leader(_) => self.lead_on(now),
            Role::Follower(_) | Role::Candidate(_) => self.wait_on(now),
        }
        self.settle(now);
        self.send_appends(now);
    }

    /// When [`ClusterLog::turn`] wants to be called.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        match &self.role {
            Role::Replaying => None,
            Role::Leader(leader) => leader.next_beat(self.settings.timing.heartbeat),
            Role::Follower(_) | Role::Candidate(_) => {
                let stands = self.is_voter().then_some(self.silence_until);
                Some(stands.map_or(self.founding.due, |stands| stands.min(self.founding.due)))
            }
        }
    }

    /// Takes what a member said. Whatever a stranger, or a voter's earlier self, says changes nothing.
    pub fn handle(&mut self, now: Instant, from: NodeId, message: RaftMessage) {
        let sender = Voter { node: from, journal: message.sender.journal };
        if matches!(self.role, Role::Replaying) || !self.concerns(sender, &message) {
            return;
        }
        let sender = self.known_as(sender);
        let term = message.term;
        match message.body {
            RaftBody::Present { round, last: _ } => self.take_present(now, sender, round),
            RaftBody::Seen { round, last } => self.take_seen(now, sender, round, last, term),
            RaftBody::AskVote { trial, urgent, last } => {
                self.take_ask(now, sender, term, (trial, urgent), last);
            }
            RaftBody::Vote { trial, granted } => self.take_vote(now, sender, term, trial, granted),
            RaftBody::Append { previous, committed, entries } => {
                if self.accept_leader(now, sender, term) {
                    self.take_append(previous, committed, &entries);
                }
            }
            RaftBody::Appended { count, matched } => {
                self.take_appended(now, sender, term, count, matched);
            }
            RaftBody::Missing { count, previous, last, retry } => {
                self.take_missing(now, sender, term, count, Missing { previous, last, retry });
            }
        }
        self.settle(now);
    }

    /// Appends the command that fulfils `proposal`; it holds once [`ClusterLog::committed`]
    /// reaches the index in the same term.
    pub fn propose(&mut self, proposal: &Proposal) -> Result<LogIndex, Rejected> {
        if !self.is_leader() {
            return Err(Rejected::NotLeader);
        }
        if PENDING_MAX <= self.entries.last().0 - self.committed().0 {
            return Err(Rejected::Busy);
        }
        let command = self.proposed().plan(proposal)?;
        match command {
            Command::VoterAdded(_) | Command::VoterRemoved(_) if !self.may_change_voters() => {
                Err(Rejected::Busy)
            }
            // Who was elected is for the leader alone to say.
            Command::LeaderElected { .. } => Err(Rejected::NotLeader),
            _ => self.push(command),
        }
    }

    /// What the journal is to hold next. Its order binds.
    pub fn poll_write(&mut self) -> Option<(WriteNumber, Write)> {
        let (written, write) = if self.ballot_given_out != self.ballot && !self.is_alone() {
            self.ballot_given_out = self.ballot;
            (Written::Ballot(self.ballot), Write::Ballot(self.ballot))
        } else {
            let index = self.given_out.next();
            let bytes = self.entry(index)?.to_vec();
            self.given_out = index;
            (Written::Entry(index), Write::Entry(index, bytes))
        };
        let number = self.next_write;
        self.next_write = WriteNumber(number.0 + 1);
        self.writing.push_back((number, written));
        Some((number, write))
    }

    pub fn poll_message(&mut self) -> Option<(NodeId, RaftMessage)> {
        self.messages.pop_front()
    }

    /// Says that the journal holds this write, and all before it, for good. Panics if it was not
    /// given out.
    pub fn durable(&mut self, now: Instant, number: WriteNumber) {
        assert!(number < self.next_write, "{number:?} is durable before it was written");
        while self.writing.front().is_some_and(|(first, _)| *first <= number) {
            let (_, written) = self.writing.pop_front().expect("the loop saw it");
            match written {
                Written::Ballot(ballot) => self.ballot_durable = ballot,
                Written::Entry(index) => {
                    self.durable = index;
                    self.owe_ack();
                }
            }
        }
        self.settle(now);
    }

    fn is_voter(&self) -> bool {
        self.voters().contains(self.me)
    }

    /// Whether this member is the only voter.
    fn decides_alone(&self) -> bool {
        self.voters().decide(|voter| voter == self.me)
    }

    /// Whether a message is meant for this member and comes from a start that is not over.
    fn concerns(&mut self, sender: Voter, message: &RaftMessage) -> bool {
        let me = self.me;
        let is_meant = match message.body {
            RaftBody::Present { .. } => true,
            _ if self.settings.planted.is(crate::Mutant::NewJournalVotes) => true,
            _ => message.receiver == me.journal,
        };
        if !is_meant || sender.node == me.node {
            return false;
        }
        let newest = self.boots.entry(sender).or_insert(message.sender.boot);
        *newest = message.sender.boot.max(*newest);
        *newest == message.sender.boot
    }

    /// The voter that speaks: a node with another journal is another member.
    fn known_as(&self, sender: Voter) -> Voter {
        if self.settings.planted.is(crate::Mutant::NewJournalVotes) {
            return self.voters().of_node(sender.node).unwrap_or(sender);
        }
        sender
    }

    /// The newest start that spoke.
    fn boot_of(&self, sender: Voter) -> Incarnation {
        self.boots.get(&sender).copied().unwrap_or_default()
    }

    fn follow(&mut self, now: Instant, term: Term, leader: Option<Voter>) {
        if self.ballot.term < term {
            self.ballot = Ballot { term, vote: None };
        }
        self.vote_owed = None;
        self.role = Role::Follower(Follower::new(now, leader));
        self.expect_leader(now);
    }

    fn expect_leader(&mut self, now: Instant) {
        let Timing { silence_min, silence_max, .. } = self.settings.timing;
        self.silence_until = now.plus(self.jitter.between(silence_min, silence_max));
    }

    /// Appends an entry of the leader's own.
    fn push(&mut self, command: Command) -> Result<LogIndex, Rejected> {
        let index = self.entries.last().next();
        let entry = Entry { term: self.ballot.term, index, command };
        let bytes = entry.encode();
        if ENTRY_BYTES_MAX < bytes.len() {
            return Err(Rejected::TooLong { bytes: bytes.len() });
        }
        self.take_in(&entry, &bytes)?;
        Ok(index)
    }

    /// Takes the next entry into the log, or changes nothing.
    fn take_in(&mut self, entry: &Entry, bytes: &[u8]) -> Result<(), Rejected> {
        let state = self.proposed.get_or_insert_with(|| ClusterState::clone(&self.committed));
        state.apply(entry.index, &entry.command)?;
        self.entries.push(bytes);
        Ok(())
    }

    /// Drops the entry at `from` and all behind it: another leader had them, and no majority.
    fn truncate(&mut self, from: LogIndex) {
        assert!(self.committed() < from, "{from:?} is committed and would be dropped: {self:?}");
        self.entries.truncate(from);
        let last = self.entries.last();
        self.given_out = self.given_out.min(last);
        self.durable = self.durable.min(last);
        self.writing.retain(|(_, written)| !matches!(written, Written::Entry(cut) if from <= *cut));
        let mut state = ClusterState::clone(&self.committed);
        for index in self.committed().0 + 1..=last.0 {
            let entry = self.entries.get(LogIndex(index));
            state.apply(entry.index, &entry.command).expect("it was taken in before");
        }
        self.proposed = Some(state);
    }

    /// Everything up to `index` is committed.
    fn commit_to(&mut self, index: LogIndex) {
        if index <= self.committed() {
            return;
        }
        if index == self.entries.last()
            && let Some(state) = self.proposed.take()
        {
            self.committed = Arc::new(state);
            return;
        }
        let state = Arc::make_mut(&mut self.committed);
        for index in state.version().0 + 1..=index.0 {
            let entry = self.entries.get(LogIndex(index));
            state.apply(entry.index, &entry.command).expect("checked when it was taken in");
        }
    }

    fn as_boot(&self) -> Boot {
        Boot { journal: self.me.journal, boot: self.boot }
    }

    fn say(&mut self, to: Voter, term: Term, body: RaftBody) {
        let message = RaftMessage { sender: self.as_boot(), receiver: to.journal, term, body };
        self.messages.push_back((to.node, message));
    }

    fn next_answer(&mut self) -> u64 {
        self.answers += 1;
        self.answers
    }

    /// Sends what only waited for the journal.
    fn settle(&mut self, now: Instant) {
        self.send_owed_vote();
        self.ask_for_votes(now);
        self.send_owed_ack();
        self.advance_committed(now);
    }
}
