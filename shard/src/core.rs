//! One data core: its shards, its connections, and the requests between them.
//!
//! ```text
//!  Received ─▶ session ─▶ serve ─┬─▶ own shard ──────────▶ reply queue ─▶ one send per turn
//!                                ├─▶ job ─▶ ask ─▶ mail ─▶ owner core
//!                                └─▶ job ─▶ proposal ────▶ control core
//! ```

mod flush;
mod groups;
mod in_hand;
mod mailroom;
mod peers;
mod snapshot;
mod vitals;

pub(crate) use self::snapshot::is_replicated;

use std::collections::VecDeque;
use std::sync::Arc;

use base::{
    Arena, ConnId, CoreId, Done, Input, Instant, Listener, Machine, Now, Output, ShardId, Token,
};
use engine::{Engine, Phase};
use net::{Outgoing, Session};
use replication::{ClusterState, LogIndex, Uuid};

use crate::connection::{Connection, Connections};
use crate::deadlines::Deadlines;
use crate::elections::Elections;
use crate::groups::Groups;
use crate::groups::settings::GroupSettings;
use crate::job::{Job, Part};
use crate::layout::Layout;
use crate::loss::Loss;
use crate::mail::Mail;
use crate::metrics::CoreMetrics;
use crate::notices::Notices;
use crate::peer::{Peering, Peers};
use crate::pool::Pool;
use crate::serve::ProducerIds;
use crate::shard::Shard;
use crate::slab::Slab;

/// See the module's description.
#[derive(Debug)]
pub struct Core {
    pub(crate) id: CoreId,
    pub(crate) layout: Arc<Layout>,
    pub(crate) settings: CoreSettings,
    pub(crate) state: Arc<ClusterState>,
    pub(crate) shards: Vec<Shard>,
    pub(crate) connections: Connections,
    pub(crate) peers: Peers,
    pub(crate) jobs: Slab<Job>,
    /// When jobs end by themselves.
    pub(crate) deadlines: Deadlines,
    pub(crate) groups: Groups,
    /// The state by which coordinators of groups were seated.
    pub(crate) seated_by: Arc<ClusterState>,
    /// Clients that wait for leaders to be chosen.
    pub(crate) elections: Elections,
    pub(crate) pool: Pool,
    /// Where answers are written before they are queued.
    pub(crate) out: Outgoing,
    /// Connections to look at when the turn ends.
    pub(crate) dirty: Vec<ConnId>,
    /// Connections whose next request waits for room.
    pub(crate) stalled: VecDeque<ConnId>,
    pub(crate) outputs: VecDeque<Output<Mail>>,
    /// Operations of the engines, which know their own tokens only.
    ops: Slab<(ShardId, Token)>,
    /// The newest snapshot is not yet in force on every open shard.
    pub(crate) unapplied: bool,
    pub(crate) producer_ids: ProducerIds,
    pub(crate) notices: Arc<Notices>,
    uuids_drawn: u64,
    /// Turns that have ended.
    pub(crate) turns: u64,
    /// When a request that is not verified yet wants the next turn.
    pub(crate) verifying: Option<Instant>,
    /// When the control core was last told that this core lives.
    vitals_shown: Option<Instant>,
    /// Every shard of the node has opened or failed: clients get answers.
    pub(crate) serving: bool,
    /// What is in hand is finished, nothing more is taken: else the log would never be sealed.
    pub(crate) stopping: bool,
}

/// What an operator may set for the request path.
#[derive(Clone, Debug)]
pub struct CoreSettings {
    /// Metadata of an unknown topic creates it (Kafka's `auto.create.topics.enable`).
    pub auto_create_topics: bool,
    /// Partitions of a topic that names no number (Kafka's `num.partitions`).
    pub default_partitions: u32,
    /// Largest request, bytes (Kafka's `socket.request.max.bytes`).
    pub request_bytes_max: u32,
    /// Most bytes in one answer to a fetch (Kafka's `fetch.max.bytes`).
    pub fetch_bytes_max: u32,
    /// How shards of other nodes are met; `None`: this node is alone.
    pub peering: Option<Peering>,
    pub groups: GroupSettings,
    /// Random bits, different at every start: what this core's topic ids are drawn from.
    pub seed: u128,
}

