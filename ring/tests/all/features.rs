//! Every feature can be missing.

use std::io::{Read, Write};

use ring::{Feature, FeatureSet, PollMode, RingOptions, probe};

use crate::machine::{Echo, Route};
use crate::rig::{Core, config, folder, make_journal, pattern};

/// Runs an echo by way of durable writes with features switched off.
fn runs_without(disabled: FeatureSet) {
    let folder = folder();
    make_journal(folder.path());
    for poll in [PollMode::Park, PollMode::Adaptive { spin_us: 200 }] {
        let mut config = config(poll);
        config.ring.disabled = disabled;
        let core =
            Core::with_shard(config, folder.path(), |arena| Echo::new(Route::Durable, arena));
        assert_eq!(core.report.features.disabled, disabled);
        assert!(disabled.iter().all(|feature| !core.report.features.has(feature)));
        let mut stream = core.connect();
        for size in [1, 200, 5000, 100_000] {
            let bytes = pattern(size);
            stream.write_all(&bytes).expect("taken");
            let mut back = vec![0; size];
            stream.read_exact(&mut back).expect("everything comes back");
            assert!(back == bytes, "without {disabled}");
        }
        drop(stream);
        assert_ne!(core.counters.writes.get(), 0);
        core.stop_cleanly();
    }
}

#[test]
fn a_core_runs_without_any_one_feature() {
    for feature in Feature::ALL {
        runs_without(FeatureSet::EMPTY.with(*feature));
    }
}

#[test]
fn a_core_runs_without_all_features() {
    runs_without(Feature::ALL.iter().copied().collect());
}

#[test]
fn the_probe_finds_what_is_not_switched_off() {
    let all = probe(&RingOptions::default()).expect("io_uring is allowed here");
    for feature in Feature::ALL.iter().copied().filter(|feature| all.has(*feature)) {
        let disabled = FeatureSet::EMPTY.with(feature);
        let options = RingOptions { disabled, ..RingOptions::default() };
        let found = probe(&options).expect("fewer features need no more");
        assert!(!found.has(feature), "{}", feature.name());
        assert!(!found.missing.contains(feature), "{}", feature.name());
    }
}
