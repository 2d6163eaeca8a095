//! A core's listeners and connections.
//!
//! ```text
//!            ┌────────── Pause ──────────┐
//!   accept ▸ receiving ◀── Resume ── not receiving
//!                │ error, end of stream, Output::Close
//!                ▼
//!            closing: shutdown ▸ every operation lands ▸ Sent{ok: false} ▸ Closed ▸ slot is free
//! ```
//! A connection's memory goes back to the machine only once the kernel has said that it is done
//! with it. Sockets are not registered with the ring: its table outlives a killed process by tens of
//! milliseconds, in which peers would believe it alive. Bytes that had arrived when [`base::Output::Pause`] came are still handed over.

mod connection;
mod dials;
mod listener;
mod receive;

use std::net::{SocketAddr, TcpListener, TcpStream};

use base::{ConnId, DialId, Input, IoError, Listener, Machine, Now, Send};

use crate::flight::{Flight, FlightId, Landed};
use crate::gather::Gather;
use crate::io::Io;
use crate::uring::Completion;

use connection::{Connection, Connections, Recv};
use dials::Dials;
use listener::Listeners;
use receive::Receiver;

/// Limits of one core's network side.
#[derive(Clone, Debug)]
pub struct NetOptions {
    /// Connections beyond this are closed as soon as they are accepted.
    pub connections: u32,
    /// Receive buffers that all connections of the core share: a power of two up to 32,768.
    pub buffers: u16,
    /// Size of each, and so the most that one [`Input::Received`] carries.
    pub buffer_bytes: u32,
}

impl Default for NetOptions {
    /// 10,000 connections, 512 buffers of 32 KiB.
    fn default() -> Self {
        Self { connections: 10_000, buffers: 512, buffer_bytes: 32 << 10 }
    }
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Net {
    listeners: Listeners,
    connections: Connections,
    dials: Dials,
    receiver: Receiver,
    /// Connections that are closed once the machine has no output left: a send among them is given
    /// back before.
    gone: Vec<ConnId>,
    /// Send vectors not in use.
    #[expect(clippy::vec_box, reason = "their addresses are the kernel's while they fly")]
    gathers: Vec<Box<Gather>>,
}

/// One turn's view of the world, passed down to whoever handles an event.
pub(crate) struct Turn<'a, M> {
    pub(crate) now: Now,
    pub(crate) io: &'a mut Io,
    pub(crate) machine: &'a mut M,
}

impl Net {
    pub(crate) fn new(
        io: &mut Io,
        options: &NetOptions,
        listeners: Vec<(Listener, TcpListener)>,
    ) -> std::io::Result<Self> {
        Ok(Self {
            listeners: Listeners::new(listeners)?,
            connections: Connections::new(options.connections),
            dials: Dials::default(),
            receiver: Receiver::new(io, options)?,
            gone: Vec::new(),
            gathers: Vec::new(),
        })
    }

    pub(crate) fn start(&mut self, io: &mut Io) {
        self.listeners.arm(io);
    }

    /// Takes over at the end of a turn: what could not be begun earlier.
    pub(crate) fn catch_up(&mut self, io: &mut Io, now: Now) {
        self.listeners.retry(io, now.mono);
        self.dials.end_overdue(now.mono);
        while let Some(conn) = self.receiver.next_starved() {
            self.receive(io, conn);
        }
    }

    /// Handles a completion of the network side.
    pub(crate) fn landed<M: Machine>(
        &mut self,
        turn: &mut Turn<'_, M>,
        landed: Landed,
        completion: &Completion,
    ) {
        match landed {
            Landed::More(conn) => self.received(turn, conn, completion),
            Landed::Last(Flight::Recv { conn }) => {
                self.recv_ended(conn);
                self.received(turn, conn, completion);
            }
            Landed::Last(Flight::RecvInto { conn, buffer }) => {
                self.recv_ended(conn);
                self.received_into(turn, conn, buffer, completion.result);
            }
            Landed::Last(Flight::Send { conn, pieces, gather }) => {
                self.sent(turn, Send { conn, pieces }, gather, completion.result);
            }
            Landed::Last(Flight::CancelRecv { conn, recv }) => {
                self.cancelled(turn, conn, recv, completion.result);
            }
            Landed::Last(Flight::Listen { listener }) => self.accept(turn, listener),
            Landed::Last(Flight::Connect { dial, .. }) => {
                let outcome = self.dials.landed(dial, completion.result);
                self.dialed(turn, dial, outcome);
            }
            other => unreachable!("not of the network side: {other:?}"),
        }
    }

