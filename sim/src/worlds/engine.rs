//! One shard's engine and its clients.
//!
//! ```text
//!   producers ─append─▶ engine ─ durable(seq) ─▶ acks ─▶ ledger
//!   consumers ─read──▶   │  └─ spans, pinned until the send ends ─▶ same bytes? ─▶ ledger
//!   owner ─ create, delete, open epochs, delete records
//! ```
//! The world plays the shard's part: it opens epochs after every start, commits what is durable
//! (there is one replica), and acks a batch when its frame is.

mod consumer;
mod scan;
mod tenant;

use std::collections::BTreeMap;
use std::time::Duration;

use base::{
    Arena, Batch, Committed, Done, Epoch, FileKind, Instant, Now, Offset, Op, Page, PageMemory,
    PartitionId, Seq, ShardId,
};
use engine::{AppendError, Appended, Engine, EngineConfig, Phase as EnginePhase, Planted};

use self::consumer::Consumer;
use self::scan::Scan;
use self::tenant::Tenants;
use crate::disk::Memory;
use crate::host::{Host, Hosted};
use crate::knobs::Knobs;
use crate::ledger::{Ledger, SentId};
use crate::lives::{Phase, World};
use crate::producer::{self, Producer};
use crate::random::Random;
use crate::violation::{Checker, Violation};
use crate::worlds::settings;

const PAGE: u32 = base::PAGE_BYTES as u32;

/// See the module's description.
#[derive(Debug)]
pub struct EngineWorld {
    knobs: Knobs,
    random: Random,
    config: EngineConfig,
    ledger: Ledger,
    tenants: Tenants,
    producers: Vec<Producer>,
    consumers: Vec<Consumer>,
    /// The reign of this life; each start begins one.
    epoch: Epoch,
    /// Batches that wait for their frame.
    waiting: BTreeMap<Seq, Vec<Waiting>>,
    /// Deletions of records that wait for their frame.
    deletions: BTreeMap<Seq, Vec<(PartitionId, Offset)>>,
    scan: Option<Scan>,
    /// The bins are full: nothing is taken until someone deletes.
    full: bool,
    /// Something was acked since the journal last rotted.
    fresh_ack: bool,
    /// A fault has struck that a single copy cannot survive.
    beyond: bool,
}

/// What clients act on.
struct Scene<'a> {
    host: &'a mut Host,
    engine: &'a mut Engine,
    ledger: &'a mut Ledger,
    beyond: bool,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    producer: usize,
    id: SentId,
    appended: Appended,
}

impl Hosted for Engine {
    fn done(&mut self, now: Now, _: ShardId, done: Done) {
        Self::done(self, now, done);
    }

    fn turn(&mut self, now: Now) {
        Self::turn(self, now);
    }

    fn poll_op(&mut self) -> Option<Op> {
        Self::poll_op(self)
    }

    fn next_timeout(&self) -> Option<Instant> {
        Self::next_timeout(self)
    }
}

impl Memory for Engine {
    fn arena(&self, _: ShardId) -> &Arena {
        Self::arena(self)
    }
}

impl EngineWorld {
    /// A world in which nothing has happened yet.
    #[must_use]
    pub fn new(knobs: &Knobs, random: &mut Random, planted: Planted) -> Self {
        let mut random = random.fork();
        let mut ledger = Ledger::default();
        let tenants = Tenants::new(knobs, &mut random, &mut ledger);
        let producers = producer::crowd(knobs, &mut random, &tenants.ids());
        let consumers = (0..knobs.consumers).map(|_| Consumer::default()).collect();
        Self {
            config: config(knobs, random.draw(), planted),
            knobs: knobs.clone(),
            random,
            ledger,
            tenants,
            producers,
            consumers,
            epoch: Epoch(0),
            waiting: BTreeMap::new(),
            deletions: BTreeMap::new(),
            scan: None,
            full: false,
            fresh_ack: false,
            beyond: false,
        }
    }

