//! The control shard: an engine that holds the cluster log, and this node's part in it.
//!
//! ```text
//!   recovering ─▶ replaying ─▶ running ───────────────────────────────────────────────▶ failed
//!                              wish ─▶ entry, here or by the leader ─▶ committed
//!                                                  └─▶ snapshot to every core ─▶ all applied ─▶ Proposed
//! ```
//! The log is one partition whose records are the entries as they were written: a later record of
//! one index takes the place of the earlier one and of all behind it. So nothing is ever cut off,
//! and the engine may take every record for committed. Ballots are another partition, the last one
//! counts; a node without peers has none.
//!
//! It is a [`Machine`] like a data core, without connections: glommio runs it in the server, the
//! simulator runs it in tests.

mod replaying;
mod settings;
mod stewarding;
mod wishes;

use std::collections::VecDeque;
use std::sync::Arc;

use base::batch::BatchBuilder;
use base::{
    Arena, Batch, Committed, CoreId, Done, Input, Instant, Machine, NodeId, Now, Offset, Output,
    PartitionId, Seq, ShardId, TopicNumber,
};
use engine::{AppendError, Engine, ReadToken};
use replication::cluster_log::{Write, WriteNumber};
use replication::command::NodeRegistered;
use replication::control_message::{Fence, Slow};
use replication::{
    Boot, ClusterLog, ClusterState, ControlMessage, LogIndex, Proposal, Steward, Uuid,
};

pub use self::replaying::replay_batches;
pub use self::settings::ControlSettings;
pub use self::stewarding::News;
use self::wishes::{Asker, Request};
use crate::mail::Mail;
use crate::metrics::CoreMetrics;

/// The partition of the entries. Topics are numbered from 1.
pub const CLUSTER_LOG: PartitionId = PartitionId::new(TopicNumber(0), 0);
/// The partition of the ballots.
pub const BALLOTS: PartitionId = PartitionId::new(TopicNumber(0), 1);

/// See the module's description.
#[derive(Debug)]
pub struct ControlShard {
    engine: Engine,
    log: ClusterLog,
    steward: Steward,
    settings: ControlSettings,
    stage: Stage,
    /// Data cores by number.
    cores: Vec<CoreProgress>,
    /// Shards of this node by number.
    shards: Vec<ShardProgress>,
    /// The cores that host them, once they have started.
    homes: Vec<Option<CoreId>>,
    /// Writes given to the journal, and their frames, oldest first.
    writing: VecDeque<(WriteNumber, Seq)>,
    /// A write that the journal had no room for.
    unwritten: Option<(WriteNumber, Write)>,
    requests: VecDeque<Request>,
    next_ticket: u64,
    /// The part of the log that is read from the disk while it is replayed.
    reading: Option<ReadToken>,
    published: LogIndex,
    /// The data cores were told to serve.
    serving: bool,
    /// Fences that came before the state which they were drawn up in.
    fences: Vec<Fence>,
    /// For operators, the oldest first.
    news: VecDeque<News>,
    outputs: VecDeque<Output<Mail>>,
}

#[derive(Debug)]
enum Stage {
    Recovering,
    Replaying {
        partition: PartitionId,
        next: Offset,
    },
    Running,
    /// It takes part no more: what it wrote is being sealed.
    Stopping,
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
    /// Its start is not yet known to the cluster.
    Asking,
    Booting(LogIndex),
    Failed(String),
}

impl ControlShard {
    /// A control shard over an engine in whatever phase it is, for a node of `cores` data cores.
    #[must_use]
    pub fn new(engine: Engine, cluster: Uuid, node: NodeRegistered, cores: u16) -> Self {
        Self::of_cluster(engine, ControlSettings::alone(cluster, node, cores))
    }

    /// A control shard of a cluster of several nodes.
    #[must_use]
    pub fn of_cluster(engine: Engine, settings: ControlSettings) -> Self {
        let mut shard = Self {
            log: ClusterLog::new(settings.of_log()),
            steward: settings.steward(),
            engine,
            shards: vec![ShardProgress::default(); usize::from(settings.node.shards)],
            homes: vec![None; usize::from(settings.node.shards)],
            stage: Stage::Recovering,
            cores: vec![CoreProgress::default(); usize::from(settings.cores)],
            writing: VecDeque::new(),
            unwritten: None,
            reading: None,
            requests: VecDeque::new(),
            next_ticket: 0,
            published: LogIndex(0),
            serving: false,
            fences: Vec::new(),
            news: VecDeque::new(),
            outputs: VecDeque::new(),
            settings,
        };
        let register = Proposal::RegisterNode(shard.settings.node.clone());
        shard.propose(Now::default(), Asker::Node, vec![register], false);
        shard
    }

