//! Operations in flight, each with everything that the kernel may touch while it flies.
//!
//! ```text
//!   launch: flight moves into a slot ─▶ entry built from the slot ─▶ queue
//!   land:   user_data names slot and generation ─▶ flight moves out, memory and all
//! ```
//! This is the boundary of `unsafe` for I/O: an entry is only ever built from a [`Flight`], a flight
//! owns its memory (or proves it lasting), and leaves its slot only with the last completion. A
//! completion that names another generation or incarnation reaches nobody.
//!
//! `user_data`: kind (4 bits), incarnation (12), generation (24), slot (24).

use base::{ConnId, DialId, Page, Piece, Pin, ShardId, Span, Token};
use io_uring::types::{Fd, FsyncFlags};
use io_uring::{opcode, squeue};
use socket2::SockAddr;

use crate::buffer_ring::GROUP;
use crate::gather::{Gather, Parts};
use crate::memory::Lasting;
use crate::uring::{Completion, Target, Uring};

/// What to call back, and what the kernel holds until then.
#[derive(Debug)]
pub(crate) enum Flight {
    Write {
        tok: Token,
        pin: Pin,
        bytes: Lasting,
        buffer: Option<u16>,
        pos: u64,
        sync: bool,
        target: Target,
        /// To fail if the kernel cannot begin it at once, instead of going to a worker thread.
        at_once: bool,
    },
    WritePages {
        tok: Token,
        pages: Box<[Page]>,
        pos: u64,
        sync: bool,
    },
    Read {
        tok: Token,
        pages: Box<[Page]>,
        pos: u64,
    },
    Sync {
        tok: Token,
    },
    Send {
        conn: ConnId,
        pieces: Vec<Piece>,
        gather: Box<Gather>,
    },
    /// Receives into the ring's provided buffers until cancelled.
    Recv {
        conn: ConnId,
    },
    /// Receives once.
    RecvInto {
        conn: ConnId,
        buffer: Box<[u8]>,
    },
    /// Cancels the receive with this `user_data`.
    CancelRecv {
        conn: ConnId,
        recv: FlightId,
    },
    /// Waits until a listener has connections.
    Listen {
        listener: usize,
    },
    /// Connects a socket; [`crate::net`] keeps it open until this lands.
    Connect {
        dial: DialId,
        /// On the heap: slots move.
        address: Box<SockAddr>,
    },
    /// Waits until this core's bell rings.
    Bell,
}

/// Names a flight to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FlightId(u64);

/// Which queue of the reactor a completion belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Disk = 1,
    Net = 2,
    /// A peer woke this ring.
    Nudge = 3,
    /// A nudge of ours that failed; the low bits are the peer's core.
    NudgeFailed = 4,
}

/// What a completion belongs to.
#[derive(Debug)]
pub(crate) enum Landed {
    /// The operation is over.
    Last(Flight),
    /// A receive goes on.
    More(ConnId),
    /// No operation of this ring.
    Stray,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    flight: Option<Flight>,
}

/// The operations in flight on one ring.
#[derive(Debug)]
pub(crate) struct Flights {
    slots: Vec<Slot>,
    free: Vec<u32>,
    incarnation: u64,
}

const FIELD: u64 = (1 << 24) - 1;

impl Kind {
    pub(crate) fn of(user_data: u64) -> Option<Self> {
        match user_data >> 60 {
            1 => Some(Self::Disk),
            2 => Some(Self::Net),
            3 => Some(Self::Nudge),
            4 => Some(Self::NudgeFailed),
            _ => None,
        }
    }

    /// A `user_data` that names no flight.
    pub(crate) const fn user_data(self, low: u16) -> u64 {
        (self as u64) << 60 | low as u64
    }
}

impl FlightId {
    fn slot(self) -> usize {
        (self.0 & FIELD) as usize
    }

    fn generation(self) -> u64 {
        self.0 >> 24 & FIELD
    }

    fn incarnation(self) -> u64 {
        self.0 >> 48 & 0xfff
    }
}

impl Flights {
    /// Room for `expected` flights before memory has to be found.
    pub(crate) fn new(expected: usize, incarnation: u64) -> Self {
        let (slots, free) = (Vec::with_capacity(expected), Vec::with_capacity(expected));
        Self { slots, free, incarnation: incarnation & 0xfff }
    }

