//! The faults that hold on one core, and what they do to an operation or to bytes.

use std::time::Duration;

use base::{FileId, Instant, NodeId, Op, ShardId};
use shard::fault::{
    Accesses, DiskFault, Fault, FaultNumber, FaultOrder, NetFault, RETRANSMISSION, Way,
};

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Rules {
    active: Vec<Active>,
    /// A xorshift generator.
    dice: u64,
}

#[derive(Debug)]
struct Active {
    number: FaultNumber,
    fault: Fault,
    until: Instant,
}

/// What becomes of an operation on a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DiskFate {
    Later(Duration),
    /// Until the fault ends.
    Frozen(FaultNumber),
    Fails(i32),
    Forgotten,
    Torn,
}

/// What becomes of bytes that go one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NetFate {
    Later(Duration),
    Cut,
    Reset,
}

impl Rules {
    pub(crate) fn new(seed: u64) -> Self {
        Self { active: Vec::new(), dice: seed | 1 }
    }

    /// Takes an order; a pause is no rule, whoever hears of it sleeps.
    pub(crate) fn take(&mut self, order: FaultOrder) {
        match order {
            FaultOrder::Inject { fault: Fault::Pause { .. }, .. } => {}
            FaultOrder::Inject { number, fault, until } => {
                self.active.push(Active { number, fault, until });
            }
            FaultOrder::Clear(number) => self.active.retain(|active| active.number != number),
        }
    }

    /// Lets go of faults whose time is up.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.active.retain(|active| now < active.until);
    }

    pub(crate) fn next_end(&self) -> Option<Instant> {
        self.active.iter().map(|active| active.until).min()
    }

    pub(crate) fn holds(&self, number: FaultNumber) -> bool {
        self.active.iter().any(|active| active.number == number)
    }

    /// `None`: nothing happens to it. The oldest fault that hits decides.
    pub(crate) fn disk(&mut self, op: &Op) -> Option<DiskFate> {
        let Self { active, dice } = self;
        active.iter().find_map(|Active { number, fault, .. }| {
            let Fault::Disk { shard, files, accesses, what, percent } = fault else { return None };
            let FileId { shard: own, kind } = op.file();
            let is_meant = shard.is_none_or(|shard| shard == own)
                && files.include(kind)
                && accesses_of(op, *accesses)
                && is_hit(dice, *percent);
            let is_write = !matches!(op, Op::Read { .. } | Op::Create { .. });
            match what {
                _ if !is_meant => None,
                DiskFault::Delay(by) => Some(DiskFate::Later(*by)),
                DiskFault::Freeze => Some(DiskFate::Frozen(*number)),
                DiskFault::Error(errno) => Some(DiskFate::Fails(*errno)),
                DiskFault::Drop => is_write.then_some(DiskFate::Forgotten),
                DiskFault::Tear => is_write.then_some(DiskFate::Torn),
            }
        })
    }

    /// What becomes of a piece that goes one `way` between this node and `peer`. Delays add up.
    pub(crate) fn net(&mut self, peer: NodeId, way: Way) -> Option<NetFate> {
        let Self { active, dice } = self;
        let mut later = None;
        for Active { fault, .. } in active {
            let Fault::Net { peer: of, way: ways, what } = fault else { continue };
            if of.is_some_and(|of| of != peer) || !ways.includes(way) {
                continue;
            }
            let by = match what {
                NetFault::Cut => return Some(NetFate::Cut),
                NetFault::Reset => return Some(NetFate::Reset),
                NetFault::Loss(percent) if !is_hit(dice, *percent) => continue,
                NetFault::Loss(_) => RETRANSMISSION,
                NetFault::Delay { by, jitter } => *by + jitter.mul_f64(fraction(dice)),
            };
            later = Some(later.unwrap_or(Duration::ZERO) + by);
        }
        later.map(NetFate::Later)
    }

    /// Whether no connection to or from `peer` comes to stand.
    pub(crate) fn parts_from(&mut self, peer: NodeId) -> bool {
        let is_shut = |fate| matches!(fate, Some(NetFate::Cut | NetFate::Reset));
        is_shut(self.net(peer, Way::In)) || is_shut(self.net(peer, Way::Out))
    }
}

/// Whether a pause of `fault` is for a core that hosts `shards`.
pub(super) fn pauses(fault: &Fault, shards: &[ShardId]) -> bool {
    let Fault::Pause { shard } = fault else { return false };
    shard.is_none_or(|shard| shards.contains(&shard))
}