    fn produce(&mut self, host: &mut Host, engine: &mut Engine) -> Result<(), Violation> {
        let index = self.random.below(self.producers.len() as u64) as usize;
        self.settle_down(index);
        let producer = &mut self.producers[index];
        if producer.next_to_send().is_none() {
            if self.knobs.pipeline as usize <= producer.outstanding() {
                return Ok(());
            }
            if producer.outstanding() == 0 && self.random.chance(10_000) {
                producer.bump_epoch();
            }
            let bytes_max = u64::from(self.config.journal.max_payload_bytes()) / 2;
            let wall = host.now().wall;
            producer.make(&mut self.ledger, &mut self.random, &self.knobs, wall, bytes_max);
        }
        self.send_next(index, host, engine).map(|_| ())
    }

    /// A producer whose partition is being deleted goes elsewhere.
    fn settle_down(&mut self, index: usize) {
        let producer = &mut self.producers[index];
        if !self.tenants.is_wanted(producer.partition) {
            let elsewhere = self.random.pick(&self.tenants.ids());
            producer.move_to(elsewhere);
        }
    }

    /// Sends the producer's next batch; whether it was taken.
    fn send_next(
        &mut self,
        index: usize,
        host: &mut Host,
        engine: &mut Engine,
    ) -> Result<bool, Violation> {
        let producer = &mut self.producers[index];
        let partition = producer.partition;
        let Some(next) = producer.next_to_send() else { return Ok(false) };
        let (id, retried) = (next.id, next.retried);
        let batch = Batch::parse(&next.bytes).expect("a built batch is one");
        let answer = engine.append(host.now(), partition, batch);
        match answer {
            Ok(appended) => {
                host.say("appended", format_args!("{id:?} to {partition}: {appended:?}"));
                if appended.duplicate && !retried {
                    let what = format!("{partition}: {id:?} is new and was called a duplicate");
                    return Err(Violation::new(Checker::Once, what));
                }
                producer.taken(id);
                let waiting = Waiting { producer: index, id, appended };
                self.waiting.entry(appended.seq).or_default().push(waiting);
                Ok(true)
            }
            Err(error) => {
                host.say("refused", format_args!("{id:?} to {partition}: {error}"));
                producer.refused(id, &mut self.ledger);
                self.full = error == AppendError::DiskFull;
                self.judge_refusal(partition, id, error)?;
                Ok(false)
            }
        }
    }

    fn judge_refusal(
        &self,
        partition: PartitionId,
        id: SentId,
        error: AppendError,
    ) -> Result<(), Violation> {
        let checker = match error {
            AppendError::Busy
            | AppendError::DiskFull
            | AppendError::Poisoned
            | AppendError::EpochNotOpen
            | AppendError::InvalidTimestamp => return Ok(()),
            AppendError::Halted | AppendError::Producer(_) if self.beyond => return Ok(()),
            AppendError::NoPartition if !self.tenants.is_certain(partition) => return Ok(()),
            AppendError::Producer(_) => Checker::Once,
            _ => Checker::Halt,
        };
        Err(Violation::new(checker, format!("{partition}: {id:?} was refused: {error}")))
    }

    fn ack_durable(&mut self, host: &mut Host, engine: &Engine) -> Result<(), Violation> {
        let durable = engine.durable_seq();
        while let Some(first) = self.waiting.first_entry().filter(|first| *first.key() <= durable) {
            for waiting in first.remove() {
                let Waiting { producer, id, appended } = waiting;
                host.say("acked", format_args!("{id:?} at {}", appended.base));
                (self.config.activated, self.fresh_ack) = (true, true);
                self.ledger.acked(id, appended.base)?;
                self.producers[producer].acked(id);
            }
        }
        while let Some(first) = self.deletions.first_entry().filter(|first| *first.key() <= durable)
        {
            for (partition, before) in first.remove() {
                self.ledger.delete_acked(partition, before);
            }
        }
        Ok(())
    }

    fn hand_out_reads(&mut self, host: &mut Host, engine: &mut Engine) -> Result<(), Violation> {
        while let Some((token, answer)) = engine.poll_read() {
            let (ledger, beyond) = (&mut self.ledger, self.beyond);
            if let Some(scan) = &mut self.scan {
                scan.arrived(token, &answer, ledger, beyond)?;
            }
            let mut scene = Scene { host, engine, ledger, beyond };
            for consumer in &mut self.consumers {
                consumer.arrived(&mut scene, token, &answer)?;
            }
            if let Ok(disk) = answer {
                engine.recycle(disk.pages);
            }
        }
        Ok(())
    }

