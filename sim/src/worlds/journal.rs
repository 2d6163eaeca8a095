//! A journal, and an owner that needs each entry for a while.
//!
//! ```text
//!          released          needed by the owner             not yet durable
//!   ──────────────────────┬──────────────────────────────┬───────────────▶ seq
//!                       start                          durable
//! ```
//! After every start the frames that recovery returns must be, entry by entry, what was appended:
//! from a start no later than the owner's to a cut behind all that was ever called durable.

mod machine;

use std::collections::BTreeMap;
use std::time::Duration;

use base::{Epoch, Offset, Page, PageMemory, PartitionId, Seq, ShardId, TopicNumber};
use engine::Planted;
use engine::journal::table::Row;
use engine::journal::verdict::{Evidence, Verdict};
use engine::journal::{EntryKind, JournalConfig, JournalFull, NewEntry, RecoveredEntry};

use self::machine::{JournalMachine, Stage};
use crate::host::Host;
use crate::knobs::Knobs;
use crate::lives::{Phase, World};
use crate::random::Random;
use crate::violation::{Checker, Violation};

const PAGE: u32 = base::PAGE_BYTES as u32;

/// From here on an owner must leave what is free to entries that free more.
const CONTROL_ONLY_PERCENT: u32 = 95;

/// See the module's description.
#[derive(Debug)]
pub struct JournalWorld {
    knobs: Knobs,
    random: Random,
    config: JournalConfig,
    /// What each frame was given, frames that may not have reached the disk included.
    frames: BTreeMap<Seq, Vec<Noted>>,
    next_entry: u64,
    /// The newest frame with entries that was called durable.
    acked: Seq,
    /// The oldest frame that the owner needs.
    needed: Seq,
    /// Something was acked since bits last rotted.
    fresh_ack: bool,
    beyond: bool,
    last: Option<Seq>,
}

/// An entry as it was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Noted {
    entry: NewEntry,
    payload: Vec<u8>,
}

impl JournalWorld {
    #[must_use]
    pub fn new(knobs: &Knobs, random: &mut Random, planted: Planted) -> Self {
        let mut random = random.fork();
        Self {
            config: config(knobs, random.draw(), planted),
            knobs: knobs.clone(),
            random,
            frames: BTreeMap::new(),
            next_entry: 0,
            acked: Seq(0),
            needed: Seq(1),
            fresh_ack: false,
            beyond: false,
            last: None,
        }
    }

    fn append(&mut self, host: &mut Host, machine: &mut JournalMachine) -> Option<Seq> {
        if CONTROL_ONLY_PERCENT <= machine.occupancy_percent() {
            self.release(host, machine);
            return None;
        }
        let entry = self.draw_entry();
        let payload = self.draw_payload();
        let answer = machine.append(host.now(), entry, &payload);
        match answer {
            Ok(placed) => {
                let number = self.next_entry;
                host.say("appended", format_args!("entry {number} in frame {}", placed.seq));
                self.next_entry += 1;
                let frame = self.frames.entry(placed.seq).or_default();
                assert_eq!(frame.len(), placed.entry as usize, "entries are numbered in order");
                frame.push(Noted { entry, payload });
                Some(placed.seq)
            }
            Err(full) => {
                host.say("refused", format_args!("{full:?}"));
                if matches!(full, JournalFull::Space | JournalFull::Memory) {
                    self.release(host, machine);
                }
                None
            }
        }
    }

    fn draw_entry(&mut self) -> NewEntry {
        NewEntry {
            kind: EntryKind::State(self.random.below(3) as u8),
            carried: self.random.chance(300_000),
            partition: PartitionId::new(TopicNumber(1), self.random.below(3) as u32),
            epoch: Epoch(self.random.below(5) as u32),
            base: Offset(self.random.below(1_000)),
            count: 0,
        }
    }

    fn draw_payload(&mut self) -> Vec<u8> {
        let max = u64::from(self.config.max_payload_bytes());
        let len = self.random.exponential(self.knobs.value_bytes).min(max - 8);
        let mut payload = self.next_entry.to_be_bytes().to_vec();
        payload.resize(8 + len as usize, self.random.below(256) as u8);
        payload
    }

