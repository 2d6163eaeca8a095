//! Members of a cluster log, their journals and a network, in one deterministic thread.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use base::{Incarnation, Instant, NodeId};
use replication::cluster_log::message::{RaftBody, RaftMessage};
use replication::cluster_log::{Ballot, LogSettings, Timing, Write, WriteNumber};
use replication::command::NodeRegistered;
use replication::node::Boot;
use replication::{
    ClusterLog, ControlMessage, Entry, LogIndex, Planted, Proposal, Term, Uuid, Voter, Voters,
};

use crate::knobs::Knobs;
use crate::random::Random;

pub(crate) const CLUSTER: Uuid = Uuid([7; 16]);

/// What a journal holds for good.
#[derive(Clone, Debug, Default)]
struct Disk {
    /// As they were written, replaced ones too.
    entries: Vec<Vec<u8>>,
    ballot: Ballot,
}

impl Disk {
    fn apply(&mut self, write: &Write) {
        match write {
            Write::Ballot(ballot) => self.ballot = *ballot,
            Write::Entry(_, bytes) => {
                self.entries.push(bytes.clone());
            }
        }
    }
}

#[derive(Debug)]
pub(crate) struct Member {
    pub me: Voter,
    pub boot: u32,
    disk: Disk,
    /// Given to the journal and not durable.
    writing: VecDeque<(WriteNumber, Write)>,
    pub log: ClusterLog,
    pub paused: bool,
    /// What of its commits was checked.
    pub checked: LogIndex,
    pub led: bool,
    /// Since when nobody's messages reached it.
    pub isolated: Option<Instant>,
}

#[derive(Debug)]
struct Letter {
    from: usize,
    to: usize,
    bytes: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct World {
    pub random: Random,
    pub knobs: Knobs,
    planted: Planted,
    pub now: Instant,
    pub members: Vec<Member>,
    /// From whom to whom nothing gets through.
    pub cuts: BTreeSet<(usize, usize)>,
    letters: Vec<Letter>,
    /// Entries of this term never arrive.
    pub lost_term: Option<Term>,
    /// Whether node 0 is still all there is.
    pub alone: bool,
    pub leaders: BTreeMap<Term, (Voter, u32)>,
    /// Everything that any member ever took for committed.
    pub committed: Vec<Vec<u8>>,
    /// Journals that were lost, with all that they held.
    dead: BTreeSet<Voter>,
    next_journal: u64,
    next_port: u16,
    pub elections: u32,
    pub wiped: u32,
}

pub(crate) type Checked = Result<(), String>;

impl World {
    pub(crate) fn new(seed: u64, planted: Planted) -> Self {
        let mut random = Random::new(seed);
        let knobs = Knobs::draw(&mut random);
        Self::with(knobs, random, planted)
    }

    pub(crate) fn with(knobs: Knobs, random: Random, planted: Planted) -> Self {
        let mut world = Self {
            random,
            knobs,
            planted,
            now: Instant(1_000_000_000),
            members: Vec::new(),
            cuts: BTreeSet::new(),
            letters: Vec::new(),
            lost_term: None,
            alone: knobs.grows,
            leaders: BTreeMap::new(),
            committed: Vec::new(),
            dead: BTreeSet::new(),
            next_journal: 0,
            next_port: 1,
            elections: 0,
            wiped: 0,
        };
        for node in 0..knobs.seats + knobs.learners {
            let me = world.stranger(node);
            let member = world.boot(me, 1, Disk::default());
            world.members.push(member);
        }
        world
    }

    /// One life: a time of faults, and a time in which all must come right.
    pub(crate) fn live(&mut self) -> Checked {
        for step in 0..self.knobs.steps {
            if self.alone && self.knobs.steps / 4 < step && 1 < self.members[0].disk.entries.len() {
                self.join_others();
            }
            self.misfortune();
            self.step()?;
        }
        self.recover()
    }

    fn stranger(&mut self, node: u16) -> Voter {
        self.next_journal += 1;
        Voter { node: NodeId(node), journal: self.next_journal }
    }