    fn owner_step(&mut self, host: &mut Host, engine: &mut Engine) -> Result<(), Violation> {
        if self.random.chance(self.knobs.delete_records) {
            self.delete_somewhere(host, engine);
        }
        if self.random.chance(self.knobs.delete_partition) {
            self.tenants.replace_one(&self.knobs, &mut self.random, &mut self.ledger);
        }
        if self.random.chance(self.knobs.clock_step) {
            host.step_clock(self.random.below(7_200_000) as i64 - 3_600_000);
        }
        if self.random.chance(self.knobs.bit_rot) {
            self.rot(host, engine);
        }
        self.tenants.pursue(host, engine, self.epoch, self.beyond)
    }

    /// Bins rot at any time. Rot of the newest journal frame is told from a tear by the idle seal
    /// behind it: before that, and if the seal rots as well, nobody can tell.
    fn rot(&mut self, host: &mut Host, engine: &Engine) {
        let journal_too = self.fresh_ack && engine.is_closed();
        self.fresh_ack &= !journal_too;
        host.rot(|kind| journal_too || matches!(kind, FileKind::Bin(_)));
    }

    fn delete_somewhere(&mut self, host: &mut Host, engine: &mut Engine) {
        let partition = self.random.pick(&self.tenants.ids());
        let Some(Committed(end)) = engine.committed(partition) else { return };
        let before = Offset(self.random.within(0..=end.0));
        self.delete_before(host, engine, partition, before);
    }

    fn delete_before(
        &mut self,
        host: &mut Host,
        engine: &mut Engine,
        partition: PartitionId,
        before: Offset,
    ) {
        let answer = engine.delete_records(host.now(), partition, before);
        host.say("deleted records", format_args!("{partition} before {before}: {answer:?}"));
        if let Ok(seq) = answer {
            self.ledger.delete_requested(partition, before);
            self.deletions.entry(seq).or_default().push((partition, before));
        }
    }

    /// Someone deletes everything, since the disk is full: from then on batches must be taken.
    fn make_space(&mut self, host: &mut Host, engine: &mut Engine) {
        for partition in self.tenants.ids() {
            if let Some(Committed(end)) = engine.committed(partition)
                && engine.log_start(partition).is_some_and(|start| start.0 < end)
            {
                self.delete_before(host, engine, partition, end);
            }
        }
    }

    /// What every look at a partition may check at no cost.
    fn glance(&mut self, engine: &Engine, partition: PartitionId) -> Result<(), Violation> {
        if engine.halt(partition).is_some() {
            if !self.beyond {
                return Err(unexplained_halt(engine, partition));
            }
            self.ledger.declare_loss(partition);
        }
        if let Some(start) = engine.log_start(partition) {
            self.ledger.saw_start(partition, start.0)?;
        }
        Ok(())
    }
}

impl World for EngineWorld {
    type Machine = Engine;

    fn reserve_pages(&self) -> u64 {
        reserve_pages(&self.config)
    }

    fn boot(&mut self, host: &mut Host) -> Engine {
        self.beyond |= 0 < host.disk.injected().beyond;
        self.epoch = Epoch(self.epoch.0 + 1);
        let pages = self.config.arena_bytes() / u64::from(PAGE) + self.knobs.arena_spare_pages;
        let memory = PageMemory::Heap(Page::boxed(pages as usize));
        Engine::open(self.config.clone(), memory, &host.files())
    }

    fn phase(&self, engine: &Engine) -> Phase {
        match engine.phase() {
            EnginePhase::Recovering => Phase::Recovering,
            EnginePhase::Open => Phase::Open,
            EnginePhase::Poisoned(cause) => Phase::Stopped(cause.to_string()),
            EnginePhase::Halted(verdict) => Phase::Stopped(format!("{verdict:?}")),
            EnginePhase::Failed(error) => Phase::Stopped(error.to_string()),
        }
    }

