//! Groups: the coordinators of the partitions of `__consumer_offsets` that this core leads.
//!
//! ```text
//!  JoinGroup, OffsetCommit … ─▶ Ask::Group ─▶ Coordinator of partition hash(group) % 50
//!                                               │ reads its partition when it is seated
//!                                               └ appends to it as any producer does, and answers
//!                                                 when that is committed
//! ```
//! To the log a coordinator is one more client of the shard: it asks as connections do
//! ([`crate::Ask`]), so what is true of their batches, in one replica or in many, is true of its own.

mod admin;
pub mod ask;
pub mod coordinator;
mod effects;
mod group;
mod hash;
mod join;
mod leave;
mod member;
pub mod mutant;
mod offsets;
mod rebalance;
mod record;
mod refusals;
mod seat;
pub mod settings;
mod subscription;
mod sync;
mod timers;
mod writer;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use base::{Epoch, Instant, Now, Offset, PartitionId, ShardId};
use net::ErrorCode;

use self::ask::{GroupAnswer, GroupAsk, Listed};
use self::coordinator::InFlight;
use self::mutant::Planted;
use self::seat::{Phase, Seat};
use self::settings::GroupSettings;
use crate::ask::{Answer, Ask};
use crate::mail::{Asker, Ticket};
use crate::serve::Home;
use crate::slab::Slab;

pub(crate) use self::hash::partition_of;

/// The topic that groups are kept in.
pub(crate) const OFFSETS_TOPIC: &str = replication::topic_name::OFFSETS;
/// Its partitions: as many as Kafka's.
pub(crate) const OFFSETS_PARTITIONS: u32 = 50;

/// Bytes of the log that are read at once.
const READ_BYTES: u32 = 1 << 20;
/// How long a coordinator waits for its log to be committed before it looks again.
const WATCH: core::time::Duration = core::time::Duration::from_secs(1);

/// Where a coordinator sits.
type Place = (ShardId, PartitionId);

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Groups {
    settings: GroupSettings,
    planted: Planted,
    seed: u128,
    drawn: u64,
    seats: BTreeMap<Place, Seat>,
    /// Questions of coordinators to their shards.
    asked: Slab<Asked>,
    answers: VecDeque<(Asker, Answer)>,
    /// Something happened since the last turn.
    busy: bool,
    /// When something is due otherwise.
    due: Option<Instant>,
    /// Coordinators that wait for their epoch to be open.
    waiting: bool,
}

/// What a coordinator asked, and in which epoch.
#[derive(Debug)]
struct Asked {
    place: Place,
    epoch: Epoch,
    what: What,
}

#[derive(Debug)]
enum What {
    Read,
    Append(InFlight),
    Trim,
}

impl Groups {
    /// `seed`: random bits, different at every start.
    pub(crate) fn new(settings: GroupSettings, seed: u128) -> Self {
        Self {
            settings,
            planted: Planted::default(),
            seed,
            drawn: 0,
            seats: BTreeMap::new(),
            asked: Slab::default(),
            answers: VecDeque::new(),
            busy: false,
            due: None,
            waiting: false,
        }
    }

    /// Seats a coordinator in every partition of `led`, and removes those of all others, and of
    /// earlier epochs.
    pub(crate) fn seat(&mut self, led: &BTreeMap<Place, Epoch>) {
        let unseated: Vec<Place> = self
            .seats
            .iter()
            .filter(|(place, seat)| led.get(place) != Some(&seat.epoch))
            .map(|(place, _)| *place)
            .collect();
        for place in unseated {
            self.unseat(place);
        }
        self.busy = true;
        for (place, epoch) in led {
            if !self.seats.contains_key(place) {
                let seat = self.new_seat(*epoch);
                self.seats.insert(*place, seat);
            }
        }
    }

    fn new_seat(&mut self, epoch: Epoch) -> Seat {
        self.drawn += 1;
        self.waiting = true;
        self.busy = true;
        let seed = self.seed ^ u128::from(self.drawn) << 64;
        Seat::new(epoch, seed, self.planted)
    }

    fn unseat(&mut self, place: Place) {
        let Some(seat) = self.seats.remove(&place) else { return };
        let mut flights = Vec::new();
        for asked in self.asked.remove_where(|asked| asked.place == place) {
            if let What::Append(flight) = asked.what {
                flights.push(flight);
            }
        }
        for (to, answer) in seat.coordinator.resign(flights.into_iter()) {
            self.answers.push_back((to, Answer::Group(Box::new(answer))));
        }
    }

    /// Places whose coordinator waits for its epoch to be open, with that epoch.
    pub(crate) fn waiting(&mut self) -> Vec<(Place, Epoch)> {
        if !self.waiting {
            return Vec::new();
        }
        let waits = |seat: &Seat| matches!(seat.phase, Phase::Waiting);
        let waiting = self.seats.iter().filter(|(_, seat)| waits(seat));
        let waiting: Vec<_> = waiting.map(|(place, seat)| (*place, seat.epoch)).collect();
        self.waiting = !waiting.is_empty();
        waiting
    }

    /// The epoch is open, and the log goes from `start` to `end`.
    pub(crate) fn begin(&mut self, now: Now, place: Place, start: Offset, end: Offset) {
        self.busy = true;
        if let Some(seat) = self.seats.get_mut(&place) {
            seat.begin(now, &self.settings, start, end);
        }
    }