    /// Begins a send, or gives it back if the connection is closing or gone. Panics if one is in
    /// flight on the connection: the machine promised otherwise.
    pub(crate) fn send<M: Machine>(&mut self, turn: &mut Turn<'_, M>, send: Send) {
        let Send { conn, pieces } = send;
        let open = self.connections.get_mut(conn).filter(|connection| !connection.closing);
        let Some(connection) = open else {
            turn.machine.handle(turn.now, Input::Sent { conn, pieces, ok: false });
            return;
        };
        assert!(!connection.sending, "two sends at once on {conn:?}");
        let gather = self.gathers.pop().unwrap_or_else(Gather::new);
        let (io, machine) = (&mut *turn.io, &*turn.machine);
        let flight = Flight::send(conn, pieces, gather, |shard, span| {
            io.arena(shard).lasting(machine.arena(shard).get(span), span)
        });
        if flight.is_empty_send() {
            self.end_send(turn, flight, true);
        } else {
            connection.sending = true;
            connection.flights += 1;
            turn.io.launch(connection.target(), flight);
        }
    }

    pub(crate) fn pause(&mut self, io: &mut Io, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        connection.paused = true;
        // A receive that ends by itself brings one buffer more at most.
        if self.receiver.is_multishot() {
            connection.cancel_recv(io, conn);
        }
    }

    pub(crate) fn resume(&mut self, io: &mut Io, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        connection.paused = false;
        self.receive(io, conn);
    }

    /// Begins to close. [`Input::Closed`] follows when nothing is in flight any more.
    pub(crate) fn close(&mut self, conn: ConnId) {
        if let Some(connection) = self.connections.get_mut(conn) {
            connection.begin_close();
            self.settle(conn);
        }
    }

    /// Accepts no more connections.
    pub(crate) fn stop_listening(&mut self) {
        self.listeners.stop();
    }

    pub(crate) fn close_all(&mut self) {
        self.dials.end_all();
        for conn in self.connections.ids() {
            self.close(conn);
        }
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.len()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.connections.is_empty() && self.listeners.is_idle() && self.dials.is_idle()
    }

    fn accept<M: Machine>(&mut self, turn: &mut Turn<'_, M>, listener: usize) {
        let (connections, receiver) = (&mut self.connections, &mut self.receiver);
        self.listeners.accept(turn, listener, |turn, stream, listener| {
            let counters = &turn.io.counters;
            if connections.is_full() {
                counters.refused.add(1);
                return;
            }
            counters.accepted.add(1);
            let conn = connections.insert(Connection::new(stream));
            counters.connections.set(connections.len() as u64);
            turn.machine.handle(turn.now, Input::Opened { conn, listener });
            let connection = connections.get_mut(conn).expect("inserted above");
            connection.recv = Recv::Armed(receiver.arm(turn.io, conn, connection.target()));
            connection.flights += 1;
        });
    }

    /// Begins to connect; [`Input::Dialed`] follows in any case.
    pub(crate) fn dial<M: Machine>(
        &mut self,
        turn: &mut Turn<'_, M>,
        dial: DialId,
        to: SocketAddr,
    ) {
        if let Err(error) = self.dials.start(turn.io, turn.now.mono, dial, to) {
            turn.machine.handle(turn.now, Input::Dialed { dial, result: Err(error) });
        }
    }

    fn dialed<M: Machine>(
        &mut self,
        turn: &mut Turn<'_, M>,
        dial: DialId,
        outcome: Result<TcpStream, IoError>,
    ) {
        let full = self.connections.is_full();
        let outcome =
            outcome.and_then(|s| if full { Err(IoError::Errno(libc::EMFILE)) } else { Ok(s) });
        match outcome {
            Err(error) => {
                turn.machine.handle(turn.now, Input::Dialed { dial, result: Err(error) });
            }
            Ok(stream) => {
                turn.io.counters.dialed.add(1);
                let conn = self.connections.insert(Connection::new(stream));
                turn.io.counters.connections.set(self.connections.len() as u64);
                turn.machine.handle(turn.now, Input::Dialed { dial, result: Ok(conn) });
                self.receive(turn.io, conn);
            }
        }
    }

    /// Begins to receive, if the connection is there and wants it.
    fn receive(&mut self, io: &mut Io, conn: ConnId) {
        let connection = self.connections.get_mut(conn);
        if let Some(connection) = connection.filter(|connection| connection.wants_recv()) {
            connection.recv = Recv::Armed(self.receiver.arm(io, conn, connection.target()));
            connection.flights += 1;
        }
    }

    fn recv_ended(&mut self, conn: ConnId) {
        let connection = self.connection(conn);
        connection.flights -= 1;
        connection.recv = Recv::Idle;
    }

