//! The control shard: an engine that holds the cluster log, and the log that decides.
//!
//! ```text
//!   recovering ─▶ replaying ─▶ leading ──────────────────────────────────────▶ failed
//!                              propose ─▶ entry ─▶ frame durable ─▶ snapshot to every core
//!                                                                     └─▶ all applied ─▶ Proposed
//! ```
//!
//! It is a [`Machine`] like a data core, without connections: glommio runs it in the server, the
//! simulator runs it in tests.

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use base::batch::{self, BatchBuilder};
use base::{
    Arena, Batch, Committed, CoreId, Done, Epoch, Incarnation, Input, Instant, Machine, Now,
    Offset, Output, Page, PartitionId, Seq, ShardId, TopicNumber,
};
use engine::{AppendError, Engine, PartitionSettings, Phase, Read, ReadError, ReadToken, Refused};
use replication::cluster_log::{Write, WriteNumber};
use replication::command::NodeRegistered;
use replication::{
    ClusterLog, ClusterState, LogIndex, LogSettings, Proposal, Rejected, Uuid, Voter,
};

use crate::mail::{Mail, Ticket};
use crate::metrics::CoreMetrics;

/// The one partition of the control shard. Topics are numbered from 1.
pub const CLUSTER_LOG: PartitionId = PartitionId::new(TopicNumber(0), 0);

/// How long a change waits for every core to have it before the client is answered all the same.
const APPLY_WAIT: Duration = Duration::from_secs(1);
/// Bytes of the log read at a time when replaying.
const REPLAY_BYTES: u32 = 256 << 10;

/// See the module's description.
#[derive(Debug)]
pub struct ControlShard {
    engine: Engine,
    log: ClusterLog,
    node: NodeRegistered,
    stage: Stage,
    /// Data cores by number.
    cores: Vec<CoreProgress>,
    /// Shards of this node by number.
    shards: Vec<ShardProgress>,
    /// Writes given to the journal, and their frames, oldest first.
    writing: VecDeque<(WriteNumber, Seq)>,
    /// A write that the journal had no room for.
    unwritten: Option<(WriteNumber, Write)>,
    waiting: VecDeque<Waiting>,
    /// The part of the log that is read from the disk while it is replayed.
    reading: Option<ReadToken>,
    /// Shards that had recovered before the log was replayed.
    early: Vec<Mail>,
    published: LogIndex,
    /// The data cores were told to serve.
    serving: bool,
    outputs: VecDeque<Output<Mail>>,
}

#[derive(Debug)]
enum Stage {
    Recovering,
    Replaying { next: Offset },
    Leading,
    Failed(String),
}

#[derive(Clone, Debug, Default)]
struct CoreProgress {
    applied: LogIndex,
    /// Numbers were asked for and have not come.
    measuring: bool,
    metrics: Option<Box<CoreMetrics>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum ShardProgress {
    #[default]
    Recovering,
    Booting(LogIndex),
    Failed(String),
}

/// A request whose results are known and not yet in force everywhere.
#[derive(Debug)]
struct Waiting {
    core: CoreId,
    ticket: Ticket,
    results: Vec<Result<(), Rejected>>,
    /// The last entry that it made.
    index: LogIndex,
    until: Instant,
}

impl ControlShard {
    /// A control shard over an engine in whatever phase it is, for a node of `cores` data cores.
    #[must_use]
    pub fn new(engine: Engine, cluster: Uuid, node: NodeRegistered, cores: u16) -> Self {
        let me = Voter { node: node.node, journal: engine.journal_id() };
        Self {
            engine,
            log: ClusterLog::new(LogSettings::alone(cluster, me)),
            shards: vec![ShardProgress::default(); usize::from(node.shards)],
            node,
            stage: Stage::Recovering,
            cores: vec![CoreProgress::default(); usize::from(cores)],
            writing: VecDeque::new(),
            unwritten: None,
            reading: None,
            waiting: VecDeque::new(),
            early: Vec::new(),
            published: LogIndex(0),
            serving: false,
            outputs: VecDeque::new(),
        }
    }

