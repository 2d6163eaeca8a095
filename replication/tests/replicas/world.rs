//! A few shards, each on a node of its own, with their links, their mail from the control plane, and
//! every way in which these fail.

use std::collections::{BTreeMap, VecDeque};

use base::{Incarnation, Instant, NodeId, Now, Offset, PartitionId, ShardId, TopicNumber};
use replication::node::Boot;
use replication::replica::{
    Event, Fenced, Log, Message, Outgoing, ReadOrder, ReplicaSet, Settings, Standing, StreamId,
    split_frame,
};
use replication::{LogIndex, Placement, Planted};

use crate::control::{Control, FenceOrder, Flaw};
use crate::ledger::Ledger;
use crate::memory_log::{Change, Content, MemoryLog};

pub struct Node {
    pub at: Placement,
    pub boot: Boot,
    pub log: MemoryLog,
    /// `None` while it is down.
    pub set: Option<ReplicaSet>,
    pub index: LogIndex,
    seen: BTreeMap<PartitionId, Offset>,
    /// Batches that wait for their turn, by ticket.
    read: BTreeMap<u64, Vec<u8>>,
}

/// A connection, as each side sees it. Each direction keeps its order.
pub struct Link {
    pub leader: usize,
    pub follower: usize,
    pub stream: StreamId,
    pub to_follower: VecDeque<Vec<u8>>,
    pub to_leader: VecDeque<Vec<u8>>,
    /// Nothing new goes over it; what is on its way may still arrive.
    pub is_broken: bool,
}

pub enum Mail {
    Fence(FenceOrder),
    Answer(Placement, Fenced),
    Event((Placement, Boot), Event),
}

pub struct World {
    pub now: Now,
    pub nodes: Vec<Node>,
    pub links: Vec<Link>,
    pub mail: Vec<Mail>,
    pub control: Control,
    pub ledger: Ledger,
    pub ids: Vec<PartitionId>,
    pub settings: Settings,
    next_content: Content,
    next_journal: u64,
    pub trace: Option<Vec<String>>,
}

/// What became of a node's disk while it was down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    Kept,
    /// The newest entries are gone, and recovery sees it.
    Damaged {
        entries: usize,
    },
    /// Another disk, an empty one.
    Replaced,
    /// An older image of the disk.
    RolledBack {
        entries: usize,
    },
}

pub fn partition(index: u32) -> PartitionId {
    PartitionId::new(TopicNumber(1), index)
}

pub fn at(node: usize) -> Placement {
    Placement { node: NodeId(node as u16), shard: ShardId(0) }
}

impl World {
    /// `nodes` shards with `partitions` partitions on the first `replicas` of them.
    pub fn new(
        (nodes, replicas, partitions): (usize, usize, u32),
        planted: Planted,
        flaw: Option<Flaw>,
    ) -> Self {
        let settings = Settings {
            window_bytes: 2_000,
            bulk_window_bytes: 1_000,
            append_bytes_max: 300,
            planted,
            ..Settings::default()
        };
        let mut world = Self {
            now: Now::default(),
            nodes: Vec::new(),
            links: Vec::new(),
            mail: Vec::new(),
            control: Control::new(flaw),
            ledger: Ledger::default(),
            ids: (0..partitions).map(partition).collect(),
            settings,
            next_content: 0,
            next_journal: 0,
            trace: None,
        };
        world.now.mono = Instant(1_000_000_000);
        for id in world.ids.clone() {
            let replicas = (0..replicas).map(at).collect();
            world.control.create(&mut world.ledger, id, replicas);
        }
        for node in 0..nodes {
            world.next_journal += 1;
            let boot = Boot { journal: world.next_journal, boot: Incarnation(0) };
            let log = MemoryLog::new();
            let (index, seen, read) = (LogIndex(0), BTreeMap::new(), BTreeMap::new());
            world.nodes.push(Node { at: at(node), boot, log, set: None, index, seen, read });
            world.start(node, Disk::Kept);
        }
        world
    }