    /// The owner needs less: up to half of what is durable has found another place.
    fn release(&mut self, host: &mut Host, machine: &mut JournalMachine) {
        let Stage::Open(journal) = &mut machine.stage else { return };
        let durable = journal.durable_seq();
        let spare = (durable.0 + 1).saturating_sub(self.needed.0);
        let to = Seq(self.needed.0 + self.random.within(0..=spare));
        journal.set_start(to);
        self.needed = journal.start();
        host.say("released", format_args!("before {}", self.needed));
        machine.release_before(self.needed);
    }

    /// Entries that recovery returned, by frame.
    fn check_entries(
        &self,
        machine: &JournalMachine,
        entries: &[RecoveredEntry],
        (start, cut): (Seq, Seq),
    ) -> Result<(), Violation> {
        let mut returned: BTreeMap<Seq, Vec<Noted>> = BTreeMap::new();
        for found in entries {
            let payload = machine.arena.get(found.span).unwrap_or_default().to_vec();
            if !found.intact && !self.beyond {
                return Err(durable(format!("an entry of frame {} is damaged", found.seq)));
            }
            if found.intact {
                let noted = Noted { entry: found.entry, payload };
                returned.entry(found.seq).or_default().push(noted);
            }
        }
        for (seq, entries) in &returned {
            let appended = self.frames.get(seq).map_or(&[][..], Vec::as_slice);
            let genuine = match self.beyond {
                false => appended == entries,
                true => entries.iter().all(|entry| appended.contains(entry)),
            };
            if !genuine {
                let what = format!("frame {seq} came back as {entries:?}, it was {appended:?}");
                return Err(durable(what));
            }
        }
        let lost = self.frames.range(start..cut).find(|(seq, _)| !returned.contains_key(seq));
        match lost {
            Some((seq, _)) if !self.beyond => {
                Err(durable(format!("frame {seq} did not come back")))
            }
            _ => Ok(()),
        }
    }

    fn check_ends(&self, start: Seq, cut: Seq) -> Result<(), Violation> {
        if self.needed < start {
            let needed = self.needed;
            return Err(durable(format!("recovery starts at {start}, {needed} is needed")));
        }
        // A drive that lies about flushes can lose a tail that nobody else remembers.
        if cut <= self.acked && self.knobs.lying_flush == 0 {
            return Err(durable(format!("the log ends before {cut}, {} was acked", self.acked)));
        }
        Ok(())
    }
}

impl World for JournalWorld {
    type Machine = JournalMachine;

    fn reserve_pages(&self) -> u64 {
        u64::from(4 * self.config.segment_bytes / PAGE)
    }

    fn boot(&mut self, host: &Host) -> JournalMachine {
        self.beyond |= 0 < host.disk.injected().beyond;
        let journal = u32::from(self.config.all_segments()) * self.config.segment_bytes;
        let bytes = journal + 2 * self.config.frame_max_bytes;
        let pages = u64::from(bytes / PAGE) + self.knobs.arena_spare_pages;
        let evidence = Evidence {
            activated: Seq(0) < self.acked,
            newest_stamp: (Seq(1) < self.needed).then(|| Seq(self.needed.0 - 1)),
        };
        let memory = PageMemory::Heap(Page::boxed(pages as usize));
        JournalMachine::new(self.config.clone(), memory, &host.files(), evidence)
    }

    fn phase(&self, machine: &JournalMachine) -> Phase {
        match &machine.stage {
            Stage::Recovering(_) => Phase::Recovering,
            Stage::Open(journal) => match journal.poisoned() {
                Some(cause) => Phase::Stopped(cause.to_string()),
                None => Phase::Open,
            },
            Stage::Stopped(why) => Phase::Stopped(why.clone()),
        }
    }

