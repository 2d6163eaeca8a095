//! A whole node: data cores, control core, and clients that speak Kafka's protocol.
//!
//! ```text
//!   suppliers, readers, admins ─bytes─▶ wire ─▶ cores ◀─mail─▶ control core
//!            ▲                           │        │                │
//!            └────── answers ◀───────────┘        └──── disk ──────┘
//!            └─▶ ledger
//! ```
//! Clients know nothing but what the protocol tells them; the world looks inside only to choose a
//! core to connect to, and to see whether what was acked is in the cluster's state after a start.

mod admin;
mod blueprint;
mod catalogue;
mod line;
mod machine;
mod reader;
mod supplier;
mod wire;

use std::collections::BTreeSet;
use std::time::Duration;

use base::{Instant, Listener, Offset, PartitionId, Seq, ShardId};
use engine::journal::Touched;
use engine::{Engine, Phase as EnginePhase, Planted};
use replication::ClusterState;

use self::admin::Admin;
use self::blueprint::Blueprint;
use self::catalogue::{Catalogue, Stay};
use self::machine::NodeMachine;
use self::reader::Reader;
use self::supplier::Supplier;
use self::wire::Wire;
use crate::host::Host;
use crate::knobs::Knobs;
use crate::ledger::Ledger;
use crate::lives::{Phase, World};
use crate::producer;
use crate::random::Random;
use crate::violation::{Checker, Violation};
use crate::worlds::engine::reserve_pages;

/// A client that waits longer for an answer connects anew.
const CLIENT_PATIENCE: Duration = Duration::from_secs(40);
/// Nothing may be in hand for longer once all clients have gone: no request may wait so long.
const REST_AFTER: Duration = Duration::from_secs(60);

/// See the module's description.
#[derive(Debug)]
pub struct NodeWorld {
    knobs: Knobs,
    random: Random,
    blueprint: Blueprint,
    wire: Wire,
    ledger: Ledger,
    catalogue: Catalogue,
    admin: Admin,
    suppliers: Vec<Supplier>,
    readers: Vec<Reader>,
    producer_ids: BTreeSet<i64>,
    last_look: bool,
    /// When all clients had seen everything, and left.
    left_at: Option<Instant>,
    /// The node has been asked to stop: it is ready no more, and still answers.
    stopping: bool,
    fresh_ack: bool,
    /// A batch was refused for lack of space, or so it seems.
    full: bool,
    beyond: bool,
}

/// What clients act on.
struct Scene<'a> {
    host: &'a mut Host,
    node: &'a mut NodeMachine,
    wire: &'a mut Wire,
    ledger: &'a mut Ledger,
    catalogue: &'a mut Catalogue,
    random: &'a mut Random,
    producer_ids: &'a mut BTreeSet<i64>,
    fresh_ack: &'a mut bool,
    full: &'a mut bool,
    reset_rate: u64,
    last_look: bool,
    beyond: bool,
}

impl Scene<'_> {
    /// A core and port that a client would use for a partition: mostly where it is led.
    fn place_for(&mut self, partition: PartitionId) -> (usize, Listener) {
        let anywhere = self.random.below(self.node.cores.len() as u64) as usize;
        if self.random.chance(400_000) {
            return (anywhere, Listener::Node);
        }
        let state = self.node.control.state();
        let topic = self.catalogue.topic(partition).map(|topic| topic.name.as_str());
        let topic = topic.and_then(|name| state.topics().by_name(name));
        let led = topic.and_then(|topic| topic.partitions.get(partition.index as usize));
        let shard = led.and_then(|partition| Some(partition.leader?.placement.shard));
        match shard.filter(|_| self.random.chance(950_000)) {
            Some(shard) => (self.node.core_of(shard), Listener::Core(shard)),
            None => (anywhere, Listener::Node),
        }
    }

    fn loses_connection(&mut self) -> bool {
        !self.last_look && self.random.chance(self.reset_rate)
    }

    fn acked(&mut self) {
        *self.fresh_ack = true;
    }
}