    /// Takes a question; its answer comes out of [`Groups::pop_answer`], now or later.
    pub(crate) fn ask(&mut self, now: Now, to: Asker, home: Home, ask: GroupAsk) {
        let refusal = match self.seats.get_mut(&(home.shard, home.partition)) {
            None => ErrorCode::NotCoordinator,
            Some(seat) if seat.serves() => {
                self.busy = true;
                seat.coordinator.ask(now, &self.settings, to, ask);
                return self.collect((home.shard, home.partition));
            }
            Some(_) => ErrorCode::CoordinatorLoadInProgress,
        };
        self.answers.push_back((to, Answer::Failed(refusal)));
    }

    /// The groups of a shard, and whether some are not known yet.
    pub(crate) fn list(&self, shard: ShardId) -> (Vec<Listed>, bool) {
        let of_shard =
            || self.seats.iter().filter(|((of, _), _)| *of == shard).map(|(_, seat)| seat);
        let serving = of_shard().filter(|seat| seat.serves());
        let groups = serving.flat_map(|seat| seat.coordinator.list()).collect();
        (groups, of_shard().any(|seat| !seat.serves()))
    }

    /// The next answer to whoever asked about groups.
    pub(crate) fn pop_answer(&mut self) -> Option<(Asker, Answer)> {
        self.answers.pop_front()
    }

    /// Does what is due, and returns what is to be asked of shards, each with the ticket that its
    /// answer is to be filed under.
    pub(crate) fn turn(&mut self, now: Now) -> Vec<(Ticket, Home, Ask)> {
        let mut asks = Vec::new();
        if !self.busy && self.due.is_none_or(|due| now.mono < due) {
            return asks;
        }
        self.busy = false;
        let Self { settings, asked, seats, .. } = self;
        for (place, seat) in &mut *seats {
            let home = Home { shard: place.0, partition: place.1 };
            let epoch = seat.epoch;
            let mut put = |what, ask| {
                let ticket = asked.insert(Asked { place: *place, epoch, what });
                asks.push((ticket, home, ask));
            };
            match &mut seat.phase {
                Phase::Waiting => {}
                Phase::Reading(reading) => {
                    if reading.asked || now.mono < reading.not_before {
                        continue;
                    }
                    reading.asked = true;
                    let from = reading.next;
                    let until = now.mono.plus(WATCH);
                    let (max_bytes, known_epoch) = (READ_BYTES, Some(epoch));
                    let fetch = Ask::Fetch { from, max_bytes, min_one: true, known_epoch };
                    put(
                        What::Read,
                        if reading.parked { Ask::Watch { from, until } } else { fetch },
                    );
                }
                Phase::Serving => {
                    seat.coordinator.expire(now, settings);
                    while let Some(batch) = seat.coordinator.next_batch(now, settings) {
                        put(
                            What::Append(batch.flight),
                            Ask::Produce { batch: batch.bytes, all: true },
                        );
                    }
                    if let Some(before) = seat.coordinator.take_trim() {
                        put(What::Trim, Ask::DeleteRecords { before: Some(before) });
                    }
                }
            }
        }
        let places: Vec<Place> = self.seats.keys().copied().collect();
        places.into_iter().for_each(|place| self.collect(place));
        self.due = self.seats.values().filter_map(Seat::next_timeout).min();
        asks
    }

    /// Files a shard's answer. `records`: the bytes of a fetch.
    pub(crate) fn file(&mut self, now: Now, ticket: Ticket, answer: &Answer, records: &[u8]) {
        let Some(Asked { place, epoch, what }) = self.asked.remove(ticket) else { return };
        let seat = self.seats.get_mut(&place).filter(|seat| seat.epoch == epoch);
        let Some(seat) = seat else { return };
        self.busy = true;
        let settings = &self.settings;
        match (what, answer) {
            (What::Read, Answer::Fetched(_)) => seat.read(now, settings, records),
            (What::Read, Answer::Woken) => seat.wake(),
            (What::Read, _) => seat.retry(now),
            (What::Append(flight), Answer::Produced(produced)) => {
                seat.coordinator.settle(now, settings, flight, Ok(produced.base));
            }
            (What::Append(flight), Answer::Failed(code)) if is_certain(*code) => {
                seat.coordinator.settle(now, settings, flight, Err(*code));
            }
            (What::Append(flight), _) => return self.reseat(place, flight),
            (What::Trim, _) => {}
        }
        self.collect(place);
    }

    /// What became of a batch is not known: the log must say.
    fn reseat(&mut self, place: Place, flight: InFlight) {
        let Some(epoch) = self.seats.get(&place).map(|seat| seat.epoch) else { return };
        self.asked.insert(Asked { place, epoch, what: What::Append(flight) });
        self.unseat(place);
        let seat = self.new_seat(epoch);
        self.seats.insert(place, seat);
    }

    /// Topics were deleted.
    pub(crate) fn forget_topics(&mut self, now: Now, gone: &[Arc<str>]) {
        self.busy = true;
        for seat in self.seats.values_mut() {
            if matches!(seat.phase, Phase::Serving) {
                let is_gone = |topic: &str| gone.iter().any(|gone| **gone == *topic);
                seat.coordinator.forget_topics(now, &self.settings, is_gone);
            }
        }
    }

    /// When [`Groups::turn`] is to be called next.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        if self.busy { Some(Instant::default()) } else { self.due }
    }

    fn collect(&mut self, place: Place) {
        let Some(seat) = self.seats.get_mut(&place) else { return };
        while let Some((to, answer)) = seat.coordinator.pop_answer() {
            let answer: Box<GroupAnswer> = Box::new(answer);
            self.answers.push_back((to, Answer::Group(answer)));
        }
    }
}

/// Whether the batch is certainly not in the log, and the shard still leads.
fn is_certain(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::MessageTooLarge
            | ErrorCode::RecordListTooLarge
            | ErrorCode::InvalidRecord
            | ErrorCode::KafkaStorageError
            | ErrorCode::NotEnoughReplicas
    )
}
