//! The vocabulary between a state machine and the shell that runs it.
//!
//! ```text
//!   shell: ring, simulator                    machine: shard
//!   ─────────────────────────                 ──────────────────────────
//!   bytes, mail, completions  ── handle ──▶   state changes
//!                             ── done   ──▶
//!   end of the turn           ── turn   ──▶   seals frames, fires timers
//!   writes, sends, mail       ◀── poll  ──    intents, as values
//!   sleeps until              ◀── next_timeout
//! ```

use core::net::SocketAddr;

use crate::{Arena, CoreId, Done, Instant, IoError, Now, Op, Page, Pin, ShardId, Span};

/// A client connection. The generation makes a reused slot a different connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnId {
    pub slot: u32,
    pub generation: u32,
}

/// A connection that a machine asked for, until it stands or has failed. The machine chooses the
/// number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DialId(pub u32);

/// The port by which a connection came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Listener {
    /// Brokers are nodes; requests for other cores are relayed.
    Node,
    /// Brokers are shards; this port belongs to one of them.
    Core(ShardId),
    /// For shards of other nodes; this port belongs to one shard.
    Peer(ShardId),
}

/// Something that happened outside.
#[derive(Debug)]
pub enum Input<'a, M> {
    /// A client or a peer connected.
    Opened { conn: ConnId, listener: Listener },
    /// What became of an [`Output::Dial`]. A connection that stands is like one that came in.
    Dialed { dial: DialId, result: Result<ConnId, IoError> },
    /// Bytes arrived, in order. The machine takes all of them: what it cannot act on it keeps, and
    /// says [`Output::Pause`] to receive no more.
    Received { conn: ConnId, bytes: &'a [u8] },
    /// The send in flight ended; its memory comes back. On an error [`Input::Closed`] follows.
    Sent { conn: ConnId, pieces: Vec<Piece>, ok: bool },
    /// The connection is gone, and so is every send on it. Its id never comes back.
    Closed { conn: ConnId },
    /// A message from another core.
    Mail { from: CoreId, mail: M },
    /// The process was asked to end: finish what was begun, leave the log sealed, then say so by
    /// [`Machine::stopped`]. No connection opens any more.
    Stop,
}

/// A part of a gathered send: memory that must stay as it is until the send ends.
#[derive(Debug)]
pub enum Piece {
    /// Bytes of the machine's own, sent from `from` on.
    Bytes { bytes: Vec<u8>, from: usize },
    /// A pinned span of a shard's arena.
    Tail { shard: ShardId, span: Span, pin: Pin },
    /// `len` bytes from byte `from` of pages that were read from disk.
    Pages { pages: Box<[Page]>, from: usize, len: usize },
}

/// One gathered send. A connection has at most one in flight; the shell completes it whole or
/// closes the connection.
#[derive(Debug)]
#[must_use]
pub struct Send {
    pub conn: ConnId,
    pub pieces: Vec<Piece>,
}

/// An intent of the machine.
#[derive(Debug)]
#[must_use]
pub enum Output<M> {
    Disk(Op),
    Send(Send),
    /// Stop receiving on the connection until [`Output::Resume`].
    Pause(ConnId),
    Resume(ConnId),
    /// Connect to `to`; answered by [`Input::Dialed`] within seconds.
    Dial {
        dial: DialId,
        to: SocketAddr,
    },
    /// Close: cancel what is in flight, give its memory back, then say [`Input::Closed`].
    Close(ConnId),
    /// Deliver to another core. The queue is bounded; the shell keeps order and retries when full.
    Mail {
        to: CoreId,
        mail: M,
    },
}

/// A deterministic state machine: all of its inputs, time included, are arguments, and all of its
/// effects are values taken from [`Machine::poll`].
pub trait Machine {
    /// What cores say to each other.
    type Mail;

    fn handle(&mut self, now: Now, input: Input<'_, Self::Mail>);

    fn done(&mut self, now: Now, done: Done);

    /// Ends a turn: everything that was to be handled has been handled.
    fn turn(&mut self, now: Now);

    /// The next intent, until `None`.
    fn poll(&mut self) -> Option<Output<Self::Mail>>;

    /// When [`Machine::turn`] wants to be called even if nothing happens.
    fn next_timeout(&self) -> Option<Instant>;

    /// Whether everything that [`Input::Stop`] asks for is done, so that the shell may close the
    /// connections and end. The shell asks only after a stop, and gives up after about a second.
    fn stopped(&self) -> bool {
        true
    }

    /// The memory that a [`Op::Write`] or [`Piece::Tail`] of this shard points into.
    fn arena(&self, shard: ShardId) -> &Arena;
}
