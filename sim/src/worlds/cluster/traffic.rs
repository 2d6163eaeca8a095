//! What happens between nodes, and to them: deliveries, dials, broken lines, and what strikes.

use std::time::Duration;

use base::crc::crc32c_append;
use base::{Input, Instant, IoError, Listener, Machine, NodeId, Now, Page, Piece, Send};
use replication::{ControlMessage, Placement, Proposal};
use shard::{Asker, Mail};

use super::clients::{Asking, anyone};
use super::machine::{CLIENTS, Process, Wish};
use super::network::{End, Letter, Life, Line};
use super::node::{Fall, listener};
use super::{ClusterWorld, TOPIC};
use crate::disk::Memory;
use crate::host::Host;
use crate::random::MILLION;
use crate::violation::{Checker, Violation};

const REFUSED: IoError = IoError::Errno(111);

impl ClusterWorld {
    /// The control links of a node that has just started stand.
    pub(super) fn introduce(&mut self, now: Instant, index: usize) {
        let own = self.nodes[index].id;
        for other in self.nodes.iter().map(|node| node.id).filter(|other| *other != own) {
            self.net.post_soon(now, Letter::Up { of: own, to: other });
            self.net.post_soon(now, Letter::Up { of: other, to: own });
        }
    }

    pub(super) fn introduce_all(&mut self, now: Instant) {
        (0..self.nodes.len()).for_each(|index| self.introduce(now, index));
    }

    /// Brings clients' questions on their way to whom they take for the leader.
    pub(super) fn send(&mut self, now: Instant, asked: Vec<Asking>) {
        for Asking { ticket, partition, ask } in asked {
            let state = self.state();
            let known = state.as_ref().and_then(|state| {
                let topic = state.topics().by_number(TOPIC)?;
                topic.partitions.get(partition.index as usize).copied()
            });
            let Some(known) = known else { continue };
            let leader = known.leader.map(|leader| leader.placement);
            let leader = leader.filter(|_| self.random.chance(950_000));
            let members: Vec<Placement> = known.members().collect();
            let at = leader.unwrap_or_else(|| self.random.pick(&members));
            let letter = Letter::Ask { to: at.node, shard: at.shard, ticket, partition, ask };
            self.net.post_soon(now, letter);
        }
    }

    pub(super) fn step_clients(&mut self, host: &mut Host) {
        let now = host.now();
        let data = self.knobs.segment_pages.max(32) * 4096 / 4;
        let asked =
            self.clients.step(now, &self.knobs, &mut self.random, data / 3, &mut host.trace);
        self.send(now.mono, asked);
    }

    /// Everything that arrives now.
    pub(super) fn deliver(&mut self, host: &mut Host) -> Result<(), Violation> {
        let now = host.now();
        while let Some(letter) = self.net.take(now.mono) {
            self.deliver_letter(host, letter)?;
        }
        self.net.wear(now.mono);
        let mut at = 0;
        while at < self.net.lines.len() {
            self.serve_line(now, at)?;
            if self.net.lines[at].breaks_at.is_some_and(|breaks| breaks <= now.mono) {
                self.break_line(now, at);
            } else {
                at += 1;
            }
        }
        Ok(())
    }

    fn index(&self, node: NodeId) -> usize {
        usize::from(node.0)
    }

