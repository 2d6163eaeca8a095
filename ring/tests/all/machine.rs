//! A machine that sends everything back, if asked by way of its shard's journal.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use base::{
    Arena, ConnId, CoreId, DialId, Done, FileId, FileKind, Input, Instant, IoError, Machine, Now,
    Op, Output, Piece, Send, ShardId, Token,
};

pub(crate) const SHARD: ShardId = ShardId(7);
pub(crate) const JOURNAL: FileId = FileId { shard: SHARD, kind: FileKind::Segment(0) };
pub(crate) const JOURNAL_BYTES: u64 = 1 << 20;

/// A message that makes the machine close every other connection.
pub(crate) const CLOSE_OTHERS: &[u8] = b"close the others";

/// What a machine says first on a connection that it dialled.
pub(crate) const GREETING: &[u8] = b"it is me";

/// How received bytes find their way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// In one piece of the machine's own memory.
    Plain,
    /// In pieces of this many bytes.
    Pieces(usize),
    /// Written durably to the journal, then sent from the arena.
    Durable,
    /// To the other core as mail and back again.
    Relay(CoreId),
    /// Nowhere: kept, and the connection paused until another one opens.
    Keep,
}

/// What cores say to each other: bytes to send back, or bytes to send to the client.
#[derive(Debug)]
pub(crate) enum Mail {
    Please(ConnId, Vec<u8>),
    Here(ConnId, Vec<u8>),
    /// For tests that only count.
    Number(u64),
}

#[derive(Debug, Default)]
struct Client {
    /// Bytes that wait for the send in flight to end.
    waiting: Vec<u8>,
    /// Sends that wait for it.
    queued: VecDeque<Vec<Piece>>,
    sending: bool,
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Echo {
    route: Route,
    arena: Option<Arena>,
    clients: BTreeMap<(u32, u32), Client>,
    outputs: VecDeque<Output<Mail>>,
    /// Writes by token; the pin comes back with the completion.
    writes: BTreeMap<u64, (ConnId, base::Span, Option<base::Pin>)>,
    next_token: u64,
    pos: u64,
    pub(crate) opened: usize,
    pub(crate) closed: usize,
    pub(crate) received: Vec<u8>,
    pub(crate) failed_sends: usize,
    pub(crate) numbers: Vec<(CoreId, u64)>,
    pub(crate) done: Vec<Done>,
    /// Operations to ask for in the first turn.
    pub(crate) to_ask: Vec<Op>,
    /// Peers to connect to in the first turn; what became of it, and whether a stop had been asked
    /// for by then.
    pub(crate) to_dial: Vec<SocketAddr>,
    pub(crate) dialed: Vec<(DialId, Result<ConnId, IoError>, bool)>,
    paused: Option<ConnId>,
    pub(crate) stop_seen: bool,
    /// Whether [`Machine::stopped`] ever comes true.
    pub(crate) stubborn: bool,
}

impl Echo {
    pub(crate) fn new(route: Route, arena: Option<Arena>) -> Self {
        Self {
            route,
            arena,
            clients: BTreeMap::new(),
            outputs: VecDeque::new(),
            writes: BTreeMap::new(),
            next_token: 0,
            pos: 0,
            opened: 0,
            closed: 0,
            received: Vec::new(),
            failed_sends: 0,
            numbers: Vec::new(),
            done: Vec::new(),
            to_ask: Vec::new(),
            to_dial: Vec::new(),
            dialed: Vec::new(),
            paused: None,
            stop_seen: false,
            stubborn: false,
        }
    }

    fn client(&mut self, conn: ConnId) -> Option<&mut Client> {
        self.clients.get_mut(&(conn.slot, conn.generation))
    }

    fn answer(&mut self, conn: ConnId, bytes: &[u8]) {
        let Some(client) = self.client(conn) else { return };
        client.waiting.extend_from_slice(bytes);
        self.send_more(conn);
    }

    fn send_more(&mut self, conn: ConnId) {
        let route = self.route;
        let Some(client) = self.client(conn) else { return };
        if client.sending {
            return;
        }
        let pieces = match client.queued.pop_front() {
            Some(pieces) => pieces,
            None if client.waiting.is_empty() => return,
            None => cut(core::mem::take(&mut client.waiting), route),
        };
        client.sending = true;
        self.outputs.push_back(Output::Send(Send { conn, pieces }));
    }

    fn write(&mut self, conn: ConnId, bytes: &[u8]) {
        let arena = self.arena.as_mut().expect("a durable echo has an arena");
        let mut draft = arena.draft(bytes.len() as u32).expect("the arena is large enough");
        let payload = arena.put(&mut draft, bytes).expect("drafted for it");
        let span = arena.seal(draft);
        if JOURNAL_BYTES < self.pos + u64::from(span.len) {
            self.pos = 0;
        }
        let (pos, tok) = (self.pos, self.next_token);
        self.pos += u64::from(span.len);
        self.next_token += 1;
        let pin = arena.pin(span);
        self.writes.insert(tok, (conn, payload, None));
        let tok = Token(tok);
        self.outputs.push_back(Output::Disk(Op::Write {
            tok,
            file: JOURNAL,
            pos,
            span,
            pin,
            sync: true,
        }));
    }