    /// Whether every shard of the node serves; if not, a sentence that says why.
    pub fn readiness(&self) -> Result<(), String> {
        match &self.stage {
            Stage::Recovering => return Err("the control journal is being recovered".to_owned()),
            Stage::Replaying { .. } => return Err("the cluster log is being replayed".to_owned()),
            Stage::Failed(reason) => return Err(reason.clone()),
            Stage::Leading => {}
        }
        for (number, shard) in self.shards.iter().enumerate() {
            match shard {
                ShardProgress::Recovering => return Err(format!("shard {number} is recovering")),
                ShardProgress::Failed(reason) => {
                    return Err(format!("shard {number} has failed: {reason}"));
                }
                ShardProgress::Booting(index) if self.in_force() < *index => {
                    return Err(format!("shard {number} is opening its partitions"));
                }
                ShardProgress::Booting(_) => {}
            }
        }
        Ok(())
    }

    /// Whether nothing more is to be waited for: every shard serves or has failed, and one serves.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let serves = |shard: &ShardProgress| matches!(shard, ShardProgress::Booting(index) if *index <= self.in_force());
        let has_failed = |shard: &ShardProgress| matches!(shard, ShardProgress::Failed(_));
        matches!(self.stage, Stage::Leading)
            && self.shards.iter().any(serves)
            && self.shards.iter().all(|shard| serves(shard) || has_failed(shard))
    }

    /// Shards that will not serve, and why.
    pub fn failed_shards(&self) -> impl Iterator<Item = (ShardId, &str)> {
        self.shards.iter().zip(0..).filter_map(|(shard, number)| match shard {
            ShardProgress::Failed(reason) => Some((ShardId(number), reason.as_str())),
            ShardProgress::Recovering | ShardProgress::Booting(_) => None,
        })
    }