    fn boot(&mut self, me: Voter, boot: u32, disk: Disk) -> Member {
        let nodes = self.knobs.seats + self.knobs.learners;
        let is_alone = self.alone && me.node == NodeId(0);
        let others = (0..nodes).map(NodeId).filter(|node| *node != me.node);
        let settings = LogSettings {
            seats: (0..if is_alone { 1 } else { self.knobs.seats }).map(NodeId).collect(),
            peers: if is_alone { Vec::new() } else { others.collect() },
            timing: Timing::default(),
            seed: self.random.next(),
            planted: self.planted,
            append_bytes_max: if self.knobs.piecemeal { 1 } else { 64 << 10 },
            ..LogSettings::alone(CLUSTER, me.node)
        };
        let mut log = ClusterLog::new(settings);
        for bytes in &disk.entries {
            log.replay(bytes).expect("what was written replays");
        }
        log.replay_ballot(disk.ballot);
        let own = Boot { journal: me.journal, boot: Incarnation(boot) };
        log.start(self.now, own, LogIndex(0));
        let (writing, checked) = (VecDeque::new(), LogIndex(0));
        Member { me, boot, disk, writing, log, paused: false, checked, led: false, isolated: None }
    }

    /// The node that formed the cluster for itself learns of others.
    fn join_others(&mut self) {
        self.alone = false;
        for number in 0..self.members.len() {
            self.crash(number);
        }
    }

    fn crash(&mut self, number: usize) {
        let member = &mut self.members[number];
        let mut disk = std::mem::take(&mut member.disk);
        // Some of what was in flight survives, in order.
        let survive = self.random.below(member.writing.len() as u64 + 1) as usize;
        member.writing.iter().take(survive).for_each(|(_, write)| disk.apply(write));
        let (me, boot) = (member.me, member.boot + 1);
        self.members[number] = self.boot(me, boot, disk);
    }

    fn wipe(&mut self, number: usize) {
        let old = self.members[number].me;
        self.dead.insert(old);
        // No more than a minority of any set that may decide.
        let sets = self.members.iter().map(|member| member.log.voters());
        let seats = (0..usize::from(self.knobs.seats)).map(|seat| self.members[seat].me);
        let seats = Voters::new(seats).expect("at most five seats");
        let formed = !self.committed.is_empty();
        let bearable = |set: &Voters| {
            // Of two voters none may be lost, nor of one a learner about to be the second.
            let dead = set.iter().filter(|voter| self.dead.contains(voter)).count();
            set.is_empty() || 2 < set.len() && dead < set.len().div_ceil(2)
        };
        let early = formed || (self.dead.len() as u16) * 2 < self.knobs.seats;
        if self.alone || !sets.into_iter().all(|set| bearable(&set)) || !bearable(&seats) || !early
        {
            self.dead.remove(&old);
            return;
        }
        self.wiped += 1;
        let me = self.stranger(old.node.0);
        self.members[number] = self.boot(me, 1, Disk::default());
    }

    fn misfortune(&mut self) {
        let count = self.members.len() as u64;
        let (one, other) = (self.random.below(count) as usize, self.random.below(count) as usize);
        if self.random.chance(self.knobs.crashes) {
            let leader = self.members.iter().position(|member| member.log.is_leader());
            self.crash(leader.filter(|_| self.knobs.piecemeal).unwrap_or(one));
        }
        if self.random.chance(self.knobs.wipes) {
            self.wipe(one);
        }
        if self.random.chance(self.knobs.pauses) {
            self.members[one].paused ^= true;
        }
        if self.random.chance(self.knobs.false_deaths) {
            let dead = self.members[other].me.node;
            self.members[one].log.node_died(self.now, dead);
        }
        if self.random.chance(self.knobs.cuts) {
            match self.random.below(4) {
                0 => self.cuts.clear(),
                1 => self.cuts.extend([(one, other), (other, one)]),
                2 => {
                    self.cuts.insert((one, other));
                }
                _ => (0..self.members.len()).for_each(|member| {
                    self.cuts.extend([(one, member), (member, one)]);
                }),
            }
        }
    }

    fn step(&mut self) -> Checked {
        let count = self.members.len() as u64;
        match self.random.below(10) {
            0 | 1 => {
                let wait = Duration::from_micros(100 + self.random.below(20_000));
                self.now = self.now.plus(wait);
            }
            2 => self.propose(),
            3..6 => (0..self.random.below(6)).for_each(|_| self.deliver()),
            _ => {
                let number = self.random.below(count) as usize;
                if self.random.chance(self.knobs.flushes) {
                    self.flush(number);
                }
            }
        }
        for number in 0..self.members.len() {
            self.turn(number);
        }
        self.check()
    }

    pub(crate) fn propose(&mut self) {
        let port = self.next_port;
        self.next_port = self.next_port.wrapping_add(1);
        for member in self.members.iter_mut().filter(|member| !member.paused) {
            let registered = NodeRegistered {
                node: NodeId(0),
                shards: 1,
                host: "h".into(),
                port,
                core_host: "h".into(),
                core_port: 2,
                rack: None,
            };
            let _ = member.log.propose(&Proposal::RegisterNode(registered));
        }
    }

