//! The network between nodes, and between clients and nodes.
//!
//! ```text
//!   letters (control cores, clients)   each for itself: late, lost, twice, out of order
//!   lines   (data shards)              bytes in order; they stall while cut, and break
//! ```
//! A cut has a direction: from one node to another nothing passes, and back perhaps all.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use base::{ConnId, DialId, Instant, NodeId, Piece, ShardId};
use replication::ControlMessage;
use shard::{Answer, Ask, Ticket};

use crate::random::Random;

/// After that a dial that nobody answers has failed.
const DIAL_TIMEOUT: Duration = Duration::from_secs(1);

/// See the module's description.
#[derive(Debug)]
pub(super) struct Network {
    letters: BTreeMap<(Instant, u64), Letter>,
    posted: u64,
    pub(super) lines: Vec<Line>,
    generations: u32,
    pub(super) cuts: BTreeSet<(NodeId, NodeId)>,
    /// No control core hears another.
    pub(super) control_lost: bool,
    pub(super) weather: Weather,
    random: Random,
}

/// How unreliable the network is; rates in parts of a million.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    pub(super) mean_us: u64,
    pub(super) lost: u64,
    pub(super) twice: u64,
    /// Of letters: takes up to 50 ms more.
    pub(super) late: u64,
    /// Per line and look: it breaks.
    pub(super) broken: u64,
}

/// What arrives at a node, or at the clients.
#[derive(Debug)]
pub(super) enum Letter {
    Control {
        from: NodeId,
        to: NodeId,
        bytes: Vec<u8>,
    },
    Up {
        of: NodeId,
        to: NodeId,
    },
    Ask {
        to: NodeId,
        shard: ShardId,
        ticket: Ticket,
        partition: base::PartitionId,
        ask: Ask,
    },
    Answer {
        ticket: Ticket,
        answer: Answer,
    },
    /// A dial arrives, or has failed.
    Dial {
        from: End,
        to: NodeId,
        shard: ShardId,
        dial: DialId,
    },
    Unreachable {
        from: End,
        dial: DialId,
    },
}

/// A process: one life of a node.
pub(super) type Life = (NodeId, u64);

/// One end of a line, or of what may become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) life: Life,
    pub(super) core: usize,
    pub(super) conn: ConnId,
}

#[derive(Debug)]
pub(super) struct Line {
    /// Who dialled, and who was dialled.
    pub(super) ends: [End; 2],
    /// From each end to the other.
    pub(super) flows: [Flow; 2],
    /// When both ends hear that it is gone.
    pub(super) breaks_at: Option<Instant>,
}

#[derive(Debug, Default)]
pub(super) struct Flow {
    pub(super) sending: Option<(Instant, Vec<Piece>, u32)>,
    pub(super) under_way: VecDeque<(Instant, Vec<u8>)>,
}

impl Network {
    pub(super) fn new(weather: Weather, random: Random) -> Self {
        Self {
            letters: BTreeMap::new(),
            posted: 0,
            lines: Vec::new(),
            generations: 0,
            cuts: BTreeSet::new(),
            control_lost: false,
            weather,
            random,
        }
    }

