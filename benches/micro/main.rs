//! `cargo bench -p benches --bench micro [NAME]`: what the parts of a record's way take in time.

mod files;
mod log;
mod node;
mod scenarios;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

use scenarios::SCENARIOS;

fn each(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("record");
    for scenario in SCENARIOS {
        group.throughput(Throughput::Elements(scenario.records));
        let mut step = (scenario.prepare)();
        group.bench_function(scenario.name, |bench| bench.iter(&mut step));
    }
}

criterion_group!(benches, each);
criterion_main!(benches);