    fn deliver(&mut self) {
        if self.letters.is_empty() {
            return;
        }
        let reach = if self.knobs.reorders { self.letters.len() } else { 1 };
        let which = self.random.below(reach as u64) as usize;
        if self.random.chance(self.knobs.duplicates) {
            let Letter { from, to, bytes } = &self.letters[which];
            let again = Letter { from: *from, to: *to, bytes: bytes.clone() };
            self.letters.push(again);
        }
        let Letter { from, to, bytes } = self.letters.remove(which);
        if self.members[to].paused {
            return self.letters.push(Letter { from, to, bytes });
        }
        let lost = self.random.chance(self.knobs.loss);
        if lost || self.cuts.contains(&(from, to)) || from == to {
            return;
        }
        let message = ControlMessage::decode(&bytes).expect("what was encoded decodes");
        let ControlMessage::Raft(message) = message else { panic!("{message:?}") };
        if self.lost_term.is_some_and(|term| brings(&message, term)) {
            return;
        }
        self.members[to].log.handle(self.now, NodeId(from as u16), message);
    }

    fn flush(&mut self, number: usize) {
        let member = &mut self.members[number];
        let durable = self.random.below(member.writing.len() as u64 + 1) as usize;
        for (number, write) in member.writing.drain(..durable) {
            member.disk.apply(&write);
            member.log.durable(self.now, number);
        }
    }

    fn turn(&mut self, number: usize) {
        let member = &mut self.members[number];
        if member.paused {
            return;
        }
        member.log.turn(self.now);
        while let Some(write) = member.log.poll_write() {
            member.writing.push_back(write);
        }
        while let Some((to, message)) = member.log.poll_message() {
            let bytes = ControlMessage::Raft(message).encode();
            self.letters.push(Letter { from: number, to: usize::from(to.0), bytes });
        }
        // A network that holds everything for ever would only be slow.
        while 4_000 < self.letters.len() {
            self.letters.remove(0);
        }
    }

    /// With all faults over, a leader is found, all seats vote, and all members hold one log.
    fn recover(&mut self) -> Checked {
        while self.alone {
            self.propose();
            self.turn(0);
            self.flush(0);
            if 1 < self.members[0].disk.entries.len() {
                self.join_others();
            }
        }
        self.cuts.clear();
        self.knobs = self.knobs.calm();
        self.members.iter_mut().for_each(|member| member.paused = false);
        for _ in 0..4_000 {
            self.pass_calmly()?;
            if self.is_well() {
                self.check_logs()?;
                return self.disturb();
            }
        }
        let mut found = String::new();
        for Member { me, log, .. } in &self.members {
            let (role, term, voters) = (log.role(), log.term(), log.voters());
            let (last, committed) = (log.last(), log.committed());
            found += &format!("\n{me:?}: {role:?} {term:?} {last:?} {committed:?} {voters:?}");
        }
        Err(format!("no leader that all follow with all seats voting:{found}"))
    }

    /// Two milliseconds in which everything arrives that is not cut off.
    pub(crate) fn pass_calmly(&mut self) -> Checked {
        self.now = self.now.plus(Duration::from_millis(2));
        for number in 0..self.members.len() {
            self.turn(number);
            self.flush(number);
            self.flush(number);
        }
        for _ in 0..self.letters.len() {
            self.deliver();
        }
        self.check()
    }

    /// One follower hears nobody for a while. That it comes back deposes no leader.
    fn disturb(&mut self) -> Checked {
        let leader = self.members.iter().position(|member| member.log.is_leader());
        let leader = leader.expect("all is well");
        let term = self.members[leader].log.term();
        let lost = (leader + 1) % self.members.len();
        for other in 0..self.members.len() {
            self.cuts.extend([(lost, other), (other, lost)]);
        }
        for step in 0..1_500 {
            if step == 1_000 {
                self.cuts.clear();
            }
            self.pass_calmly()?;
        }
        let log = &self.members[leader].log;
        if !log.is_leader() || log.term() != term {
            return Err(format!("a follower that came back deposed the leader of {term:?}"));
        }
        Ok(())
    }
}

/// Whether the message brings an entry of this term.
fn brings(message: &RaftMessage, term: Term) -> bool {
    let RaftBody::Append { entries, .. } = &message.body else { return false };
    entries.iter().any(|bytes| Entry::decode(bytes).is_ok_and(|entry| entry.term == term))
}
