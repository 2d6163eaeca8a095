//! Questions to owners and answers from them, on this core or another.

use base::{Now, Output, Page, Piece};

use super::Core;
use crate::ask::{Answer, Ask, Fetched};
use crate::mail::{Asker, Mail, Spare, Ticket};
use crate::serve::Home;

impl Core {
    /// Takes mail from another core.
    pub(crate) fn deliver(&mut self, now: Now, mail: Mail) {
        match mail {
            // Who asks is told to stop as well.
            Mail::Ask { .. } if self.stopping => {}
            Mail::Ask { to, shard, partition, ask, spare } => {
                self.pool.give_spare(spare);
                self.ask(now, to, Home { shard, partition }, ask);
            }
            Mail::Answer { to, answer, spare } => {
                self.pool.give_spare(spare);
                self.file_answer(now, to, answer);
            }
            Mail::Proposed { ticket, results } => self.finish_proposal(ticket, results),
            Mail::Snapshot(state) => self.apply_snapshot(now, state),
            Mail::Serve => self.start_serving(),
            Mail::Fence { shard, token, promises } => {
                // A shard that cannot speak for itself does not answer.
                let own = self.own_leader(shard);
                let found = self.shard_mut(shard).zip(own);
                if let Some((shard, own)) = found {
                    shard.fence(now, own, token, promises);
                }
            }
            Mail::Measure => {
                let mail = Mail::Measured(Box::new(self.metrics(now)));
                self.outputs.push_back(Output::Mail { to: self.layout.control, mail });
            }
            Mail::Notices(notices) => self.notices = notices,
            Mail::Propose { .. }
            | Mail::Fault(_)
            | Mail::Booted { .. }
            | Mail::Applied { .. }
            | Mail::Failed { .. }
            | Mail::Replica { .. }
            | Mail::Alive(_)
            | Mail::Leave
            | Mail::Measured(_)
            | Mail::FromPeer { .. }
            | Mail::ToPeer { .. }
            | Mail::PeerUp { .. }
            | Mail::PeerDown { .. } => {
                panic!("a data core was sent mail for the control core: {mail:?}")
            }
        }
    }

    /// Puts a question to the owner, wherever it is.
    pub(crate) fn ask(&mut self, now: Now, to: Asker, home: Home, ask: Ask) {
        let Home { shard, partition } = home;
        let Some(ask) = self.ask_groups(now, to, home, ask) else { return };
        let Self { shards, pool, .. } = self;
        if let Some(own) = shards.iter_mut().find(|own| own.id == shard) {
            return own.ask(now, to, partition, ask, pool);
        }
        let owner = self.layout.core_of(shard);
        assert_ne!(owner, self.id, "{shard:?} belongs to this core and is not here");
        let spare = match ask {
            Ask::Fetch { .. } => self.pool.spare_answer(),
            _ => Spare::default(),
        };
        let mail = Mail::Ask { to, shard, partition, ask, spare };
        self.outputs.push_back(Output::Mail { to: owner, mail });
    }

    /// Brings the answers of this core's shards to whoever asked.
    pub(crate) fn collect_answers(&mut self, now: Now) {
        for index in 0..self.shards.len() {
            while let Some((to, answer)) = self.shards[index].pop_answer() {
                if to.core == self.id {
                    self.file_answer(now, to, answer);
                } else {
                    let answer = self.detach(answer);
                    self.send_answer(to, answer);
                }
            }
        }
        self.deliver_group_answers(now);
    }

    /// Sends an answer to another core.
    pub(super) fn send_answer(&mut self, to: Asker, answer: Answer) {
        let spare = match answer {
            Answer::Produced(_) => self.pool.spare_bytes(),
            _ => Spare::default(),
        };
        self.outputs
            .push_back(Output::Mail { to: to.core, mail: Mail::Answer { to, answer, spare } });
    }

    pub(super) fn file_answer(&mut self, now: Now, to: Asker, answer: Answer) {
        if to.part == Asker::GROUPS {
            return self.file_for_groups(now, to.ticket, answer);
        }
        if let Answer::Woken = answer {
            return self.read_again(now, to.ticket);
        }
        let surplus = match self.jobs.get_mut(to.ticket) {
            None => Some(answer),
            Some(job) => job.file(to.part, answer).err(),
        };
        match surplus {
            None => self.finish_if_answered(now, to.ticket),
            Some(answer) => self.drop_answer(answer),
        }
    }

    /// Frees what an answer holds that nobody waits for.
    pub(crate) fn drop_answer(&mut self, answer: Answer) {
        if let Answer::Fetched(fetched) = answer {
            self.recycle(fetched.records);
        }
    }

    /// Copies records out of this core's memory: pins do not cross cores.
    pub(super) fn detach(&mut self, answer: Answer) -> Answer {
        let Answer::Fetched(fetched) = answer else { return answer };
        let mut bytes = self.pool.bytes();
        for piece in &fetched.records {
            bytes.extend_from_slice(self.piece_bytes(piece));
        }
        self.recycle(fetched.records);
        let mut records = self.pool.pieces();
        if !bytes.is_empty() {
            records.push(Piece::Bytes { bytes, from: 0 });
        }
        Answer::Fetched(Fetched { records, ..fetched })
    }

    fn piece_bytes<'a>(&'a self, piece: &'a Piece) -> &'a [u8] {
        match piece {
            Piece::Bytes { bytes, from } => &bytes[*from..],
            Piece::Tail { shard, span, .. } => {
                let owner = self.shards.iter().find(|own| own.id == *shard);
                let arena = owner.expect("a tail piece is of an own shard").engine.arena();
                arena.get(*span).expect("a pinned span is held")
            }
            Piece::Pages { pages, from, len } => &Page::bytes(pages)[*from..*from + *len],
        }
    }

    /// Ends jobs whose time is up.
    pub(crate) fn end_overdue_jobs(&mut self, now: Now) {
        while let Some(ticket) = self.deadlines.pop_due(now.mono) {
            self.end_overdue_job(now, ticket);
        }
    }

    /// Names a part of a job to its owner.
    pub(crate) fn asker(&self, ticket: Ticket, part: usize) -> Asker {
        Asker { core: self.id, ticket, part: part as u32 }
    }
}
