//! Tells data cores what clients may ask them for: health, and injected faults.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use base::{CoreId, Instant, ShardId};
use replication::{ClusterState, Health, Placement};
use shard::{ControlShard, Mail, Notices};

use crate::clock;
use crate::faults::Board;

/// How often it looks whether anything has changed.
const LOOK: Duration = Duration::from_millis(500);

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Notifier {
    cores: u16,
    board: Option<Rc<Board>>,
    told: Notices,
    look_at: Instant,
    outbox: VecDeque<(CoreId, Mail)>,
}

impl Notifier {
    pub(crate) fn new(cores: u16, board: Option<Rc<Board>>) -> Self {
        let (told, outbox) = Default::default();
        Self { cores, board, told, look_at: Instant(0), outbox }
    }

    /// Looks, if it is time.
    pub(crate) fn turn(&mut self, now: Instant, shard: &ControlShard) {
        if now < self.look_at {
            return;
        }
        self.look_at = now.plus(LOOK);
        let faults = self.board.as_ref().map_or_else(Vec::new, |board| board.phrases());
        let notices = Notices { health: health(shard, &shard.state()), faults };
        if self.told != notices {
            self.told = notices;
            let notices = Arc::new(self.told.clone());
            let to_all = (0..self.cores).map(CoreId);
            self.outbox.extend(to_all.map(|to| (to, Mail::Notices(Arc::clone(&notices)))));
        }
    }

    /// The next thing that a data core has to hear.
    pub(crate) fn next_mail(&mut self) -> Option<(CoreId, Mail)> {
        let of_board = self.board.as_ref().and_then(|board| board.next_mail());
        of_board.or_else(|| self.outbox.pop_front())
    }

    /// Does nothing for as long as a fault wants it.
    pub(crate) fn pause(&self) {
        if let Some(until) = self.board.as_ref().and_then(|board| board.take_pause()) {
            std::thread::sleep(until.since(clock::now().mono));
        }
    }
}

/// How every shard of the cluster is, as far as this node knows.
pub(super) fn health(shard: &ControlShard, state: &ClusterState) -> Vec<(Placement, Health)> {
    let nodes = state.nodes();
    let placements = nodes.flat_map(|node| {
        let shards = 0..node.shards.len() as u16;
        shards.map(|shard| Placement { node: node.registered.node, shard: ShardId(shard) })
    });
    let detector = &shard.steward().detector;
    placements.map(|at| (at, detector.health(state, at))).collect()
}
