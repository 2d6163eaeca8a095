//! Every part that is measured does what its name says, more than once.

#[path = "../micro/files.rs"]
mod files;
#[path = "../micro/log.rs"]
mod log;
#[path = "../micro/node.rs"]
mod node;
#[path = "../micro/scenarios.rs"]
mod scenarios;

#[test]
fn every_scenario_takes_its_steps() {
    for scenario in scenarios::SCENARIOS {
        let mut step = (scenario.prepare)();
        step();
        step();
        assert!(0 < scenario.records, "{}", scenario.name);
    }
}