    fn wrote(&mut self, tok: Token, pin: base::Pin, res: Result<(), IoError>) {
        res.expect("the journal takes writes");
        self.writes.get_mut(&tok.0).expect("written once").2 = Some(pin);
        // Writes end in any order; what they hold is sent in the order in which it came.
        while let Some(first) = self.writes.first_entry().filter(|first| first.get().2.is_some()) {
            let (conn, span, pin) = first.remove();
            self.send_written(conn, span, pin.expect("filtered for it"));
        }
    }

    fn send_written(&mut self, conn: ConnId, span: base::Span, pin: base::Pin) {
        let Some(client) = self.client(conn) else { return self.release(pin) };
        client.queued.push_back(vec![Piece::Tail { shard: SHARD, span, pin }]);
        self.send_more(conn);
    }

    fn release(&mut self, pin: base::Pin) {
        let arena = self.arena.as_mut().expect("there was something to pin");
        arena.unpin(pin);
        arena.release_all();
    }

    fn receive(&mut self, conn: ConnId, bytes: &[u8]) {
        if bytes == CLOSE_OTHERS {
            let all = self
                .clients
                .keys()
                .map(|(slot, generation)| ConnId { slot: *slot, generation: *generation });
            self.outputs.extend(all.filter(|other| *other != conn).map(Output::Close));
        }
        match self.route {
            Route::Plain | Route::Pieces(_) => self.answer(conn, bytes),
            Route::Durable => self.write(conn, bytes),
            Route::Relay(to) => {
                let mail = Mail::Please(conn, bytes.to_vec());
                self.outputs.push_back(Output::Mail { to, mail });
            }
            Route::Keep => {
                self.received.extend_from_slice(bytes);
                self.outputs.push_back(Output::Pause(conn));
                self.paused = Some(conn);
            }
        }
    }

    fn close(&mut self, conn: ConnId) {
        self.closed += 1;
        let client = self.clients.remove(&(conn.slot, conn.generation)).expect("opened once");
        assert!(!client.sending, "a send comes back before its connection is closed");
        client.queued.into_iter().for_each(|pieces| self.take_back(pieces));
    }

    fn take_back(&mut self, pieces: Vec<Piece>) {
        for piece in pieces {
            if let Piece::Tail { pin, .. } = piece {
                self.release(pin);
            }
        }
    }

    fn mail(&mut self, from: CoreId, mail: Mail) {
        match mail {
            Mail::Please(conn, bytes) => {
                self.outputs.push_back(Output::Mail { to: from, mail: Mail::Here(conn, bytes) });
            }
            Mail::Here(conn, bytes) => self.answer(conn, &bytes),
            Mail::Number(number) => self.numbers.push((from, number)),
        }
    }
}

fn cut(bytes: Vec<u8>, route: Route) -> Vec<Piece> {
    let Route::Pieces(size) = route else { return vec![Piece::Bytes { bytes, from: 0 }] };
    let piece = |part: &[u8]| {
        let bytes = [b"skipped", part].concat();
        Piece::Bytes { bytes, from: b"skipped".len() }
    };
    bytes.chunks(size).map(piece).collect()
}

impl Machine for Echo {
    type Mail = Mail;

    fn handle(&mut self, _: Now, input: Input<'_, Mail>) {
        match input {
            Input::Opened { conn, .. } => {
                self.opened += 1;
                self.outputs.extend(self.paused.take().map(Output::Resume));
                self.clients.insert((conn.slot, conn.generation), Client::default());
            }
            Input::Dialed { dial, result } => {
                if let Ok(conn) = result {
                    self.opened += 1;
                    self.clients.insert((conn.slot, conn.generation), Client::default());
                    self.answer(conn, GREETING);
                }
                self.dialed.push((dial, result, self.stop_seen));
            }
            Input::Received { conn, bytes } => self.receive(conn, bytes),
            Input::Sent { conn, pieces, ok } => {
                self.failed_sends += usize::from(!ok);
                self.take_back(pieces);
                if let Some(client) = self.client(conn) {
                    client.sending = false;
                    self.send_more(conn);
                }
            }
            Input::Closed { conn } => self.close(conn),
            Input::Mail { from, mail } => self.mail(from, mail),
            Input::Stop => self.stop_seen = true,
        }
    }

    fn done(&mut self, _: Now, done: Done) {
        match done {
            Done::Wrote { tok, pin, res } if self.writes.contains_key(&tok.0) => {
                self.wrote(tok, pin, res);
            }
            done => self.done.push(done),
        }
    }

    fn turn(&mut self, _: Now) {
        for op in self.to_ask.drain(..) {
            self.outputs.push_back(Output::Disk(op));
        }
        for (number, to) in self.to_dial.drain(..).enumerate() {
            self.outputs.push_back(Output::Dial { dial: DialId(number as u32), to });
        }
    }

    fn poll(&mut self) -> Option<Output<Mail>> {
        self.outputs.pop_front()
    }

    fn next_timeout(&self) -> Option<Instant> {
        None
    }

    fn stopped(&self) -> bool {
        self.stop_seen && self.writes.is_empty() && !self.stubborn
    }

    fn arena(&self, shard: ShardId) -> &Arena {
        assert_eq!(shard, SHARD);
        self.arena.as_ref().expect("this machine has an arena")
    }
}
