//! A journal, and an owner that needs each entry for a while.
//!
//! ```text
//!          released          needed by the owner             not yet durable
//!   ──────────────────────┬──────────────────────────────┬───────────────▶ seq
//!                       start                          durable
//! ```
//! After every start the frames that recovery returns must be, entry by entry, what was appended:
//! from a start no later than the owner's to a cut behind all that was ever called durable. Of what
//! strikes a single frame recovery must say which one it was, and blame no other.

mod downgrade;
mod frames;
mod machine;

use std::collections::BTreeMap;
use std::time::Duration;

use base::{Epoch, Offset, Page, PageMemory, PartitionId, Seq, ShardId, TopicNumber};
use engine::Planted;
use engine::journal::table::Row;
use engine::journal::verdict::{Evidence, Verdict};
use engine::journal::{
    EntryKind, JournalConfig, JournalFull, NewEntry, RecoveredEntry, RecoveryReport,
};

use self::downgrade::Downgrade;
use self::frames::Frames;
use self::machine::{JournalMachine, Stage};
use crate::host::Host;
use crate::knobs::Knobs;
use crate::lives::{Phase, World};
use crate::random::Random;
use crate::violation::{Checker, Violation};
use crate::worlds::settings;

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
    entries: BTreeMap<Seq, Vec<Noted>>,
    frames: Frames,
    next_entry: u64,
    /// The newest frame with entries that was called durable.
    acked: Seq,
    /// The newest frame of all that was called durable.
    durable: Seq,
    /// The oldest frame that the owner needs.
    needed: Seq,
    /// The newest frame that somebody else remembers.
    stamped: Seq,
    /// The next start is told that acked data may be lost.
    accept_loss: bool,
    newer: Option<Downgrade>,
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
            config: settings::journal(
                knobs,
                knobs.segment_pages,
                ShardId(0),
                random.draw(),
                planted,
            ),
            knobs: knobs.clone(),
            random,
            entries: BTreeMap::new(),
            frames: Frames::default(),
            next_entry: 0,
            acked: Seq(0),
            durable: Seq(0),
            needed: Seq(1),
            stamped: Seq(0),
            accept_loss: false,
            newer: None,
            fresh_ack: false,
            beyond: false,
            last: None,
        }
    }

    fn append(&mut self, host: &mut Host, machine: &mut JournalMachine) -> Option<Seq> {
        if self.is_full(machine) {
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
                let frame = self.entries.entry(placed.seq).or_default();
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

    /// Whether the owner has to need less before it goes on. A new start must stand in two frames
    /// before it frees anything, so two always find room.
    fn is_full(&self, machine: &JournalMachine) -> bool {
        if self.knobs.brimful == 0 {
            return CONTROL_ONLY_PERCENT <= machine.occupancy_percent();
        }
        machine.room_bytes() < self.config.frame_max_bytes + 2 * PAGE
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
        self.stamped = self.stamped.max(Seq(self.needed.0 - 1));
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
        if let Some(damaged) = entries.iter().find(|found| !found.intact && !self.beyond) {
            return Err(durable(format!("an entry of frame {} is damaged", damaged.seq)));
        }
        let returned = noted(machine, entries);
        let doubled = |seq: Seq| self.may_be_doubled(seq, start);
        for (seq, entries) in returned.iter().filter(|(seq, _)| !doubled(**seq)) {
            let appended = self.entries.get(seq).map_or(&[][..], Vec::as_slice);
            let genuine = match self.beyond {
                false => appended == entries,
                true => entries.iter().all(|entry| appended.contains(entry)),
            };
            if !genuine {
                let what = format!("frame {seq} came back as {entries:?}, it was {appended:?}");
                return Err(durable(what));
            }
        }
        let lost = self.entries.range(start..cut).find(|(seq, _)| !returned.contains_key(seq));
        match lost {
            Some((seq, _)) if !self.beyond => {
                Err(durable(format!("frame {seq} did not come back")))
            }
            _ => Ok(()),
        }
    }

    /// Whether a frame may be another process's: of that, and what struck the frames behind it, nobody
    /// can tell.
    fn may_be_doubled(&self, seq: Seq, start: Seq) -> bool {
        let several = 1 < self.frames.struck_since(start);
        0 < self.knobs.late_zombie && several && self.frames.is_struck(seq)
    }

    fn check_ends(&self, start: Seq, cut: Seq) -> Result<(), Violation> {
        if self.needed < start {
            let needed = self.needed;
            return Err(durable(format!("recovery starts at {start}, {needed} is needed")));
        }
        // A drive that lies about flushes can lose a tail that nobody else remembers, and damage of
        // a frame that no other testifies for looks like a tear.
        let nobody_knows = 0 < self.knobs.lying_flush
            || self.frames.is_struck(cut) && !self.frames.testify(cut, self.durable);
        if cut <= self.acked && !nobody_knows {
            return Err(durable(format!("the log ends before {cut}, {} was acked", self.acked)));
        }
        Ok(())
    }

    /// No frame is called damaged that nothing has struck. Where several were struck, those between
    /// them may be beyond proof.
    fn check_blame(&self, report: &RecoveryReport) -> Result<(), Violation> {
        if 0 < self.knobs.lying_flush || 1 < self.frames.struck_since(self.needed) {
            return Ok(());
        }
        let blamed = report.damage.iter().flat_map(|damage| damage.first.0..=damage.last.0);
        match blamed.map(Seq).find(|seq| !self.frames.is_struck(*seq)) {
            None => Ok(()),
            Some(seq) => Err(durable(format!("frame {seq} is called damaged, and is not"))),
        }
    }

    /// Notes what went to the disk, and then what struck it there.
    fn watch(&mut self, host: &mut Host, machine: &mut JournalMachine) {
        for frame in machine.take_sent() {
            if self.frames.wraps(&frame) && self.random.chance(self.knobs.wrap_crash) {
                host.doom();
            }
            self.frames.sent(frame);
        }
        self.note_strikes(host);
    }

    fn note_strikes(&mut self, host: &mut Host) {
        host.disk.take_strikes().iter().for_each(|strike| self.frames.strike(strike));
    }

    /// A newer build has written behind the newest frame, and was taken back.
    fn downgrade(&mut self, host: &mut Host) {
        let Some(last) = self.frames.get(self.durable) else { return };
        let segment_bytes = self.config.segment_bytes as usize;
        self.newer = Downgrade::behind(host, self.config.id, &last, segment_bytes);
    }

    /// Writes of the process before land at last, where the present one may have written since: two
    /// histories, and nobody could tell unless a frame behind knows the present one's.
    fn let_zombies_land(&mut self, host: &mut Host, machine: &JournalMachine) {
        let Stage::Open(journal) = &machine.stage else { return };
        if !journal.has_begun() {
            return;
        }
        let (frames, durable) = (&self.frames, self.durable);
        host.land_late(|file, bytes| frames.would_notice(file, &bytes, durable));
        self.note_strikes(host);
    }

    /// Something damages one of the newest frames that are needed while no process looks.
    fn strike_newest(&mut self, host: &mut Host) {
        let newest = self.durable.0.saturating_sub(self.random.below(3));
        let Some(frame) = self.frames.get(Seq(newest)).filter(|frame| self.needed <= frame.seq)
        else {
            return;
        };
        let at = frame.at + self.random.below(frame.len as u64) as usize;
        host.rot_at(frame.file, at);
        self.note_strikes(host);
    }
}

impl World for JournalWorld {
    type Machine = JournalMachine;

    fn reserve_pages(&self) -> u64 {
        u64::from(4 * self.config.segment_bytes / PAGE)
    }

    fn boot(&mut self, host: &mut Host) -> JournalMachine {
        self.beyond |= 0 < host.disk.injected().beyond;
        let journal = u32::from(self.config.all_segments()) * self.config.segment_bytes;
        let bytes = journal + 2 * self.config.frame_max_bytes;
        let pages = u64::from(bytes / PAGE) + self.knobs.arena_spare_pages;
        let evidence = Evidence {
            activated: Seq(0) < self.acked,
            newest_stamp: (Seq(0) < self.stamped).then_some(self.stamped),
        };
        if !host.is_healed() && self.random.chance(self.knobs.newer_build) {
            self.downgrade(host);
        }
        let memory = PageMemory::Heap(Page::boxed(pages as usize));
        let config = self.config.clone();
        JournalMachine::new(config, memory, &host.files(), evidence, self.accept_loss)
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
        say_rows(host, &report);
        if matches!(verdict, Verdict::Corrupt { .. }) && !self.beyond {
            return Err(Violation::new(Checker::Halt, format!("{verdict:?} of a sound disk")));
        }
        if self.newer.is_some() && self.knobs.read_error == 0 {
            return Err(durable("what a newer build wrote was passed over".to_owned()));
        }
        self.note_strikes(host);
        if !verdict.halts() {
            self.check_ends(start, cut)?;
            self.check_blame(&report)?;
        }
        if let Verdict::Fork { .. } = verdict {
            // The operator chose the history that is there.
            self.entries.extend(noted(machine, &entries));
        }
        self.check_entries(machine, &entries, (start, cut))?;
        self.entries.split_off(&cut);
        self.frames.cut(cut);
        self.acked = self.acked.min(Seq(cut.0 - 1));
        let Stage::Open(journal) = &machine.stage else { return Ok(()) };
        self.durable = journal.durable_seq();
        if verdict.halts() {
            self.needed = journal.start();
        }
        Ok(())
    }

    fn observe(&mut self, host: &mut Host, machine: &mut JournalMachine) -> Result<(), Violation> {
        self.beyond |= 0 < host.disk.injected().beyond;
        self.watch(host, machine);
        let Stage::Open(journal) = &machine.stage else { return Ok(()) };
        let durable = journal.durable_seq();
        self.durable = self.durable.max(durable);
        let ahead = journal.open_seq().0 - 1 - durable.0;
        if self.knobs.window < ahead {
            let what = format!("{ahead} frames beyond {durable}, K is {}", self.knobs.window);
            return Err(Violation::new(Checker::Bounds, what));
        }
        let newest = self.entries.range(..=durable).next_back().map_or(Seq(0), |(seq, _)| *seq);
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
        if at_rest {
            self.let_zombies_land(host, machine);
        }
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

    fn ended(&mut self, host: &mut Host, mut machine: JournalMachine) {
        self.watch(host, &mut machine);
        if let Some(newer) = self.newer.take() {
            newer.undo(host);
        }
        self.accept_loss = false;
        if let Some(report) = machine.take_refusal() {
            say_rows(host, &report);
            self.accept_loss = self.random.chance(self.knobs.accept_loss);
        }
        if let Stage::Open(journal) = machine.stage {
            self.entries.split_off(&journal.open_seq());
        }
        if self.random.chance(self.knobs.end_rot) && self.knobs.lying_flush == 0 {
            self.strike_newest(host);
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
        self.beyond || self.newer.is_some()
    }
}

/// What recovery returned intact, by frame.
fn noted(machine: &JournalMachine, entries: &[RecoveredEntry]) -> BTreeMap<Seq, Vec<Noted>> {
    let mut noted: BTreeMap<Seq, Vec<Noted>> = BTreeMap::new();
    for found in entries.iter().filter(|found| found.intact) {
        let payload = machine.arena.get(found.span).unwrap_or_default().to_vec();
        noted.entry(found.seq).or_default().push(Noted { entry: found.entry, payload });
    }
    noted
}

fn say_rows(host: &mut Host, report: &RecoveryReport) {
    report.rows.iter().for_each(|row| host.say(row_name(*row), format_args!("")));
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
