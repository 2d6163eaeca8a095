//! What the admin port shows of this server.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ring::ReactorCounters;
use serde::Deserialize;
use serde_json::json;
use shard::ControlShard;

use super::bell::Bell;
use super::http::{Refused, Shown};
use super::metrics;
use crate::faults::{Board, FaultRequest, Refusal};

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Pages {
    shard: Rc<RefCell<ControlShard>>,
    counters: Vec<Arc<ReactorCounters>>,
    bell: Rc<Bell>,
    board: Option<Rc<Board>>,
}

/// Which faults to end: all unless one is named.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Clearing {
    number: Option<u32>,
}

const OFF: &str =
    "this server takes no injected faults: start it with --enable-faults to allow them";

/// A core that does not tell its numbers within this shows its last ones.
const PATIENCE: Duration = Duration::from_millis(500);
const LOOK_AGAIN: Duration = Duration::from_millis(1);

impl Pages {
    /// `bell` wakes the driver of `shard`.
    pub(crate) fn new(
        shard: Rc<RefCell<ControlShard>>,
        counters: Vec<Arc<ReactorCounters>>,
        bell: Rc<Bell>,
        board: Option<Rc<Board>>,
    ) -> Self {
        Self { shard, counters, bell, board }
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
        let faults = self.board.as_ref().map_or_else(Vec::new, |board| board.phrases());
        metrics::page(&self.shard.borrow(), &self.counters, &faults)
    }

    fn faults(&self) -> String {
        let faults = self.board.as_ref().map_or_else(|| json!([]), |board| board.to_json());
        format!("{}\n", json!({ "enabled": self.board.is_some(), "faults": faults }))
    }

    fn change_faults(&self, clear: bool, body: &[u8]) -> Result<String, Refused> {
        let Some(board) = &self.board else { return Err(Refused::Forbidden(OFF.to_owned())) };
        let unread = |error: serde_json::Error| Refused::Bad(error.to_string());
        let refused = |Refusal(why)| Refused::Bad(why);
        let done = if clear {
            let wanted: Clearing = serde_json::from_slice(body).map_err(unread)?;
            json!({ "cleared": board.clear(wanted.number).map_err(refused)? })
        } else {
            let request: FaultRequest = serde_json::from_slice(body).map_err(unread)?;
            json!({ "number": board.inject(&request).map_err(refused)?.0 })
        };
        self.bell.ring();
        Ok(format!("{done}\n"))
    }
}