fn accesses_of(op: &Op, accesses: Accesses) -> bool {
    match accesses {
        Accesses::All => true,
        Accesses::Reads => matches!(op, Op::Read { .. }),
        Accesses::Writes => !matches!(op, Op::Read { .. }),
    }
}

fn is_hit(dice: &mut u64, percent: u8) -> bool {
    100 <= percent || roll(dice) % 100 < u64::from(percent)
}

/// From 0 to just below 1.
fn fraction(dice: &mut u64) -> f64 {
    (roll(dice) % 1_000) as f64 / 1_000.0
}

fn roll(dice: &mut u64) -> u64 {
    *dice ^= *dice << 13;
    *dice ^= *dice >> 7;
    *dice ^= *dice << 17;
    *dice
}

#[cfg(test)]
mod tests {
    use base::{FileKind, Token};
    use shard::fault::Files;

    use super::*;

    const SECOND: Instant = Instant(1_000_000_000);

    fn inject(rules: &mut Rules, number: u32, fault: Fault) {
        rules.take(FaultOrder::Inject { number: FaultNumber(number), fault, until: SECOND });
    }

    fn disk(what: DiskFault, files: Files, percent: u8) -> Fault {
        let (shard, accesses) = (Some(ShardId(0)), Accesses::All);
        Fault::Disk { shard, files, accesses, what, percent }
    }

    fn sync(shard: u16, kind: FileKind) -> Op {
        Op::Sync { tok: Token(0), file: FileId { shard: ShardId(shard), kind } }
    }

    #[test]
    fn a_disk_fault_hits_what_it_names_while_it_holds() {
        let mut rules = Rules::new(1);
        inject(&mut rules, 1, disk(DiskFault::Error(5), Files::Journal, 100));
        let segment = FileKind::Segment(3);
        assert_eq!(rules.disk(&sync(0, segment)), Some(DiskFate::Fails(5)));
        assert_eq!(rules.disk(&sync(1, segment)), None, "another shard");
        assert_eq!(rules.disk(&sync(0, FileKind::Bin(3))), None, "another file");
        rules.expire(Instant(SECOND.0 - 1));
        assert_eq!(rules.next_end(), Some(SECOND));
        rules.expire(SECOND);
        assert_eq!(rules.disk(&sync(0, segment)), None, "its time is up");
        inject(&mut rules, 2, disk(DiskFault::Freeze, Files::All, 100));
        assert_eq!(rules.disk(&sync(0, segment)), Some(DiskFate::Frozen(FaultNumber(2))));
        rules.take(FaultOrder::Clear(FaultNumber(2)));
        assert!(!rules.holds(FaultNumber(2)));
        assert_eq!(rules.disk(&sync(0, segment)), None, "cleared");
    }

    #[test]
    fn half_of_the_operations_are_about_half() {
        let mut rules = Rules::new(7);
        inject(&mut rules, 1, disk(DiskFault::Drop, Files::All, 50));
        let op = sync(0, FileKind::Bin(0));
        let hits = (0..1_000).filter(|_| rules.disk(&op).is_some()).count();
        assert!((400..600).contains(&hits), "{hits}");
    }

    #[test]
    fn a_cut_has_a_direction_and_goes_before_a_delay() {
        let mut rules = Rules::new(1);
        let (near, far) = (NodeId(1), NodeId(2));
        let (by, jitter) = (Duration::from_millis(20), Duration::ZERO);
        let slow = NetFault::Delay { by, jitter };
        inject(&mut rules, 1, Fault::Net { peer: None, way: Way::Both, what: slow });
        inject(&mut rules, 2, Fault::Net { peer: Some(near), way: Way::In, what: NetFault::Cut });
        assert_eq!(rules.net(near, Way::In), Some(NetFate::Cut));
        assert_eq!(rules.net(near, Way::Out), Some(NetFate::Later(by)));
        assert_eq!(rules.net(far, Way::In), Some(NetFate::Later(by)));
        assert!(rules.parts_from(near) && !rules.parts_from(far));
    }

    #[test]
    fn a_pause_is_for_those_who_host_the_shard() {
        let own = [ShardId(0), ShardId(2)];
        assert!(pauses(&Fault::Pause { shard: None }, &own));
        assert!(pauses(&Fault::Pause { shard: Some(ShardId(2)) }, &own));
        assert!(!pauses(&Fault::Pause { shard: Some(ShardId(1)) }, &own));
        assert!(!pauses(&Fault::Pause { shard: Some(ShardId::CONTROL) }, &own));
    }
}