    fn opened(&mut self, host: &mut Host, machine: &mut JournalMachine) -> Result<(), Violation> {
        self.beyond |= 0 < host.disk.injected().beyond;
        let (report, entries) = machine.take_recovered();
        let (verdict, start, cut) = (report.verdict, report.start, report.cut);
        host.say("recovered", format_args!("{verdict:?} from {start} to {cut}"));
        report.rows.iter().for_each(|row| host.say(row_name(*row), format_args!("")));
        if matches!(verdict, Verdict::Corrupt { .. }) && !self.beyond {
            return Err(Violation::new(Checker::Halt, format!("{verdict:?} of a sound disk")));
        }
        self.check_ends(start, cut)?;
        self.check_entries(machine, &entries, (start, cut))?;
        self.frames.split_off(&cut);
        self.acked = self.acked.min(Seq(cut.0 - 1));
        Ok(())
    }

    fn observe(&mut self, host: &mut Host, machine: &mut JournalMachine) -> Result<(), Violation> {
        self.beyond |= 0 < host.disk.injected().beyond;
        let Stage::Open(journal) = &machine.stage else { return Ok(()) };
        let durable = journal.durable_seq();
        let newest = self.frames.range(..=durable).next_back().map_or(Seq(0), |(seq, _)| *seq);
        if self.acked < newest {
            host.say("acked", format_args!("frames up to {newest}"));
            self.acked = newest;
            self.fresh_ack = true;
        }
        Ok(())
    }

    fn step(
        &mut self,
        host: &mut Host,
        machine: &mut JournalMachine,
    ) -> Result<Duration, Violation> {
        if self.random.chance(self.knobs.release) {
            self.release(host, machine);
        }
        // Rot of the newest frame is told from a tear by the idle seal behind it: before that, and
        // if the seal rots as well, nobody can tell.
        let at_rest = matches!(&machine.stage, Stage::Open(journal) if journal.is_sealed());
        if at_rest && self.fresh_ack && self.random.chance(self.knobs.bit_rot) {
            self.fresh_ack = false;
            host.rot(|_| true);
        }
        for _ in 0..self.random.within(1..=self.knobs.batch_records) {
            self.append(host, machine);
        }
        Ok(Duration::from_nanos(self.random.exponential(self.knobs.think_us * 1_000)))
    }

    fn close(&mut self, _: &Host, machine: &mut JournalMachine) {
        if let Stage::Open(journal) = &mut machine.stage {
            journal.close();
        }
    }

    fn is_closed(&self, machine: &JournalMachine) -> bool {
        matches!(&machine.stage, Stage::Open(journal) if journal.is_sealed())
    }

    fn ended(&mut self, machine: JournalMachine) {
        if let Stage::Open(journal) = machine.stage {
            self.frames.split_off(&journal.open_seq());
        }
    }

    /// One more entry becomes durable: the journal still works.
    fn verify(&mut self, host: &mut Host, machine: &mut JournalMachine) -> Result<bool, Violation> {
        match self.last {
            Some(last) => Ok(last <= self.acked),
            None => {
                self.last = self.append(host, machine);
                Ok(false)
            }
        }
    }

    fn may_stay_stopped(&self) -> bool {
        self.beyond
    }
}

fn config(knobs: &Knobs, id: u64, planted: Planted) -> JournalConfig {
    let segment_bytes = knobs.segment_pages as u32 * PAGE;
    JournalConfig {
        segment_bytes,
        segments: knobs.segments as u16,
        frame_max_bytes: segment_bytes / 4 / PAGE * PAGE,
        window: knobs.window as u8,
        idle_seal: Duration::from_micros(knobs.idle_seal_us),
        planted,
        ..JournalConfig::new(ShardId(0), id)
    }
}

fn row_name(row: Row) -> &'static str {
    match row {
        Row::Accept => "row Accept",
        Row::Skip => "row Skip",
        Row::Fork => "row Fork",
        Row::Corrupt => "row Corrupt",
        Row::Suspect => "row Suspect",
        Row::Torn => "row Torn",
        Row::TornLast => "row TornLast",
        Row::End => "row End",
        Row::LostTail => "row LostTail",
        Row::CorruptAll => "row CorruptAll",
        Row::Fresh => "row Fresh",
        Row::UnknownVersion => "row UnknownVersion",
    }
}

fn durable(what: String) -> Violation {
    Violation::new(Checker::Durable, what)
}