impl Core {
    /// A core with the engines of its shards, in whatever phase they are. `engines` is in the order
    /// of the shards' ids.
    #[must_use]
    pub fn new(
        id: CoreId,
        layout: Arc<Layout>,
        settings: CoreSettings,
        state: Arc<ClusterState>,
        engines: Vec<(ShardId, Engine)>,
    ) -> Self {
        let groups = Groups::new(settings.groups.clone(), settings.seed ^ u128::from(id.0));
        let replication = settings.peering.as_ref().map(|own| own.settings).unwrap_or_default();
        let shard = |(shard, engine)| Shard::new(shard, engine, replication);
        Self {
            id,
            layout,
            settings,
            groups,
            seated_by: Arc::clone(&state),
            state,
            shards: engines.into_iter().map(shard).collect(),
            connections: Connections::default(),
            peers: Peers::default(),
            jobs: Slab::default(),
            deadlines: Deadlines::default(),
            elections: Elections::default(),
            pool: Pool::default(),
            out: Outgoing::default(),
            dirty: Vec::with_capacity(256),
            stalled: VecDeque::new(),
            outputs: VecDeque::with_capacity(256),
            ops: Slab::default(),
            unapplied: false,
            producer_ids: ProducerIds::default(),
            notices: Arc::default(),
            uuids_drawn: 0,
            turns: 0,
            verifying: None,
            vitals_shown: None,
            serving: false,
            stopping: false,
        }
    }

    /// The engines, for reports and metrics.
    pub fn engines(&self) -> impl Iterator<Item = (ShardId, &Engine)> {
        self.shards.iter().map(|shard| (shard.id, &shard.engine))
    }

    /// The next loss of a partition of this core. Losses wait for the first snapshot, which knows the
    /// topics' names.
    pub fn poll_loss(&mut self) -> Option<Loss> {
        if self.state.version() == LogIndex(0) {
            return None;
        }
        let found = |shard: &mut Shard| shard.engine.poll_loss().map(|loss| (shard.id, loss));
        let (shard, (partition, halt)) = self.shards.iter_mut().find_map(found)?;
        let topic = self.state.topics().by_number(partition.topic);
        Some(Loss { shard, partition, topic: topic.map(|topic| Arc::clone(&topic.name)), halt })
    }

    /// Numbers for operators.
    #[must_use]
    pub fn metrics(&mut self, now: Now) -> CoreMetrics {
        CoreMetrics {
            core: self.id,
            shards: self.shards.iter_mut().map(|shard| shard.metrics(now)).collect(),
            jobs: self.jobs.len(),
            stalled: self.stalled.len(),
        }
    }

    pub(crate) fn shard_mut(&mut self, id: ShardId) -> Option<&mut Shard> {
        self.shards.iter_mut().find(|shard| shard.id == id)
    }

    /// Takes back what a job that is over held.
    pub(crate) fn give_job(&mut self, mut job: Job) {
        for part in job.parts.drain(..) {
            if let Part::Answered(answer) = part {
                self.drop_answer(answer);
            }
        }
        self.pool.give_parts(job.parts);
        if let Some(plan) = job.fetch {
            self.pool.give_wants(plan.wants);
        }
        self.pool.give_bytes(job.body);
    }

