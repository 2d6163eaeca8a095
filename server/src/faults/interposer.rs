//! Stands between a data core and its ring, and does wrong in the name of either.
//!
//! ```text
//!            ops, sends, dials                        as they are, later, never, or half
//!   Core ──────────────────────▶ Interposer ─────────────────────────────────────────▶ ring
//!        ◀──────────────────────            ◀─────────────────────────────────────────
//!            completions, bytes                       later, or failed
//! ```
//! Only lines to other nodes are touched: clients see the node as it is. A connection that closes is
//! seen to close, whatever is cut.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use base::{
    ConnId, DialId, Done, Input, Instant, IoError, Listener, Machine, NodeId, Now, Op, Output,
    Send, ShardId, Token,
};
use replication::replica::Message;
use rustix::io::Errno;
use shard::Mail;
use shard::fault::{FaultNumber, FaultOrder, Way};

use super::rules::pauses;
use super::{DiskFate, NetFate, Rules};
use crate::clock;

/// Received bytes that wait on one line before nothing more is received on it.
const INBOX_BYTES_MAX: usize = 4 << 20;
/// Frames are written in pages of so many bytes.
const PAGE_BYTES: u32 = 4096;
/// How long a dial that leads nowhere takes to fail.
const DIAL_PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Interposer {
    rules: Rules,
    /// Of this core.
    shards: Vec<ShardId>,
    /// The other nodes' control cores; data shards listen behind.
    nodes: Vec<(NodeId, SocketAddr)>,
    now: Now,
    /// Operations that have not begun, in the order in which they were asked for.
    ops: VecDeque<(Due, Op)>,
    /// Completions of operations that the ring never saw.
    dones: VecDeque<Done>,
    /// Writes whose first half is under way.
    torn: Vec<Token>,
    dials: Vec<(DialId, NodeId)>,
    /// Dials that lead nowhere, and when they fail.
    lost_dials: Vec<(Instant, DialId)>,
    lines: HashMap<ConnId, Line>,
    out: VecDeque<Output<Mail>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    At(Instant),
    After(FaultNumber),
}

/// A connection to a shard of another node.
#[derive(Debug, Default)]
struct Line {
    /// Unknown until its first words.
    node: Option<NodeId>,
    inbox: VecDeque<(Instant, Vec<u8>)>,
    inbox_bytes: usize,
    is_paused: bool,
    /// A send that has not begun.
    send: Option<(Instant, Send)>,
}

impl Interposer {
    pub(crate) fn new(seed: u64, shards: Vec<ShardId>, nodes: Vec<(NodeId, SocketAddr)>) -> Self {
        Self {
            rules: Rules::new(seed),
            shards,
            nodes,
            now: Now::default(),
            ops: VecDeque::new(),
            dones: VecDeque::new(),
            torn: Vec::new(),
            dials: Vec::new(),
            lost_dials: Vec::new(),
            lines: HashMap::new(),
            out: VecDeque::new(),
        }
    }

    /// Passes on what the ring says, unless it is for nobody or not yet.
    pub(crate) fn handle<M: Machine<Mail = Mail>>(
        &mut self,
        now: Now,
        input: Input<'_, Mail>,
        core: &mut M,
    ) {
        self.now = now;
        match input {
            Input::Mail { mail: Mail::Fault(order), .. } => return self.obey(order),
            Input::Opened { conn, listener: Listener::Peer(_) } => {
                self.lines.insert(conn, Line::default());
            }
            Input::Dialed { dial, result } => {
                let node = self.end_dial(dial);
                if let Ok(conn) = result {
                    self.lines.insert(conn, Line { node, ..Line::default() });
                }
            }
            Input::Received { conn, bytes } if self.stops(conn, bytes) => return,
            Input::Closed { conn } => {
                if let Some(Line { send: Some((_, send)), .. }) = self.lines.remove(&conn) {
                    let Send { conn, pieces } = send;
                    core.handle(now, Input::Sent { conn, pieces, ok: false });
                }
            }
            _ => {}
        }
        core.handle(now, input);
    }

    pub(crate) fn done<M: Machine>(&mut self, now: Now, mut done: Done, core: &mut M) {
        let token = done.token();
        if let Some(place) = self.torn.iter().position(|torn| *torn == token) {
            self.torn.swap_remove(place);
            if let Done::Wrote { res, .. } = &mut done {
                *res = Err(IoError::Errno(Errno::IO.raw_os_error()));
            }
        }
        core.done(now, done);
    }

