//! Fences on their way: promised, journaled, answered when durable.

use std::collections::VecDeque;

use base::{Epoch, PartitionId, Seq};

use super::outgoing::{Event, Fenced, Outgoing};

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

    /// The promises stand in the answer's frame.
    pub(super) fn journaled(&mut self, answer: Fenced) {
        self.journaled.push_back(answer);
    }

    /// Answers the fences that the journal holds.
    pub(super) fn answer(&mut self, durable: Seq, outgoing: &mut VecDeque<Outgoing>) {
        while self.journaled.front().is_some_and(|fenced| fenced.seq <= durable) {
            let fenced = self.journaled.pop_front().expect("just seen");
            outgoing.push_back(Outgoing::Event(Event::Fenced(fenced)));
        }
    }
}