    /// A topic id: unique while the seed is.
    pub(crate) fn draw_uuid(&mut self) -> Uuid {
        self.uuids_drawn += 1;
        let drawn = u128::from(self.uuids_drawn) << 16 | u128::from(self.id.0);
        let mixed = (self.settings.seed
            ^ drawn.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
        .wrapping_mul(0xda94_2042_e4dd_58b5_2360_ed05_1fc6_5da5 | 1);
        // Version 4, variant 1: random.
        let marked = mixed & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
        Uuid(marked.to_be_bytes())
    }

    /// Takes a client in. Before the node serves it has to wait: told too early that a topic is
    /// unknown, or that one of two pipelined batches has no leader yet, clients give records up or
    /// send them twice under a new producer epoch.
    fn open(&mut self, conn: ConnId, listener: Listener) {
        let session = Session::new(self.settings.request_bytes_max);
        self.connections.insert(Connection::new(conn, listener, session));
        if !self.serving {
            self.stall(conn);
        }
    }

    fn start_serving(&mut self) {
        self.serving = true;
    }

    fn start_stopping(&mut self) {
        self.stopping = true;
        for shard in &mut self.shards {
            shard.engine.close();
        }
    }

    /// Tells the control core how the opening of an engine ended, and how its service did.
    fn report_phase(&mut self, index: usize) {
        let shard = &mut self.shards[index];
        let phase = shard.engine.phase();
        if shard.told.as_ref() == Some(phase) {
            return;
        }
        if *phase == Phase::Open && !shard.engine.has_begun() {
            return shard.engine.announce();
        }
        shard.told = Some(phase.clone());
        let mail = match phase {
            Phase::Recovering => return,
            Phase::Open => Mail::Booted {
                shard: shard.id,
                journal: shard.engine.journal_id(),
                boot: shard.engine.incarnation(),
            },
            Phase::Poisoned(cause) => Mail::Failed { shard: shard.id, reason: cause.to_string() },
            Phase::Halted(verdict) => Mail::Failed { shard: shard.id, reason: verdict.to_string() },
            Phase::Failed(error) => Mail::Failed { shard: shard.id, reason: error.to_string() },
        };
        self.outputs.push_back(Output::Mail { to: self.layout.control, mail });
    }

    fn emit_ops(&mut self) {
        for shard in &mut self.shards {
            while let Some(mut op) = shard.engine.poll_op() {
                let own = op.token();
                *op.token_mut() = self.ops.insert((shard.id, own)).into();
                self.outputs.push_back(Output::Disk(op));
            }
        }
    }
}

impl Machine for Core {
    type Mail = Mail;

    fn handle(&mut self, now: Now, input: Input<'_, Mail>) {
        match input {
            Input::Opened { conn, listener: Listener::Peer(shard) } => self.peer_came(conn, shard),
            Input::Opened { conn, listener } => self.open(conn, listener),
            Input::Dialed { dial, result } => self.dialled(now, dial, result),
            Input::Received { conn, bytes } => {
                if !self.hear_peer(now, conn, bytes) && !self.stopping {
                    self.receive(now, conn, bytes);
                }
            }
            Input::Sent { conn, pieces, ok: _ } => {
                self.sent_to_peer(conn);
                self.sent(conn, pieces);
            }
            Input::Closed { conn } => {
                if !self.peer_left(now, conn) {
                    self.closed(conn);
                }
            }
            Input::Mail { from: _, mail } => self.deliver(now, mail),
            Input::Stop => self.start_stopping(),
        }
    }

    fn done(&mut self, now: Now, mut done: Done) {
        let (shard, own) = self.ops.remove(done.token().into()).expect("a completion comes once");
        *done.token_mut() = own;
        self.shard_mut(shard).expect("shards stay on their core").done(now, done);
    }

    fn turn(&mut self, now: Now) {
        // Whatever makes entries comes before the engines seal: an entry that came later would lie
        // in the open frame until something else happens.
        if !self.stopping {
            let Self { shards, pool, .. } = self;
            for shard in shards {
                shard.retry_held(now, pool);
                shard.take_up_appends(now, pool);
            }
            self.continue_applying(now);
            self.resume_stalled(now);
            self.turn_groups(now);
        }
        for index in 0..self.shards.len() {
            self.shards[index].turn(now, &mut self.pool);
            self.report_phase(index);
        }
        self.talk_to_peers(now);
        self.show_vitals(now);
        self.collect_answers(now);
        self.end_overdue_jobs(now);
        self.flush();
        self.emit_ops();
        self.turns += 1;
    }

