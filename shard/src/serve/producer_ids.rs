//! InitProducerId for idempotent producers: ids come from blocks that the cluster log grants.

use base::ProducerId;
use net::ErrorCode;
use net::api::init_producer_id::{Request, Response};
use replication::node::PRODUCER_IDS_PER_BLOCK;
use replication::{Placement, Proposal};

use super::{Call, Served};
use crate::core::Core;
use crate::job::Job;

/// Ids of the newest block that this core took up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProducerIds {
    next: u64,
    end: u64,
}

impl ProducerIds {
    /// Goes on in a block, unless it is the one in use, or an older one.
    fn take_up(&mut self, first: ProducerId) {
        if self.end <= first.0 {
            *self = Self { next: first.0, end: first.0 + PRODUCER_IDS_PER_BLOCK };
        }
    }

    fn draw(&mut self) -> Option<ProducerId> {
        let drawn = (self.next < self.end).then_some(ProducerId(self.next));
        self.next += u64::from(drawn.is_some());
        drawn
    }
}

impl Core {
    pub(super) fn init_producer_id(&mut self, call: &Call<'_>, view: &Request<'_>) -> Served {
        if view.transactional_id.is_some() {
            // Transactions are not served: the answer of a broker without their coordinator.
            return self.answer(call, refusal(ErrorCode::CoordinatorNotAvailable));
        }
        if let Some(id) = self.producer_ids.draw() {
            return self.answer(call, granted(id));
        }
        let Some(Placement { node, shard }) = self.granted_to() else {
            return self.answer(call, refusal(ErrorCode::CoordinatorNotAvailable));
        };
        let body = self.keep(call.body);
        let job = Job::new(call, body, Vec::new());
        self.propose(job, vec![Proposal::GrantProducerIds { node, shard }], false);
        Served::Yes
    }

    pub(super) fn write_producer_id(&mut self, job: &Job) {
        let known = self.granted_to().and_then(|own| self.state.shard(own).ok()?.producer_ids);
        let boot = self.shards.first().map(|shard| shard.engine.incarnation());
        if let Some(block) = known.filter(|block| Some(block.boot) == boot) {
            self.producer_ids.take_up(block.first);
        }
        let drawn = self.producer_ids.draw();
        let response = drawn.map_or_else(|| refusal(ErrorCode::CoordinatorLoadInProgress), granted);
        self.out.respond(job.reply_to, response);
    }

    /// The shard in whose name this core asks for ids.
    fn granted_to(&self) -> Option<Placement> {
        self.shards.first().map(|shard| Placement { node: self.layout.node, shard: shard.id })
    }
}

fn granted(id: ProducerId) -> Response {
    Response {
        throttle_time_ms: 0,
        error_code: ErrorCode::None,
        producer_id: id.0 as i64,
        producer_epoch: 0,
    }
}

fn refusal(error_code: ErrorCode) -> Response {
    Response { throttle_time_ms: 0, error_code, producer_id: -1, producer_epoch: -1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_taken_up_once() {
        let mut ids = ProducerIds::default();
        assert_eq!(ids.draw(), None);
        ids.take_up(ProducerId(1));
        assert_eq!(ids.draw(), Some(ProducerId(1)));
        ids.take_up(ProducerId(1));
        assert_eq!(ids.draw(), Some(ProducerId(2)), "not from its start again");
        ids.take_up(ProducerId(1001));
        assert_eq!(ids.draw(), Some(ProducerId(1001)));
    }
}
