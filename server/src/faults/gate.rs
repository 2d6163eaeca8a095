//! Where the control core's own files and links pass: shared by the tasks of its executor.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use base::{NodeId, Op};
use glommio::timer::sleep;
use shard::fault::{FaultOrder, Way};

use super::{DiskFate, NetFate, Rules};
use crate::clock;

/// How often a piece that cannot pass looks again.
const LOOK: Duration = Duration::from_millis(2);

/// See the module's description.
#[derive(Clone, Debug)]
pub(crate) struct Gate(Rc<RefCell<Rules>>);

/// The connection is to break.
#[derive(Debug)]
pub(crate) struct Broken;

impl Gate {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Rc::new(RefCell::new(Rules::new(seed))))
    }

    pub(crate) fn take(&self, order: FaultOrder) {
        self.0.borrow_mut().take(order);
    }

    pub(crate) fn expire(&self) {
        self.0.borrow_mut().expire(clock::now().mono);
    }

    /// Waits as long as the operation is to wait; then what becomes of it.
    pub(crate) async fn disk(&self, op: &Op) -> Option<DiskFate> {
        let fate = self.0.borrow_mut().disk(op);
        match fate {
            Some(DiskFate::Later(by)) => {
                sleep(by).await;
                None
            }
            Some(DiskFate::Frozen(number)) => {
                while self.0.borrow().holds(number) {
                    self.expire();
                    sleep(LOOK).await;
                }
                None
            }
            fate => fate,
        }
    }

    /// Waits until bytes between this node and `peer` may pass.
    pub(crate) async fn net(&self, peer: NodeId, way: Way) -> Result<(), Broken> {
        loop {
            let fate = self.0.borrow_mut().net(peer, way);
            match fate {
                None => return Ok(()),
                Some(NetFate::Later(by)) => {
                    sleep(by).await;
                    return Ok(());
                }
                Some(NetFate::Reset) => return Err(Broken),
                Some(NetFate::Cut) => {
                    self.expire();
                    sleep(LOOK).await;
                }
            }
        }
    }

    /// Whether no connection to or from `peer` comes to stand.
    pub(crate) fn parts_from(&self, peer: NodeId) -> bool {
        self.expire();
        self.0.borrow_mut().parts_from(peer)
    }
}