    /// Lets go what has waited long enough. To be called before the core's own turn.
    pub(crate) fn turn<M: Machine<Mail = Mail>>(&mut self, now: Now, core: &mut M) {
        self.now = now;
        self.rules.expire(now.mono);
        while let Some(done) = self.dones.pop_front() {
            core.done(now, done);
        }
        let Self { rules, ops, out, .. } = self;
        let (due, waiting): (VecDeque<_>, _) = ops.drain(..).partition(|(due, _)| match due {
            Due::At(at) => *at <= now.mono,
            Due::After(number) => !rules.holds(*number),
        });
        *ops = waiting;
        out.extend(due.into_iter().map(|(_, op)| Output::Disk(op)));
        let lost = self.lost_dials.extract_if(.., |(at, _)| *at <= now.mono);
        let timed_out = IoError::Errno(Errno::TIMEDOUT.raw_os_error());
        for (_, dial) in lost {
            core.handle(now, Input::Dialed { dial, result: Err(timed_out) });
        }
        let conns: Vec<ConnId> = self.lines.keys().copied().collect();
        for conn in conns {
            self.look_at_line(now, conn, core);
        }
    }

    /// The next thing for the ring to do.
    pub(crate) fn poll<M: Machine<Mail = Mail>>(&mut self, core: &mut M) -> Option<Output<Mail>> {
        loop {
            if let Some(output) = self.out.pop_front() {
                return Some(output);
            }
            match core.poll()? {
                Output::Disk(op) => {
                    if let Some(op) = self.begin(op) {
                        return Some(Output::Disk(op));
                    }
                }
                Output::Send(send) => {
                    if let Some(send) = self.let_out(send) {
                        return Some(Output::Send(send));
                    }
                }
                Output::Dial { dial, to } => {
                    let node = self.node_at(to);
                    if node.is_some_and(|node| self.rules.parts_from(node)) {
                        self.lost_dials.push((self.now.mono.plus(DIAL_PATIENCE), dial));
                    } else {
                        self.dials.extend(node.map(|node| (dial, node)));
                        return Some(Output::Dial { dial, to });
                    }
                }
                Output::Close(conn) => {
                    let held = self.lines.get_mut(&conn).and_then(|line| line.send.take());
                    if let Some((_, Send { conn, pieces })) = held {
                        core.handle(self.now, Input::Sent { conn, pieces, ok: false });
                    }
                    return Some(Output::Close(conn));
                }
                output => return Some(output),
            }
        }
    }

