//! Which faults hold on this node, and who has to hear of them.

use std::cell::RefCell;
use std::collections::VecDeque;

use base::{CoreId, Instant, ShardId};
use serde_json::{Value, json};
use shard::Mail;
use shard::fault::{Fault, FaultNumber, FaultOrder};

use super::rules::pauses;
use super::{FaultRequest, Gate};
use crate::clock;

/// Faults that may hold at one time.
const ACTIVE_MAX: usize = 100;

/// See the module's description. Belongs to the control core.
#[derive(Debug)]
pub(crate) struct Board {
    pub(crate) gate: Gate,
    cores: u16,
    shards: u16,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    last: u32,
    active: Vec<Active>,
    outbox: VecDeque<(CoreId, Mail)>,
    /// The control core itself is to sleep until then.
    pause_until: Option<Instant>,
}

#[derive(Debug)]
struct Active {
    number: FaultNumber,
    fault: Fault,
    until: Instant,
}

/// Why a request is refused, as a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal(pub(crate) String);

impl Board {
    pub(crate) fn new(seed: u64, cores: u16, shards: u16) -> Self {
        Self { gate: Gate::new(seed), cores, shards, state: RefCell::default() }
    }

    /// Injects what is asked for.
    pub(crate) fn inject(&self, request: &FaultRequest) -> Result<FaultNumber, Refusal> {
        let (fault, lasts) = request.believe().map_err(Refusal)?;
        self.check_shard(&fault)?;
        self.expire();
        let now = clock::now().mono;
        let mut state = self.state.borrow_mut();
        if ACTIVE_MAX <= state.active.len() {
            return Err(Refusal(format!("{ACTIVE_MAX} faults hold already: clear some")));
        }
        state.last += 1;
        let (number, until) = (FaultNumber(state.last), now.plus(lasts));
        if pauses(&fault, &[ShardId::CONTROL]) {
            state.pause_until = state.pause_until.max(Some(until));
        }
        state.active.push(Active { number, fault: fault.clone(), until });
        drop(state);
        self.tell(&FaultOrder::Inject { number, fault, until });
        Ok(number)
    }

    /// Ends a fault, or all of them; how many.
    pub(crate) fn clear(&self, number: Option<u32>) -> Result<usize, Refusal> {
        self.expire();
        let is_meant = |active: &mut Active| number.is_none_or(|n| active.number == FaultNumber(n));
        let cleared: Vec<_> = self.state.borrow_mut().active.extract_if(.., is_meant).collect();
        for Active { number, .. } in &cleared {
            self.tell(&FaultOrder::Clear(*number));
        }
        match (cleared.len(), number) {
            (0, Some(number)) => Err(Refusal(format!("no fault {number} holds"))),
            (count, _) => Ok(count),
        }
    }

    /// Each fault as a phrase.
    pub(crate) fn phrases(&self) -> Vec<String> {
        self.expire();
        self.state.borrow().active.iter().map(|active| active.fault.to_string()).collect()
    }

    /// Each fault, its number and how long it still holds.
    pub(crate) fn to_json(&self) -> Value {
        self.expire();
        let now = clock::now().mono;
        let state = self.state.borrow();
        let faults = state.active.iter().map(|Active { number, fault, until }| {
            let ends_in_ms = u64::try_from(until.since(now).as_millis()).unwrap_or(u64::MAX);
            json!({ "number": number.0, "fault": fault.to_string(), "ends_in_ms": ends_in_ms })
        });
        Value::Array(faults.collect())
    }

    /// The next thing that a data core has to hear.
    pub(crate) fn next_mail(&self) -> Option<(CoreId, Mail)> {
        self.state.borrow_mut().outbox.pop_front()
    }

    /// How long the control core is to do nothing, told once.
    pub(crate) fn take_pause(&self) -> Option<Instant> {
        self.state.borrow_mut().pause_until.take()
    }

    fn expire(&self) {
        let now = clock::now().mono;
        self.gate.expire();
        self.state.borrow_mut().active.retain(|active| now < active.until);
    }

    fn check_shard(&self, fault: &Fault) -> Result<(), Refusal> {
        let (Fault::Disk { shard, .. } | Fault::Pause { shard }) = fault else { return Ok(()) };
        match shard {
            Some(shard) if *shard != ShardId::CONTROL && self.shards <= shard.0 => {
                let last = self.shards - 1;
                Err(Refusal(format!("there is no shard {shard}: name 0 to {last}, or `control`")))
            }
            _ => Ok(()),
        }
    }

    fn tell(&self, order: &FaultOrder) {
        self.gate.take(order.clone());
        let to_all = (0..self.cores).map(|core| (CoreId(core), Mail::Fault(order.clone())));
        self.state.borrow_mut().outbox.extend(to_all);
    }
}
