//! Where received bytes go: into the ring's shared buffers (multishot), or, where the kernel lacks
//! that, into a buffer per receive.

use std::collections::VecDeque;
use std::io;

use base::ConnId;

use super::NetOptions;
use crate::buffer_ring::BufferRing;
use crate::feature::Feature;
use crate::flight::{Flight, FlightId};
use crate::io::Io;
use crate::uring::Target;

#[derive(Debug)]
pub(super) struct Receiver {
    shared: Option<BufferRing>,
    /// Without shared buffers: those not in use.
    spare: Vec<Box<[u8]>>,
    buffer_bytes: u32,
    /// Connections whose receive found no buffer.
    starved: VecDeque<ConnId>,
}

impl Receiver {
    pub(super) fn new(io: &mut Io, options: &NetOptions) -> io::Result<Self> {
        let mut shared = None;
        // Multishot receive came with the same kernel as SINGLE_ISSUER, buffer rings before it.
        if io.uring.allows(Feature::MultishotRecv) && crate::probe::receives_multishot() {
            shared = Some(BufferRing::new(&io.uring, options.buffers, options.buffer_bytes)?);
            io.uring.note(Feature::MultishotRecv);
        }
        Ok(Self {
            shared,
            spare: Vec::new(),
            buffer_bytes: options.buffer_bytes,
            starved: VecDeque::new(),
        })
    }

    pub(super) fn is_multishot(&self) -> bool {
        self.shared.is_some()
    }

    /// Begins to receive.
    pub(super) fn arm(&mut self, io: &mut Io, conn: ConnId, target: Target) -> FlightId {
        if self.shared.is_some() {
            return io.launch(target, Flight::Recv { conn });
        }
        let fresh = || vec![0; self.buffer_bytes as usize].into_boxed_slice();
        let buffer = self.spare.pop().unwrap_or_else(fresh);
        io.launch(target, Flight::RecvInto { conn, buffer })
    }

    /// The bytes in a shared buffer that a completion named.
    pub(super) fn claim(&mut self, number: u16, len: u32) -> &[u8] {
        let shared = self.shared.as_mut().expect("only multishot receives name buffers");
        shared.claim(number);
        shared.bytes(number, len)
    }

    /// Gives a claimed buffer back.
    pub(super) fn give(&mut self, number: u16) {
        self.shared.as_mut().expect("it was claimed").give(number);
    }

    pub(super) fn put_back(&mut self, buffer: Box<[u8]>) {
        self.spare.push(buffer);
    }

    /// Notes that a connection has to begin again when there are buffers.
    pub(super) fn starve(&mut self, conn: ConnId) {
        self.starved.push_back(conn);
    }

    pub(super) fn next_starved(&mut self) -> Option<ConnId> {
        let shared = self.shared.as_ref()?;
        if shared.has_given() { self.starved.pop_front() } else { None }
    }
}
