//! A steady engine allocates nothing on the way of a record.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use base::{Batch, Committed, Offset, Span};
use common::{Rig, batch, config, id};
use engine::{AppendError, Engine, PartitionSettings};

/// Completes everything at once, and forgets it.
fn step(engine: &mut Engine, now: base::Now) {
    engine.turn(now);
    while let Some(op) = engine.poll_op() {
        engine.done(now, op.answer(Ok(())));
    }
    while let Some((id, durable)) = engine.poll_durable() {
        engine.commit(id, Committed(durable.0));
    }
}

/// Appends, makes durable, commits, reads from memory.
fn rounds(rig: &mut Rig, bytes: &[u8], spans: &mut Vec<Span>, count: u64) {
    for round in 0..count {
        rig.now.mono.0 += 10_000_000;
        let now = rig.now;
        let partition = id((round % 8) as u32);
        while let Err(error) = rig.engine.append(now, partition, Batch::parse(bytes).unwrap()) {
            assert_eq!(error, AppendError::Busy);
            step(&mut rig.engine, now);
        }
        step(&mut rig.engine, now);
        let end = rig.engine.committed(partition).unwrap().0;
        spans.clear();
        let from = Offset(end.0 - 1);
        rig.engine.read(partition, from, 10_000, true, spans).unwrap();
        for span in spans.iter() {
            let pin = rig.engine.pin(*span);
            rig.engine.unpin(pin);
        }
    }
}

#[test]
fn append_durability_and_reads_from_memory_allocate_nothing() {
    let mut rig = Rig::new(config());
    for index in 0..8 {
        rig.create(id(index), 1);
        let retention_bytes = Some(50_000);
        rig.engine
            .set_settings(id(index), PartitionSettings { retention_bytes, ..Default::default() });
    }
    let bytes = batch(&[&[7; 200]], rig.now.wall.0);
    let mut spans = Vec::with_capacity(64);
    rounds(&mut rig, &bytes, &mut spans, 20_000);
    // Between two bouts of destage.
    let least = (0..50)
        .map(|_| allocation_counter::measure(|| rounds(&mut rig, &bytes, &mut spans, 40)))
        .map(|info| info.count_total)
        .min();
    assert_eq!(least, Some(0));
    let all = allocation_counter::measure(|| rounds(&mut rig, &bytes, &mut spans, 20_000));
    println!("{} allocations in 20,000 rounds with all that goes on behind", all.count_total);
    assert!(all.count_total < 20_000 / 4, "{all:?}");
}
