//! Fences on their way: promised, journaled, answered when durable.

use std::collections::VecDeque;

use base::{Epoch, PartitionId, Seq};

use super::log::Log;
use super::outgoing::{Event, FenceAnswer, Fenced, Outgoing};
use crate::Planted;
use crate::node::Boot;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Fences {
    /// The log had no room for them yet.
    waiting: VecDeque<Fence>,
    journaled: VecDeque<Fenced>,
}

/// What a fence was called, and the epochs that it promises.
type Fence = (u64, Vec<(PartitionId, Epoch)>);

impl Fences {
    pub(super) fn wait(&mut self, token: u64, promises: Vec<(PartitionId, Epoch)>) {
        self.waiting.push_back((token, promises));
    }

    pub(super) fn take_waiting(&mut self) -> Option<Fence> {
        self.waiting.pop_front()
    }

    pub(super) fn put_back(&mut self, token: u64, promises: Vec<(PartitionId, Epoch)>) {
        self.waiting.push_front((token, promises));
    }

    /// The promises stand in frame `seq`: the answer is the log as of now.
    pub(super) fn journaled<L: Log>(
        &mut self,
        log: &L,
        planted: Planted,
        (token, seq, boot): (u64, Seq, Boot),
        promises: &[(PartitionId, Epoch)],
    ) {
        let answer = |(partition, _): &(PartitionId, Epoch)| {
            let view = log.view(*partition)?;
            Some(FenceAnswer::new(planted, *partition, view, log.reigns(*partition)))
        };
        let answers = promises.iter().filter_map(answer).collect();
        self.journaled.push_back(Fenced { token, seq, boot, answers });
    }

    /// Answers the fences that the journal holds.
    pub(super) fn answer(&mut self, durable: Seq, outgoing: &mut VecDeque<Outgoing>) {
        while self.journaled.front().is_some_and(|fenced| fenced.seq <= durable) {
            let fenced = self.journaled.pop_front().expect("just seen");
            outgoing.push_back(Outgoing::Event(Event::Fenced(fenced)));
        }
    }
}