    /// Whether every shard of the node serves; if not, a sentence that says why.
    pub fn readiness(&self) -> Result<(), String> {
        match &self.stage {
            Stage::Recovering => return Err("the control journal is being recovered".to_owned()),
            Stage::Replaying { .. } => return Err("the cluster log is being replayed".to_owned()),
            Stage::Stopping => return Err("the node is stopping".to_owned()),
            Stage::Failed(reason) => return Err(reason.clone()),
            Stage::Running if self.log.leader().is_none() && self.published == LogIndex(0) => {
                let why = "the cluster log has no leader: all of its voters are needed the first \
                           time, most of them later";
                return Err(why.to_owned());
            }
            Stage::Running => {}
        }
        for (number, shard) in self.shards.iter().enumerate() {
            match shard {
                ShardProgress::Recovering => return Err(format!("shard {number} is recovering")),
                ShardProgress::Asking => {
                    return Err(format!("shard {number} waits for the cluster log"));
                }
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

    /// What somebody waits for, by name, without what there is none of.
    pub fn in_hand(&self) -> impl Iterator<Item = (&'static str, usize)> {
        let own = [
            ("proposals", self.requests.len()),
            ("writes to the cluster log", self.writing.len()),
            ("writes without room", usize::from(self.unwritten.is_some())),
            ("outputs of the control core", self.outputs.len()),
        ];
        own.into_iter().filter(|(_, count)| 0 < *count)
    }

    /// Whether nothing more is to be waited for: every shard serves or has failed, and one serves.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let serves = |shard: &ShardProgress| matches!(shard, ShardProgress::Booting(index) if *index <= self.in_force());
        let has_failed = |shard: &ShardProgress| matches!(shard, ShardProgress::Failed(_));
        matches!(self.stage, Stage::Running)
            && self.shards.iter().any(serves)
            && self.shards.iter().all(|shard| serves(shard) || has_failed(shard))
    }

    /// Shards that will not serve, and why.
    pub fn failed_shards(&self) -> impl Iterator<Item = (ShardId, &str)> {
        self.shards.iter().zip(0..).filter_map(|(shard, number)| match shard {
            ShardProgress::Failed(reason) => Some((ShardId(number), reason.as_str())),
            ShardProgress::Recovering | ShardProgress::Asking | ShardProgress::Booting(_) => None,
        })
    }

    /// Why the node cannot serve at all, if so.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        match &self.stage {
            Stage::Failed(reason) => Some(reason),
            Stage::Recovering | Stage::Replaying { .. } | Stage::Running | Stage::Stopping => None,
        }
    }

    /// The size of a file that the control journal cannot do without before the node serves, and that
    /// the disk had no room for.
    #[must_use]
    pub fn missing_file_bytes(&self) -> Option<u64> {
        let waits = !self.serving && self.unwritten.is_some();
        waits.then(|| self.engine.missing_bin_bytes()).flatten()
    }

    /// The committed state.
    #[must_use]
    pub fn state(&self) -> Arc<ClusterState> {
        self.log.snapshot()
    }

