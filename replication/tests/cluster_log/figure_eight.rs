//! Raft's figure 8: an entry of an older term on a majority is not yet safe.
//!
//! ```text
//!   one:   … e1             … e1 e3            e1 would be committed by counting
//!   two:   …         ─▶     … e1       ─▶      … e2
//!   three: …    e2          … e2               e2: elected by two, for its last term is newer
//! ```

use replication::{Planted, Term};

use crate::knobs::Knobs;
use crate::random::Random;
use crate::world::{Checked, World};

pub(crate) fn figure_eight(planted: Planted) -> Checked {
    let mut random = Random::new(8);
    let knobs = Knobs::draw(&mut random).calm();
    let knobs = Knobs { seats: 3, learners: 0, grows: false, piecemeal: true, ..knobs };
    let mut world = World::with(knobs, random, planted);
    world.pass_until(World::is_well)?;
    let one = world.leading().ok_or("all is well without a leader")?;

    world.isolate(one);
    world.propose();
    world.pass_until(|world| world.leading().is_some_and(|leader| leader != one))?;
    let three = world.leading().ok_or("it just led")?;
    let two = 3 - one - three;
    world.isolate(three);
    world.cuts.retain(|(from, to)| [*from, *to].contains(&three));
    world.pass_until(|world| world.leading() == Some(one))?;

    // What the new leader brings of its own never arrives, what it had before does.
    world.lost_term = Some(world.members[one].log.term());
    for _ in 0..50 {
        world.pass_calmly()?;
    }
    let old = world.members[one].log.last().0 - 1;
    let held = world.members[two].log.last().0;
    if held < old {
        return Err(format!("the older entry should stand on a majority: {held} of {old}"));
    }
    world.lost_term = None;
    world.cuts.clear();
    world.isolate(one);
    world.pass_until(|world| world.leading() == Some(three))?;
    world.cuts.clear();
    world.pass_until(World::is_well)?;
    world.check_logs()
}

impl World {
    /// Who leads in the newest term that is led.
    fn leading(&self) -> Option<usize> {
        let leaders = self.members.iter().enumerate().filter(|(_, member)| member.log.is_leader());
        let newest = leaders.max_by_key(|(_, member)| member.log.term());
        let highest = self.members.iter().map(|member| member.log.term()).max();
        let newest = newest.filter(|(_, member)| highest <= Some(Term(member.log.term().0)));
        newest.map(|(number, _)| number)
    }

    fn isolate(&mut self, lost: usize) {
        for other in 0..self.members.len() {
            self.cuts.extend([(lost, other), (other, lost)]);
        }
    }

    fn pass_until(&mut self, is_so: impl Fn(&Self) -> bool) -> Checked {
        for _ in 0..5_000 {
            self.pass_calmly()?;
            if is_so(self) {
                return Ok(());
            }
        }
        Err("it does not come to pass".to_owned())
    }
}
