//! What the device under a folder takes: writes by depth, size and durability.

use core::fmt;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use base::{Arena, Done, Input, Instant, IoError, Machine, Now, Op, Output, ShardId, Token};
use serde::Serialize;

use crate::rig::{FILE, FILE_BYTES, Place, Rig};
use crate::{BenchError, Latency, Quantiles};

const CREATE: Token = Token(u64::MAX);

/// One way to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Writes {
    /// Writes in flight.
    pub depth: usize,
    pub bytes: u32,
    /// Whether each is durable (RWF_DSYNC) before it counts.
    pub sync: bool,
}

/// How the device took it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Taken {
    #[serde(flatten)]
    pub writes: Writes,
    #[serde(flatten)]
    pub latency: Quantiles,
    pub per_second: f64,
    pub megabytes_per_second: f64,
}

/// Writes in each of `ways` for `each`, one after the other, over a zeroed file in `folder`; `begins`
/// is told which is about to be measured.
pub fn measure(
    place: Place,
    folder: &Path,
    ways: &[Writes],
    each: Duration,
    begins: &mut dyn FnMut(&str),
) -> Result<Vec<Taken>, BenchError> {
    let (taken, results) = channel();
    let backwards: Vec<Writes> = ways.iter().rev().copied().collect();
    let _rig = Rig::start(place, folder, move |arena| Writer::new(arena, backwards, each, taken))?;
    let result = |way: &Writes| {
        begins(&way.to_string());
        // A writer that cannot go on says so before it is gone.
        let refused = |error: &dyn fmt::Display| {
            BenchError::Setup(format!("the device does not take writes: {error}"))
        };
        results.recv().map_err(|gone| refused(&gone))?.map_err(|error| refused(&error))
    };
    ways.iter().map(result).collect()
}

impl fmt::Display for Writes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.sync { "durable" } else { "plain" };
        write!(f, "{kind} {} KiB × {}", self.bytes >> 10, self.depth)
    }
}

/// The machine: keeps so many writes in flight until the time of each way is up.
#[derive(Debug)]
struct Writer {
    arena: Arena,
    /// The ways to come, last first.
    ways: Vec<Writes>,
    each: Duration,
    /// `None` once there is nothing more to tell.
    taken: Option<Sender<Result<Taken, IoError>>>,
    current: Option<Round>,
    outputs: Vec<Output<()>>,
    next_token: u64,
    next_pos: u64,
}

#[derive(Debug)]
struct Round {
    writes: Writes,
    began: Instant,
    /// Tokens and when their writes went out.
    in_flight: Vec<(Token, Instant)>,
    latency: Latency,
}

impl Writer {
    fn new(
        arena: Arena,
        ways: Vec<Writes>,
        each: Duration,
        taken: Sender<Result<Taken, IoError>>,
    ) -> Self {
        let create = Op::Create { tok: CREATE, file: FILE, bytes: FILE_BYTES };
        Self {
            arena,
            ways,
            each,
            taken: Some(taken),
            current: None,
            outputs: vec![Output::Disk(create)],
            next_token: 0,
            next_pos: 0,
        }
    }

    fn begin(&mut self, now: Now) {
        self.current = self.ways.pop().map(|writes| Round {
            writes,
            began: now.mono,
            in_flight: Vec::new(),
            latency: Latency::default(),
        });
        match self.current {
            Some(_) => self.fill(now),
            None => self.taken = None,
        }
    }

    /// Brings the round to its depth.
    fn fill(&mut self, now: Now) {
        let Some(round) = &mut self.current else { return };
        while round.in_flight.len() < round.writes.depth {
            let Writes { bytes, sync, .. } = round.writes;
            let mut draft = self.arena.draft(bytes).expect("the arena holds every depth");
            let page = [self.next_token as u8; 4096];
            for _ in 0..bytes as usize / page.len() {
                self.arena.put(&mut draft, &page).expect("drafted for it");
            }
            let span = self.arena.seal(draft);
            let pin = self.arena.pin(span);
            self.arena.release_all();
            if FILE_BYTES < self.next_pos + u64::from(bytes) {
                self.next_pos = 0;
            }
            let (tok, pos) = (Token(self.next_token), self.next_pos);
            self.next_token += 1;
            self.next_pos += u64::from(bytes);
            round.in_flight.push((tok, now.mono));
            let write = Op::Write { tok, file: FILE, pos, span, pin, sync };
            self.outputs.push(Output::Disk(write));
        }
    }

    fn wrote(&mut self, now: Now, tok: Token) {
        let round = self.current.as_mut().expect("writes end before their round does");
        let at = round.in_flight.iter().position(|(of, _)| *of == tok);
        let (_, since) = round.in_flight.swap_remove(at.expect("it was in flight"));
        round.latency.record(now.mono.since(since));
        if now.mono.since(round.began) < self.each {
            self.fill(now);
        } else if round.in_flight.is_empty() {
            self.tell(now);
            self.begin(now);
        }
    }

    fn tell(&mut self, now: Now) {
        let Some(Round { writes, began, latency, .. }) = &self.current else { return };
        let seconds = now.mono.since(*began).as_secs_f64();
        let per_second = latency.count() as f64 / seconds;
        self.say(Ok(Taken {
            writes: *writes,
            latency: latency.quantiles(),
            per_second,
            megabytes_per_second: per_second * f64::from(writes.bytes) / 1e6,
        }));
    }

    fn say(&self, word: Result<Taken, IoError>) {
        if let Some(to) = &self.taken {
            // Nobody listens any more: the measuring ends with the core.
            let _ = to.send(word);
        }
    }
}

impl Machine for Writer {
    type Mail = ();

    fn handle(&mut self, _: Now, _: Input<'_, ()>) {}

    fn done(&mut self, now: Now, done: Done) {
        match done {
            Done::Wrote { tok, pin, res } => {
                self.arena.unpin(pin);
                match res {
                    Ok(()) => self.wrote(now, tok),
                    Err(error) => self.say(Err(error)),
                }
            }
            Done::Created { res: Ok(()), .. } => self.begin(now),
            Done::Created { res: Err(error), .. } => self.say(Err(error)),
            _ => {}
        }
    }

    fn turn(&mut self, _: Now) {}

    fn poll(&mut self) -> Option<Output<()>> {
        self.outputs.pop()
    }

    fn next_timeout(&self) -> Option<Instant> {
        None
    }

    fn arena(&self, _: ShardId) -> &Arena {
        &self.arena
    }
}

#[cfg(test)]
mod tests {
    use ring::PollMode;

    use super::*;

    #[test]
    fn every_way_is_measured() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
        let ways = [
            Writes { depth: 1, bytes: 4096, sync: true },
            Writes { depth: 4, bytes: 1 << 20, sync: false },
        ];
        let place = Place { poll: PollMode::Park, cpu: None };
        let mut begun = Vec::new();
        let mut begins = |way: &str| begun.push(way.to_owned());
        let each = Duration::from_millis(20);
        let taken = measure(place, &folder, &ways, each, &mut begins).unwrap();
        assert_eq!(begun, ["durable 4 KiB × 1", "plain 1024 KiB × 4"]);
        assert_eq!(taken.iter().map(|taken| taken.writes).collect::<Vec<_>>(), ways);
        assert!(taken.iter().all(|taken| 0 < taken.latency.count && 0.0 < taken.per_second));
    }
}
