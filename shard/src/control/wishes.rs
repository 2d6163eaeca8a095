//! What this node wants the cluster to agree on.
//!
//! ```text
//!            leads: its log takes it ────────────────────────┐
//!   Open ────┤                                               ├──▶ Taken ─▶ committed ─▶ Done
//!     ▲      follows: drawn up here ─▶ Asked ─▶ leader takes ┘      │
//!     └────── refused in a newer state, lost, leader gone ◀─────────┘
//! ```
//! A node that follows draws a wish up in the state that it has, one at a time; the leader takes
//! the command if it still holds, else the wish is drawn up anew in the newer state. A wish whose
//! answer was lost is in doubt: if the state is as it wants it, it is fulfilled.

use core::time::Duration;

use base::{CoreId, Instant, NodeId, Now, Output, ShardId};
use replication::{Command, ControlMessage, LogIndex, Outcome, Proposal, Rejected, Term};

use super::{ControlShard, ShardProgress, Stage};
use crate::mail::{Mail, Ticket};

/// How long a change waits for every core to have it before the client is answered all the same.
const APPLY_WAIT: Duration = Duration::from_secs(1);
/// How long a leader's answer, or a state, is waited for.
const ANSWER_WAIT: Duration = Duration::from_secs(1);
/// How long a leader that could not take a wish is left in peace.
const RETRY_WAIT: Duration = Duration::from_millis(20);
/// After so long a client hears that no leader was found.
const PATIENCE: Duration = Duration::from_secs(10);

/// Wishes that belong together, and who waits for them.
#[derive(Debug)]
pub(super) struct Request {
    asker: Asker,
    wishes: Vec<Wish>,
    /// Until when all cores are waited for.
    apply_until: Instant,
    give_up: Instant,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Asker {
    Core(CoreId, Ticket),
    /// This node, that it be registered.
    Node,
    /// A shard of this node, that its start be known.
    Shard(ShardId),
    Nobody,
}

#[derive(Debug)]
struct Wish {
    proposal: Proposal,
    progress: Progress,
    /// It may have been agreed to without our knowing.
    in_doubt: bool,
}

#[derive(Debug)]
enum Progress {
    /// To be drawn up in a state that includes `after`, or at `at_latest`, and not before.
    Open {
        after: LogIndex,
        not_before: Instant,
        at_latest: Instant,
    },
    Asked {
        leader: NodeId,
        ticket: u64,
        until: Instant,
    },
    Taken {
        index: LogIndex,
        term: Term,
    },
    Done(Result<LogIndex, Rejected>),
}

impl Wish {
    fn new(proposal: Proposal) -> Self {
        Self { proposal, progress: Progress::open(Instant(0)), in_doubt: false }
    }
}

impl Progress {
    fn open(not_before: Instant) -> Self {
        Self::Open { after: LogIndex(0), not_before, at_latest: not_before }
    }
}

impl ControlShard {
    pub(super) fn propose(
        &mut self,
        now: Now,
        asker: Asker,
        proposals: Vec<Proposal>,
        validate_only: bool,
    ) {
        let state = self.log.proposed();
        let mut wishes: Vec<_> = proposals.into_iter().map(Wish::new).collect();
        if validate_only {
            for wish in &mut wishes {
                let valid = state.plan(&wish.proposal).map(|_| LogIndex(0));
                wish.progress = Progress::Done(valid);
            }
        }
        let (apply_until, give_up) = (now.mono.plus(APPLY_WAIT), now.mono.plus(PATIENCE));
        self.requests.push_back(Request { asker, wishes, apply_until, give_up });
        self.advance_wishes(now);
    }

    /// Goes on with every wish, as far as it gets.
    pub(super) fn advance_wishes(&mut self, now: Now) {
        let Stage::Running = self.stage else { return };
        let mut requests = core::mem::take(&mut self.requests);
        // Elsewhere one at a time: each is drawn up in the state that the one before leaves.
        let mut may_ask = true;
        for request in &mut requests {
            let is_client = matches!(request.asker, Asker::Core(..));
            for wish in &mut request.wishes {
                self.advance_wish(now.mono, wish, may_ask, is_client);
                if is_client && request.give_up <= now.mono && !wish.is_done() {
                    wish.progress = Progress::Done(Err(Rejected::NotLeader));
                }
                may_ask &= wish.is_done();
            }
        }
        debug_assert!(self.requests.is_empty(), "nothing is wished for while wishes advance");
        self.requests = requests;
    }

