//! The engine at work: one shard's partitions over one journal.
//!
//! ```text
//!   append ─▶ tail (memory) ═ journal frame ─▶ durable ─▶ dues ─▶ memory and frames given back
//!                 │                                         ▲
//!                 └── destage ─▶ bin, synced ─▶ ExtentCommit ┤
//!                 └── carry ──▶ a younger frame ─────────────┘
//! ```
//! Whatever only the journal holds holds its frame ([`Frames`]); the journal's start is the oldest
//! frame held, and the arena gives back what lies before it.

use std::collections::VecDeque;

use base::{Arena, Done, Durable, Instant, Now, Offset, Op, PartitionId, Pin, Seq, Span, Token};

use crate::Mutant;
use crate::bins::{self, Bins};
use crate::carry::Carry;
use crate::config::EngineConfig;
use crate::destage::Destage;
use crate::disk_reads::{self, DiskReads};
use crate::doubt::Doubt;
use crate::due::{Due, Dues};
use crate::error::AppendError;
use crate::evacuate::{self, Evacuation};
use crate::frames::Frames;
use crate::halt::Halt;
use crate::journal::{Journal, Placed};
use crate::page_pool::PagePool;
use crate::partitions::{Partitions, Slot};
use crate::pass;
use crate::producers::Producers;
use crate::read::{Answers, Purpose};
use crate::replay::Replay;
use crate::retention::Retention;
use crate::touches::Touches;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) config: EngineConfig,
    pub(crate) arena: Arena,
    pub(crate) journal: Journal,
    pub(crate) frames: Frames,
    pub(crate) partitions: Partitions,
    pub(crate) producers: Producers,
    pub(crate) bins: Bins,
    pub(crate) touches: Touches,
    pub(crate) dues: Dues,
    pub(crate) doubt: Doubt,
    pub(crate) destage: Destage,
    pub(crate) carry: Carry,
    pub(crate) retention: Retention,
    pub(crate) evacuation: Evacuation,
    pub(crate) reads: DiskReads<Purpose>,
    /// Reads that ended and were not asked for.
    pub(crate) answers: Answers,
    /// The least average time that a journal write ever took.
    pub(crate) write_floor_ns: u64,
    /// Bins of which nothing is alive, to be freed.
    pub(crate) dead_bins: Vec<u32>,
    pub(crate) pages: PagePool,
    /// Operations other than the journal's.
    pub(crate) ops: VecDeque<Op>,
    /// Partitions whose durable end moved and was not asked for.
    advanced: VecDeque<Slot>,
    /// What partitions lost, or may have, and nobody asked for yet.
    pub(crate) losses: VecDeque<(PartitionId, Halt)>,
    /// Bytes put together before they go to the journal.
    pub(crate) scratch: Vec<u8>,
    pub(crate) pressure: Pressure,
    /// Sends that read from tail memory.
    pub(crate) pins_held: usize,
    durable_seen: Seq,
}

/// Buffers kept for reads and background writes.
pub(crate) const POOL_BYTES: usize = 16 << 20;
/// No bin is made before the journal is this full.
const FIRST_BINS_PERCENT: u32 = 20;
/// The byte of a token that tells whose it is.
const TAG: u64 = 0xff << 56;

/// How full the journal, or its memory, is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// Below 60 %.
    #[default]
    Calm,
    /// From 60 % on: what leaves the journal leaves it faster.
    Hurry,
    /// From 80 % on: read from producers only now and then.
    DelayProducers,
    /// From 95 % on: only control entries are taken.
    ControlOnly,
}

impl Pressure {
    fn at(percent: u32) -> Self {
        match percent {
            0..60 => Self::Calm,
            60..80 => Self::Hurry,
            80..95 => Self::DelayProducers,
            _ => Self::ControlOnly,
        }
    }
}