    fn deliver_letter(&mut self, host: &mut Host, letter: Letter) -> Result<(), Violation> {
        let now = host.now();
        match letter {
            Letter::Control { from, to, bytes } => {
                let message = ControlMessage::decode(&bytes).expect("it was encoded");
                let index = self.index(to);
                if self.net.is_cut(from, to) {
                    return Ok(());
                }
                self.nodes[index].tell_control(now, Mail::FromPeer { node: from, message });
            }
            Letter::Up { of, to } => {
                let (both, index) = ([of, to], self.index(to));
                let run = both.iter().all(|node| self.nodes[self.index(*node)].process().is_some());
                if run && !self.net.is_cut(of, to) && !self.net.is_cut(to, of) {
                    self.nodes[index].tell_control(now, Mail::PeerUp { node: of });
                }
            }
            Letter::Ask { to, shard, ticket, partition, ask } => {
                let index = self.index(to);
                let own = self.nodes[index].now(now);
                if let Some(process) = self.nodes[index].touch() {
                    let core = process.core_of(shard);
                    let to = Asker { core: CLIENTS, ticket, part: 0 };
                    let mail = Mail::Ask { to, shard, partition, ask, spare: Default::default() };
                    process.cores[core].handle(own, Input::Mail { from: CLIENTS, mail });
                }
            }
            Letter::Answer { ticket, answer } => {
                if self.clients.waits_for(ticket) {
                    let read = self.clients.take(now.mono, ticket, answer, &mut host.trace)?;
                    if let Some((id, next, is_done)) = read {
                        // What was read to an end goes on at once.
                        self.looked.insert(id, (next, is_done, Instant(0)));
                    }
                }
            }
            Letter::Dial { from, to, shard, dial } => self.connect(now, from, (to, shard), dial),
            Letter::Unreachable { from, dial } => self.dial_failed(now, from, dial),
        }
        Ok(())
    }

    fn dial_failed(&mut self, now: Now, from: End, dial: base::DialId) {
        self.hand(now, from.life, from.core, Input::Dialed { dial, result: Err(REFUSED) });
    }

    /// Gives something to a core, if that process still runs.
    fn hand(&mut self, now: Now, life: Life, core: usize, input: Input<'_, Mail>) {
        let index = self.index(life.0);
        let node = &mut self.nodes[index];
        if node.life() == Some(life) {
            let own = node.now(now);
            node.touch().expect("it runs").cores[core].handle(own, input);
        }
    }

    fn connect(
        &mut self,
        now: Now,
        from: End,
        (to, shard): (NodeId, base::ShardId),
        dial: base::DialId,
    ) {
        let dialler = self.index(from.life.0);
        if self.nodes[dialler].life() != Some(from.life) {
            return;
        }
        let node = &self.nodes[self.index(to)];
        let Some((life, process)) = node.life().zip(node.process()) else {
            return self.dial_failed(now, from, dial);
        };
        let core = process.core_of(shard);
        let [own, other] = self.net.lay([(from.life, from.core), (life, core)]);
        let opened = Input::Opened { conn: other.conn, listener: Listener::Peer(shard) };
        self.hand(now, life, core, opened);
        self.hand(now, from.life, from.core, Input::Dialed { dial, result: Ok(own.conn) });
    }

    /// Sends that end, and bytes that arrive, on one line.
    fn serve_line(&mut self, now: Now, at: usize) -> Result<(), Violation> {
        for side in 0..2 {
            let line = &mut self.net.lines[at];
            let (from, to) = (line.ends[side], line.ends[1 - side]);
            let due = |sending: &mut (Instant, Vec<Piece>, u32)| sending.0 <= now.mono;
            if let Some((_, pieces, crc)) = line.flows[side].sending.take_if(due) {
                self.end_send(now, (at, side), pieces, crc)?;
            }
            if self.net.is_cut(from.life.0, to.life.0) {
                continue;
            }
            loop {
                let flow = &mut self.net.lines[at].flows[side];
                if flow.under_way.front().is_none_or(|(due, _)| now.mono < *due) {
                    break;
                }
                let (_, bytes) = flow.under_way.pop_front().expect("looked at just now");
                let input = Input::Received { conn: to.conn, bytes: &bytes };
                self.hand(now, to.life, to.core, input);
            }
        }
        Ok(())
    }

