//! What every part of the reactor performs I/O with.

use std::os::fd::RawFd;
use std::sync::Arc;

use base::{CoreId, ShardId, Span};

use crate::counters::ReactorCounters;
use crate::feature::Feature;
use crate::flight::{Flight, FlightId, Flights, Kind};
use crate::memory::{Lasting, Mapping};
use crate::uring::{Target, Uring};

/// One core's ring and what flies on it.
#[derive(Debug)]
pub(crate) struct Io {
    pub(crate) uring: Uring,
    pub(crate) flights: Flights,
    pub(crate) counters: Arc<ReactorCounters>,
    pub(crate) arenas: Vec<ArenaPlace>,
    /// A planted mutant.
    pub(crate) forgets_dsync: bool,
}

/// Where a shard's arena lies, and its place among the registered buffers.
#[derive(Debug)]
pub(crate) struct ArenaPlace {
    pub(crate) shard: ShardId,
    pub(crate) mapping: Mapping,
    pub(crate) buffer: Option<u16>,
    /// The place that it is to have once it is resident.
    pub(crate) wanted: Option<u16>,
}

impl Io {
    pub(crate) fn launch(&mut self, target: Target, flight: Flight) -> FlightId {
        self.counters.submissions.add(1);
        self.flights.launch(&mut self.uring, target, flight)
    }

    /// Whether peers are woken through their rings.
    pub(crate) fn nudges(&self) -> bool {
        self.uring.features().has(Feature::MsgRing)
    }

    /// Wakes `core`, which sleeps on `ring`, with the next enter.
    pub(crate) fn nudge(&mut self, ring: RawFd, core: CoreId) {
        self.counters.submissions.add(1);
        self.uring.nudge(ring, Kind::Nudge.user_data(0), Kind::NudgeFailed.user_data(core.0));
    }

    /// Leaves arenas as resident and as registered as they are.
    pub(crate) fn stop_populating(&mut self) {
        for place in &mut self.arenas {
            place.mapping.stop_populating();
            place.wanted = None;
        }
    }

    /// Registers the arenas that have become resident: registering others would wait for their
    /// pages.
    pub(crate) fn register_arenas(&mut self) {
        for place in &mut self.arenas {
            let resident = place.wanted.take_if(|_| place.mapping.is_resident());
            let Some(number) = resident else { continue };
            if self.uring.register_arena(number, &place.mapping).is_ok() {
                place.buffer = Some(number);
                self.counters.registered_arenas.add(1);
            }
        }
    }

    pub(crate) fn arena(&self, shard: ShardId) -> &ArenaPlace {
        let place = self.arenas.iter().find(|place| place.shard == shard);
        place.unwrap_or_else(|| panic!("shard {shard} has no arena on this core"))
    }
}

impl ArenaPlace {
    /// `bytes`, which `span` names, with the proof that they stay mapped.
    pub(crate) fn lasting(&self, bytes: Option<&[u8]>, span: Span) -> Lasting {
        let shard = self.shard;
        let bytes =
            bytes.unwrap_or_else(|| panic!("{span:?} of shard {shard} is pinned, yet reclaimed"));
        self.mapping.lasting(bytes).unwrap_or_else(|| {
            panic!("the arena of shard {shard} does not lie in the mapping given for it")
        })
    }
}
