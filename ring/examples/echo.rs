//! An echo server on one core: `cargo run --release -p ring --example echo -- 7777 adaptive 1`
//! (port, poll mode, CPU). With a folder as fourth argument it writes what arrives durably before it
//! answers.

use std::collections::VecDeque;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use base::{
    Arena, Done, FileId, FileKind, Input, Instant, Listener, Machine, Now, Op, Output, Piece, Send,
    ShardId, Token,
};
use ring::{Plan, PlannedShard, ReactorConfig, ShardFolder, map_pages, mesh};

const SHARD: ShardId = ShardId(0);
const FILE: FileId = FileId { shard: SHARD, kind: FileKind::Segment(0) };
const FILE_BYTES: u64 = 16 << 20;

/// One message per client at a time is all that it understands.
struct Echo {
    arena: Option<Arena>,
    waiting: VecDeque<(base::ConnId, Vec<u8>)>,
    spare: Vec<Vec<Piece>>,
    outputs: VecDeque<Output<()>>,
    pos: u64,
}

impl Echo {
    fn send(&mut self, conn: base::ConnId, bytes: Vec<u8>) {
        let mut pieces = self.spare.pop().unwrap_or_default();
        pieces.push(Piece::Bytes { bytes, from: 0 });
        self.outputs.push_back(Output::Send(Send { conn, pieces }));
    }

    fn write(&mut self, bytes: &[u8]) {
        let Some(arena) = &mut self.arena else { return };
        let mut draft = arena.draft(bytes.len() as u32).expect("one message fits");
        arena.put(&mut draft, bytes).expect("drafted for it");
        let span = arena.seal(draft);
        let pin = arena.pin(span);
        let pos = self.pos;
        self.pos = (pos + u64::from(span.len)) % (FILE_BYTES - (1 << 20));
        let tok = Token(pos);
        self.outputs.push_back(Output::Disk(Op::Write {
            tok,
            file: FILE,
            pos,
            span,
            pin,
            sync: true,
        }));
    }
}

impl Machine for Echo {
    type Mail = ();

    fn handle(&mut self, _: Now, input: Input<'_, ()>) {
        match input {
            Input::Received { conn, bytes } if self.arena.is_some() => {
                self.write(bytes);
                self.waiting.push_back((conn, bytes.to_vec()));
            }
            Input::Received { conn, bytes } => self.send(conn, bytes.to_vec()),
            Input::Sent { mut pieces, .. } => {
                pieces.clear();
                self.spare.push(pieces);
            }
            _ => {}
        }
    }

    fn done(&mut self, _: Now, done: Done) {
        if let Done::Wrote { pin, res, .. } = done {
            res.expect("the disk takes writes");
            let arena = self.arena.as_mut().expect("it was written from one");
            arena.unpin(pin);
            arena.release_all();
            let (conn, bytes) = self.waiting.pop_front().expect("one write per message");
            self.send(conn, bytes);
        }
    }

    fn turn(&mut self, _: Now) {}

    fn poll(&mut self) -> Option<Output<()>> {
        self.outputs.pop_front()
    }

    fn next_timeout(&self) -> Option<Instant> {
        None
    }

    fn arena(&self, _: ShardId) -> &Arena {
        self.arena.as_ref().expect("asked for only after a write from it")
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().unwrap_or_else(|| "7777".to_owned());
    let poll =
        arguments.next().map_or_else(|| Ok(ring::PollMode::default()), |mode| mode.parse())?;
    let cpu = arguments.next().map(|cpu| cpu.parse()).transpose()?;
    let mut config = ReactorConfig { poll, cpu, ..ReactorConfig::default() };
    for name in std::env::var("DISABLE").unwrap_or_default().split_terminator(',') {
        config.ring.disabled = config.ring.disabled.with(name.parse()?);
    }
    let mut boxes = mesh(1, 64)?;
    let mut plan = Plan::new(config, boxes.data.remove(0));
    plan.listeners.push((Listener::Node, TcpListener::bind(format!("127.0.0.1:{port}"))?));
    let mut arena = None;
    if let Some(folder) = arguments.next().map(PathBuf::from) {
        println!("{}", ring::measure_dsync(&folder, &plan.config.ring)?);
        let journal = folder.join("journal");
        std::fs::create_dir_all(&journal)?;
        std::fs::write(journal.join("000.segment"), vec![0; FILE_BYTES as usize])?;
        let folder = ShardFolder::open(&folder, SHARD, Duration::from_secs(10))?;
        let (memory, mapping) = map_pages(8 << 20)?;
        arena = Some(Arena::new(memory));
        plan.shards.push(PlannedShard { folder, arena: mapping });
    }
    let mut reactor = plan.start()?;
    println!("{}", reactor.report().features);
    for (shard, registered) in &reactor.report().arenas {
        println!("arena of shard {shard}: {registered}");
    }
    let outputs = VecDeque::new();
    let mut machine = Echo { arena, waiting: VecDeque::new(), spare: Vec::new(), outputs, pos: 0 };
    reactor.run(&mut machine)?;
    Ok(())
}
