//! What must hold at every moment, and in the end.

use std::time::Duration;

use replication::cluster_log::Timing;
use replication::{LogIndex, Voters};

use crate::world::{Checked, World};

impl World {
    pub(crate) fn check(&mut self) -> Checked {
        for number in 0..self.members.len() {
            self.check_commits(number)?;
        }
        for number in 0..self.members.len() {
            self.check_leader(number)?;
            self.check_quorum(number)?;
        }
        Ok(())
    }

    /// A leader that hears nobody steps down, unless it decides alone.
    fn check_quorum(&mut self, number: usize) -> Checked {
        let others = 0..self.members.len();
        let is_cut =
            others.clone().all(|other| other == number || self.cuts.contains(&(other, number)));
        let member = &mut self.members[number];
        if !is_cut || member.paused || !member.log.is_leader() || member.log.voters().len() < 2 {
            member.isolated = None;
            return Ok(());
        }
        let since = *member.isolated.get_or_insert(self.now);
        let patience = Timing::default().silence_max + Duration::from_millis(100);
        if patience < self.now.since(since) {
            return Err(format!("{:?} leads although it hears nobody", member.me));
        }
        Ok(())
    }

    /// What is committed is the same everywhere, for ever.
    fn check_commits(&mut self, number: usize) -> Checked {
        let member = &mut self.members[number];
        for index in member.checked.0 + 1..=member.log.committed().0 {
            let entry = member.log.entry(LogIndex(index)).ok_or("a committed entry is gone")?;
            match self.committed.get(index as usize - 1) {
                Some(known) if known == entry => {}
                Some(known) => {
                    return Err(format!(
                        "entry {index} of {:?} is {entry:?}, and was committed as {known:?}",
                        member.me
                    ));
                }
                None => self.committed.push(entry.to_vec()),
            }
        }
        member.checked = member.log.committed();
        Ok(())
    }

    /// One leader per term, whose log holds everything that is committed.
    fn check_leader(&mut self, number: usize) -> Checked {
        let is_alone = self.alone || self.members.len() == 1;
        let member = &mut self.members[number];
        let leads = member.log.is_leader();
        let begins = leads && !member.led;
        member.led = leads;
        if !begins {
            return Ok(());
        }
        self.elections += 1;
        let (term, who) = (member.log.term(), (member.me, member.boot));
        // Alone, a start of which nothing became durable leaves its term to the next.
        let known = if is_alone { who } else { *self.leaders.entry(term).or_insert(who) };
        if known != who {
            return Err(format!("{known:?} and {who:?} both lead in {term:?}"));
        }
        for (at, entry) in self.committed.iter().enumerate() {
            if member.log.entry(LogIndex(at as u64 + 1)) != Some(entry) {
                return Err(format!(
                    "{who:?} leads in {term:?} without committed entry {}",
                    at + 1
                ));
            }
        }
        Ok(())
    }

    /// Whether one leads, all hold the same, and every seat votes.
    pub(crate) fn is_well(&self) -> bool {
        let seats = self.members.iter().take(usize::from(self.knobs.seats));
        let Ok(seats) = Voters::new(seats.map(|member| member.me)) else { return false };
        let last = self.members[0].log.last();
        let state = self.members[0].log.snapshot();
        self.members.iter().filter(|member| member.log.is_leader()).count() == 1
            && self.members.iter().all(|member| {
                let log = &member.log;
                let is_settled = log.last() == last && log.committed() == last;
                is_settled && log.voters() == seats && *log.snapshot() == *state
            })
    }

    /// Whether everyone holds all that was ever committed.
    pub(crate) fn check_logs(&self) -> Checked {
        for member in &self.members {
            for (at, entry) in self.committed.iter().enumerate() {
                if member.log.entry(LogIndex(at as u64 + 1)) != Some(entry) {
                    return Err(format!("{:?} lacks committed entry {}", member.me, at + 1));
                }
            }
        }
        Ok(())
    }
}
