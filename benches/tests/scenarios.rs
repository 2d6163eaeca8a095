//! Every part that is measured does what its name says, more than once; and in steady state no request
//! takes memory from the heap, counted over a whole node, from the bytes of the request to those of
//! the answer.

#[path = "../micro/files.rs"]
mod files;
#[path = "../micro/log.rs"]
mod log;
#[path = "../micro/node.rs"]
mod node;
#[path = "../micro/scenarios.rs"]
mod scenarios;

use ring::{CountingAllocator, allocations};

#[global_allocator]
static COUNTING: CountingAllocator = CountingAllocator;

/// Requests until whatever grows by doubling has room for some more.
const WARM_UP: usize = 1100;
const COUNTED: usize = 200;

#[test]
fn every_scenario_takes_its_steps() {
    for scenario in scenarios::SCENARIOS {
        let mut step = (scenario.prepare)();
        step();
        step();
        assert!(0 < scenario.records, "{}", scenario.name);
    }
}

#[test]
fn requests_take_no_memory_in_steady_state() {
    for name in [
        "core view: produce and ack",
        "node view: the same, relayed",
        "core view: fetch a batch",
        "node view: the same, from another core",
    ] {
        let scenario = scenarios::SCENARIOS.iter().find(|scenario| scenario.name == name);
        let mut step = (scenario.expect("it is measured").prepare)();
        (0..WARM_UP).for_each(|_| step());
        let before = allocations::taken();
        (0..COUNTED).for_each(|_| step());
        let taken = allocations::taken() - before;
        assert_eq!(taken, 0, "{name}: {taken} times in {COUNTED} requests");
    }
}