    fn opened(&mut self, host: &mut Host, engine: &mut Engine) -> Result<(), Violation> {
        self.beyond |= 0 < host.disk.injected().beyond;
        if self.beyond {
            self.tenants.chase_ghosts(host, engine);
        }
        if engine.recovery_report().is_some_and(|report| !report.damage.is_empty()) {
            self.ledger.forgive_deletions();
        }
        self.tenants.check_recovered(engine, self.beyond)?;
        if 0 < self.knobs.lying_flush {
            // What a drive lost that had sworn to hold it is beyond anyone's knowledge.
            for partition in self.tenants.ids() {
                let end = engine.log_end(partition).map_or(Offset::ZERO, |end| end.0);
                self.ledger.excuse_tail(partition, end);
            }
        }
        self.tenants.pursue(host, engine, self.epoch, self.beyond)?;
        self.tenants.ids().into_iter().try_for_each(|partition| self.glance(engine, partition))
    }

    fn observe(&mut self, host: &mut Host, engine: &mut Engine) -> Result<(), Violation> {
        self.beyond |= 0 < host.disk.injected().beyond;
        self.ledger.tell_time(host.now());
        while let Some((partition, durable)) = engine.poll_durable() {
            engine.commit(partition, Committed(durable.0));
        }
        self.tenants.note_durable(engine.durable_seq());
        self.ack_durable(host, engine)?;
        for consumer in &mut self.consumers {
            consumer.observe(host.now().mono, engine)?;
        }
        self.hand_out_reads(host, engine)
    }

    fn step(&mut self, host: &mut Host, engine: &mut Engine) -> Result<Duration, Violation> {
        self.owner_step(host, engine)?;
        let partition = self.random.pick(&self.tenants.ids());
        self.glance(engine, partition)?;
        if self.consumers.is_empty() || self.random.chance(600_000) {
            self.produce(host, engine)?;
        } else {
            let index = self.random.below(self.consumers.len() as u64) as usize;
            let mut scene = Scene { host, engine, ledger: &mut self.ledger, beyond: self.beyond };
            let consumer = &mut self.consumers[index];
            consumer.read(&mut scene, partition, &self.knobs, &mut self.random)?;
        }
        Ok(Duration::from_nanos(self.random.exponential(self.knobs.think_us * 1_000)))
    }

    fn close(&mut self, _: &Host, engine: &mut Engine) {
        engine.close();
    }

    fn is_closed(&self, engine: &Engine) -> bool {
        engine.is_closed()
    }

    fn ended(&mut self, _: &mut Host, _engine: Engine) {
        self.waiting.clear();
        self.deletions.clear();
        self.ledger.restarted();
        self.producers.iter_mut().for_each(Producer::disconnected);
        self.consumers.iter_mut().for_each(|consumer| *consumer = Consumer::default());
        self.tenants.ended();
    }

    /// Lets every idempotent producer get its answers, then reads every partition from end to end.
    fn verify(&mut self, host: &mut Host, engine: &mut Engine) -> Result<bool, Violation> {
        self.tenants.pursue(host, engine, self.epoch, self.beyond)?;
        for index in 0..self.producers.len() {
            self.settle_down(index);
            while self.send_next(index, host, engine)? {}
        }
        for partition in self.tenants.ids() {
            self.glance(engine, partition)?;
        }
        if self.full {
            self.make_space(host, engine);
        }
        let idle = self.producers.iter().all(|producer| producer.outstanding() == 0);
        if !idle && !self.beyond {
            return Ok(false);
        }
        let tenants = &self.tenants;
        let scan = self.scan.get_or_insert_with(|| Scan::new(tenants.ids()));
        scan.advance(engine, &mut self.ledger, self.beyond)
    }

    fn may_stay_stopped(&self) -> bool {
        self.beyond
    }
}

/// Pages that an engine's journal and reserved bins take.
pub(super) fn reserve_pages(config: &EngineConfig) -> u64 {
    let journal =
        u64::from(config.journal.all_segments()) * u64::from(config.journal.segment_bytes);
    (journal + u64::from(config.reserved_bins()) * config.bin_bytes) / u64::from(PAGE)
}

fn config(knobs: &Knobs, journal_id: u64, planted: Planted) -> EngineConfig {
    let spare_bins = knobs.spare_bins as u32;
    let mut config = settings::data_engine(knobs, ShardId(0), journal_id, planted, spare_bins);
    config.producers_max = knobs.producers_max as usize;
    config
}

fn unexplained_halt(engine: &Engine, partition: PartitionId) -> Violation {
    let halt = engine.halt(partition);
    Violation::new(Checker::Halt, format!("{partition} is halted: {halt:?}"))
}