    fn advance_wish(&mut self, now: Instant, wish: &mut Wish, may_ask: bool, is_client: bool) {
        match wish.progress {
            Progress::Done(_) => {}
            Progress::Taken { index, term } => self.await_commit(now, wish, index, term),
            Progress::Asked { leader, until, .. } => {
                if until <= now || self.log.leader() != Some(leader) {
                    wish.in_doubt = true;
                    wish.progress = Progress::open(now);
                }
            }
            Progress::Open { after, not_before, at_latest } => {
                let is_ripe =
                    not_before <= now && (after <= self.log.committed() || at_latest <= now);
                if is_ripe && self.log.is_leader() {
                    self.propose_here(now, wish, is_client);
                } else if is_ripe && may_ask {
                    self.ask_leader(now, wish);
                }
            }
        }
    }

    fn await_commit(&mut self, now: Instant, wish: &mut Wish, index: LogIndex, term: Term) {
        let committed = self.log.committed();
        if index <= committed {
            wish.progress = match self.log.term_of(index) == Some(term) {
                true => Progress::Done(Ok(index)),
                false => Progress::open(now),
            };
        } else if self.log.term_of(committed).is_some_and(|newer| term < newer) {
            // What is committed behind a newer term is of that term or a newer one.
            wish.progress = Progress::open(now);
        }
    }

    fn propose_here(&mut self, now: Instant, wish: &mut Wish, is_client: bool) {
        let last = self.log.last();
        wish.progress = match self.log.propose(&wish.proposal) {
            Ok(index) => Progress::Taken { index, term: self.log.term() },
            Err(Rejected::Busy) if !is_client => Progress::open(now.plus(RETRY_WAIT)),
            Err(_) if wish.in_doubt && self.log.committed() < last => {
                Progress::Open { after: last, not_before: now, at_latest: now.plus(ANSWER_WAIT) }
            }
            Err(reason) => self.explain(wish, reason),
        };
    }

    fn ask_leader(&mut self, now: Instant, wish: &mut Wish) {
        let Some(leader) = self.log.leader() else { return };
        let state = self.log.snapshot();
        wish.progress = match state.plan(&wish.proposal) {
            Ok(command) => {
                self.next_ticket += 1;
                let ticket = self.next_ticket;
                self.tell(leader, ControlMessage::Propose { ticket, command });
                Progress::Asked { leader, ticket, until: now.plus(ANSWER_WAIT) }
            }
            // The node is not known yet, or its leader's state has not come.
            Err(_) if state.version() == LogIndex(0) => Progress::open(now.plus(RETRY_WAIT)),
            Err(reason) => self.explain(wish, reason),
        };
    }

    /// Refused, unless it was fulfilled before.
    fn explain(&self, wish: &Wish, reason: Rejected) -> Progress {
        let state = self.log.snapshot();
        match wish.in_doubt && state.fulfils(&wish.proposal) {
            true => Progress::Done(Ok(state.version())),
            false => Progress::Done(Err(reason)),
        }
    }

    /// A node asks this one, as the leader, to take a command.
    pub(super) fn take_command(&mut self, from: NodeId, ticket: u64, command: Command) {
        let outcome = match self.log.propose(&Proposal::Decree(command)) {
            Ok(index) => Outcome::Taken { index, term: self.log.term() },
            Err(Rejected::NotLeader | Rejected::Busy) => Outcome::NotNow,
            Err(_) => Outcome::Refused { after: self.log.last() },
        };
        self.tell(from, ControlMessage::Proposed { ticket, outcome });
    }