    /// What a cut line holds back is looked at in every turn, and has no time of its own.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let ops = self.ops.iter().filter_map(|(due, _)| match due {
            Due::At(at) => Some(*at),
            Due::After(_) => None,
        });
        let dials = self.lost_dials.iter().map(|(at, _)| *at);
        let lines = self.lines.values().flat_map(|line| {
            let received = line.inbox.front().map(|(at, _)| *at);
            let due = received.into_iter().chain(line.send.as_ref().map(|(at, _)| *at));
            due.filter(|at| self.now.mono < *at)
        });
        let done = (!self.dones.is_empty()).then_some(Instant(0));
        ops.chain(dials).chain(lines).chain(self.rules.next_end()).chain(done).min()
    }

    fn obey(&mut self, order: FaultOrder) {
        if let FaultOrder::Inject { fault, until, .. } = &order
            && pauses(fault, &self.shards)
        {
            std::thread::sleep(until.since(clock::now().mono));
        }
        self.rules.take(order);
    }

    /// Whether the operation begins now.
    fn begin(&mut self, op: Op) -> Option<Op> {
        let fate = self.rules.disk(&op);
        let failed = |errno| Err(IoError::Errno(errno));
        match fate {
            None => return Some(op),
            Some(DiskFate::Later(by)) => self.ops.push_back((Due::At(self.now.mono.plus(by)), op)),
            Some(DiskFate::Frozen(number)) => self.ops.push_back((Due::After(number), op)),
            Some(DiskFate::Fails(errno)) => self.dones.push_back(op.answer(failed(errno))),
            Some(DiskFate::Forgotten) => self.dones.push_back(op.answer(Ok(()))),
            Some(DiskFate::Torn) => match halve(op) {
                Ok(half) => {
                    self.torn.push(half.token());
                    return Some(half);
                }
                Err(op) => self.dones.push_back(op.answer(failed(Errno::IO.raw_os_error()))),
            },
        }
        None
    }

    /// Whether bytes that arrived are not to be heard now: they are kept, or the line is closed.
    fn stops(&mut self, conn: ConnId, bytes: &[u8]) -> bool {
        let Some(line) = self.lines.get_mut(&conn) else { return false };
        line.node = line.node.or_else(|| introduced(bytes));
        let Some(node) = line.node else { return false };
        let fate = self.rules.net(node, Way::In);
        let at = match fate {
            None if line.inbox.is_empty() => return false,
            Some(NetFate::Reset) => {
                self.out.push_back(Output::Close(conn));
                return true;
            }
            Some(NetFate::Later(by)) => self.now.mono.plus(by),
            Some(NetFate::Cut) | None => self.now.mono,
        };
        line.inbox_bytes += bytes.len();
        line.inbox.push_back((at, bytes.to_vec()));
        if INBOX_BYTES_MAX < line.inbox_bytes && !line.is_paused {
            line.is_paused = true;
            self.out.push_back(Output::Pause(conn));
        }
        true
    }

    /// Whether the send begins now; else it is kept, or its line closed.
    fn let_out(&mut self, send: Send) -> Option<Send> {
        let Some(line) = self.lines.get_mut(&send.conn) else { return Some(send) };
        let Some(node) = line.node else { return Some(send) };
        let fate = self.rules.net(node, Way::Out);
        let at = match fate {
            None => return Some(send),
            Some(NetFate::Reset) => {
                self.out.push_back(Output::Close(send.conn));
                return Some(send);
            }
            Some(NetFate::Later(by)) => self.now.mono.plus(by),
            Some(NetFate::Cut) => self.now.mono,
        };
        line.send = Some((at, send));
        None
    }

    /// Lets bytes through whose time has come, unless the line is cut.
    fn look_at_line<M: Machine<Mail = Mail>>(&mut self, now: Now, conn: ConnId, core: &mut M) {
        let Self { rules, lines, out, .. } = self;
        let Some(line) = lines.get_mut(&conn) else { return };
        let Some(node) = line.node else { return };
        let mut is_cut = |way| matches!(rules.net(node, way), Some(NetFate::Cut));
        if line.send.as_ref().is_some_and(|(at, _)| *at <= now.mono)
            && !is_cut(Way::Out)
            && let Some((_, send)) = line.send.take()
        {
            out.push_back(Output::Send(send));
        }
        while line.inbox.front().is_some_and(|(at, _)| *at <= now.mono) && !is_cut(Way::In) {
            let Some((_, bytes)) = line.inbox.pop_front() else { break };
            line.inbox_bytes -= bytes.len();
            core.handle(now, Input::Received { conn, bytes: &bytes });
        }
        if line.is_paused && line.inbox.is_empty() {
            line.is_paused = false;
            out.push_back(Output::Resume(conn));
        }
    }

    fn end_dial(&mut self, dial: DialId) -> Option<NodeId> {
        let place = self.dials.iter().position(|(open, _)| *open == dial)?;
        Some(self.dials.swap_remove(place).1)
    }

    /// Whose shard listens there: the node with the nearest control port below.
    fn node_at(&self, to: SocketAddr) -> Option<NodeId> {
        let of_host = self.nodes.iter().filter(|(_, at)| at.ip() == to.ip());
        let below = of_host.filter(|(_, at)| at.port() < to.port());
        below.max_by_key(|(_, at)| at.port()).map(|(node, _)| *node)
    }
}

/// A write of the first half of a frame; the operation as it was if it has no halves.
fn halve(op: Op) -> Result<Op, Op> {
    match op {
        Op::Write { tok, file, pos, span, pin, sync } if 2 * PAGE_BYTES <= span.len => {
            let half = span.len / 2 / PAGE_BYTES * PAGE_BYTES;
            Ok(Op::Write { tok, file, pos, span: span.slice(0, half), pin, sync })
        }
        op => Err(op),
    }
}

/// The node that dialled, by the first words of its line.
fn introduced(bytes: &[u8]) -> Option<NodeId> {
    match Message::decode(bytes.get(4..)?) {
        Ok(Message::Hello(hello)) => Some(hello.from.node),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
