//! Connections between clients and data cores.
//!
//! ```text
//!   client ─write─▶ pieces of any size, each with its time ─▶ Received
//!   client ◀─bytes── taken when the send completes ◀────────── Send
//! ```
//! Bytes arrive in order and whole until a connection is reset. A send's memory is read when it
//! completes, and must be what it was when it was asked for.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use base::crc::crc32c_append;
use base::{ConnId, Input, Instant, Listener, Machine, Now, Page, Piece, Send};

use super::machine::{NodeMachine, Wish};
use crate::disk::Memory;
use crate::random::Random;
use crate::trace::Trace;
use crate::violation::{Checker, Violation};

/// A connection as its client names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Plug(u64);

/// See the module's description.
#[derive(Debug)]
pub(super) struct Wire {
    links: BTreeMap<Plug, Link>,
    next_plug: u64,
    net_us: u64,
    random: Random,
}

#[derive(Debug)]
struct Link {
    core: usize,
    conn: ConnId,
    /// On their way to the core.
    requests: VecDeque<(Instant, Vec<u8>)>,
    sending: Option<Sending>,
    /// Arrived at the client.
    answers: Vec<u8>,
    paused: bool,
    /// The core wants it closed.
    closing: bool,
}

#[derive(Debug)]
struct Sending {
    until: Instant,
    pieces: Vec<Piece>,
    crc: u32,
}

impl Wire {
    pub(super) fn new(net_us: u64, random: Random) -> Self {
        Self { links: BTreeMap::new(), next_plug: 0, net_us, random }
    }

    /// Every connection is gone, with its node.
    pub(super) fn clear(&mut self) {
        self.links.clear();
    }

    /// All clients go.
    pub(super) fn hang_up_all(&mut self, now: Now, node: &mut NodeMachine) {
        let plugs: Vec<_> = self.links.keys().copied().collect();
        plugs.into_iter().for_each(|plug| self.reset(now, node, plug));
    }

    pub(super) fn connect(
        &mut self,
        now: Now,
        node: &mut NodeMachine,
        core: usize,
        listener: Listener,
    ) -> Plug {
        let plug = Plug(self.next_plug);
        self.next_plug += 1;
        let taken = |slot: &u32| {
            self.links.values().any(|link| link.core == core && link.conn.slot == *slot)
        };
        let slot = (0..).find(|slot| !taken(slot)).expect("slots do not run out");
        let conn = ConnId { slot, generation: plug.0 as u32 };
        node.cores[core].handle(now, Input::Opened { conn, listener });
        let link = Link {
            core,
            conn,
            requests: VecDeque::new(),
            sending: None,
            answers: Vec::new(),
            paused: false,
            closing: false,
        };
        self.links.insert(plug, link);
        plug
    }

    pub(super) fn is_open(&self, plug: Plug) -> bool {
        self.links.contains_key(&plug)
    }

    /// Sends `bytes` to the core, in pieces.
    pub(super) fn write(&mut self, now: Now, plug: Plug, mut bytes: &[u8]) {
        let Some(link) = self.links.get_mut(&plug) else { return };
        while !bytes.is_empty() {
            let len = if self.random.chance(800_000) {
                bytes.len()
            } else {
                self.random.within(1..=bytes.len() as u64) as usize
            };
            let (piece, rest) = bytes.split_at(len);
            bytes = rest;
            let after = link.requests.back().map_or(now.mono, |(due, _)| *due);
            let lasts = Duration::from_nanos(self.random.exponential(self.net_us * 1_000));
            link.requests.push_back((now.mono.plus(lasts).max(after), piece.to_vec()));
        }
    }

    /// What has arrived at the client and was not taken yet.
    pub(super) fn take_answers(&mut self, plug: Plug) -> Vec<u8> {
        self.links.get_mut(&plug).map_or_else(Vec::new, |link| std::mem::take(&mut link.answers))
    }

    /// The client goes, or the network does.
    pub(super) fn reset(&mut self, now: Now, node: &mut NodeMachine, plug: Plug) {
        let Some(link) = self.links.remove(&plug) else { return };
        let core = &mut node.cores[link.core];
        if let Some(Sending { pieces, .. }) = link.sending {
            core.handle(now, Input::Sent { conn: link.conn, pieces, ok: false });
        }
        core.handle(now, Input::Closed { conn: link.conn });
    }