    pub(super) fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.cuts.contains(&(from, to))
    }

    /// How long something takes.
    pub(super) fn latency(&mut self) -> Duration {
        Duration::from_nanos(self.random.exponential(self.weather.mean_us * 1_000) + 1_000)
    }

    /// Sends a message between control cores.
    pub(super) fn tell(&mut self, now: Instant, from: NodeId, to: NodeId, said: &ControlMessage) {
        let bytes = said.encode();
        if self.control_lost || self.is_cut(from, to) || self.random.chance(self.weather.lost) {
            return;
        }
        if self.random.chance(self.weather.twice) {
            let due = self.draw_due(now);
            self.post(due, Letter::Control { from, to, bytes: bytes.clone() });
        }
        let due = self.draw_due(now);
        self.post(due, Letter::Control { from, to, bytes });
    }

    fn draw_due(&mut self, now: Instant) -> Instant {
        let late = self.random.chance(self.weather.late);
        let late = if late { self.random.below(50_000_000) } else { 0 };
        now.plus(self.latency() + Duration::from_nanos(late))
    }

    pub(super) fn post(&mut self, due: Instant, letter: Letter) {
        self.posted += 1;
        self.letters.insert((due, self.posted), letter);
    }

    pub(super) fn post_soon(&mut self, now: Instant, letter: Letter) {
        let due = now.plus(self.latency());
        self.post(due, letter);
    }

    /// Someone dials: it arrives, or fails after a while.
    pub(super) fn dial(
        &mut self,
        now: Instant,
        from: End,
        (to, shard): (NodeId, ShardId),
        dial: DialId,
    ) {
        let own = from.life.0;
        if self.is_cut(own, to) || self.is_cut(to, own) {
            self.post(now.plus(DIAL_TIMEOUT), Letter::Unreachable { from, dial });
        } else {
            self.post_soon(now, Letter::Dial { from, to, shard, dial });
        }
    }

    /// The next letter that is due.
    pub(super) fn take(&mut self, now: Instant) -> Option<Letter> {
        let first = self.letters.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }

    /// A new line. Its connections get the lowest free slots of their cores.
    pub(super) fn lay(&mut self, ends: [(Life, usize); 2]) -> [End; 2] {
        let none = ConnId { slot: u32::MAX, generation: 0 };
        let mut line = Line {
            ends: ends.map(|(life, core)| End { life, core, conn: none }),
            flows: [Flow::default(), Flow::default()],
            breaks_at: None,
        };
        for side in 0..2 {
            let End { life, core, .. } = line.ends[side];
            let ends = || self.lines.iter().flat_map(|line| &line.ends).chain(&line.ends);
            let is_taken = |slot: u32| {
                ends().any(|end| (end.life, end.core, end.conn.slot) == (life, core, slot))
            };
            let slot = (0..).find(|slot| !is_taken(*slot)).expect("slots do not run out");
            self.generations += 1;
            line.ends[side].conn = ConnId { slot, generation: self.generations };
        }
        let ends = line.ends;
        self.lines.push(line);
        ends
    }

    /// The line with this end, and which end it is.
    pub(super) fn find(&self, life: Life, core: usize, conn: ConnId) -> Option<(usize, usize)> {
        self.lines.iter().enumerate().find_map(|(index, line)| {
            let is_it = |end: &End| (end.life, end.core, end.conn) == (life, core, conn);
            Some((index, line.ends.iter().position(is_it)?))
        })
    }

    /// Breaks some lines, by chance.
    pub(super) fn wear(&mut self, now: Instant) {
        let Self { lines, random, weather, .. } = self;
        for line in lines.iter_mut().filter(|_| random.chance(weather.broken)) {
            line.breaks_at.get_or_insert(now);
        }
    }

    /// The process at one end is gone: the others hear of it within `most`.
    pub(super) fn lose(&mut self, now: Instant, life: Life, most: Duration) {
        for line in &mut self.lines {
            if line.ends.iter().any(|end| end.life == life) {
                let wait = self.random.below(most.as_nanos() as u64 + 1);
                let at = now.plus(Duration::from_nanos(wait));
                line.breaks_at = Some(line.breaks_at.map_or(at, |known| known.min(at)));
            }
        }
    }

    /// When something happens next.
    pub(super) fn next_event(&self) -> Option<Instant> {
        let letter = self.letters.first_key_value().map(|((due, _), _)| *due);
        let lines = self.lines.iter().flat_map(|line| {
            let [a, b] = line.ends.map(|end| end.life.0);
            line.flows.iter().zip([(a, b), (b, a)])
        });
        let flows = lines.flat_map(|(flow, (from, to))| {
            let sent = flow.sending.as_ref().map(|(due, ..)| *due);
            let open = !self.is_cut(from, to);
            [sent, flow.under_way.front().map(|(due, _)| *due).filter(|_| open)]
        });
        let breaks = self.lines.iter().filter_map(|line| line.breaks_at);
        flows.flatten().chain(letter).chain(breaks).min()
    }
}
