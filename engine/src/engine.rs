//! The engine: one shard's log, from the verbs of its owner to operations on its files.

use base::{
    Arena, Batch, Committed, Done, Durable, Epoch, EpochHistory, FileId, Incarnation, Instant,
    LatencyHistogram, LogEnd, LogStart, Now, Offset, Op, Page, PageMemory, PartitionId, Pin, Seq,
    Span,
};

use crate::append::Appended;
use crate::config::{EngineConfig, PartitionSettings};
use crate::disk_reads::ReadToken;
use crate::error::{AppendError, ReadError, Refused};
use crate::halt::Halt;
use crate::journal::{MissingSegment, PoisonCause, RecoveryError, RecoveryReport, Verdict};
use crate::metrics::EngineMetrics;
use crate::partition::Partition;
use crate::read::{DiskBytes, Read};
use crate::restore::Restore;
use crate::store::{Pressure, Store};
use crate::time_index::{TimeHit, TimeLookup};

/// One shard's log. Single-threaded and free of clocks and I/O: time and completions come in as
/// values, operations go out through [`Engine::poll_op`].
#[derive(Debug)]
pub struct Engine {
    stage: Stage,
    phase: Phase,
    report: Option<RecoveryReport>,
}

#[derive(Debug)]
enum Stage {
    Recovering(Box<Restore>),
    Open(Box<Store>),
    /// Recovery ended without a log to serve.
    Stopped(Box<Arena>),
}

/// How far the engine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Reading its journal and bins, or making their first files; every verb is refused.
    Recovering,
    Open,
    /// A journal write failed: reads go on, nothing more is taken or becomes durable.
    Poisoned(PoisonCause),
    /// Acked records may be lost, and not only of single partitions: nothing is served.
    Halted(Verdict),
    /// Recovery could not even decide.
    Failed(RecoveryError),
}

impl Engine {
    /// Begins with whatever `existing` files hold, of the given sizes in bytes; with none, afresh.
    ///
    /// Panics on a configuration out of range.
    #[must_use]
    pub fn open(config: EngineConfig, memory: PageMemory, existing: &[(FileId, u64)]) -> Self {
        config.check();
        let restore = Restore::new(config, Arena::new(memory), existing);
        Self { stage: Stage::Recovering(Box::new(restore)), phase: Phase::Recovering, report: None }
    }

    #[must_use]
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// What recovery found, once it is over.
    #[must_use]
    pub fn recovery_report(&self) -> Option<&RecoveryReport> {
        self.report.as_ref()
    }

    /// The journal file without which the engine cannot open and that could not be made. The engine
    /// goes on asking for it; whether to wait is for its owner to say.
    #[must_use]
    pub fn missing_segment(&self) -> Option<MissingSegment> {
        match &self.stage {
            Stage::Open(store) if self.phase == Phase::Recovering => {
                store.journal.missing_segment()
            }
            _ => None,
        }
    }

    /// The size of the bin without which the journal, full of data, cannot be emptied: none is free,
    /// and none can be made. Data is refused until somebody makes room on the disk.
    #[must_use]
    pub fn missing_bin_bytes(&self) -> Option<u64> {
        match &self.stage {
            Stage::Open(store) if self.phase == Phase::Open => store.missing_bin_bytes(),
            _ => None,
        }
    }

    /// Takes a completion of an operation that [`Engine::poll_op`] gave out.
    pub fn done(&mut self, now: Now, done: Done) {
        match &mut self.stage {
            Stage::Recovering(restore) => restore.done(done),
            Stage::Open(store) => store.done(now, done),
            Stage::Stopped(_) => {}
        }
        self.advance_phase(now);
    }

    /// Ends a turn: seals what is ready, moves data out of the journal, keeps promises of time.
    pub fn turn(&mut self, now: Now) {
        if let Stage::Open(store) = &mut self.stage {
            store.turn(now);
        }
        self.advance_phase(now);
    }

    pub fn poll_op(&mut self) -> Option<Op> {
        match &mut self.stage {
            Stage::Recovering(restore) => restore.poll_op(),
            Stage::Open(store) => store.poll_op(),
            Stage::Stopped(_) => None,
        }
    }