impl Store {
    /// A store of what replay found, over the journal's next incarnation.
    pub(crate) fn new(config: EngineConfig, arena: Arena, journal: Journal, found: Replay) -> Self {
        let journal_bytes =
            u64::from(config.journal.segments) * u64::from(config.journal.segment_bytes);
        let doubt = found.doubt();
        let Replay { frames, partitions, producers, bins, .. } = found;
        let mut store = Self {
            frames,
            partitions,
            producers,
            bins,
            touches: Touches::default(),
            dues: Dues::default(),
            doubt,
            destage: Destage::new(),
            carry: Carry::new(journal_bytes),
            retention: Retention::default(),
            evacuation: Evacuation::default(),
            reads: DiskReads::new(),
            answers: Answers::default(),
            write_floor_ns: u64::MAX,
            dead_bins: Vec::new(),
            pages: PagePool::new(POOL_BYTES),
            ops: VecDeque::new(),
            advanced: VecDeque::new(),
            losses: VecDeque::new(),
            scratch: Vec::new(),
            pressure: Pressure::Calm,
            pins_held: 0,
            durable_seen: journal.durable_seq(),
            config,
            arena,
            journal,
        };
        store.queue_all();
        store.queue_losses();
        store.advance_start(store.durable_seen);
        store
    }

    /// Queues what replay found missing, for who wants to hear of it.
    fn queue_losses(&mut self) {
        for partition in self.partitions.visible() {
            let losses = partition.halt.iter().chain(&partition.lost);
            self.losses.extend(losses.map(|halt| (partition.id, *halt)));
        }
    }

    /// Queues what replay found for destage and for being carried forward.
    fn queue_all(&mut self) {
        let mut snapshots: Vec<(Seq, Slot)> =
            self.partitions.iter().map(|(slot, one)| (one.snapshot, slot)).collect();
        snapshots.sort_unstable();
        for (seq, slot) in snapshots {
            let partition = self.partitions.get_mut(slot).expect("just found");
            partition.marks.snapshot = seq;
            self.carry.push_snapshot(seq, slot);
            self.enqueue(slot);
        }
        for number in 0..self.bins.len() {
            self.bin_is(number, self.bins.get(number).vitality());
        }
    }

    pub(crate) fn done(&mut self, now: Now, done: Done) {
        if let Err(done) = self.journal.done(now, &mut self.arena, done) {
            match done.token().0 & TAG {
                pass::TOKEN_TAG => self.pass_done(now, done),
                bins::TOKEN_TAG => self.bin_created(done),
                disk_reads::TOKEN_TAG => self.read_done(now, done),
                evacuate::TOKEN_TAG => self.footer_read(done),
                _ => unreachable!("nobody asked for {done:?}"),
            }
        }
        self.settle();
    }

    pub(crate) fn turn(&mut self, now: Now) {
        self.pressure = self.measure_pressure();
        if self.begins_work() {
            self.destage.grant_time(now.mono);
            self.retain(now);
            self.make_room(now);
            self.evacuate(now);
            self.free_dead_bins(now);
            self.create_bin();
        }
        self.start_reads(now);
        self.journal.turn(now, &mut self.arena);
        self.settle();
    }

    /// Nothing new is begun once the log is to be sealed, else it would never come to rest, nor once
    /// nothing becomes durable any more.
    fn begins_work(&self) -> bool {
        self.journal.poisoned().is_none() && !self.journal.is_closing()
    }

    pub(crate) fn poll_op(&mut self) -> Option<Op> {
        self.journal.poll_op().or_else(|| self.ops.pop_front())
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let retention = self.begins_work().then(|| self.retention.due());
        [self.journal.next_timeout(), retention].into_iter().flatten().min()
    }

    /// The next partition whose durable end moved since it was last asked for.
    pub(crate) fn poll_durable(&mut self) -> Option<(PartitionId, Durable)> {
        while let Some(slot) = self.advanced.pop_front() {
            if let Some(partition) = self.partitions.get_mut(slot) {
                partition.marks.advanced = false;
                return Some((partition.id, partition.durable));
            }
        }
        None
    }

    /// Holds tail memory that a send reads from.
    pub(crate) fn pin(&mut self, span: Span) -> Pin {
        self.pins_held += 1;
        if self.config.journal.planted.is(Mutant::ReuseTailUnderPin) {
            // Holds the newest memory instead.
            let newest = self.partitions.iter().filter_map(|(_, one)| one.tail.runs().last());
            let span = newest.max_by_key(|run| run.seq).map_or(span, |run| run.span);
            return self.arena.pin(span);
        }
        self.arena.pin(span)
    }

