//! One coordinator, the log that it writes to, and the clock that it is told.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use base::{Batch, BrokerTime, CoreId, Instant, Now, Offset, batch};
use net::ErrorCode;
use shard::groups::ask::{
    Commit, CommitPartition, FoundOffset, GroupAnswer, GroupAsk, Identity, Join, Joined, Sync,
    Synced,
};
use shard::groups::coordinator::{Coordinator, InFlight};
use shard::groups::mutant::Planted;
use shard::groups::settings::GroupSettings;
use shard::{Asker, Ticket};

pub(crate) const GROUP: &str = "g";
pub(crate) const TOPIC: &str = "t";

/// See the module's description.
pub(crate) struct World {
    pub(crate) settings: GroupSettings,
    coordinator: Coordinator,
    planted: Planted,
    pub(crate) now: Now,
    /// Base offset and bytes of each batch, committed or not.
    log: VecDeque<(u64, Vec<u8>)>,
    end: u64,
    flights: VecDeque<(InFlight, u64)>,
    answers: BTreeMap<u32, GroupAnswer>,
    asked: u32,
    lives: u128,
}

impl World {
    pub(crate) fn new(planted: Planted) -> Self {
        let settings =
            GroupSettings { initial_rebalance_delay: Duration::ZERO, ..Default::default() };
        let now = Now { mono: Instant(1_000_000_000), wall: BrokerTime(1_700_000_000_000) };
        let mut world = Self {
            settings,
            coordinator: Coordinator::new(1, planted),
            planted,
            now,
            log: VecDeque::new(),
            end: 0,
            flights: VecDeque::new(),
            answers: BTreeMap::new(),
            asked: 0,
            lives: 1,
        };
        world.coordinator.loaded(now, &world.settings, 0);
        world
    }

    /// Puts a question; its number finds the answer.
    pub(crate) fn ask(&mut self, ask: GroupAsk) -> u32 {
        self.asked += 1;
        let ticket = Ticket { slot: self.asked, generation: 0 };
        let to = Asker { core: CoreId(0), ticket, part: 0 };
        self.coordinator.ask(self.now, &self.settings, to, ask);
        self.turn();
        self.asked
    }

    /// Asks, and commits whatever has to be.
    pub(crate) fn call(&mut self, ask: GroupAsk) -> Option<GroupAnswer> {
        let number = self.ask(ask);
        self.commit_all();
        self.answer(number)
    }

    pub(crate) fn answer(&mut self, number: u32) -> Option<GroupAnswer> {
        self.answers.remove(&number)
    }

    /// Lets time pass; the wall clock goes along.
    pub(crate) fn pass(&mut self, ms: u64) {
        self.now.mono = self.now.mono.plus(Duration::from_millis(ms));
        self.now.wall.0 += ms as i64;
        self.turn();
    }

    /// As [`World::pass`], with everything due in between done when it is.
    pub(crate) fn pass_slowly(&mut self, ms: u64) {
        let until = self.now.mono.plus(Duration::from_millis(ms));
        while let Some(at) = self.coordinator.next_timeout().filter(|at| *at <= until) {
            let step = at.since(self.now.mono).as_millis() as u64;
            self.pass(step.max(1));
        }
        let rest = until.since(self.now.mono).as_millis() as u64;
        self.pass(rest);
    }

    fn turn(&mut self) {
        self.coordinator.expire(self.now, &self.settings);
        while let Some(batch) = self.coordinator.next_batch(self.now, &self.settings) {
            let parsed = Batch::parse(&batch.bytes).unwrap();
            let (base, count) = (self.end, parsed.record_count());
            self.end += u64::from(count);
            self.log.push_back((base, batch.bytes));
            self.flights.push_back((batch.flight, base));
        }
        if let Some(before) = self.coordinator.take_trim() {
            self.log.retain(|(base, _)| before.0 <= *base);
        }
        while let Some((to, answer)) = self.coordinator.pop_answer() {
            let earlier = self.answers.insert(to.ticket.slot, answer);
            assert!(earlier.is_none(), "a question is answered once");
        }
    }

    /// Commits the oldest batch that is not.
    pub(crate) fn commit_one(&mut self) {
        if let Some((flight, base)) = self.flights.pop_front() {
            self.coordinator.settle(self.now, &self.settings, flight, Ok(Offset(base)));
            self.turn();
        }
    }

    pub(crate) fn commit_all(&mut self) {
        while !self.flights.is_empty() {
            self.commit_one();
        }
    }

    /// Refuses the oldest batch that is not committed.
    pub(crate) fn refuse_one(&mut self, code: ErrorCode) {
        if let Some((flight, base)) = self.flights.pop_front() {
            self.log.retain(|(other, _)| *other != base);
            self.coordinator.settle(self.now, &self.settings, flight, Err(code));
            self.turn();
        }
    }

