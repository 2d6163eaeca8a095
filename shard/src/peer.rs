//! Lines to other shards, of other nodes or of this one: one per direction and pair of shards.
//!
//! ```text
//!   Dial ─▶ dialling ─▶ greeting ─▶ open ─▶ closed      this shard leads, and speaks first
//!   Opened (peer port) ─▶ greeting ─▶ open ─▶ closed    the other one does
//! ```
//! What is to be sent is gathered until the send in flight has ended. A line that is closed takes
//! all of that with it: streams number their messages, and the next one begins anew.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use base::{ConnId, DialId, Instant, NodeId, Piece, ShardId};
use replication::Placement;
use replication::link::{Link, Secret};
use replication::replica::Settings;
use replication::replica::message::StreamId;

use crate::replicas::Direction;

/// What other shards are reached by, and known by.
#[derive(Clone, Debug)]
pub struct Peering {
    /// What every node of the cluster knows.
    pub secret: Secret,
    /// The control link's address of each node, this one too: a partition may move between two of
    /// its shards. Shard N listens at port + 1 + N.
    pub nodes: BTreeMap<NodeId, SocketAddr>,
    /// A journal half of whose writes take that long has a slow disk.
    pub slow_disk_from: Duration,
    /// How much is said, and how often.
    pub settings: Settings,
}

/// One connection to another shard.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) conn: ConnId,
    /// The own shard.
    pub(crate) shard: ShardId,
    pub(crate) direction: Direction,
    /// Out while a received frame is being heard.
    pub(crate) link: Option<Link>,
    /// Who is there, once proven: for a dialled line, who should be.
    pub(crate) peer: Option<Placement>,
    pub(crate) stream: StreamId,
    pub(crate) is_open: bool,
    pub(crate) out: VecDeque<Piece>,
    /// A send is in flight: the next one waits for it.
    pub(crate) sending: bool,
    /// Close was said.
    pub(crate) closing: bool,
}

/// All lines of a core.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    slots: Vec<Option<Line>>,
    dialling: BTreeMap<DialId, (ShardId, Placement)>,
    dials: u32,
    /// Who is not dialled again before that time.
    resting: BTreeMap<(ShardId, Placement), Instant>,
    /// When to look for shards that are to be dialled.
    pub(crate) look_at: Option<Instant>,
}

impl Peering {
    pub(crate) fn address(&self, to: Placement) -> Option<SocketAddr> {
        let mut address = *self.nodes.get(&to.node)?;
        address.set_port(address.port().checked_add(1)?.checked_add(to.shard.0)?);
        Some(address)
    }
}

impl Line {
    pub(crate) fn new(conn: ConnId, shard: ShardId, direction: Direction, link: Link) -> Self {
        Self {
            conn,
            shard,
            direction,
            link: Some(link),
            peer: None,
            stream: StreamId::default(),
            is_open: false,
            out: VecDeque::new(),
            sending: false,
            closing: false,
        }
    }

    /// Adds to what is sent next.
    pub(crate) fn push(&mut self, pieces: impl IntoIterator<Item = Piece>) {
        self.out.extend(pieces);
    }
}

impl Peers {
    pub(crate) fn insert(&mut self, line: Line) {
        let slot = line.conn.slot as usize;
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        assert!(self.slots[slot].is_none(), "{:?} opens in a slot in use", line.conn);
        self.slots[slot] = Some(line);
    }

    /// The line, unless the connection is a client's or has closed.
    pub(crate) fn get_mut(&mut self, conn: ConnId) -> Option<&mut Line> {
        self.slots.get_mut(conn.slot as usize)?.as_mut().filter(|line| line.conn == conn)
    }

    pub(crate) fn remove(&mut self, conn: ConnId) -> Option<Line> {
        self.get_mut(conn)?;
        self.slots[conn.slot as usize].take()
    }

    pub(crate) fn lines(&mut self) -> impl Iterator<Item = &mut Line> {
        self.slots.iter_mut().flatten()
    }

    /// The open line of `shard` to `peer`.
    pub(crate) fn open_line(
        &mut self,
        shard: ShardId,
        peer: Placement,
        direction: Direction,
    ) -> Option<&mut Line> {
        self.lines().find(|line| {
            (line.shard, line.direction, line.peer) == (shard, direction, Some(peer))
                && line.is_open
                && !line.closing
        })
    }

    /// Whether `shard` has dialled `to`, is doing so, or is to wait with it.
    fn is_met(&self, now: Instant, shard: ShardId, to: Placement) -> bool {
        let dialled = |line: &Line| {
            (line.shard, line.direction, line.peer) == (shard, Direction::Out, Some(to))
        };
        self.slots.iter().flatten().any(dialled)
            || self.dialling.values().any(|dial| *dial == (shard, to))
            || self.resting.get(&(shard, to)).is_some_and(|until| now < *until)
    }

    /// Names a new dial of `shard`, unless one to `to` is under way or must wait.
    pub(crate) fn begin_dial(
        &mut self,
        now: Instant,
        shard: ShardId,
        to: Placement,
    ) -> Option<DialId> {
        if self.is_met(now, shard, to) {
            return None;
        }
        self.resting.remove(&(shard, to));
        self.dials += 1;
        let dial = DialId(self.dials);
        self.dialling.insert(dial, (shard, to));
        Some(dial)
    }

    pub(crate) fn end_dial(&mut self, dial: DialId) -> (ShardId, Placement) {
        self.dialling.remove(&dial).expect("a dial ends once")
    }

    /// Waits until `until` before the next dial.
    pub(crate) fn rest(&mut self, shard: ShardId, to: Placement, until: Instant) {
        self.resting.insert((shard, to), until);
    }
}