    pub(crate) fn unpin(&mut self, pin: Pin) {
        self.pins_held -= 1;
        self.arena.unpin(pin);
    }

    /// Whether a new batch may be taken at all.
    pub(crate) fn admit(&self) -> Result<(), AppendError> {
        if self.pressure == Pressure::ControlOnly {
            return Err(AppendError::Busy);
        }
        let needs_bins = !self.config.admits_without_bins;
        if needs_bins && self.bins.is_full(self.config.reserved_bins()) {
            return Err(AppendError::DiskFull);
        }
        Ok(())
    }

    /// The bin that a full journal waits for, if none is free and none can be made.
    pub(crate) fn missing_bin_bytes(&self) -> Option<u64> {
        let waits = self.pressure == Pressure::ControlOnly && self.bins.is_full(1);
        waits.then_some(self.config.bin_bytes)
    }

    /// A batch went into the tail of the partition in `slot`.
    pub(crate) fn appended(&mut self, slot: Slot, placed: Placed) {
        self.destage.grant(placed.span.len, self.pressure);
        let partition = self.partitions.get_mut(slot).expect("it was appended to");
        if partition.marks.queued.is_none() {
            partition.marks.queued = Some(placed.seq);
            self.destage.enqueue(placed.seq, slot);
        }
    }

    /// Keeps as many bins free as everything in the journal may need. The first are made when the
    /// journal begins to fill: a new folder stays small and its disk quiet.
    fn create_bin(&mut self) {
        if self.bins.len() == 0 && self.journal.occupancy().percent() < FIRST_BINS_PERCENT {
            return;
        }
        if let Some((file, bytes)) = self.bins.start_creating(self.config.reserved_bins()) {
            self.ops.push_back(Op::Create { tok: Token(bins::TOKEN_TAG), file, bytes });
        }
    }

    fn bin_created(&mut self, done: Done) {
        let Done::Created { res, .. } = done else { unreachable!("bins are only created") };
        self.bins.created(res.is_ok());
    }

    /// Acts on what has become durable, and moves the journal's start.
    fn settle(&mut self) {
        let durable = self.journal.durable_seq();
        if durable == self.durable_seen {
            return;
        }
        self.durable_seen = durable;
        while let Some(touch) = self.touches.pop(durable) {
            self.advance_durable(touch.slot, touch.end);
        }
        while let Some((seq, due)) = self.dues.pop(durable) {
            self.fall_due(seq, due);
        }
        self.advance_start(durable);
    }

    pub(crate) fn advance_durable(&mut self, slot: Slot, end: Offset) {
        let Some(partition) = self.partitions.get_mut(slot) else { return };
        partition.durable = partition.durable.max(Durable(end));
        if !partition.marks.advanced {
            partition.marks.advanced = true;
            self.advanced.push_back(slot);
        }
    }

    fn fall_due(&mut self, seq: Seq, due: Due) {
        match due {
            Due::Snapshot { slot } => self.snapshot_durable(slot, seq),
            Due::LogStart { slot, to } => self.drop_before(slot, to),
            Due::Deleted { slot } => self.drop_partition(slot),
            Due::Stored { slot, extent, from } => self.stored(slot, extent, from),
            Due::Carried { slot, runs } => self.carried(slot, runs),
            Due::CommitCarried { bin, generation, page } => {
                self.commit_carried(seq, bin, generation, page);
            }
            Due::BinSealed { bin } => self.bin_sealed(bin),
            Due::BinFreed { bin } => self.bin_freed(bin),
            Due::Table => self.table_durable(seq),
            Due::Truncated { frames } => {
                frames.into_iter().for_each(|frame| self.frames.release(frame));
            }
        }
    }

    pub(crate) fn advance_start(&mut self, durable: Seq) {
        if self.is_frozen() {
            return;
        }
        let start = self.frames.advance(durable.next());
        self.journal.set_start(start);
        match self.frames.oldest_payload() {
            Some(payload) => self.arena.release_before(payload),
            None => self.arena.release_all(),
        }
    }

    fn measure_pressure(&self) -> Pressure {
        let memory = self.arena.used_bytes() * 100 / self.arena.capacity_bytes();
        Pressure::at(self.journal.occupancy().percent().max(memory as u32))
    }
}