    /// Why the node cannot serve at all, if so.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        match &self.stage {
            Stage::Failed(reason) => Some(reason),
            Stage::Recovering | Stage::Replaying { .. } | Stage::Leading => None,
        }
    }

    /// The committed state.
    #[must_use]
    pub fn state(&self) -> Arc<ClusterState> {
        self.log.snapshot()
    }

    /// Asks every data core for its numbers, unless it has been asked already.
    pub fn measure(&mut self) {
        for (number, core) in self.cores.iter_mut().enumerate() {
            if !core.measuring {
                core.measuring = true;
                let to = CoreId(number as u16);
                self.outputs.push_back(Output::Mail { to, mail: Mail::Measure });
            }
        }
    }

    /// Whether a core has yet to answer [`ControlShard::measure`].
    #[must_use]
    pub fn is_measuring(&self) -> bool {
        self.cores.iter().any(|core| core.measuring)
    }

    /// The newest numbers of each data core that ever told any.
    pub fn measured(&self) -> impl Iterator<Item = &CoreMetrics> {
        self.cores.iter().filter_map(|core| core.metrics.as_deref())
    }

    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    fn take_mail(&mut self, now: Now, mail: Mail) {
        match mail {
            Mail::Propose { core, ticket, proposals, validate_only } => {
                self.propose(now, (core, ticket), &proposals, validate_only);
            }
            Mail::Booted { shard, journal, boot } => self.boot(shard, journal, boot),
            Mail::Applied { core, version } => {
                let progress = &mut self.cores[usize::from(core.0)];
                progress.applied = progress.applied.max(version);
            }
            Mail::Failed { shard, reason } => {
                self.shards[usize::from(shard.0)] = ShardProgress::Failed(reason);
            }
            Mail::Measured(metrics) => {
                let progress = &mut self.cores[usize::from(metrics.core.0)];
                progress.measuring = false;
                progress.metrics = Some(metrics);
            }
            Mail::Ask { .. }
            | Mail::Answer { .. }
            | Mail::Proposed { .. }
            | Mail::Snapshot(_)
            | Mail::Serve
            | Mail::Measure => {
                panic!("the control core was sent mail for a data core: {mail:?}")
            }
        }
    }

    fn propose(
        &mut self,
        now: Now,
        (core, ticket): (CoreId, Ticket),
        proposals: &[Proposal],
        validate_only: bool,
    ) {
        let mut index = LogIndex(0);
        let mut results = Vec::with_capacity(proposals.len());
        for proposal in proposals {
            results.push(if validate_only {
                self.log.proposed().plan(proposal).map(|_| ())
            } else {
                self.log.propose(proposal).map(|entry| index = entry)
            });
        }
        let until = now.mono.plus(APPLY_WAIT);
        self.waiting.push_back(Waiting { core, ticket, results, index, until });
    }

    /// A shard has recovered: from now on it leads its partitions in a new epoch.
    fn boot(&mut self, shard: ShardId, journal: u64, boot: Incarnation) {
        let proposal = Proposal::BootShard { node: self.node.node, shard, journal, boot };
        self.shards[usize::from(shard.0)] = match self.log.propose(&proposal) {
            Ok(index) => ShardProgress::Booting(index),
            Err(Rejected::NotLeader) => {
                let booted = Mail::Booted { shard, journal, boot };
                return self.early.push(booted);
            }
            Err(rejected) => ShardProgress::Failed(rejected.to_string()),
        };
    }

    fn advance_stage(&mut self, now: Now) {
        match self.engine.phase() {
            Phase::Recovering => {}
            Phase::Poisoned(cause) => self.stage = Stage::Failed(cause.to_string()),
            Phase::Halted(verdict) => self.stage = Stage::Failed(verdict.to_string()),
            Phase::Failed(error) => self.stage = Stage::Failed(error.to_string()),
            Phase::Open => {
                if let Stage::Recovering = self.stage {
                    self.open_log(now);
                }
            }
        }
        if let Stage::Replaying { next } = self.stage
            && let Err(reason) = self.replay(now, next)
        {
            self.stage = Stage::Failed(reason);
        }
    }

    /// Makes the log's partition ready: created once, its epoch the number of this start.
    fn open_log(&mut self, now: Now) {
        let epoch = Epoch(self.engine.incarnation().0);
        let opened = self
            .engine
            .create_partition(now, CLUSTER_LOG, PartitionSettings::default())
            .and_then(|_| self.engine.open_epoch(now, CLUSTER_LOG, epoch));
        match opened {
            Ok(_) => {
                self.engine.end_roll_call();
                self.stage = Stage::Replaying { next: Offset::ZERO };
            }
            Err(Refused::Busy) => {}
            Err(refused) => self.stage = Stage::Failed(format!("the cluster log: {refused}")),
        }
    }

    /// Reads the log from `next` on and replays it; leads once all of it was seen.
    fn replay(&mut self, now: Now, mut next: Offset) -> Result<(), String> {
        let mut spans = Vec::new();
        if self.reading.is_some() {
            let Some((_, read)) = self.engine.poll_read() else { return Ok(()) };
            self.reading = None;
            let read = read.map_err(|error| format!("the cluster log: {error}"))?;
            let bytes = &Page::bytes(&read.pages)[read.from..read.from + read.len];
            next = replay_batches(&mut self.log, bytes, next)?;
            self.engine.recycle(read.pages);
        }
        loop {
            spans.clear();
            match self.engine.read(CLUSTER_LOG, next, REPLAY_BYTES, true, &mut spans) {
                Ok(Read::Tail { .. }) => {
                    for span in &spans {
                        let bytes = self.engine.arena().get(*span).expect("read in this turn");
                        next = replay_batches(&mut self.log, bytes, next)?;
                    }
                }
                Ok(Read::Disk(token)) => {
                    self.reading = Some(token);
                    self.stage = Stage::Replaying { next };
                    return Ok(());
                }
                Ok(Read::Empty) => {
                    self.lead(now);
                    return Ok(());
                }
                Err(ReadError::Busy) => return Ok(()),
                Err(error) => return Err(format!("the cluster log: {error}")),
            }
        }
    }

    fn lead(&mut self, now: Now) {
        self.stage = Stage::Leading;
        self.log.start(now.mono, self.engine.incarnation(), LogIndex(0));
        let registered = self.log.propose(&Proposal::RegisterNode(self.node.clone()));
        if let Err(rejected) = registered {
            self.stage = Stage::Failed(format!("this node cannot join its cluster: {rejected}"));
        }
        for mail in core::mem::take(&mut self.early) {
            self.take_mail(now, mail);
        }
    }

    /// Gives entries to the journal while it has room.
    fn write_entries(&mut self, now: Now) {
        self.log.turn(now.mono);
        while let Some((number, write)) = self.unwritten.take().or_else(|| self.log.poll_write()) {
            let Write::Entry(_, bytes) = &write else {
                panic!("a node without peers needs no ballot: {write:?}")
            };
            let mut builder = BatchBuilder::new(now.wall.0);
            builder.push(now.wall.0, None, Some(bytes), &[]);
            let built = builder.build();
            let batch = Batch::parse(&built).expect("a batch just built parses");
            match self.engine.append(now, CLUSTER_LOG, batch) {
                Ok(appended) => self.writing.push_back((number, appended.seq)),
                Err(AppendError::Busy) => {
                    self.unwritten = Some((number, write));
                    return;
                }
                Err(error) => {
                    self.stage = Stage::Failed(format!("the cluster log: {error}"));
                    return;
                }
            }
        }
    }

    /// Commits what became durable and sends the state that results to every core.
    fn publish(&mut self, now: Now) {
        while let Some((id, durable)) = self.engine.poll_durable() {
            self.engine.commit(id, Committed(durable.0));
        }
        let durable = self.engine.durable_seq();
        while let Some((number, seq)) = self.writing.front().copied() {
            if durable < seq {
                break;
            }
            self.writing.pop_front();
            self.log.durable(now.mono, number);
        }
        if self.published < self.log.committed() {
            self.published = self.log.committed();
            for core in 0..self.cores.len() {
                let mail = Mail::Snapshot(self.log.snapshot());
                self.outputs.push_back(Output::Mail { to: CoreId(core as u16), mail });
            }
        }
    }

    /// Lets the data cores answer clients, once all of the node is as far as it will get.
    fn begin_serving(&mut self) {
        if self.serving || !self.is_settled() {
            return;
        }
        self.serving = true;
        for core in 0..self.cores.len() {
            self.outputs.push_back(Output::Mail { to: CoreId(core as u16), mail: Mail::Serve });
        }
    }

    /// Answers requests whose results are in force everywhere, or have waited long enough.
    fn settle_waiting(&mut self, now: Now) {
        let in_force = self.in_force();
        while let Some(first) = self.waiting.front() {
            let committed = first.index <= self.log.committed();
            if !(committed && (first.index <= in_force || first.until <= now.mono)) {
                return;
            }
            if let Some(Waiting { core, ticket, results, .. }) = self.waiting.pop_front() {
                let mail = Mail::Proposed { ticket, results };
                self.outputs.push_back(Output::Mail { to: core, mail });
            }
        }
    }

    /// The newest version that every core has put in force.
    fn in_force(&self) -> LogIndex {
        self.cores.iter().map(|core| core.applied).min().unwrap_or_default()
    }
}

