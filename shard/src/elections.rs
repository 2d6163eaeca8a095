//! Clients that ask for a leader while one is being chosen: told at once that there is none, they
//! would not ask again for longer than the choice takes.
//!
//! ```text
//!   a state without the leader ──── 50 ms ────▶ whoever asks is told that there is none
//!     └─ whoever asks waits ─▶ a state with one, or time is up ─▶ answered
//! ```

use core::time::Duration;

use base::{Instant, Now};
use net::Request;
use net::api::metadata::RequestView;
use replication::{ClusterState, Partition, Topic};

use crate::core::Core;
use crate::mail::Ticket;

/// How long after a partition lost its leader clients wait for the next one.
const ELECTION_WAIT: Duration = Duration::from_millis(50);

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct Elections {
    /// Clients are to wait no longer than that.
    until: Option<Instant>,
    waiting: Vec<Ticket>,
}

impl Core {
    /// A new state is known: `before` is the one that it follows.
    pub(crate) fn note_elections(&mut self, now: Now, before: &ClusterState) {
        let lost = |topic: &Topic| {
            let known = before.topics().by_number(topic.number);
            let known = known.map_or(&[][..], |known| &known.partitions);
            let led = |(now, then): (&Partition, &Partition)| {
                now.leader.is_none() && then.leader.is_some()
            };
            topic.partitions.iter().zip(known).any(led)
        };
        if self.state.topics().iter().any(|topic| lost(topic)) {
            self.elections.until = Some(now.mono.plus(ELECTION_WAIT));
        }
        for ticket in core::mem::take(&mut self.elections.waiting) {
            let still = self.jobs.get_mut(ticket).is_some_and(|job| {
                let request = Request::decode(job.api, job.reply_to.version, &job.body);
                matches!(request, Ok(Request::Metadata(view)) if is_electing(&self.state, &view))
            });
            if still {
                self.elections.waiting.push(ticket);
            } else {
                self.end_election_wait(ticket);
            }
        }
    }

    /// Until when an answer about leaders is to wait, if it is.
    pub(crate) fn election_wait(&self, now: Now, view: &RequestView<'_>) -> Option<Instant> {
        let until = self.elections.until.filter(|until| now.mono < *until)?;
        is_electing(&self.state, view).then_some(until)
    }

    pub(crate) fn await_election(&mut self, ticket: Ticket, until: Instant) {
        if let Some(job) = self.jobs.get_mut(ticket) {
            job.elects_until = Some(until);
            self.deadlines.insert(until, ticket);
            self.elections.waiting.push(ticket);
        }
    }

    /// Answers whoever waited for a leader, if somebody did under that name.
    pub(crate) fn end_election_wait(&mut self, ticket: Ticket) {
        let waits = self.jobs.get_mut(ticket).and_then(|job| job.elects_until);
        if let Some(until) = waits {
            self.deadlines.remove(until, ticket);
            self.finish_job(ticket);
        }
    }
}

/// Whether a partition of a topic that is asked for has no leader.
fn is_electing(state: &ClusterState, view: &RequestView<'_>) -> bool {
    let elects =
        |topic: &Topic| topic.partitions.iter().any(|partition| partition.leader.is_none());
    let Some(asked) = view.topics else {
        return state.topics().iter().any(|topic| elects(topic));
    };
    asked.into_iter().any(|asked| {
        let topic = match asked.name {
            Some(name) => state.topics().by_name(name),
            None => state.topics().by_uuid(replication::Uuid(asked.topic_id.0)),
        };
        topic.is_some_and(|topic| elects(topic))
    })
}