    /// The leader answers.
    pub(super) fn take_outcome(&mut self, now: Now, ticket: u64, outcome: Outcome) {
        let now = now.mono;
        let wishes = self.requests.iter_mut().flat_map(|request| &mut request.wishes);
        for wish in wishes {
            let Progress::Asked { ticket: asked, .. } = wish.progress else { continue };
            if asked != ticket {
                continue;
            }
            // Refused, it may have come true by a question that was asked before.
            wish.in_doubt |= matches!(outcome, Outcome::Refused { .. });
            wish.progress = match outcome {
                Outcome::Taken { index, term } => Progress::Taken { index, term },
                Outcome::Refused { after } => {
                    Progress::Open { after, not_before: now, at_latest: now.plus(ANSWER_WAIT) }
                }
                Outcome::NotNow => Progress::open(now.plus(RETRY_WAIT)),
            };
        }
    }

    /// Answers requests whose results are in force everywhere, or have waited long enough.
    pub(super) fn settle_requests(&mut self, now: Now) {
        let in_force = self.in_force();
        let mut at = 0;
        while let Some(request) = self.requests.get(at) {
            let is_applied = match request.asker {
                Asker::Core(..) => {
                    request.last_index() <= in_force || request.apply_until <= now.mono
                }
                Asker::Node | Asker::Shard(_) | Asker::Nobody => true,
            };
            if !(request.wishes.iter().all(Wish::is_done) && is_applied) {
                at += 1;
                continue;
            }
            let request = self.requests.remove(at).expect("it was just there");
            self.answer(request);
        }
    }

    fn answer(&mut self, request: Request) {
        let mut results = request.wishes.into_iter().map(Wish::result);
        match request.asker {
            Asker::Core(core, ticket) => {
                let results = results.map(|result| result.map(|_| ())).collect();
                let mail = Mail::Proposed { ticket, results };
                self.outputs.push_back(Output::Mail { to: core, mail });
            }
            Asker::Node => {
                if let Some(Err(rejected)) = results.next() {
                    let reason = format!("this node cannot join its cluster: {rejected}");
                    self.stage = Stage::Failed(reason);
                }
            }
            Asker::Shard(shard) => {
                let progress = &mut self.shards[usize::from(shard.0)];
                match results.next() {
                    Some(Ok(index)) => *progress = ShardProgress::Booting(index),
                    Some(Err(rejected)) => *progress = ShardProgress::Failed(rejected.to_string()),
                    None => {}
                }
            }
            Asker::Nobody => {}
        }
    }

    /// When the next wish wants to be looked at.
    pub(super) fn next_wish(&self) -> Option<Instant> {
        let leads = self.log.is_leader();
        let of_wish = |wish: &Wish, may_ask: bool| match wish.progress {
            Progress::Open { not_before, at_latest, .. } if leads => {
                Some(not_before.max(at_latest))
            }
            Progress::Asked { until, .. } => Some(until),
            // One that waits for others to be done waits for nothing else.
            Progress::Open { at_latest, .. } => {
                Some(at_latest).filter(|_| may_ask && self.log.leader().is_some())
            }
            Progress::Taken { .. } | Progress::Done(_) => None,
        };
        let mut may_ask = true;
        let of_request = |request: &Request| {
            let is_done = request.wishes.iter().all(Wish::is_done);
            let first = request.wishes.iter().find(|wish| !wish.is_done());
            let waits = first.and_then(|wish| of_wish(wish, may_ask));
            may_ask &= is_done;
            let ends = match request.asker {
                Asker::Core(..) if is_done => Some(request.apply_until),
                Asker::Core(..) if !self.settings.peers.is_empty() => Some(request.give_up),
                Asker::Core(..) | Asker::Node | Asker::Shard(_) | Asker::Nobody => None,
            };
            [waits, ends].into_iter().flatten().min()
        };
        self.requests.iter().filter_map(of_request).min()
    }
}

impl Wish {
    fn is_done(&self) -> bool {
        matches!(self.progress, Progress::Done(_))
    }

    fn result(self) -> Result<LogIndex, Rejected> {
        match self.progress {
            Progress::Done(result) => result,
            other => panic!("answered while {other:?}"),
        }
    }
}

impl Request {
    fn last_index(&self) -> LogIndex {
        let done = self.wishes.iter().filter_map(|wish| match wish.progress {
            Progress::Done(Ok(index)) => Some(index),
            _ => None,
        });
        done.max().unwrap_or_default()
    }
}