impl Machine for ControlShard {
    type Mail = Mail;

    fn handle(&mut self, now: Now, input: Input<'_, Mail>) {
        match input {
            Input::Mail { from: _, mail } => self.take_mail(now, mail),
            Input::Stop => {
                self.engine.close();
            }
            other => panic!("the control core has no Kafka clients: {other:?}"),
        }
    }

    fn done(&mut self, now: Now, done: Done) {
        self.engine.done(now, done);
    }

    fn turn(&mut self, now: Now) {
        loop {
            self.advance_stage(now);
            if let Stage::Leading = self.stage {
                self.write_entries(now);
            }
            let phase = self.engine.phase().clone();
            self.engine.turn(now);
            // What follows from a new phase must not wait for the next event: none may come.
            if phase == *self.engine.phase() {
                break;
            }
        }
        self.publish(now);
        self.begin_serving();
        self.settle_waiting(now);
        while let Some(op) = self.engine.poll_op() {
            self.outputs.push_back(Output::Disk(op));
        }
    }

    fn poll(&mut self) -> Option<Output<Mail>> {
        self.outputs.pop_front()
    }

    fn next_timeout(&self) -> Option<Instant> {
        // What is not committed waits for the journal, however long that takes.
        let committed = |first: &&Waiting| first.index <= self.log.committed();
        let overdue = self.waiting.front().filter(committed).map(|first| first.until);
        [self.engine.next_timeout(), self.log.next_timeout(), overdue].into_iter().flatten().min()
    }

    fn stopped(&self) -> bool {
        self.engine.is_closed()
    }

    fn arena(&self, shard: ShardId) -> &Arena {
        assert_eq!(shard, ShardId::CONTROL, "the control core hosts the control shard alone");
        self.engine.arena()
    }
}

/// Replays the entries of whole batches from offset `next` on; the offset behind them.
pub fn replay_batches(
    log: &mut ClusterLog,
    mut bytes: &[u8],
    mut next: Offset,
) -> Result<Offset, String> {
    while !bytes.is_empty() {
        let (batch, rest) = Batch::parse_prefix(bytes).map_err(|error| error.to_string())?;
        bytes = rest;
        if batch.base_offset() < next {
            continue;
        }
        for record in batch::records(batch.records()) {
            let entry = record.value.ok_or("the cluster log has a record without an entry")?;
            log.replay(entry).map_err(|error| error.to_string())?;
        }
        next = batch.end_offset();
    }
    Ok(next)
}