    fn end_send(
        &mut self,
        now: Now,
        (at, side): (usize, usize),
        pieces: Vec<Piece>,
        crc: u32,
    ) -> Result<(), Violation> {
        let from = self.net.lines[at].ends[side];
        let node = &self.nodes[self.index(from.life.0)];
        if node.life() != Some(from.life) {
            return Ok(());
        }
        let bytes = gathered(node.process().expect("it runs"), &pieces)?;
        if crc32c_append(0, &bytes) != crc {
            let what = "the bytes of a send changed while it was in flight".to_owned();
            return Err(Violation::new(Checker::Memory, what));
        }
        let due = now.mono.plus(self.net.latency());
        let flow = &mut self.net.lines[at].flows[side];
        let after = flow.under_way.back().map_or(Instant(0), |(due, _)| *due);
        flow.under_way.push_back((due.max(after), bytes));
        self.hand(now, from.life, from.core, Input::Sent { conn: from.conn, pieces, ok: true });
        Ok(())
    }

    fn break_line(&mut self, now: Now, at: usize) {
        let Line { ends, flows, .. } = self.net.lines.swap_remove(at);
        for (end, flow) in ends.into_iter().zip(flows) {
            if let Some((_, pieces, _)) = flow.sending {
                let sent = Input::Sent { conn: end.conn, pieces, ok: false };
                self.hand(now, end.life, end.core, sent);
            }
            self.hand(now, end.life, end.core, Input::Closed { conn: end.conn });
        }
    }

    /// Does what a node's cores want of the network.
    pub(super) fn carry_wishes(&mut self, host: &mut Host, index: usize) -> Result<(), Violation> {
        let now = host.now();
        let Some(life) = self.nodes[index].life() else { return Ok(()) };
        while let Some(news) = self.nodes[index].untouched().and_then(|own| own.control.poll_news())
        {
            host.say("news", format_args!("of {}: {news:?}", life.0));
        }
        loop {
            let node = &mut self.nodes[index];
            let Some(process) = node.untouched() else { return Ok(()) };
            let Some(wish) = process.wishes.pop_front() else { return Ok(()) };
            match wish {
                Wish::Tell(to, message) => self.net.tell(now.mono, life.0, to, &message),
                Wish::Dial(core, dial, to) => {
                    let conn = base::ConnId { slot: u32::MAX, generation: 0 };
                    let from = End { life, core, conn };
                    self.net.dial(now.mono, from, listener(to.port()), dial);
                }
                Wish::Send(core, Send { conn, pieces }) => {
                    self.begin_send(now, (life, core), conn, pieces)?;
                }
                Wish::Close(core, conn) => {
                    if let Some((at, _)) = self.net.find(life, core, conn) {
                        self.net.lines[at].breaks_at = Some(now.mono);
                    }
                }
                Wish::Answer(ticket, answer) => {
                    self.net.post_soon(now.mono, Letter::Answer { ticket, answer });
                }
            }
        }
    }

    fn begin_send(
        &mut self,
        now: Now,
        (life, core): (Life, usize),
        conn: base::ConnId,
        pieces: Vec<Piece>,
    ) -> Result<(), Violation> {
        let node = &self.nodes[self.index(life.0)];
        let bytes = gathered(node.process().expect("it just spoke"), &pieces)?;
        let crc = crc32c_append(0, &bytes);
        let Some((at, side)) = self.net.find(life, core, conn) else {
            let what = format!("a send on {conn:?}, which is gone");
            return Err(Violation::new(Checker::Bounds, what));
        };
        let until = now.mono.plus(self.net.latency());
        let flow = &mut self.net.lines[at].flows[side];
        if flow.sending.is_some() {
            let what = format!("two sends in flight on {conn:?}");
            return Err(Violation::new(Checker::Bounds, what));
        }
        flow.sending = Some((until, pieces, crc));
        Ok(())
    }