    /// When [`Engine::turn`] wants to be called even if nothing happens.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Open(store) => store.next_timeout(),
            Stage::Recovering(_) | Stage::Stopped(_) => None,
        }
    }

    /// Creates a partition, or tells an existing one its settings; idempotent. It exists, and is
    /// replicated or not, when the returned frame is durable. The id of a deleted partition is never
    /// used again.
    ///
    /// Before [`Engine::end_roll_call`] it may turn out halted: see there.
    pub fn create_partition(
        &mut self,
        now: Now,
        id: PartitionId,
        settings: PartitionSettings,
    ) -> Result<Seq, Refused> {
        self.store_mut().ok_or(Refused::Recovering)?.create_partition(now, id, settings)
    }

    /// Says that every partition that existed before this start has been named to
    /// [`Engine::create_partition`]: from now on, one that is not known is new.
    ///
    /// Before that, one that is not known although a frame is lost that may have created it is halted,
    /// and the journal keeps its past.
    pub fn end_roll_call(&mut self) {
        if let Some(store) = self.store_mut() {
            store.end_roll_call();
        }
    }

    /// Deletes a partition and its data. Only on the word of a committed deletion.
    pub fn delete_partition(&mut self, now: Now, id: PartitionId) -> Result<Seq, Refused> {
        self.store_mut().ok_or(Refused::Recovering)?.delete_partition(now, id)
    }

    /// Tells a partition its settings, but for `replicated`: only [`Engine::create_partition`] does.
    pub fn set_settings(&mut self, id: PartitionId, settings: PartitionSettings) {
        let store = self.store_mut();
        if let Some(partition) = store.and_then(|store| store.partitions.by_id_mut(id)) {
            let replicated = partition.settings.replicated;
            partition.settings = PartitionSettings { replicated, ..settings };
        }
    }

    /// Opens an epoch at the log end. Appends go to the newest epoch opened since this process
    /// started, and to none before; an epoch is never opened twice, nor below a promise.
    pub fn open_epoch(&mut self, now: Now, id: PartitionId, epoch: Epoch) -> Result<Seq, Refused> {
        self.store_mut().ok_or(Refused::Recovering)?.open_epoch(now, id, epoch)
    }

    /// Sequences `batch`, whose checksum the caller has verified, and copies it into the journal's
    /// open frame. Ack it when [`Engine::durable_seq`] reaches the returned frame.
    pub fn append(
        &mut self,
        now: Now,
        id: PartitionId,
        batch: Batch<'_>,
    ) -> Result<Appended, AppendError> {
        self.store_mut().ok_or(AppendError::Recovering)?.append(now, id, batch)
    }

    /// Says that everything before `committed` may be seen by consumers, and destaged. Panics beyond
    /// the log end.
    pub fn commit(&mut self, id: PartitionId, committed: Committed) {
        if let Some(store) = self.store_mut() {
            store.commit(id, committed);
        }
    }

    /// Moves the log start up to `before`, at most the committed end.
    pub fn delete_records(
        &mut self,
        now: Now,
        id: PartitionId,
        before: Offset,
    ) -> Result<Seq, Refused> {
        self.store_mut().ok_or(Refused::Recovering)?.delete_records(now, id, before)
    }

    /// Forgets what stands at `end`, a batch's start, and behind it; a reign of this process is over.
    /// Panics below the committed end.
    pub fn truncate(&mut self, now: Now, id: PartitionId, end: Offset) -> Result<Seq, Refused> {
        self.store_mut().ok_or(Refused::Recovering)?.truncate(now, id, end)
    }

    /// Finds up to `max_bytes` of committed, whole batches from the one that holds `from` on; with
    /// `min_one` the first even if it alone is larger. Spans of tail memory are added to `out`.
    pub fn read(
        &mut self,
        id: PartitionId,
        from: Offset,
        max_bytes: u32,
        min_one: bool,
        out: &mut Vec<Span>,
    ) -> Result<Read, ReadError> {
        self.store_mut().ok_or(ReadError::Recovering)?.read(id, from, max_bytes, min_one, out)
    }

    /// The next disk read that ended. Its token is used up.
    pub fn poll_read(&mut self) -> Option<(ReadToken, Result<DiskBytes, ReadError>)> {
        self.store_mut()?.answers.fetched.pop_front()
    }

    /// Nobody wants the answer to a read or a lookup any more; a used token is no harm.
    pub fn cancel_read(&mut self, token: ReadToken) {
        if let Some(store) = self.store_mut() {
            store.cancel_read(token);
        }
    }

    /// Gives back the pages of [`DiskBytes`] once they were sent.
    pub fn recycle(&mut self, pages: Box<[Page]>) {
        if let Some(store) = self.store_mut() {
            store.pages.give(pages);
        }
    }

    /// Finds the first committed record with a timestamp of `since_ms` or later.
    pub fn lookup_time(&mut self, id: PartitionId, since_ms: i64) -> Result<TimeLookup, ReadError> {
        self.store_mut().ok_or(ReadError::Recovering)?.lookup_time(id, since_ms)
    }

    /// Finds the committed record with the largest timestamp, the first of them if there are many.
    pub fn max_timestamp(&mut self, id: PartitionId) -> Result<TimeLookup, ReadError> {
        self.store_mut().ok_or(ReadError::Recovering)?.max_timestamp(id)
    }

    /// The next lookup that ended. Its token is used up.
    pub fn poll_lookup(&mut self) -> Option<(ReadToken, Result<Option<TimeHit>, ReadError>)> {
        self.store_mut()?.answers.found.pop_front()
    }

    /// The longest durable prefix of the journal: acks may go for every frame up to here.
    #[must_use]
    pub fn durable_seq(&self) -> Seq {
        self.store().map_or(Seq(0), |store| store.journal.durable_seq())
    }

    /// The next partition whose durable end moved since it was last asked for.
    pub fn poll_durable(&mut self) -> Option<(PartitionId, Durable)> {
        self.store_mut()?.poll_durable()
    }

    /// The next loss of a partition: each is told once after a start, and once when it is found.
    pub fn poll_loss(&mut self) -> Option<(PartitionId, Halt)> {
        self.store_mut()?.losses.pop_front()
    }

    #[must_use]
    pub fn log_start(&self, id: PartitionId) -> Option<LogStart> {
        self.partition(id).map(|partition| partition.log_start)
    }

    #[must_use]
    pub fn log_end(&self, id: PartitionId) -> Option<LogEnd> {
        self.partition(id).map(|partition| partition.log_end)
    }

    #[must_use]
    pub fn durable(&self, id: PartitionId) -> Option<Durable> {
        self.partition(id).map(|partition| partition.durable)
    }

    #[must_use]
    pub fn committed(&self, id: PartitionId) -> Option<Committed> {
        self.partition(id).map(|partition| partition.committed)
    }

    #[must_use]
    pub fn epochs(&self, id: PartitionId) -> Option<&EpochHistory> {
        self.partition(id).map(|partition| &partition.history)
    }

    /// The greatest epoch not above `epoch` that the partition knows, and where it ended (Kafka's
    /// OffsetForLeaderEpoch). `None` if `epoch` is newer than all, or the partition is unknown.
    #[must_use]
    pub fn end_of_epoch(&self, id: PartitionId, epoch: Epoch) -> Option<(Epoch, Offset)> {
        let partition = self.partition(id)?;
        partition.history.end_of(epoch, partition.log_end.0)
    }

    /// What the partition lost, if it is halted.
    #[must_use]
    pub fn halt(&self, id: PartitionId) -> Option<Halt> {
        self.partition(id)?.halt
    }

    /// Partitions that may have lost data, and what.
    pub fn halted(&self) -> impl Iterator<Item = (PartitionId, Halt)> {
        let visible = self.store().into_iter().flat_map(|store| store.partitions.visible());
        visible.filter_map(|partition| Some((partition.id, partition.halt?)))
    }

    /// Writes off what a halted partition lost, on an operator's word: lost offsets are skipped by
    /// readers and never given out again. It takes appends again in a new epoch.
    pub fn accept_loss(&mut self, now: Now, id: PartitionId) -> Result<Seq, Refused> {
        self.store_mut().ok_or(Refused::Recovering)?.accept_loss(now, id)
    }

    /// Every partition that exists, in no particular order.
    pub fn partitions(&self) -> impl Iterator<Item = PartitionId> {
        let visible = self.store().into_iter().flat_map(|store| store.partitions.visible());
        visible.map(|partition| partition.id)
    }

    /// The random id of the journal: one that is new or foreign has another. 0 unless open.
    #[must_use]
    pub fn journal_id(&self) -> u64 {
        self.store().map_or(0, |store| store.config.journal.id)
    }

    /// How often the journal was opened: the number of this process's start. 0 unless open.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.store().map_or(Incarnation(0), |store| store.journal.incarnation())
    }

    /// Says that others will hear of this incarnation: see [`Journal::announce`].
    pub fn announce(&mut self) {
        if let Some(store) = self.store_mut() {
            store.journal.announce();
        }
    }

    /// Whether the incarnation is on stable storage: see [`Journal::has_begun`].
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.store().is_some_and(|store| store.journal.has_begun())
    }

    /// Seals what is open, so that the next start finds a sealed log.
    pub fn close(&mut self) {
        if let Some(store) = self.store_mut() {
            store.journal.close();
        }
    }

    /// Whether everything that [`Engine::close`] asks for is on stable storage, or never will be.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.store()
            .is_none_or(|store| store.journal.is_sealed() || store.journal.poisoned().is_some())
    }

    #[must_use]
    pub fn pressure(&self) -> Pressure {
        self.store().map_or(Pressure::Calm, |store| store.pressure)
    }

    #[must_use]
    pub fn metrics(&self) -> EngineMetrics {
        self.store().map(Store::metrics).unwrap_or_default()
    }

    /// How long frames took to stable storage so far, and how many are on their way.
    #[must_use]
    pub fn frame_times(&self) -> (LatencyHistogram, u32) {
        let journal = self.store().map(|store| &store.journal);
        journal.map_or_else(Default::default, |journal| {
            (journal.write_times(), journal.counters().in_flight)
        })
    }

    #[must_use]
    pub fn arena(&self) -> &Arena {
        match &self.stage {
            Stage::Recovering(restore) => restore.arena(),
            Stage::Open(store) => &store.arena,
            Stage::Stopped(arena) => arena,
        }
    }

    /// Holds tail memory that a send reads from. Panics if it is gone: pin in the turn of the read.
    pub fn pin(&mut self, span: Span) -> Pin {
        self.store_mut().expect("only an open engine hands out spans").pin(span)
    }

    pub fn unpin(&mut self, pin: Pin) {
        self.store_mut().expect("only an open engine hands out pins").unpin(pin);
    }

    /// Pins that were not given back.
    #[must_use]
    pub fn pins_held(&self) -> usize {
        self.store().map_or(0, |store| store.pins_held)
    }

    pub(crate) fn store(&self) -> Option<&Store> {
        match &self.stage {
            Stage::Open(store) if self.phase != Phase::Recovering => Some(store),
            _ => None,
        }
    }

    pub(crate) fn store_mut(&mut self) -> Option<&mut Store> {
        match &mut self.stage {
            Stage::Open(store) if self.phase != Phase::Recovering => Some(store),
            _ => None,
        }
    }

    pub(crate) fn partition(&self, id: PartitionId) -> Option<&Partition> {
        self.store()?.partitions.by_id(id)
    }

    fn advance_phase(&mut self, now: Now) {
        match &mut self.stage {
            Stage::Recovering(restore) => {
                let Some(outcome) = restore.advance(now) else { return };
                self.report = outcome.report;
                match outcome.result {
                    Ok(store) => self.stage = Stage::Open(store),
                    Err((phase, arena)) => {
                        self.phase = phase;
                        self.stage = Stage::Stopped(arena);
                    }
                }
            }
            Stage::Open(store) => {
                if let Some(cause) = store.journal.poisoned() {
                    self.phase = Phase::Poisoned(cause);
                } else if self.phase == Phase::Recovering && store.journal.is_ready() {
                    self.phase = Phase::Open;
                }
            }
            Stage::Stopped(_) => {}
        }
    }
}
