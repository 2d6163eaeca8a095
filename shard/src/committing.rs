//! Produce answers that wait for a quorum.
//!
//! ```text
//!   partition 7, epoch 3   │ end 40 │ end 41 │ end 45 │      answered from the front, as far as
//!                          └────────┴────────┴────────┘      replication says that it may be
//! ```
//! An answer that can no more come in the epoch that it was appended in is a refusal: the client asks
//! again, whoever leads then, and an idempotent batch is recognised there.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use base::{Epoch, Instant, Now, Offset, PartitionId};
use net::ErrorCode;

use crate::ask::{Answer, Produced};
use crate::commit::AnswerableEnd;
use crate::mail::Asker;

/// A quorum that is silent for so long does not answer: who appended is told.
pub(crate) const DETECTION: Duration = Duration::from_millis(500);
/// The longest that anybody waits for a quorum that is there.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// How often overdue answers are looked for if nothing else happens.
const PATIENCE: Duration = Duration::from_millis(100);

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct Committing {
    by_partition: BTreeMap<PartitionId, VecDeque<Waiting>>,
    looked_at: Instant,
}

/// A batch that was appended.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub epoch: Epoch,
    /// Behind its last record.
    pub end: Offset,
    pub since: Instant,
    pub to: Asker,
    pub produced: Produced,
}

/// How a partition stands whose batches wait.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Prospect {
    /// This shard leads: what lies before is committed widely enough.
    Answerable { end: AnswerableEnd, quorum_heard_at: Instant },
    /// It does not lead any more, or another leader is listened to.
    Lost,
}

impl Committing {
    pub(crate) fn add(&mut self, id: PartitionId, waiting: Waiting) {
        self.by_partition.entry(id).or_default().push_back(waiting);
    }

    pub(crate) fn len(&self) -> usize {
        self.by_partition.values().map(VecDeque::len).sum()
    }

    /// Partitions whose batches wait.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = PartitionId> {
        self.by_partition.keys().copied()
    }

    /// Answers what can be answered of a partition now, one way or the other.
    pub(crate) fn settle(
        &mut self,
        now: Now,
        id: PartitionId,
        prospect: Prospect,
        mut answer: impl FnMut(Asker, Answer),
    ) {
        self.looked_at = now.mono;
        let Some(queue) = self.by_partition.get_mut(&id) else { return };
        queue.retain(|waiting| match judge(now.mono, waiting, prospect) {
            None => true,
            Some(verdict) => {
                answer(waiting.to, verdict);
                false
            }
        });
        if queue.is_empty() {
            self.by_partition.remove(&id);
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        (!self.by_partition.is_empty()).then(|| self.looked_at.plus(PATIENCE))
    }
}

/// What to tell whoever waits, if it is time.
fn judge(now: Instant, waiting: &Waiting, prospect: Prospect) -> Option<Answer> {
    let Prospect::Answerable { end, quorum_heard_at } = prospect else {
        return Some(Answer::Failed(ErrorCode::NotLeaderOrFollower));
    };
    if waiting.epoch != end.epoch() {
        return Some(Answer::Failed(ErrorCode::NotLeaderOrFollower));
    }
    if let Some(proof) = end.prove(waiting.end) {
        drop(proof);
        return Some(Answer::Produced(waiting.produced));
    }
    let silent_since = waiting.since.max(quorum_heard_at);
    let silent = silent_since.plus(DETECTION) <= now;
    (silent || waiting.since.plus(WAIT_MAX) <= now)
        .then_some(Answer::Failed(ErrorCode::NotEnoughReplicasAfterAppend))
}

#[cfg(test)]
mod tests {
    use base::{BrokerTime, CoreId, TopicNumber};

    use super::*;
    use crate::mail::Ticket;

    const ID: PartitionId = PartitionId::new(TopicNumber(1), 7);

    fn waiting(end: u64, epoch: u32) -> Waiting {
        let ticket = Ticket { slot: end as u32, generation: 0 };
        let to = Asker { core: CoreId(0), ticket, part: 0 };
        let base = Offset(end - 1);
        let produced = Produced { base, ..Produced::default() };
        Waiting { epoch: Epoch(epoch), end: Offset(end), since: Instant(0), to, produced }
    }

    fn at(ms: u64) -> Now {
        Now { mono: Instant(ms * 1_000_000), wall: BrokerTime(0) }
    }

    fn settle(committing: &mut Committing, now: Now, prospect: Prospect) -> Vec<(u32, ErrorCode)> {
        let mut told = Vec::new();
        let answer = |to: Asker, answer| {
            let code = match answer {
                Answer::Produced(_) => ErrorCode::None,
                Answer::Failed(code) => code,
                other => panic!("{other:?}"),
            };
            told.push((to.ticket.slot, code));
        };
        committing.settle(now, ID, prospect, answer);
        told
    }

    fn answerable(epoch: u32, end: u64, heard_ms: u64) -> Prospect {
        let end = AnswerableEnd::of_quorum(Epoch(epoch), Offset(end));
        Prospect::Answerable { end, quorum_heard_at: at(heard_ms).mono }
    }

    #[test]
    fn answers_go_as_far_as_the_quorum_is() {
        let mut committing = Committing::default();
        [2, 4, 7].into_iter().for_each(|end| committing.add(ID, waiting(end, 3)));
        assert_eq!(settle(&mut committing, at(1), answerable(3, 1, 1)), []);
        let told = settle(&mut committing, at(2), answerable(3, 6, 1));
        assert_eq!(told, [(2, ErrorCode::None), (4, ErrorCode::None)]);
        assert_eq!(committing.next_timeout(), Some(at(102).mono));
        assert_eq!(settle(&mut committing, at(3), answerable(3, 7, 1)), [(7, ErrorCode::None)]);
        assert_eq!((committing.len(), committing.next_timeout()), (0, None));
    }

    #[test]
    fn a_reign_that_is_over_answers_nothing_whatever_a_later_one_commits() {
        let mut committing = Committing::default();
        committing.add(ID, waiting(2, 3));
        let told = settle(&mut committing, at(1), answerable(4, 9, 1));
        assert_eq!(told, [(2, ErrorCode::NotLeaderOrFollower)]);
        committing.add(ID, waiting(2, 3));
        let told = settle(&mut committing, at(1), Prospect::Lost);
        assert_eq!(told, [(2, ErrorCode::NotLeaderOrFollower)]);
    }

    #[test]
    fn a_silent_quorum_ends_the_waiting() {
        let mut committing = Committing::default();
        committing.add(ID, waiting(2, 3));
        assert_eq!(settle(&mut committing, at(900), answerable(3, 1, 500)), []);
        let told = settle(&mut committing, at(1_000), answerable(3, 1, 500));
        assert_eq!(told, [(2, ErrorCode::NotEnoughReplicasAfterAppend)]);
    }
}