    fn poll(&mut self) -> Option<Output<Mail>> {
        self.outputs.pop_front()
    }

    fn next_timeout(&self) -> Option<Instant> {
        let job = self.deadlines.first();
        let peers = self.peers.look_at.filter(|_| !self.stopping);
        let groups = self.groups.next_timeout().filter(|_| !self.stopping);
        let own = [job, self.verifying, peers, groups, self.vitals_due()].into_iter().flatten();
        self.shards.iter().filter_map(Shard::next_timeout).chain(own).min()
    }

    fn stopped(&self) -> bool {
        self.shards.iter().all(|shard| shard.engine.is_closed())
    }

    fn arena(&self, shard: ShardId) -> &Arena {
        let found = self.shards.iter().find(|own| own.id == shard);
        found.expect("an operation names a shard of its core").engine.arena()
    }
}

#[cfg(test)]
mod tests {
    use base::NodeId;
    use net::ReplyTo;
    use net::api::api_versions;

    use super::*;
    use crate::layout::Address;

    const CONN: ConnId = ConnId { slot: 0, generation: 0 };

    fn core() -> Core {
        let address = Address { host: "localhost".into(), port: 9092 };
        let layout = Layout {
            node: NodeId(0),
            cluster_id: "c".into(),
            shard_cores: Vec::new(),
            control: CoreId::CONTROL,
            node_address: address.clone(),
            core_address: address,
            rack: None,
        };
        let settings = CoreSettings {
            auto_create_topics: true,
            default_partitions: 1,
            request_bytes_max: 1 << 20,
            fetch_bytes_max: 1 << 20,
            peering: None,
            groups: GroupSettings::default(),
            seed: 1,
        };
        let state = Arc::new(ClusterState::new(Uuid([1; 16])));
        Core::new(CoreId(0), Arc::new(layout), settings, state, Vec::new())
    }

    fn request() -> Outgoing {
        let mut request = Outgoing::default();
        let to = ReplyTo { version: 0, correlation_id: 7 };
        request.request(to, None, api_versions::Request::default());
        request
    }

    fn outputs(core: &mut Core) -> Vec<Output<Mail>> {
        core.turn(Now::default());
        core::iter::from_fn(|| core.poll()).collect()
    }

    #[test]
    fn a_client_that_comes_before_the_node_serves_is_answered_when_it_does() {
        let mut core = core();
        let now = Now::default();
        core.handle(now, Input::Opened { conn: CONN, listener: Listener::Node });
        core.handle(now, Input::Received { conn: CONN, bytes: request().bytes() });
        assert!(matches!(outputs(&mut core)[..], [Output::Pause(CONN)]));
        assert!(outputs(&mut core).is_empty());
        core.handle(now, Input::Mail { from: CoreId::CONTROL, mail: Mail::Serve });
        let served = outputs(&mut core);
        assert!(served.iter().any(|output| matches!(output, Output::Resume(CONN))), "{served:?}");
        assert!(served.iter().any(|output| matches!(output, Output::Send(_))), "{served:?}");
    }

    /// Clients under way would keep the log from ever being sealed.
    #[test]
    fn a_core_that_stops_takes_no_more_requests() {
        let mut core = core();
        let now = Now::default();
        core.handle(now, Input::Mail { from: CoreId::CONTROL, mail: Mail::Serve });
        core.handle(now, Input::Opened { conn: CONN, listener: Listener::Node });
        core.handle(now, Input::Received { conn: CONN, bytes: request().bytes() });
        assert!(matches!(outputs(&mut core)[..], [Output::Send(_)]));
        core.handle(now, Input::Stop);
        core.handle(now, Input::Received { conn: CONN, bytes: request().bytes() });
        assert!(outputs(&mut core).is_empty());
    }
}