    /// Whether this node leads the cluster log.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.log.is_leader()
    }

    /// This node's part in the cluster log.
    #[must_use]
    pub fn log(&self) -> &ClusterLog {
        &self.log
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

    fn take_mail(&mut self, now: Now, from: CoreId, mail: Mail) {
        match mail {
            Mail::Propose { core, ticket, proposals, validate_only } => {
                self.propose(now, Asker::Core(core, ticket), proposals, validate_only);
            }
            Mail::Booted { shard, journal, boot } => {
                self.homes[usize::from(shard.0)] = Some(from);
                self.boot(now, shard, Boot { journal, boot });
            }
            Mail::Alive(vitals) => self.take_vitals(now, vitals),
            Mail::Replica { shard, event } => self.take_event(shard, event),
            Mail::Leave => self.steward.leave(),
            Mail::FromPeer { node, message } => self.take_message(now, node, message),
            Mail::PeerUp { node } => {
                self.log.link_up(now.mono, node);
                self.steward.peer_up(now.mono, node);
            }
            // What was asked of it is asked again in time.
            Mail::PeerDown { .. } => {}
            Mail::Applied { core, version } => {
                let progress = &mut self.cores[usize::from(core.0)];
                progress.applied = progress.applied.max(version);
            }
            Mail::Failed { shard, reason } => self.give_up_shard(now, shard, reason),
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
            | Mail::Fence { .. }
            | Mail::ToPeer { .. }
            | Mail::Notices(_)
            | Mail::Fault(_)
            | Mail::Measure => {
                panic!("the control core was sent mail for a data core: {mail:?}")
            }
        }
    }

    /// A shard has recovered: from now on it leads its partitions in a new epoch.
    fn boot(&mut self, now: Now, shard: ShardId, own: Boot) {
        let node = self.settings.node.node;
        self.shards[usize::from(shard.0)] = ShardProgress::Asking;
        self.steward.beat(now.mono, shard, own, Slow::default());
        let Boot { journal, boot } = own;
        let booted = Proposal::BootShard { node, shard, journal, boot };
        self.propose(now, Asker::Shard(shard), vec![booted], false);
    }

    fn take_message(&mut self, now: Now, from: NodeId, message: ControlMessage) {
        let Stage::Running = self.stage else { return };
        self.steward.hear(now.mono, from);
        match message {
            ControlMessage::Raft(message) => self.log.handle(now.mono, from, message),
            ControlMessage::Propose { ticket, command } => self.take_command(from, ticket, command),
            ControlMessage::Proposed { ticket, outcome } => {
                self.take_outcome(now, ticket, outcome);
            }
            message => self.take_steward_message(now, from, message),
        }
    }

    fn tell(&mut self, node: NodeId, message: ControlMessage) {
        let mail = Mail::ToPeer { node, message };
        self.outputs.push_back(Output::Mail { to: CoreId::PEERS, mail });
    }

    /// Gives ballots and entries to the journal while it has room.
    fn write_log(&mut self, now: Now) {
        while let Some((number, write)) = self.unwritten.take().or_else(|| self.log.poll_write()) {
            let (partition, bytes) = match &write {
                Write::Entry(_, bytes) => (CLUSTER_LOG, bytes.clone()),
                Write::Ballot(ballot) => (BALLOTS, ballot.encode()),
            };
            let mut builder = BatchBuilder::new(now.wall.0);
            builder.push(now.wall.0, None, Some(&bytes), &[]);
            let built = builder.build();
            let batch = Batch::parse(&built).expect("a batch just built parses");
            match self.engine.append(now, partition, batch) {
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

    /// Tells the log what became durable; whether anything did.
    fn harvest(&mut self, now: Now) -> bool {
        while let Some((id, durable)) = self.engine.poll_durable() {
            self.engine.commit(id, Committed(durable.0));
        }
        let durable = self.engine.durable_seq();
        let held = self.writing.iter().take_while(|(_, seq)| *seq <= durable).count();
        let newest = self.writing.drain(..held).next_back();
        if let Some((number, _)) = newest {
            self.log.durable(now.mono, number);
        }
        newest.is_some()
    }

    /// Sends the committed state to every core, and what the log says to other nodes.
    fn publish(&mut self) {
        if self.published < self.log.committed() {
            self.published = self.log.committed();
            for core in 0..self.cores.len() {
                let mail = Mail::Snapshot(self.log.snapshot());
                self.outputs.push_back(Output::Mail { to: CoreId(core as u16), mail });
            }
        }
        while let Some((node, message)) = self.log.poll_message() {
            self.tell(node, ControlMessage::Raft(message));
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

    /// The newest version that every core has put in force.
    fn in_force(&self) -> LogIndex {
        self.cores.iter().map(|core| core.applied).min().unwrap_or_default()
    }
}

impl Machine for ControlShard {
    type Mail = Mail;

    fn handle(&mut self, now: Now, input: Input<'_, Mail>) {
        match input {
            Input::Mail { from, mail } => self.take_mail(now, from, mail),
            Input::Stop => {
                if !matches!(self.stage, Stage::Failed(_)) {
                    self.stage = Stage::Stopping;
                }
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
            if let Stage::Running = self.stage {
                self.log.turn(now.mono);
                self.advance_wishes(now);
                self.advance_steward(now);
                // What was just proposed goes out with the rest.
                self.log.turn(now.mono);
                self.write_log(now);
            }
            let phase = self.engine.phase().clone();
            self.engine.turn(now);
            // What follows from a new phase or a durable write must not wait for the next event:
            // none may come.
            if !self.harvest(now) && phase == *self.engine.phase() {
                break;
            }
        }
        self.publish();
        self.begin_serving();
        self.settle_requests(now);
        while let Some(op) = self.engine.poll_op() {
            self.outputs.push_back(Output::Disk(op));
        }
    }

    fn poll(&mut self) -> Option<Output<Mail>> {
        self.outputs.pop_front()
    }

    fn next_timeout(&self) -> Option<Instant> {
        let of_log = match self.stage {
            Stage::Running => {
                let steward =
                    self.steward.next_timeout().filter(|_| !self.settings.peers.is_empty());
                [self.log.next_timeout(), self.next_wish(), steward]
            }
            Stage::Recovering | Stage::Replaying { .. } | Stage::Stopping | Stage::Failed(_) => {
                [None; 3]
            }
        };
        of_log.into_iter().chain([self.engine.next_timeout()]).flatten().min()
    }

    fn stopped(&self) -> bool {
        self.engine.is_closed()
    }

    fn arena(&self, shard: ShardId) -> &Arena {
        assert_eq!(shard, ShardId::CONTROL, "the control core hosts the control shard alone");
        self.engine.arena()
    }
}