    /// What goes wrong in a step of the storm.
    pub(super) fn strike(&mut self, host: &mut Host) {
        let now = host.now();
        let storm = self.storm;
        let index = self.random.below(self.nodes.len() as u64) as usize;
        if self.random.chance(storm.kill) {
            let ops = if self.random.chance(storm.between_ops) { self.random.below(40) } else { 0 };
            self.nodes[index].doom(ops, Fall::Ended);
        }
        if self.random.chance(storm.power) {
            self.nodes[index].doom(self.random.below(40), Fall::PowerCut);
        }
        if self.random.chance(storm.power_all) {
            host.say("POWER CUT OF ALL", format_args!(""));
            for index in 0..self.nodes.len() {
                self.nodes[index].doom(0, Fall::PowerCut);
                self.nodes[index].fall(now.mono, Fall::PowerCut, &mut host.trace);
                self.mourn(host, index, Fall::PowerCut);
            }
        }
        if self.random.chance(storm.pause) {
            let ms = self.random.pick(&[20, 300, 3_000]);
            host.say("paused", format_args!("{index} for {ms} ms"));
            self.nodes[index].pause(now.mono.plus(Duration::from_millis(ms)));
        }
        if self.random.chance(storm.leave) {
            self.nodes[index].leave(now);
        }
        let victim = self.victim;
        if !self.was_wiped && self.random.chance(storm.wipe) {
            self.was_wiped = true;
            host.say("WIPED", format_args!("{victim}"));
            self.nodes[victim].wipe(now.mono, &mut host.trace);
            self.mourn(host, victim, Fall::Ended);
        }
        if self.random.chance(self.knobs.bit_rot) {
            self.nodes[victim].rot(now.mono, &mut host.trace);
        }
        if self.random.chance(self.knobs.clock_step) {
            let by_ms = self.random.within(0..=7_200_000) as i64 - 3_600_000;
            host.say("stepped the clock", format_args!("of {index} by {by_ms} ms"));
            self.nodes[index].step_clock(by_ms);
        }
        if self.random.chance(storm.reassign) {
            let partition = self.random.pick(&self.partitions);
            let places = Some(self.draw_places());
            self.propose(host, Proposal::Reassign { partition, places });
        }
        if self.random.chance(storm.cut) {
            self.cut(host);
        }
    }

    /// Cuts one direction, both of a pair, or a node off.
    fn cut(&mut self, host: &mut Host) {
        let now = host.now().mono;
        let count = self.nodes.len() as u16;
        let (a, b) = (anyone(&mut self.random, count), anyone(&mut self.random, count));
        let mut cuts = vec![(a, b)];
        match self.random.below(3) {
            0 => {}
            1 => cuts.push((b, a)),
            _ => {
                let others = (0..count).map(NodeId).filter(|other| *other != a);
                cuts = others.flat_map(|other| [(a, other), (other, a)]).collect();
                if self.random.chance(MILLION / 2) {
                    cuts.retain(|(from, _)| *from == a);
                }
            }
        }
        cuts.retain(|(from, to)| from != to);
        let ms = self.random.pick(&[50, 500, 3_000]);
        host.say("cut", format_args!("{cuts:?} for {ms} ms"));
        self.net.cuts = cuts.into_iter().collect();
        self.cuts_end = now.plus(Duration::from_millis(ms));
    }
}

/// The bytes of a send.
fn gathered(process: &Process, pieces: &[Piece]) -> Result<Vec<u8>, Violation> {
    let mut all = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Bytes { bytes, from } => all.extend_from_slice(&bytes[*from..]),
            Piece::Pages { pages, from, len } => {
                all.extend_from_slice(&Page::bytes(pages)[*from..*from + *len]);
            }
            Piece::Tail { shard, span, .. } => {
                let held = process.arena(*shard).get(*span);
                all.extend_from_slice(held.ok_or_else(|| {
                    let what = format!("{span:?} was reused while a send read it");
                    Violation::new(Checker::Memory, what)
                })?);
            }
        }
    }
    Ok(all)
}