    /// When something arrives next, on either side.
    pub(super) fn next_arrival(&self) -> Option<Instant> {
        let requests = self.links.values().filter(|link| !link.paused);
        let requests = requests.filter_map(|link| link.requests.front()).map(|(due, _)| *due);
        let answers = self.links.values().filter_map(|link| link.sending.as_ref());
        requests.chain(answers.map(|sending| sending.until)).min()
    }

    /// Grants the cores' wishes and lets arrive what is due.
    pub(super) fn turn(
        &mut self,
        now: Now,
        node: &mut NodeMachine,
        trace: &mut Trace,
    ) -> Result<(), Violation> {
        while let Some((core, wish)) = node.wishes.pop_front() {
            self.grant(now, node, (core, wish))?;
        }
        let plugs: Vec<_> = self.links.keys().copied().collect();
        for plug in plugs {
            self.complete_send(now, node, plug)?;
            self.deliver_requests(now, node, plug);
            let closing = self.links.get(&plug).is_some_and(|link| link.closing);
            if closing {
                trace.say(now.mono, "closed by the node", format_args!("{plug:?}"));
                self.reset(now, node, plug);
            }
        }
        Ok(())
    }

    fn grant(
        &mut self,
        now: Now,
        node: &NodeMachine,
        (core, wish): (usize, Wish),
    ) -> Result<(), Violation> {
        let conn = match &wish {
            Wish::Send(Send { conn, .. })
            | Wish::Pause(conn)
            | Wish::Resume(conn)
            | Wish::Close(conn) => *conn,
        };
        let found = self.links.values_mut().find(|link| link.core == core && link.conn == conn);
        let Some(link) = found else {
            // It closed while the wish was on its way. Only memory must not be lost so.
            if !matches!(wish, Wish::Send(_)) {
                return Ok(());
            }
            let what = format!("core {core} wishes {wish:?} for a connection that is gone");
            return Err(Violation::new(Checker::Bounds, what));
        };
        match wish {
            Wish::Pause(_) => link.paused = true,
            Wish::Resume(_) => link.paused = false,
            Wish::Close(_) => link.closing = true,
            Wish::Send(Send { pieces, .. }) => {
                if link.sending.is_some() {
                    let what = format!("two sends in flight on {conn:?}");
                    return Err(Violation::new(Checker::Bounds, what));
                }
                let lasts = Duration::from_nanos(self.random.exponential(self.net_us * 1_000));
                let crc = checksum(node, &pieces)?;
                link.sending = Some(Sending { until: now.mono.plus(lasts), pieces, crc });
            }
        }
        Ok(())
    }

    fn complete_send(
        &mut self,
        now: Now,
        node: &mut NodeMachine,
        plug: Plug,
    ) -> Result<(), Violation> {
        let Some(link) = self.links.get_mut(&plug) else { return Ok(()) };
        let due = |sending: &mut Sending| sending.until <= now.mono;
        let Some(Sending { pieces, crc, .. }) = link.sending.take_if(due) else { return Ok(()) };
        if checksum(node, &pieces)? != crc {
            let what = "the bytes of a send changed while it was in flight".to_owned();
            return Err(Violation::new(Checker::Memory, what));
        }
        for piece in &pieces {
            link.answers.extend_from_slice(bytes_of(node, piece)?);
        }
        node.cores[link.core].handle(now, Input::Sent { conn: link.conn, pieces, ok: true });
        Ok(())
    }

    fn deliver_requests(&mut self, now: Now, node: &mut NodeMachine, plug: Plug) {
        let Some(link) = self.links.get_mut(&plug) else { return };
        while !link.paused && link.requests.front().is_some_and(|(due, _)| *due <= now.mono) {
            let (_, bytes) = link.requests.pop_front().expect("looked at just now");
            let input = Input::Received { conn: link.conn, bytes: &bytes };
            node.cores[link.core].handle(now, input);
        }
    }
}

fn checksum(node: &NodeMachine, pieces: &[Piece]) -> Result<u32, Violation> {
    pieces.iter().try_fold(0, |crc, piece| Ok(crc32c_append(crc, bytes_of(node, piece)?)))
}

fn bytes_of<'a>(node: &'a NodeMachine, piece: &'a Piece) -> Result<&'a [u8], Violation> {
    match piece {
        Piece::Bytes { bytes, from } => Ok(&bytes[*from..]),
        Piece::Pages { pages, from, len } => Ok(&Page::bytes(pages)[*from..*from + *len]),
        Piece::Tail { shard, span, .. } => node.arena(*shard).get(*span).ok_or_else(|| {
            let what = format!("{span:?} was reused while a send read it");
            Violation::new(Checker::Memory, what)
        }),
    }
}