    /// Starts an operation on `target` with the next enter.
    pub(crate) fn launch(&mut self, uring: &mut Uring, target: Target, flight: Flight) -> FlightId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, flight: None });
            (self.slots.len() - 1) as u32
        });
        let Slot { generation, flight: place } = &mut self.slots[slot as usize];
        let flight = place.insert(flight);
        let id = FlightId(
            (flight.kind() as u64) << 60
                | self.incarnation << 48
                | (u64::from(*generation) & FIELD) << 24
                | u64::from(slot),
        );
        let entry = flight.entry(target).user_data(id.0);
        // SAFETY: every address in `entry` leads into memory that the flight owns on the heap, which
        // stays where it is when slots move, or that is lasting. The flight leaves its slot only in
        // `land`, with the last completion, and is leaked if the ring ends before that.
        unsafe { uring.push(entry) };
        id
    }

    /// Ends (or continues) the flight that `completion` names.
    pub(crate) fn land(&mut self, completion: &Completion) -> Landed {
        let id = FlightId(completion.user_data);
        let Some(slot) = self.slots.get_mut(id.slot()) else { return Landed::Stray };
        let current = u64::from(slot.generation) & FIELD;
        if id.generation() != current || id.incarnation() != self.incarnation {
            return Landed::Stray;
        }
        match slot.flight.take() {
            Some(Flight::Recv { conn }) if completion.more() => {
                slot.flight = Some(Flight::Recv { conn });
                Landed::More(conn)
            }
            Some(flight) => {
                slot.generation = slot.generation.wrapping_add(1);
                self.free.push(id.slot() as u32);
                Landed::Last(flight)
            }
            None => Landed::Stray,
        }
    }

    /// How many operations the kernel has not finished.
    pub(crate) fn count(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

impl Drop for Flights {
    /// A ring that ends does not end its operations at once: what they touch must outlive them.
    fn drop(&mut self) {
        for slot in &mut self.slots {
            core::mem::forget(slot.flight.take());
        }
    }
}

impl Flight {
    /// Collects the pieces of a send; `tail` finds the bytes of a pinned span.
    pub(crate) fn send(
        conn: ConnId,
        pieces: Vec<Piece>,
        mut gather: Box<Gather>,
        tail: impl Fn(ShardId, Span) -> Lasting,
    ) -> Self {
        gather.fill(&pieces, tail);
        Self::Send { conn, pieces, gather }
    }

    /// Whether this is a send with nothing left to send.
    pub(crate) fn is_empty_send(&self) -> bool {
        matches!(self, Self::Send { gather, .. } if gather.left() == 0)
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Write { .. }
            | Self::WritePages { .. }
            | Self::Read { .. }
            | Self::Sync { .. } => Kind::Disk,
            _ => Kind::Net,
        }
    }

    fn entry(&mut self, target: Target) -> squeue::Entry {
        let (number, flags) = match target {
            Target::Registered(place) => (place.cast_signed(), squeue::Flags::FIXED_FILE),
            Target::Plain(file) => (file, squeue::Flags::empty()),
        };
        self.entry_on(Fd(number)).flags(flags)
    }

    fn entry_on(&mut self, file: Fd) -> squeue::Entry {
        match self {
            Self::Write { bytes, buffer: Some(buffer), pos, sync, at_once, .. } => {
                opcode::WriteFixed::new(file, bytes.address(), bytes.bytes(), *buffer)
                    .offset(*pos)
                    .rw_flags(durability(*sync) | patience(*at_once))
                    .build()
            }
            Self::Write { bytes, buffer: None, pos, sync, at_once, .. } => {
                opcode::Write::new(file, bytes.address(), bytes.bytes())
                    .offset(*pos)
                    .rw_flags(durability(*sync) | patience(*at_once))
                    .build()
            }
            Self::WritePages { pages, pos, sync, .. } => {
                opcode::Write::new(file, pages.as_ptr().cast(), page_bytes(pages))
                    .offset(*pos)
                    .rw_flags(durability(*sync))
                    .build()
            }
            Self::Read { pages, pos, .. } => {
                opcode::Read::new(file, pages.as_mut_ptr().cast(), page_bytes(pages))
                    .offset(*pos)
                    .build()
            }
            Self::Sync { .. } => opcode::Fsync::new(file).flags(FsyncFlags::DATASYNC).build(),
            Self::Send { gather, .. } => send_entry(file, gather),
            Self::Recv { .. } => opcode::RecvMulti::new(file, GROUP).build(),
            Self::RecvInto { buffer, .. } => {
                opcode::Recv::new(file, buffer.as_mut_ptr(), buffer.len() as u32).build()
            }
            Self::CancelRecv { recv, .. } => opcode::AsyncCancel::new(recv.0).build(),
            Self::Connect { address, .. } => {
                opcode::Connect::new(file, address.as_ptr().cast(), address.len()).build()
            }
            Self::Listen { .. } | Self::Bell => {
                opcode::PollAdd::new(file, libc::POLLIN as u32).build()
            }
        }
    }
}

