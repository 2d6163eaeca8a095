//! One client connection: requests in, answers out in the same order.

use base::{ConnId, Listener, Piece};
use net::Session;

use crate::checksums::Checksums;
use crate::reply::ReplyQueue;

/// Answers a client may leave waiting before we stop reading from it.
pub(crate) const PIPELINE_MAX: usize = 1024;
/// Bytes that a connection may keep behind a request that is being verified, before we stop reading
/// from it.
pub(crate) const WAITING_BYTES_MAX: usize = 4 << 20;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: ConnId,
    pub(crate) listener: Listener,
    /// Out while its frames are being served.
    pub(crate) session: Option<Session>,
    /// How far the request is verified that comes next.
    pub(crate) checksums: Checksums,
    pub(crate) replies: ReplyQueue,
    /// A send is in flight: the next one waits for it.
    pub(crate) sending: bool,
    /// Receiving is paused.
    pub(crate) paused: bool,
    /// The next request waits, in the session: for room in journal or pipeline, or to be verified.
    pub(crate) stalled: bool,
    /// Close was said; nothing more is served.
    pub(crate) closing: bool,
    /// Already in the list of connections to flush at the end of this turn.
    pub(crate) dirty: bool,
}

impl Connection {
    pub(crate) fn new(id: ConnId, listener: Listener, session: Session) -> Self {
        Self {
            id,
            listener,
            session: Some(session),
            checksums: Checksums::default(),
            replies: ReplyQueue::default(),
            sending: false,
            paused: false,
            stalled: false,
            closing: false,
            dirty: false,
        }
    }
}

/// Connections by slot.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    slots: Vec<Option<Connection>>,
}

impl Connections {
    pub(crate) fn len(&self) -> usize {
        self.slots.iter().flatten().count()
    }

    pub(crate) fn insert(&mut self, connection: Connection) {
        let slot = connection.id.slot as usize;
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        assert!(self.slots[slot].is_none(), "{:?} opens in a slot in use", connection.id);
        self.slots[slot] = Some(connection);
    }

    /// The connection, unless it closed meanwhile.
    pub(crate) fn get_mut(&mut self, id: ConnId) -> Option<&mut Connection> {
        let connection = self.slots.get_mut(id.slot as usize)?.as_mut()?;
        (connection.id == id).then_some(connection)
    }

    pub(crate) fn remove(&mut self, id: ConnId) -> Option<Connection> {
        self.get_mut(id)?;
        self.slots[id.slot as usize].take()
    }
}

/// Joins answers into one gathered send: small byte runs are merged, record pieces stand alone.
#[derive(Debug)]
pub(crate) struct Gather {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) bytes_total: usize,
    open: Option<Vec<u8>>,
}

/// A run of bytes up to this is copied next to its neighbours; a longer one is sent from where it is.
const MERGE_BYTES_MAX: usize = 16 << 10;

/// A send is closed once it carries this much.
pub(crate) const SEND_BYTES_MAX: usize = 4 << 20;
/// Pieces of one send at most: half the kernel's limit on vectors, since one answer is never split.
pub(crate) const SEND_PIECES_MAX: usize = 512;

impl Gather {
    pub(crate) fn new(pieces: Vec<Piece>) -> Self {
        Self { pieces, bytes_total: 0, open: None }
    }

    pub(crate) fn is_full(&self) -> bool {
        SEND_BYTES_MAX <= self.bytes_total || SEND_PIECES_MAX <= self.pieces.len()
    }

    /// Adds a piece; the buffer it no longer needs comes back.
    pub(crate) fn push(&mut self, piece: Piece) -> Option<Vec<u8>> {
        match piece {
            Piece::Bytes { bytes, from } => self.push_bytes(bytes, from),
            Piece::Tail { span, .. } => {
                self.bytes_total += span.len as usize;
                self.push_whole(piece)
            }
            Piece::Pages { len, .. } => {
                self.bytes_total += len;
                self.push_whole(piece)
            }
        }
    }

    pub(crate) fn finish(mut self) -> Vec<Piece> {
        self.close_run();
        self.pieces
    }

    fn push_bytes(&mut self, bytes: Vec<u8>, from: usize) -> Option<Vec<u8>> {
        let len = bytes.len() - from;
        self.bytes_total += len;
        if MERGE_BYTES_MAX < len {
            return self.push_whole(Piece::Bytes { bytes, from });
        }
        match &mut self.open {
            Some(run) => {
                run.extend_from_slice(&bytes[from..]);
                Some(bytes)
            }
            None if from == 0 => {
                self.open = Some(bytes);
                None
            }
            None => self.push_whole(Piece::Bytes { bytes, from }),
        }
    }

    fn push_whole(&mut self, piece: Piece) -> Option<Vec<u8>> {
        self.close_run();
        self.pieces.push(piece);
        None
    }

    fn close_run(&mut self) {
        if let Some(bytes) = self.open.take() {
            self.pieces.push(Piece::Bytes { bytes, from: 0 });
        }
    }
}