impl NodeWorld {
    /// A world in which nothing has happened yet.
    #[must_use]
    pub fn new(knobs: &Knobs, random: &mut Random, planted: Planted) -> Self {
        let mut random = random.fork();
        let mut ledger = Ledger::default();
        let catalogue = Catalogue::new(knobs, &mut random, &mut ledger);
        let producers = producer::crowd(knobs, &mut random, &catalogue.partitions());
        Self {
            blueprint: Blueprint::draw(knobs, &mut random, planted),
            wire: Wire::new(knobs.net_us, random.fork()),
            knobs: knobs.clone(),
            ledger,
            catalogue,
            admin: Admin::default(),
            suppliers: producers.into_iter().map(Supplier::new).collect(),
            readers: (0..knobs.consumers.max(1)).map(|_| Reader::default()).collect(),
            producer_ids: BTreeSet::new(),
            last_look: false,
            left_at: None,
            stopping: false,
            fresh_ack: false,
            full: false,
            beyond: false,
            random,
        }
    }

    /// Splits the world into its clients and what they act on.
    fn cast<'a>(
        &'a mut self,
        host: &'a mut Host,
        node: &'a mut NodeMachine,
    ) -> (Scene<'a>, &'a mut Admin, &'a mut [Supplier], &'a mut [Reader]) {
        let scene = Scene {
            host,
            node,
            wire: &mut self.wire,
            ledger: &mut self.ledger,
            catalogue: &mut self.catalogue,
            random: &mut self.random,
            producer_ids: &mut self.producer_ids,
            fresh_ack: &mut self.fresh_ack,
            full: &mut self.full,
            reset_rate: self.knobs.reset,
            last_look: self.last_look,
            beyond: self.beyond,
        };
        (scene, &mut self.admin, &mut self.suppliers, &mut self.readers)
    }

    fn bytes_max(&self) -> u64 {
        let data = self.blueprint.engines.first().expect("a node has shards");
        u64::from(data.journal.max_payload_bytes()) / 2
    }

    /// What was acked about topics is in the state that the node came back with.
    fn check_topics(&self, node: &NodeMachine) -> Result<(), Violation> {
        let state = node.control.state();
        for topic in &self.catalogue.topics {
            let known = state.topics().by_name(&topic.name);
            let right = match topic.stay {
                Stay::There => {
                    known.is_some_and(|known| known.partitions.len() == topic.partitions as usize)
                }
                Stay::Gone => known.is_none(),
                // Asked for, perhaps in an earlier life, and not answered.
                Stay::Wanted | Stay::Coming | Stay::Unwanted | Stay::Going => true,
            };
            if !right {
                let what = format!("{topic:?} came back as {known:?}");
                return Err(Violation::new(Checker::Durable, what));
            }
        }
        Ok(())
    }

    /// What a lying drive lost is beyond anyone's knowledge; what the node names as damaged is lost
    /// loudly.
    fn excuse_losses(&mut self, node: &NodeMachine) {
        let state = node.control.state();
        let damaged = |engine: &Engine| {
            engine.recovery_report().is_some_and(|report| !report.damage.is_empty())
        };
        if node.engines().any(|(_, engine)| damaged(engine)) {
            self.ledger.forgive_deletions();
        }
        for (shard, engine) in node.engines() {
            let report = engine.recovery_report();
            let all = report.is_some_and(|report| {
                report.damage.iter().any(|damage| damage.touched == Touched::All)
            });
            for ours in self.catalogue.partitions() {
                let Some((led_by, theirs)) = locate(&state, &self.catalogue, ours) else {
                    self.ledger.excuse_tail(ours, Offset::ZERO);
                    continue;
                };
                if led_by == shard && (all || 0 < self.knobs.lying_flush) {
                    let end = engine.log_end(theirs).map_or(Offset::ZERO, |end| end.0);
                    self.ledger.excuse_tail(ours, end);
                }
                if led_by == shard && (all || engine.halt(theirs).is_some()) {
                    self.ledger.declare_loss(ours);
                }
            }
        }
    }

    /// Someone deletes everything, since the disk is full: from then on batches must be taken.
    fn make_space(&mut self, host: &mut Host, node: &mut NodeMachine) {
        let (mut scene, admin, ..) = self.cast(host, node);
        for partition in scene.catalogue.partitions() {
            let end = scene.ledger.end(partition);
            admin.delete_records(&mut scene, partition, end);
        }
        self.full = false;
    }

    fn note_engines(&mut self, node: &NodeMachine) -> Result<(), Violation> {
        for (shard, engine) in node.engines() {
            let configs = &mut self.blueprint.engines;
            let config = configs.iter_mut().find(|config| config.journal.shard == shard);
            let config = config.expect("every shard has a configuration");
            config.activated |= Seq(0) < engine.durable_seq();
            if let Some((partition, halt)) = engine.halted().next()
                && !self.beyond
            {
                let what = format!("{partition} of shard {shard} is halted: {halt}");
                return Err(Violation::new(Checker::Halt, what));
            }
        }
        Ok(())
    }

    fn disturb(&mut self, host: &mut Host, node: &NodeMachine) {
        if self.random.chance(self.knobs.delete_partition) {
            self.catalogue.replace_one(&self.knobs, &mut self.random, &mut self.ledger);
        }
        if self.random.chance(self.knobs.clock_step) {
            host.step_clock(self.random.below(7_200_000) as i64 - 3_600_000);
        }
        if self.random.chance(self.knobs.bit_rot) {
            let sealed = node.engines().all(|(_, engine)| engine.is_closed());
            let journal_too = self.fresh_ack && sealed;
            self.fresh_ack &= !journal_too;
            host.rot(|kind| journal_too || matches!(kind, base::FileKind::Bin(_)));
        }
    }
}

