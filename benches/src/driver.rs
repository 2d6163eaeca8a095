//! Asks questions on a schedule and times the answers.
//!
//! ```text
//!   Window(n)   n in flight per lane; the next goes out when an answer comes in
//!   Rate(r)     one is due every 1/r s, on the next lane in turn, whatever is still unanswered
//! ```
//! With a rate, latency counts from the moment a request was due, not from when it could be sent.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::question::{Question, Refusals};
use crate::wire::Wire;
use crate::{BenchError, Latency};

/// How long the driver waits for an answer before it gives up.
const SILENCE: Duration = Duration::from_secs(10);

/// How the driver waits for answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Looks again at once: nothing of the wake-up is in the figure.
    Spin,
    /// Sleeps in the kernel.
    Park,
}

/// When to ask.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Schedule {
    /// So many unanswered questions on each lane, always.
    Window(usize),
    /// So many questions per second, over all lanes.
    Rate(f64),
}

/// When to stop asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    Answers(u64),
    Elapsed(Duration),
}

/// One connection and what is asked on it.
#[derive(Debug)]
pub struct Lane {
    wire: Wire,
    question: Question,
    /// When each unanswered question was due. Answers come in the order of the questions.
    due: VecDeque<Instant>,
}

/// What was measured.
#[derive(Debug, Default)]
pub struct Measured {
    pub latency: Latency,
    pub elapsed: Duration,
    pub records: u64,
    pub refusals: Refusals,
}

/// See the module's description.
#[derive(Debug)]
pub struct Driver {
    lanes: Vec<Lane>,
    wait: Wait,
    next_lane: usize,
}

impl Measured {
    /// Takes another measurement in.
    pub fn add(&mut self, other: Self) {
        self.latency.add(&other.latency);
        self.elapsed += other.elapsed;
        self.records += other.records;
        self.refusals.add(other.refusals);
    }
}

impl Lane {
    pub fn connect(address: &str, question: Question) -> Result<Self, BenchError> {
        Ok(Self { wire: Wire::connect(address)?, question, due: VecDeque::new() })
    }

    fn ask(&mut self, due: Instant) -> Result<(), BenchError> {
        self.due.push_back(due);
        self.wire.send(self.question.ask())
    }

    /// Notes every answer that has come.
    fn receive(&mut self, measured: &mut Measured) -> Result<bool, BenchError> {
        if self.due.is_empty() {
            return Ok(false);
        }
        self.wire.push()?;
        let Self { wire, question, due } = self;
        let mut unasked = false;
        let progress = wire.receive(|answer| {
            let Some(asked) = due.pop_front() else {
                unasked = true;
                return Ok(());
            };
            measured.latency.record(asked.elapsed());
            measured.records += u64::from(question.records());
            question.check(answer, &mut measured.refusals)
        })?;
        if unasked {
            return Err(BenchError::Unasked { address: wire.address().into() });
        }
        Ok(progress)
    }
}

impl Driver {
    #[must_use]
    pub fn new(lanes: Vec<Lane>, wait: Wait) -> Self {
        Self { lanes, wait, next_lane: 0 }
    }

    /// Asks on `schedule` until `until`, then waits for the last answers.
    pub fn run(&mut self, schedule: Schedule, until: Until) -> Result<Measured, BenchError> {
        let start = Instant::now();
        let mut measured = Measured::default();
        let mut asked = 0;
        let mut heard = start;
        loop {
            let now = Instant::now();
            let over = match until {
                Until::Answers(count) => count <= asked,
                Until::Elapsed(limit) => limit <= now - start,
            };
            if !over {
                asked += match schedule {
                    Schedule::Window(window) => self.fill(window, now)?,
                    Schedule::Rate(per_second) => self.catch_up(per_second, start, asked, now)?,
                };
            } else if self.unanswered() == 0 {
                measured.elapsed = start.elapsed();
                return Ok(measured);
            }
            let mut progress = false;
            for lane in &mut self.lanes {
                progress |= lane.receive(&mut measured)?;
            }
            if progress || self.unanswered() == 0 {
                heard = now;
            } else if SILENCE < now - heard {
                return Err(BenchError::Silence(SILENCE));
            }
            if !progress && self.wait == Wait::Park {
                self.sleep(schedule, start, asked);
            }
        }
    }

    /// Tops every lane up to its window.
    fn fill(&mut self, window: usize, now: Instant) -> Result<u64, BenchError> {
        let mut asked = 0;
        for lane in &mut self.lanes {
            while lane.due.len() < window {
                lane.ask(now)?;
                asked += 1;
            }
            lane.wire.push()?;
        }
        Ok(asked)
    }

    /// Asks everything that is due by now.
    fn catch_up(
        &mut self,
        per_second: f64,
        start: Instant,
        asked: u64,
        now: Instant,
    ) -> Result<u64, BenchError> {
        let due_by_now = ((now - start).as_secs_f64() * per_second) as u64 + 1;
        for number in asked..due_by_now {
            let due = start + Duration::from_secs_f64(number as f64 / per_second);
            self.lanes[self.next_lane].ask(due)?;
            self.next_lane = (self.next_lane + 1) % self.lanes.len();
        }
        self.lanes.iter_mut().try_for_each(|lane| lane.wire.push())?;
        Ok(due_by_now.saturating_sub(asked))
    }

    fn unanswered(&self) -> usize {
        self.lanes.iter().map(|lane| lane.due.len()).sum()
    }

    /// Sleeps until something comes, or a question is due.
    fn sleep(&self, schedule: Schedule, start: Instant, asked: u64) {
        let limit = match schedule {
            Schedule::Window(_) => Duration::from_millis(100),
            Schedule::Rate(per_second) => {
                let due = start + Duration::from_secs_f64(asked as f64 / per_second);
                due.saturating_duration_since(Instant::now()).min(Duration::from_millis(100))
            }
        };
        let mut events: Vec<PollFd<'_>> = self
            .lanes
            .iter()
            .map(|lane| {
                let more = if lane.wire.has_unsent() { PollFlags::OUT } else { PollFlags::empty() };
                PollFd::new(&lane.wire, PollFlags::IN | more)
            })
            .collect();
        let limit = Timespec { tv_sec: 0, tv_nsec: i64::from(limit.subsec_nanos()) };
        // An interrupted sleep is a short one.
        let _ = poll(&mut events, Some(&limit));
    }
}
