//! In steady state a core allocates nothing: counted on its own thread, through receive, durable
//! write, gathered send and mail.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use base::{
    Arena, ConnId, CoreId, Done, FileId, FileKind, Input, Instant, Listener, Machine, Now, Op,
    Output, Piece, Pin, Send, ShardId, Span, Token,
};
use ring::{
    CountingAllocator, Plan, PlannedShard, PollMode, ReactorConfig, ShardFolder, allocations,
    map_pages, mesh,
};

#[global_allocator]
static COUNTING: CountingAllocator = CountingAllocator;

const SHARD: ShardId = ShardId(0);
const FILE: FileId = FileId { shard: SHARD, kind: FileKind::Segment(0) };
const FILE_BYTES: u64 = 1 << 20;

/// Writes each message durably and answers with a header of its own and the written bytes, with
/// mail to the other core on the way.
struct Steady {
    arena: Arena,
    waiting: VecDeque<(ConnId, Span)>,
    headers: Vec<Vec<u8>>,
    vectors: Vec<Vec<Piece>>,
    outputs: VecDeque<Output<Pong>>,
    parked: VecDeque<(ConnId, Span, Pin)>,
    pos: u64,
    /// Allocations of this thread when a message that begins with `!` arrived.
    marks: Vec<u64>,
}

struct Pong;

impl Steady {
    fn new(arena: Arena) -> Self {
        Self {
            arena,
            waiting: VecDeque::with_capacity(16),
            headers: (0..4).map(|_| Vec::with_capacity(16)).collect(),
            vectors: (0..4).map(|_| Vec::with_capacity(4)).collect(),
            outputs: VecDeque::with_capacity(64),
            parked: VecDeque::with_capacity(16),
            pos: 0,
            marks: Vec::with_capacity(4),
        }
    }

    fn write(&mut self, conn: ConnId, bytes: &[u8]) {
        let mut draft = self.arena.draft(bytes.len() as u32).expect("one message at a time");
        let payload = self.arena.put(&mut draft, bytes).expect("drafted for it");
        let span = self.arena.seal(draft);
        let pin = self.arena.pin(span);
        let pos = self.pos;
        self.pos = (pos + u64::from(span.len)) % (FILE_BYTES / 2);
        self.waiting.push_back((conn, payload));
        self.outputs.push_back(Output::Disk(Op::Write {
            tok: Token(pos),
            file: FILE,
            pos,
            span,
            pin,
            sync: true,
        }));
    }

    fn answer(&mut self) {
        let Some((conn, span, pin)) = self.parked.pop_front() else { return };
        let mut bytes = self.headers.pop().expect("returned with each send");
        bytes.clear();
        bytes.extend_from_slice(b"ok");
        let mut pieces = self.vectors.pop().expect("returned with each send");
        pieces.push(Piece::Bytes { bytes, from: 0 });
        pieces.push(Piece::Tail { shard: SHARD, span, pin });
        self.outputs.push_back(Output::Send(Send { conn, pieces }));
    }

    fn take_back(&mut self, mut pieces: Vec<Piece>) {
        for piece in pieces.drain(..) {
            match piece {
                Piece::Bytes { bytes, .. } => self.headers.push(bytes),
                Piece::Tail { pin, .. } => self.arena.unpin(pin),
                Piece::Pages { .. } => unreachable!("never sent"),
            }
        }
        self.arena.release_all();
        self.vectors.push(pieces);
    }
}

impl Machine for Steady {
    type Mail = Pong;

    fn handle(&mut self, _: Now, input: Input<'_, Pong>) {
        match input {
            Input::Received { conn, bytes } => {
                if bytes.first() == Some(&b'!') {
                    self.marks.push(allocations::taken());
                }
                self.write(conn, bytes);
            }
            Input::Sent { pieces, .. } => self.take_back(pieces),
            Input::Mail { .. } => self.answer(),
            _ => {}
        }
    }

    fn done(&mut self, _: Now, done: Done) {
        let Done::Wrote { pin, res: Ok(()), .. } = done else { panic!("{done:?}") };
        let (conn, span) = self.waiting.pop_front().expect("one write per message");
        self.parked.push_back((conn, span, pin));
        self.outputs.push_back(Output::Mail { to: CoreId::CONTROL, mail: Pong });
    }

    fn turn(&mut self, _: Now) {}

    fn poll(&mut self) -> Option<Output<Pong>> {
        self.outputs.pop_front()
    }

    fn next_timeout(&self) -> Option<Instant> {
        None
    }

    fn arena(&self, _: ShardId) -> &Arena {
        &self.arena
    }
}

fn exchange(stream: &mut TcpStream, message: &[u8]) {
    stream.write_all(message).expect("taken");
    let mut answer = vec![0; message.len() + 2];
    stream.read_exact(&mut answer).expect("answered");
    assert_eq!(&answer[..2], b"ok");
    assert_eq!(&answer[2..], message);
}

#[test]
fn a_core_in_steady_state_allocates_nothing() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    std::fs::create_dir(folder.path().join("journal")).expect("new");
    let file = folder.path().join("journal/000.segment");
    std::fs::write(file, vec![0; FILE_BYTES as usize]).expect("room");
    let shard = ShardFolder::open(folder.path(), SHARD, Duration::from_secs(10)).expect("usable");
    let (memory, arena) = map_pages(1 << 20).expect("memory");
    let mut mesh = mesh(1, 64).expect("eventfds");
    let config = ReactorConfig { poll: PollMode::Park, ..ReactorConfig::default() };
    let mut plan = Plan::new(config, mesh.data.remove(0));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    plan.listeners.push((Listener::Node, listener));
    plan.shards.push(PlannedShard { folder: shard, arena });
    let stopper = plan.stopper();
    let core = std::thread::spawn(move || {
        let mut reactor = plan.start().expect("io_uring is allowed here");
        let mut machine = Steady::new(Arena::new(memory));
        reactor.run(&mut machine).expect("the kernel goes on");
        machine.marks
    });
    let (control_stopper, mut control) = (mesh.control.stopper(), mesh.control);
    let control = std::thread::spawn(move || {
        while !control.stop_asked() {
            while let Some((from, pong)) = control.receive() {
                assert!(control.send(from, pong).is_ok());
            }
            control.wake();
            std::thread::yield_now();
        }
    });
    let mut stream = TcpStream::connect(address).expect("the core listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("not zero");
    for round in 0..300 {
        let marked = round == 100 || round == 299;
        exchange(&mut stream, if marked { b"! count" } else { &[7; 2000] });
    }
    drop(stream);
    stopper.stop();
    control_stopper.stop();
    control.join().expect("no panic");
    let marks = core.join().expect("no panic");
    assert_eq!(marks.len(), 2);
    assert_eq!(marks[1] - marks[0], 0, "allocations in 199 rounds");
}