impl World for NodeWorld {
    type Machine = NodeMachine;

    fn reserve_pages(&self) -> u64 {
        self.blueprint.engines.iter().map(reserve_pages).sum()
    }

    fn boot(&mut self, host: &mut Host) -> NodeMachine {
        self.beyond |= 0 < host.disk.injected().beyond;
        self.blueprint.settings.seed = u128::from(self.random.draw());
        NodeMachine::start(&self.blueprint, &host.files(), self.random.fork())
    }

    fn phase(&self, node: &NodeMachine) -> Phase {
        if let Some(reason) = node.control.failure() {
            return Phase::Stopped(reason.to_owned());
        }
        for (shard, engine) in node.engines() {
            match engine.phase() {
                EnginePhase::Recovering | EnginePhase::Open => {}
                EnginePhase::Poisoned(cause) => return stopped(shard, cause),
                EnginePhase::Halted(verdict) => return stopped(shard, verdict),
                EnginePhase::Failed(error) => return stopped(shard, error),
            }
        }
        if let Some((shard, reason)) = node.control.failed_shards().next() {
            return stopped(shard, reason);
        }
        let serves = self.stopping || node.control.readiness().is_ok();
        if serves { Phase::Open } else { Phase::Recovering }
    }

    fn waits_for(&self, node: &NodeMachine) -> Option<String> {
        node.control.readiness().err()
    }

    fn opened(&mut self, host: &mut Host, node: &mut NodeMachine) -> Result<(), Violation> {
        self.beyond |= 0 < host.disk.injected().beyond;
        if self.beyond {
            self.excuse_losses(node);
            return Ok(());
        }
        self.check_topics(node)
    }

    fn observe(&mut self, host: &mut Host, node: &mut NodeMachine) -> Result<(), Violation> {
        self.beyond |= 0 < host.disk.injected().beyond;
        self.ledger.tell_time(host.now());
        self.note_engines(node)?;
        let now = host.now();
        self.wire.turn(now, node, &mut host.trace)?;
        let (mut scene, admin, suppliers, readers) = self.cast(host, node);
        admin.observe(&mut scene)?;
        for supplier in suppliers {
            supplier.observe(&mut scene)?;
        }
        for reader in readers {
            reader.observe(&mut scene)?;
        }
        host.expect(self.wire.next_arrival());
        Ok(())
    }

