//! What the admin port shows of this server.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use ring::ReactorCounters;
use shard::ControlShard;

use super::http::Shown;
use super::metrics;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Pages {
    shard: Rc<RefCell<ControlShard>>,
    counters: Vec<Arc<ReactorCounters>>,
}

impl Pages {
    pub(crate) fn new(
        shard: Rc<RefCell<ControlShard>>,
        counters: Vec<Arc<ReactorCounters>>,
    ) -> Self {
        Self { shard, counters }
    }
}

impl Shown for Pages {
    fn health(&self) -> Result<(), String> {
        match self.shard.borrow().failure() {
            Some(reason) => Err(reason.to_owned()),
            None => Ok(()),
        }
    }

    fn readiness(&self) -> Result<(), String> {
        self.shard.borrow().readiness()
    }

    async fn metrics(&self) -> String {
        metrics::page(&self.shard.borrow(), &self.counters)
    }
}