    /// Bytes, the end or an error, in a buffer of the ring.
    fn received<M: Machine>(
        &mut self,
        turn: &mut Turn<'_, M>,
        conn: ConnId,
        completion: &Completion,
    ) {
        let closing = self.connection(conn).closing;
        if let Some(number) = completion.buffer() {
            let len = completion.result.max(0).unsigned_abs();
            let bytes = self.receiver.claim(number, len);
            if !closing && len != 0 {
                note_received(turn, len);
                turn.machine.handle(turn.now, Input::Received { conn, bytes });
            }
            self.receiver.give(number);
        }
        self.after_recv(turn, conn, completion.result);
    }

    fn received_into<M: Machine>(
        &mut self,
        turn: &mut Turn<'_, M>,
        conn: ConnId,
        buffer: Box<[u8]>,
        result: i32,
    ) {
        let closing = self.connection(conn).closing;
        if 0 < result && !closing {
            note_received(turn, result.unsigned_abs());
            let bytes = &buffer[..result.unsigned_abs() as usize];
            turn.machine.handle(turn.now, Input::Received { conn, bytes });
        }
        self.receiver.put_back(buffer);
        self.after_recv(turn, conn, result);
    }

    /// Receives on, or closes, as the result of a receive says.
    fn after_recv<M: Machine>(&mut self, turn: &mut Turn<'_, M>, conn: ConnId, result: i32) {
        let connection = self.connection(conn);
        match result {
            1.. => {}
            _ if result == -libc::ENOBUFS => {
                turn.io.counters.starved.add(1);
                self.receiver.starve(conn);
                return self.settle(conn);
            }
            // Cancelled by a pause, or before it saw anything.
            _ if result == -libc::ECANCELED || result == -libc::EINTR => {}
            _ => connection.begin_close(),
        }
        self.receive(turn.io, conn);
        self.settle(conn);
    }

    /// A cancel ended. One that missed its receive, which was just then at work, is tried again.
    fn cancelled<M: Machine>(
        &mut self,
        turn: &mut Turn<'_, M>,
        conn: ConnId,
        recv: FlightId,
        result: i32,
    ) {
        let connection = self.connection(conn);
        connection.flights -= 1;
        if result < 0 && connection.recv == Recv::Cancelling(recv) {
            connection.recv = Recv::Armed(recv);
            if connection.paused {
                connection.cancel_recv(turn.io, conn);
            }
        }
        self.settle(conn);
    }

    /// A connection with operations in flight, which is therefore there.
    fn connection(&mut self, conn: ConnId) -> &mut Connection {
        self.connections.get_mut(conn).expect("it stays as long as something is in flight on it")
    }

    fn sent<M: Machine>(
        &mut self,
        turn: &mut Turn<'_, M>,
        send: Send,
        mut gather: Box<Gather>,
        result: i32,
    ) {
        let Send { conn, pieces } = send;
        let connection = self.connection(conn);
        let sent = usize::try_from(result).unwrap_or(0);
        turn.io.counters.sent_bytes.add(sent as u64);
        gather.advance(sent);
        let flight = Flight::Send { conn, pieces, gather };
        let retry = 0 < result || result == -libc::EINTR || result == -libc::EAGAIN;
        if !flight.is_empty_send() && retry && !connection.closing {
            turn.io.launch(connection.target(), flight);
            return;
        }
        connection.flights -= 1;
        connection.sending = false;
        let ok = flight.is_empty_send();
        if !ok {
            connection.begin_close();
        }
        self.end_send(turn, flight, ok);
        self.settle(conn);
    }

    fn end_send<M: Machine>(&mut self, turn: &mut Turn<'_, M>, flight: Flight, ok: bool) {
        let Flight::Send { conn, pieces, gather } = flight else { unreachable!("only sends") };
        self.gathers.push(gather);
        turn.io.counters.sends.add(u64::from(ok));
        turn.machine.handle(turn.now, Input::Sent { conn, pieces, ok });
    }

    /// Notes that the connection can be freed, once it is closing and nothing is in flight.
    fn settle(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if connection.closing && connection.flights == 0 && !connection.gone {
            connection.gone = true;
            self.gone.push(conn);
        }
    }

    /// Frees the connections that can be, and says so. To be called when the machine has no output
    /// left. Says whether there was one.
    pub(crate) fn bury<M: Machine>(&mut self, turn: &mut Turn<'_, M>) -> bool {
        let any = !self.gone.is_empty();
        while let Some(conn) = self.gone.pop() {
            self.connections.remove(conn);
            turn.io.counters.connections.set(self.connections.len() as u64);
            turn.machine.handle(turn.now, Input::Closed { conn });
        }
        any
    }
}

fn note_received<M>(turn: &mut Turn<'_, M>, bytes: u32) {
    turn.io.counters.receives.add(1);
    turn.io.counters.received_bytes.add(bytes.into());
}