    pub fn say(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(what());
        }
    }

    pub fn up(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|node| self.nodes[*node].set.is_some()).collect()
    }

    pub fn down(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|node| self.nodes[*node].set.is_none()).collect()
    }

    /// Where `id` is led, as the node itself believes.
    pub fn leaders(&self, id: PartitionId) -> Vec<usize> {
        let leads = |node: &usize| {
            let set = self.nodes[*node].set.as_ref();
            set.is_some_and(|set| matches!(set.standing(id), Standing::Leads { .. }))
        };
        (0..self.nodes.len()).filter(leads).collect()
    }

    /// The process ends; `kept` of the frames in flight survive.
    pub fn crash(&mut self, node: usize, kept: u64) {
        self.say(|| format!("crash {node}, {kept} frames in flight survive"));
        self.nodes[node].set = None;
        self.nodes[node].log.crash(kept);
        self.learn(node);
        for link in &mut self.links {
            link.is_broken |= link.leader == node || link.follower == node;
        }
    }

    pub fn start(&mut self, node: usize, disk: Disk) {
        self.say(|| format!("start {node}, disk {disk:?}"));
        let own = &mut self.nodes[node];
        let newest = own.boot.boot.0 + 1;
        let mut boot = Boot { boot: Incarnation(newest), ..own.boot };
        match disk {
            Disk::Kept => {}
            Disk::Damaged { entries } => own.log.damage(entries),
            Disk::RolledBack { entries } => own.log.roll_back(entries),
            Disk::Replaced => {
                self.next_journal += 1;
                boot = Boot { journal: self.next_journal, boot: Incarnation(1) };
                own.log = MemoryLog::new();
            }
        }
        let own = &mut self.nodes[node];
        own.boot = boot;
        own.log.is_busy = false;
        own.log.resumes = self.settings.planted.is(replication::Mutant::ResumeEpoch);
        own.seen.clear();
        own.read.clear();
        own.set = Some(ReplicaSet::new(own.at, boot, self.settings));
        let is_replaced = matches!(disk, Disk::Replaced | Disk::RolledBack { .. });
        self.control.booted(&mut self.ledger, at(node), boot, is_replaced);
        self.nodes[node].index = LogIndex(0);
        // Nothing goes out before the cluster log holds the boot.
        self.conform(node, self.control.index());
    }

    /// The node hears what the cluster log says at `index`.
    pub fn conform(&mut self, node: usize, index: LogIndex) {
        let own = &mut self.nodes[node];
        let assignments = self.control.assignments(own.at, index);
        let Some(set) = &mut own.set else { return };
        let is_first = core::mem::replace(&mut own.index, index) == LogIndex(0);
        own.log.is_busy = false;
        assignments.iter().for_each(|assignment| own.log.create(assignment.partition, is_first));
        set.conform(self.now, &mut own.log, index, assignments);
        self.settle(node);
    }

    /// A leader appends `count` records to `id`.
    pub fn append(&mut self, node: usize, id: PartitionId, count: u64) -> bool {
        let contents = (1..=count).map(|at| self.next_content + at).collect();
        self.next_content += count;
        let own = &mut self.nodes[node];
        let Some(set) = &mut own.set else { return false };
        let leads =
            matches!(set.standing(id), Standing::Leads { .. } | Standing::Superseded { .. });
        if !leads || !own.log.append(id, contents) {
            return false;
        }
        set.appended(id);
        self.settle(node);
        true
    }

    /// The node's device makes `frames` more frames durable.
    pub fn flush(&mut self, node: usize, frames: u64) {
        let own = &mut self.nodes[node];
        own.log.seal();
        own.log.flush(frames);
        self.learn(node);
        let own = &mut self.nodes[node];
        let Some(set) = &mut own.set else { return };
        self.ids.iter().for_each(|id| set.advanced(&mut own.log, *id));
        self.settle(node);
    }

    /// The shard's turn ends, and all that it wants done is done.
    pub fn settle(&mut self, node: usize) {
        let own = &mut self.nodes[node];
        let Some(set) = &mut own.set else { return };
        set.turn(self.now, &mut own.log);
        self.learn(node);
        while let Some(outgoing) = self.nodes[node].set.as_mut().and_then(ReplicaSet::poll) {
            match outgoing {
                Outgoing::Message { to, message } => self.send(node, to, &message),
                Outgoing::Read(order) => self.read(node, &order),
                Outgoing::Append { to, header, ticket } => {
                    let batches = self.nodes[node].read.remove(&ticket).unwrap();
                    self.send(node, to, &Message::Append { header, batches: &batches });
                }
                Outgoing::Break { peer, stream, dialled } => {
                    let peer = usize::from(peer.node.0);
                    self.say(|| format!("{node} breaks {stream:?} with {peer}"));
                    self.ledger.mark("broken by the receiver");
                    let ends = if dialled { (node, peer) } else { (peer, node) };
                    self.break_link(stream, ends);
                }
                Outgoing::Event(event) => self.event(node, event),
            }
        }
        self.learn(node);
    }

    fn event(&mut self, node: usize, event: Event) {
        let own = &self.nodes[node];
        self.mail.push(match event {
            Event::Fenced(fenced) => {
                for answer in &fenced.answers {
                    let durable = own.log.durable_promise(answer.partition);
                    if durable < answer.view.promised {
                        let what = format!("{node} answers a fence with a volatile promise");
                        self.ledger.fail("I3", &what);
                    }
                }
                Mail::Answer(own.at, fenced)
            }
            Event::Contradiction { .. } => {
                self.ledger.mark("contradictions");
                // With proven elections alone, no leader contradicts what is committed.
                self.ledger.fail("I7", &format!("{node}: {event:?}"));
                return;
            }
            event => Mail::Event((own.at, own.boot), event),
        });
    }

    fn send(&mut self, node: usize, to: Placement, message: &Message<'_>) {
        let to = usize::from(to.node.0);
        let by_leader = !matches!(message, Message::Ack { .. } | Message::Nack(_));
        let mut frame = Vec::new();
        message.encode(&mut frame);
        let (leader, follower) = if by_leader { (node, to) } else { (to, node) };
        let link = self
            .links
            .iter_mut()
            .find(|link| (link.leader, link.follower, link.is_broken) == (leader, follower, false));
        if let Some(link) = link {
            let way = if by_leader { &mut link.to_follower } else { &mut link.to_leader };
            way.push_back(frame);
        }
        if !matches!(message, Message::Heartbeat { .. }) {
            self.say(|| format!("{node} → {to}: {message:?}"));
        }
    }

    fn read(&mut self, node: usize, order: &ReadOrder) {
        let records = u64::from(order.bytes_max / 70).max(1);
        let own = &mut self.nodes[node];
        let (bytes, end) = own.log.read(order.partition, order.from, order.until, records);
        let Some(set) = &mut own.set else { return };
        if set.attach(self.now, &own.log, order, end, bytes.len() as u32) {
            own.read.insert(order.ticket, bytes);
        }
    }

    /// Every follower that a node wants to feed is dialled.
    pub fn dial(&mut self, node: usize) {
        let Some(set) = &self.nodes[node].set else { return };
        for follower in set.followers().map(|at| usize::from(at.node.0)).collect::<Vec<_>>() {
            self.connect(node, follower);
        }
    }

    pub fn connect(&mut self, leader: usize, follower: usize) {
        let is_there = self
            .links
            .iter()
            .any(|link| (link.leader, link.follower, link.is_broken) == (leader, follower, false));
        if is_there || self.nodes[follower].set.is_none() {
            return;
        }
        let (own, boot) = (self.nodes[leader].boot, self.nodes[follower].boot);
        let Some(set) = &mut self.nodes[leader].set else { return };
        let stream = set.dialling();
        let (to_follower, to_leader) = (VecDeque::new(), VecDeque::new());
        self.links.push(Link {
            leader,
            follower,
            stream,
            to_follower,
            to_leader,
            is_broken: false,
        });
        self.say(|| format!("{leader} connects to {follower}, {stream:?}"));
        if let Some(set) = &mut self.nodes[follower].set {
            set.accepted(self.now, at(leader), own, stream);
        }
        if let Some(set) = &mut self.nodes[leader].set {
            set.stream_up(self.now, at(follower), boot, stream);
        }
        self.settle(follower);
        self.settle(leader);
    }

    /// A connection breaks. Its ends hear of it; what was on its way may still come.
    pub fn break_link(&mut self, stream: StreamId, (leader, follower): (usize, usize)) {
        let link = self
            .links
            .iter_mut()
            .find(|link| (link.stream, link.leader, link.follower) == (stream, leader, follower));
        let Some(link) = link else { return };
        link.is_broken = true;
        self.say(|| format!("{stream:?} from {leader} to {follower} breaks"));
        if let Some(set) = &mut self.nodes[leader].set {
            set.stream_down(at(follower), stream);
        }
        if let Some(set) = &mut self.nodes[follower].set {
            set.closed(at(leader), stream);
        }
    }

    pub fn break_all(&mut self) {
        let links = self.links.iter().map(|link| (link.stream, (link.leader, link.follower)));
        let links: Vec<_> = links.collect();
        links.into_iter().for_each(|(stream, ends)| self.break_link(stream, ends));
    }

    /// The oldest message of one direction arrives; `again`: and stays on its way.
    pub fn deliver(&mut self, link: usize, to_follower: bool, again: bool) {
        let own = &mut self.links[link];
        let (from, to) =
            if to_follower { (own.leader, own.follower) } else { (own.follower, own.leader) };
        let way = if to_follower { &mut own.to_follower } else { &mut own.to_leader };
        let Some(frame) = way.front().cloned() else { return };
        if !again {
            way.pop_front();
        }
        let node = &mut self.nodes[to];
        let Some(set) = &mut node.set else { return };
        let body = split_frame(&frame).unwrap().unwrap().body;
        let message = Message::decode(body).unwrap();
        let speaks_of = match &message {
            Message::Append { header, .. } => Some((header.partition, header.epoch)),
            Message::EpochOpen(open) => Some((open.partition, open.epoch)),
            _ => None,
        };
        let promised = speaks_of.and_then(|(id, _)| node.log.view(id)).map(|view| view.promised);
        set.handle(self.now, &mut node.log, at(from), message);
        if let (Some((id, epoch)), Some(promised)) = (speaks_of, promised)
            && epoch < promised
            && node.log.changes.iter().any(|change| matches!(change, Change::Appended { .. }))
        {
            let what = format!("{to} takes {id} of epoch {epoch}, having promised {promised}");
            self.ledger.fail("I4", &what);
        }
        self.settle(to);
    }

    /// A numbered message is lost although its connection lives: no TCP does that.
    pub fn lose(&mut self, link: usize) {
        let way = &mut self.links[link].to_follower;
        let is_heartbeat = |frame: &Vec<u8>| {
            let body = split_frame(frame).unwrap().unwrap().body;
            matches!(Message::decode(body).unwrap(), Message::Heartbeat { .. })
        };
        if way.front().is_some_and(|frame| !is_heartbeat(frame)) {
            way.pop_front();
        }
    }

    pub fn deliver_mail(&mut self, index: usize) {
        match self.mail.swap_remove(index) {
            Mail::Fence(FenceOrder { to, token, promises }) => {
                let node = usize::from(to.node.0);
                let own = &mut self.nodes[node];
                let Some(set) = &mut own.set else { return };
                set.fence(self.now, &mut own.log, token, promises);
                self.settle(node);
            }
            Mail::Answer(from, fenced) => {
                let log = &self.nodes[usize::from(from.node.0)].log;
                let last_record = |id| {
                    let end = log.view(id)?.log_end.0.0;
                    log.record(id, Offset(end.checked_sub(1)?)).map(|(epoch, _)| epoch)
                };
                self.control.fenced(&mut self.ledger, from, &fenced, last_record);
            }
            Mail::Event(from, event) => self.control.event(&mut self.ledger, from, &event),
        }
    }

    pub fn elect(&mut self, ids: &[PartitionId]) {
        self.say(|| format!("elect for {ids:?}"));
        let orders = self.control.elect(&mut self.ledger, ids);
        self.mail.extend(orders.into_iter().map(Mail::Fence));
    }

    /// Lets time pass and everybody take a turn.
    pub fn pass(&mut self, nanoseconds: u64) {
        self.now.mono = Instant(self.now.mono.0 + nanoseconds);
        (0..self.nodes.len()).for_each(|node| self.settle(node));
    }

    /// A leader lets the log of `id` start at what is committed.
    pub fn delete_before(&mut self, node: usize, id: PartitionId, before: Offset) {
        let own = &mut self.nodes[node];
        let Some(set) = &mut own.set else { return };
        let leads = matches!(set.standing(id), Standing::Leads { .. });
        let Some(view) = own.log.view(id).filter(|view| leads && before <= view.committed.0) else {
            return;
        };
        if view.log_start.0 < before {
            self.ledger.log_start_moved(id, before);
            if own.log.move_log_start(self.now, id, base::LogStart(before)).is_ok() {
                set.log_start_moved(id);
                self.ledger.mark("records deleted");
            }
        }
        self.settle(node);
    }

    /// The checkers hear what happened in a node's log, and look at what it exposes.
    fn learn(&mut self, node: usize) {
        let changes = core::mem::take(&mut self.nodes[node].log.changes);
        let own = &self.nodes[node];
        for change in &changes {
            self.ledger.observe((own.at, own.boot), &own.log, change);
        }
        let anew: Vec<_> = changes
            .iter()
            .filter_map(|change| match change {
                Change::StartedOver { id, keep_proof: false, .. } => Some(*id),
                _ => None,
            })
            .collect();
        if self.trace.is_some() && !changes.is_empty() {
            self.say(|| format!("{node}: {changes:?}"));
        }
        let own = &mut self.nodes[node];
        // What is not proven may have been exposed, and is not here any more.
        own.seen.retain(|id, _| !anew.contains(id));
        let Some(set) = &own.set else { return };
        for id in &self.ids {
            let Some(view) = own.log.view(*id) else { continue };
            let seen = own.seen.get(id).copied().unwrap_or_default();
            if let Standing::Leads { epoch }
            | Standing::HandsOver { epoch, .. }
            | Standing::Superseded { epoch } = set.standing(*id)
            {
                self.ledger.commit(&own.log, *id, epoch, view.committed.0);
            }
            let seen = self.ledger.expose(own.at, &own.log, *id, seen);
            own.seen.insert(*id, seen);
        }
    }
}