    /// Another life: what is not committed is lost, and a new coordinator reads what is.
    pub(crate) fn crash(&mut self) {
        if let Some((_, lost_from)) = self.flights.front() {
            let lost_from = *lost_from;
            self.log.retain(|(base, _)| *base < lost_from);
            self.end = lost_from;
        }
        self.lives += 1;
        let next = Coordinator::new(self.lives << 64, self.planted);
        let old = std::mem::replace(&mut self.coordinator, next);
        for (to, answer) in old.resign(self.flights.drain(..).map(|(flight, _)| flight)) {
            self.answers.entry(to.ticket.slot).or_insert(answer);
        }
        let mut bytes = 0;
        for (_, stored) in &self.log {
            bytes += stored.len();
            for record in batch::records(Batch::parse(stored).unwrap().records()) {
                self.coordinator.load(record.key, record.value);
            }
        }
        self.coordinator.loaded(self.now, &self.settings, bytes);
        self.turn();
    }

    pub(crate) fn log_records(&self) -> usize {
        let count =
            |(_, bytes): &(u64, Vec<u8>)| Batch::parse(bytes).unwrap().record_count() as usize;
        self.log.iter().map(count).sum()
    }

    pub(crate) fn state(&self) -> Option<&'static str> {
        self.coordinator.list().find(|listed| &*listed.group == GROUP).map(|listed| listed.state)
    }

    pub(crate) fn fetch(&mut self, partition: i32) -> FoundOffset {
        let topics = Some(vec![(TOPIC.to_owned(), vec![partition])]);
        match self.call(GroupAsk::FetchOffsets { group: GROUP.into(), topics }) {
            Some(GroupAnswer::Offsets(topics)) => topics[0].1[0].1.clone(),
            other => panic!("{other:?}"),
        }
    }

    /// The answer to a join, if it is there.
    pub(crate) fn joined(&mut self, number: u32) -> Option<Joined> {
        match self.answer(number)? {
            GroupAnswer::Joined(joined) => Some(joined),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn synced(&mut self, number: u32) -> Option<Synced> {
        match self.answer(number)? {
            GroupAnswer::Synced(synced) => Some(synced),
            other => panic!("{other:?}"),
        }
    }

    /// A heartbeat's code.
    pub(crate) fn beat(&mut self, who: &Identity) -> ErrorCode {
        match self.call(GroupAsk::Heartbeat(who.clone())) {
            Some(GroupAnswer::Done(code)) => code,
            other => panic!("{other:?}"),
        }
    }

    /// Commits one offset; the code, if it is answered.
    pub(crate) fn commit(&mut self, who: &Identity, partition: i32, offset: i64) -> ErrorCode {
        match self.call(GroupAsk::Commit(commit_of(who, partition, offset))) {
            Some(GroupAnswer::Committed(codes)) => codes[0],
            other => panic!("{other:?}"),
        }
    }

    /// One member alone, through join and sync.
    pub(crate) fn settle_alone(&mut self, join: Join) -> Identity {
        let number = self.ask(GroupAsk::Join(join.clone()));
        let joined = self.joined(number).unwrap();
        assert_eq!(joined.error, ErrorCode::None);
        let who = identity(&joined, join.instance.as_deref());
        let assignment = vec![(joined.member.to_string(), b"all".to_vec())];
        let number = self.ask(GroupAsk::Sync(sync_of(&who, assignment)));
        self.commit_all();
        assert_eq!(self.synced(number).unwrap().assignment, b"all");
        who
    }
}

pub(crate) fn join_of(client: &str) -> Join {
    Join {
        group: GROUP.into(),
        member: String::new(),
        instance: None,
        client_id: client.into(),
        client_host: "/".into(),
        session_timeout: Duration::from_secs(10),
        rebalance_timeout: Duration::from_secs(60),
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), b"subscription".to_vec())],
        id_required: false,
        may_skip_assignment: true,
    }
}

pub(crate) fn identity(joined: &Joined, instance: Option<&str>) -> Identity {
    Identity {
        group: GROUP.into(),
        generation: joined.generation,
        member: joined.member.to_string(),
        instance: instance.map(str::to_owned),
    }
}

pub(crate) fn sync_of(who: &Identity, assignments: Vec<(String, Vec<u8>)>) -> Sync {
    Sync { who: who.clone(), protocol_type: None, protocol: None, assignments }
}

pub(crate) fn commit_of(who: &Identity, partition: i32, offset: i64) -> Commit {
    let partition = CommitPartition {
        topic: TOPIC.into(),
        index: partition,
        offset,
        leader_epoch: 3,
        metadata: "note".into(),
        refused: None,
    };
    Commit { who: who.clone(), retention_ms: None, partitions: vec![partition] }
}

/// Someone who is no member.
pub(crate) fn nobody() -> Identity {
    Identity { group: GROUP.into(), generation: -1, ..Identity::default() }
}
