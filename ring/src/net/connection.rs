//! Connections by slot and generation, and what each is doing.

use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;

use base::ConnId;

use crate::flight::{Flight, FlightId};
use crate::io::Io;
use crate::uring::Target;

/// One client's socket.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    pub(super) recv: Recv,
    pub(super) sending: bool,
    pub(super) paused: bool,
    /// No more is received or sent; once nothing is in flight, the slot is freed.
    pub(super) closing: bool,
    /// Closing, and nothing in flight.
    pub(super) gone: bool,
    /// Operations that have not landed: at most a receive, its cancels and a send.
    pub(super) flights: u32,
}

/// The receive of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recv {
    Idle,
    Armed(FlightId),
    /// To be ended by a cancel that is in flight.
    Cancelling(FlightId),
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            recv: Recv::Idle,
            sending: false,
            paused: false,
            closing: false,
            gone: false,
            flights: 0,
        }
    }

    pub(super) fn target(&self) -> Target {
        Target::Plain(self.stream.as_raw_fd())
    }

    pub(super) fn wants_recv(&self) -> bool {
        self.recv == Recv::Idle && !self.paused && !self.closing
    }

    pub(super) fn cancel_recv(&mut self, io: &mut Io, conn: ConnId) {
        if let Recv::Armed(recv) = self.recv {
            self.recv = Recv::Cancelling(recv);
            self.flights += 1;
            io.launch(self.target(), Flight::CancelRecv { conn, recv });
        }
    }

    /// Ends both directions, which makes what is in flight land.
    pub(super) fn begin_close(&mut self) {
        if !self.closing {
            self.closing = true;
            // It fails only on a socket that is shut already.
            let _ = self.stream.shutdown(Shutdown::Both);
        }
    }
}

/// The connections of one core.
#[derive(Debug)]
pub(super) struct Connections {
    slots: Vec<Slot>,
    free: Vec<u32>,
    limit: u32,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    connection: Option<Connection>,
}

impl Connections {
    pub(super) fn new(limit: u32) -> Self {
        Self { slots: Vec::new(), free: Vec::new(), limit }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() == self.limit as usize
    }

    pub(super) fn insert(&mut self, connection: Connection) -> ConnId {
        assert!(!self.is_full(), "{} connections at most", self.limit);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, connection: None });
            (self.slots.len() - 1) as u32
        });
        let place = &mut self.slots[slot as usize];
        place.connection = Some(connection);
        ConnId { slot, generation: place.generation }
    }

    /// `None` for a connection that is gone.
    pub(super) fn get_mut(&mut self, conn: ConnId) -> Option<&mut Connection> {
        let slot = self.slots.get_mut(conn.slot as usize)?;
        slot.connection.as_mut().filter(|_| slot.generation == conn.generation)
    }

    pub(super) fn remove(&mut self, conn: ConnId) {
        let slot = &mut self.slots[conn.slot as usize];
        assert_eq!(slot.generation, conn.generation, "removed twice");
        slot.connection = None;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(conn.slot);
    }

    /// Those that are open now.
    pub(super) fn ids(&self) -> Vec<ConnId> {
        let id = |(number, slot): (usize, &Slot)| {
            let conn = ConnId { slot: number as u32, generation: slot.generation };
            slot.connection.is_some().then_some(conn)
        };
        self.slots.iter().enumerate().filter_map(id).collect()
    }
}