/// The kernel retries short sends itself (MSG_WAITALL), so that one completion ends most sends.
fn send_entry(file: Fd, gather: &mut Gather) -> squeue::Entry {
    let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
    match gather.parts() {
        Parts::One(part) => {
            let len = u32::try_from(part.iov_len).unwrap_or(1 << 30);
            opcode::Send::new(file, part.iov_base.cast(), len).flags(flags).build()
        }
        Parts::Several(header) => {
            opcode::SendMsg::new(file, header).flags(flags.cast_unsigned()).build()
        }
    }
}

fn durability(sync: bool) -> i32 {
    if sync { libc::RWF_DSYNC } else { 0 }
}

fn patience(at_once: bool) -> i32 {
    if at_once { libc::RWF_NOWAIT } else { 0 }
}

fn page_bytes(pages: &[Page]) -> u32 {
    u32::try_from(size_of_val(pages)).expect("one operation moves less than 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::RingOptions;

    const CONN: ConnId = ConnId { slot: 1, generation: 2 };

    fn completion(id: FlightId) -> Completion {
        Completion::of(id.0, 0)
    }

    #[test]
    fn a_late_completion_reaches_nobody() {
        let mut uring = Uring::new(&RingOptions::default(), 1).unwrap();
        let mut flights = Flights::new(1, 7);
        let nowhere = Target::Plain(-1);
        let first = flights.launch(&mut uring, nowhere, Flight::Recv { conn: CONN });
        assert!(matches!(
            flights.land(&completion(first)),
            Landed::Last(Flight::Recv { conn: CONN })
        ));
        assert!(matches!(flights.land(&completion(first)), Landed::Stray), "landed before");
        let second = flights.launch(&mut uring, nowhere, Flight::Bell);
        assert_eq!(second.slot(), first.slot());
        assert!(matches!(flights.land(&completion(first)), Landed::Stray), "another generation");
        let foreign = FlightId(second.0 ^ 1 << 48);
        assert!(matches!(flights.land(&completion(foreign)), Landed::Stray), "another process");
        let unknown = FlightId(second.0 | FIELD);
        assert!(matches!(flights.land(&completion(unknown)), Landed::Stray), "no such slot");
        assert_eq!(flights.count(), 1);
        assert!(matches!(flights.land(&completion(second)), Landed::Last(Flight::Bell)));
        assert_eq!(flights.count(), 0);
    }

    #[test]
    fn kinds_are_told_by_the_completion_alone() {
        let mut uring = Uring::new(&RingOptions::default(), 1).unwrap();
        let mut flights = Flights::new(1, u64::MAX);
        let nowhere = Target::Plain(-1);
        let disk = flights.launch(&mut uring, nowhere, Flight::Sync { tok: Token(1) });
        assert_eq!(Kind::of(disk.0), Some(Kind::Disk));
        assert_eq!(Kind::of(flights.launch(&mut uring, nowhere, Flight::Bell).0), Some(Kind::Net));
        assert_eq!(Kind::of(Kind::NudgeFailed.user_data(3)), Some(Kind::NudgeFailed));
        assert_eq!(Kind::of(0), None);
    }
}
