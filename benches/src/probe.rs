//! What a durable ack costs on this machine when nothing else is done for it.
//!
//! ```text
//!   200 B in ──▶ one page of a zeroed file, O_DIRECT + RWF_DSYNC ──▶ 64 B out
//! ```
//! The probe is a machine like the server's and runs on the same shell in the same poll mode: what
//! the server adds to it is the server's own. Without the write it is a loopback echo.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};

use base::{
    Arena, ConnId, Done, Input, Instant, Machine, Now, Op, Output, PAGE_BYTES, Piece, Send,
    ShardId, Token,
};

use crate::BenchError;
use crate::question::PING_BYTES;
use crate::rig::{FILE, FILE_BYTES, Place, Rig};

const ANSWER_BYTES: usize = 64;
const CREATE: Token = Token(u64::MAX);

/// What the probe does between question and answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Between {
    Nothing,
    /// One durable page.
    Write,
}

/// A running probe.
#[derive(Debug)]
pub struct Probe {
    rig: Rig,
}

impl Probe {
    /// Starts the probe with a file in `folder`, which must be on the device that is to be measured.
    pub fn start(place: Place, folder: &Path, between: Between) -> Result<Self, BenchError> {
        let (made, ready) = channel();
        let rig = Rig::start(place, folder, move |arena| Page::new(arena, between, made))?;
        ready.recv().map_err(|_| BenchError::Setup("the probe could not make its file".into()))?;
        Ok(Self { rig })
    }

    /// Where to ask.
    #[must_use]
    pub fn address(&self) -> String {
        self.rig.address.to_string()
    }
}

/// The machine.
#[derive(Debug)]
struct Page {
    arena: Arena,
    between: Between,
    /// Told once the file is there.
    made: Option<Sender<()>>,
    clients: Vec<Client>,
    outputs: VecDeque<Output<()>>,
    /// Whose write is in flight, by token: tokens count up, the writes of one connection end in
    /// order since it waits for each.
    waiting: VecDeque<(Token, ConnId)>,
    next_token: u64,
    next_pos: u64,
}

#[derive(Debug)]
struct Client {
    conn: ConnId,
    received: usize,
    /// Answers that wait for the send in flight.
    owed: usize,
    sending: bool,
    /// The memory of the last answer.
    spare: Option<Vec<Piece>>,
}

impl Page {
    fn new(arena: Arena, between: Between, made: Sender<()>) -> Self {
        let create = Op::Create { tok: CREATE, file: FILE, bytes: FILE_BYTES };
        Self {
            arena,
            between,
            made: Some(made),
            clients: Vec::new(),
            outputs: VecDeque::from([Output::Disk(create)]),
            waiting: VecDeque::new(),
            next_token: 0,
            next_pos: 0,
        }
    }

    fn client(&mut self, conn: ConnId) -> Option<&mut Client> {
        self.clients.iter_mut().find(|client| client.conn == conn)
    }

    fn received(&mut self, conn: ConnId, bytes: usize) {
        let Some(client) = self.client(conn) else { return };
        client.received += bytes;
        let questions = client.received / PING_BYTES;
        client.received %= PING_BYTES;
        for _ in 0..questions {
            match self.between {
                Between::Nothing => self.answer(conn),
                Between::Write => self.write(conn),
            }
        }
    }

    fn write(&mut self, conn: ConnId) {
        let mut draft = self.arena.draft(PAGE_BYTES as u32).expect("few writes are in flight");
        self.arena.put(&mut draft, &[0x5a; PING_BYTES]).expect("a page holds a question");
        let span = self.arena.seal(draft);
        let pin = self.arena.pin(span);
        self.arena.release_all();
        let tok = Token(self.next_token);
        let pos = self.next_pos;
        self.next_token += 1;
        self.next_pos = (pos + PAGE_BYTES as u64) % FILE_BYTES;
        self.waiting.push_back((tok, conn));
        let write = Op::Write { tok, file: FILE, pos, span, pin, sync: true };
        self.outputs.push_back(Output::Disk(write));
    }

    fn answer(&mut self, conn: ConnId) {
        if let Some(client) = self.client(conn) {
            client.owed += 1;
            self.send(conn);
        }
    }

    fn send(&mut self, conn: ConnId) {
        let Some(client) = self.client(conn) else { return };
        if client.sending || client.owed == 0 {
            return;
        }
        client.owed -= 1;
        client.sending = true;
        let pieces = client.spare.take().unwrap_or_else(answer);
        self.outputs.push_back(Output::Send(Send { conn, pieces }));
    }
}

impl Machine for Page {
    type Mail = ();

    fn handle(&mut self, _: Now, input: Input<'_, ()>) {
        match input {
            Input::Opened { conn, .. } => {
                let client =
                    Client { conn, received: 0, owed: 0, sending: false, spare: Some(answer()) };
                self.clients.push(client);
            }
            Input::Received { conn, bytes } => self.received(conn, bytes.len()),
            Input::Sent { conn, pieces, .. } => {
                if let Some(client) = self.client(conn) {
                    client.sending = false;
                    client.spare = Some(pieces);
                    self.send(conn);
                }
            }
            Input::Closed { conn } => self.clients.retain(|client| client.conn != conn),
            Input::Dialed { .. } | Input::Mail { .. } | Input::Stop => {}
        }
    }

    fn done(&mut self, _: Now, done: Done) {
        match done {
            Done::Wrote { tok, pin, res } => {
                self.arena.unpin(pin);
                if let Err(error) = res {
                    panic!("the probe's file does not take writes: {error}");
                }
                let at = self.waiting.iter().position(|(of, _)| *of == tok);
                let at = at.expect("a write that ends was waited for");
                let (_, conn) = self.waiting.remove(at).expect("it was just found");
                self.answer(conn);
            }
            // Without its sender the one who waits gives up.
            Done::Created { res: Ok(()), .. } => {
                if let Some(made) = self.made.take() {
                    let _ = made.send(());
                }
            }
            _ => self.made = None,
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
        &self.arena
    }
}

fn answer() -> Vec<Piece> {
    let length = (ANSWER_BYTES - 4) as i32;
    let mut bytes = vec![0; ANSWER_BYTES];
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    vec![Piece::Bytes { bytes, from: 0 }]
}

#[cfg(test)]
mod tests {
    use ring::PollMode;

    use super::*;
    use crate::driver::{Lane, Until};
    use crate::question::Question;
    use crate::{Driver, Schedule, Wait};

    #[test]
    fn every_question_is_answered_with_and_without_a_write() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
        let place = Place { poll: PollMode::Park, cpu: None };
        for between in [Between::Nothing, Between::Write] {
            let probe = Probe::start(place, &folder, between).unwrap();
            let lane = Lane::connect(&probe.address(), Question::ping()).unwrap();
            let mut driver = Driver::new(vec![lane], Wait::Park);
            for window in [1, 8] {
                let measured = driver.run(Schedule::Window(window), Until::Answers(50)).unwrap();
                assert!(50 <= measured.latency.count());
            }
        }
    }
}