    fn step(&mut self, host: &mut Host, node: &mut NodeMachine) -> Result<Duration, Violation> {
        self.disturb(host, node);
        let knobs = self.knobs.clone();
        let bytes_max = self.bytes_max();
        let (mut scene, admin, suppliers, readers) = self.cast(host, node);
        admin.step(&mut scene);
        if scene.random.chance(knobs.delete_records) {
            let partition = scene.random.pick(&scene.catalogue.partitions());
            let end = scene.ledger.end(partition);
            let before = Offset(scene.random.within(0..=end.0));
            admin.delete_records(&mut scene, partition, before);
        }
        if scene.random.chance(600_000) {
            let index = scene.random.below(suppliers.len() as u64) as usize;
            suppliers[index].step(&mut scene, &knobs, bytes_max);
        } else {
            let index = scene.random.below(readers.len() as u64) as usize;
            readers[index].step(&mut scene);
        }
        host.expect(self.wire.next_arrival());
        Ok(Duration::from_nanos(self.random.exponential(knobs.think_us * 1_000)))
    }

    fn close(&mut self, host: &Host, node: &mut NodeMachine) {
        self.stopping = true;
        node.stop(host.now());
    }

    fn is_closed(&self, node: &NodeMachine) -> bool {
        node.is_stopped()
    }

    fn ended(&mut self, _: &mut Host, _node: NodeMachine) {
        self.stopping = false;
        self.wire.clear();
        self.admin.disconnected();
        self.catalogue.disconnected();
        self.suppliers.iter_mut().for_each(Supplier::disconnected);
        self.readers.iter_mut().for_each(Reader::disconnected);
        self.ledger.restarted();
    }

    fn verify(&mut self, host: &mut Host, node: &mut NodeMachine) -> Result<bool, Violation> {
        self.last_look = true;
        if let Some(left_at) = self.left_at {
            return check_rest(host, node, left_at);
        }
        if self.full && self.admin.is_idle() {
            self.make_space(host, node);
        }
        let (mut scene, admin, suppliers, readers) = self.cast(host, node);
        admin.step(&mut scene);
        let settled = scene
            .catalogue
            .topics
            .iter()
            .all(|topic| matches!(topic.stay, Stay::There | Stay::Gone));
        for supplier in suppliers.iter_mut() {
            supplier.push(&mut scene);
        }
        let idle = admin.is_idle() && suppliers.iter().all(Supplier::is_idle);
        let partitions = scene.catalogue.partitions();
        let over = if settled && (idle || scene.beyond) {
            readers[0].read_all(&mut scene, &partitions)?
        } else {
            false
        };
        if over {
            self.wire.hang_up_all(host.now(), node);
            self.left_at = Some(host.now().mono);
        }
        host.expect(self.wire.next_arrival());
        Ok(false)
    }

    fn may_stay_stopped(&self) -> bool {
        self.beyond
    }
}

/// The shard that leads a partition of the catalogue, and the partition's id there.
fn locate(
    state: &ClusterState,
    catalogue: &Catalogue,
    ours: PartitionId,
) -> Option<(ShardId, PartitionId)> {
    let topic = state.topics().by_name(&catalogue.topic(ours)?.name)?;
    let led = topic.partitions.get(ours.index as usize)?;
    Some((led.leader?.placement.shard, PartitionId::new(topic.number, ours.index)))
}

/// Whether nothing is in hand any more, as it must be some time after the last client has gone.
fn check_rest(host: &Host, node: &NodeMachine, left_at: Instant) -> Result<bool, Violation> {
    let in_hand = node.in_hand();
    if in_hand.is_empty() {
        return Ok(true);
    }
    if host.now().mono.since(left_at) < REST_AFTER {
        return Ok(false);
    }
    let what = format!("everybody has left, and still in hand are {in_hand:?}");
    Err(Violation::new(Checker::Bounds, what))
}

fn stopped(shard: ShardId, why: impl std::fmt::Display) -> Phase {
    Phase::Stopped(format!("shard {shard}: {why}"))
}
