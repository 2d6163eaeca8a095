//! What the end of a process, or of the power, leaves of what was not yet on stable storage.

use std::collections::BTreeMap;

use base::{Instant, Op, Page};

use super::effects::Landing;
use super::platter::Fate;
use super::{Disk, Memory};
use crate::random::Random;
use crate::trace::Trace;

impl Disk {
    /// The process dies: each write in flight reaches the device yet, in any order, or never. The
    /// files stay locked until then, so no successor sees the difference; unless the lock does not
    /// hold, and a write is late.
    pub fn kill(&mut self, now: Instant, memory: &impl Memory, trace: &mut Trace) {
        self.refused.clear();
        self.late.clear();
        for write in self.abandon(memory) {
            if self.random.chance(self.knobs.late_zombie) {
                trace.say(now, "held a zombie write back", format_args!("{:?}", write.file));
                self.late.push(write);
            } else if self.random.chance(self.knobs.kill_cancel) {
                trace.say(now, "cancelled a write", format_args!("{:?}", write.file));
            } else {
                trace.say(now, "landed a zombie write", format_args!("{:?}", write.file));
                self.cache(&write, |_| true);
            }
        }
    }

    /// The power goes: what was volatile or in flight is kept, dropped or torn.
    pub fn cut_power(&mut self, now: Instant, memory: &impl Memory, trace: &mut Trace) {
        self.refused.clear();
        self.late.clear();
        for write in self.abandon(memory) {
            self.cache(&write, |_| true);
        }
        let fates = self.draw_fates(now, trace);
        for platter in self.files.values_mut() {
            let fate = |_: &mut Random, write: u64| fates[&write];
            platter.cut_power(&mut self.random, fate, self.knobs.cut_reorder);
        }
    }

    /// Forgets what is in flight, and returns its writes in the order in which they land.
    fn abandon(&mut self, memory: &impl Memory) -> Vec<Landing> {
        let flights = std::mem::take(&mut self.in_flight).into_values();
        let mut landings: Vec<_> = flights
            .filter_map(|flight| match flight.op {
                Op::Write { file, pos, span, .. } => {
                    let bytes = memory.arena(file.shard).get(span).unwrap_or_default().to_vec();
                    Some(Landing { file, at: pos as usize, bytes })
                }
                Op::WritePages { file, pos, pages, .. } => {
                    let bytes = Page::bytes(&pages).to_vec();
                    Some(Landing { file, at: pos as usize, bytes })
                }
                Op::Read { .. } | Op::Sync { .. } | Op::Create { .. } => None,
            })
            .collect();
        self.random.shuffle(&mut landings);
        landings
    }

    fn draw_fates(&mut self, now: Instant, trace: &mut Trace) -> BTreeMap<u64, Fate> {
        let mut fates = BTreeMap::new();
        for (file, platter) in &self.files {
            for write in platter.volatile_writes() {
                fates.entry(write).or_insert_with(|| {
                    let (what, fate) = if self.random.chance(self.knobs.cut_drop) {
                        ("dropped a write", Fate::Dropped)
                    } else if self.random.chance(self.knobs.cut_tear) {
                        ("tore a write", Fate::Torn)
                    } else {
                        ("kept a write", Fate::Kept)
                    };
                    trace.say(now, what, format_args!("{file:?}, write {write}"));
                    fate
                });
            }
        }
        fates
    }
}
