//! What the admin port shows of this server.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ring::ReactorCounters;
use shard::ControlShard;

use super::bell::Bell;
use super::http::Shown;
use super::metrics;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Pages {
    shard: Rc<RefCell<ControlShard>>,
    counters: Vec<Arc<ReactorCounters>>,
    bell: Rc<Bell>,
}

/// A core that does not tell its numbers within this shows its last ones.
const PATIENCE: Duration = Duration::from_millis(500);
const LOOK_AGAIN: Duration = Duration::from_millis(1);

impl Pages {
    /// `bell` wakes the driver of `shard`.
    pub(crate) fn new(
        shard: Rc<RefCell<ControlShard>>,
        counters: Vec<Arc<ReactorCounters>>,
        bell: Rc<Bell>,
    ) -> Self {
        Self { shard, counters, bell }
    }

    /// Gets fresh numbers from every data core that is not stuck.
    async fn measure(&self) {
        self.shard.borrow_mut().measure();
        self.bell.ring();
        let asked = Instant::now();
        while self.shard.borrow().is_measuring() && asked.elapsed() < PATIENCE {
            glommio::timer::sleep(LOOK_AGAIN).await;
        }
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
        self.measure().await;
        metrics::page(&self.shard.borrow(), &self.counters)
    }
}
