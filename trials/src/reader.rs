//! Reads whole partitions with librdkafka, and holds them against a ledger.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use crate::ledger::{Found, Ledger, Verdict};
use crate::producers::{Load, client_config};
use crate::record::{Stamp, digest};
use crate::{Outcome, Trouble};

/// How long a reader waits for the next record.
const PATIENCE: Duration = Duration::from_secs(20);
/// No record for so long: a damaged partition has served what it can.
const SILENCE: Duration = Duration::from_secs(3);

/// Reads every partition of the load's topic and audits it.
pub fn audit(load: &Load, ledger: &Ledger) -> Outcome<Verdict> {
    let partitions: Vec<i32> = (0..load.partitions).collect();
    audit_partitions(load, ledger, &partitions)
}

/// Reads some partitions of the load's topic and audits them; the ledger must know no other.
pub fn audit_partitions(load: &Load, ledger: &Ledger, partitions: &[i32]) -> Outcome<Verdict> {
    let log = read(load, partitions)?;
    let digest_of = |stamp: Stamp| {
        let record = stamp.record(load.run, load.body_bytes_max);
        digest(&record.key, &record.value)
    };
    Ok(ledger.audit(&log, digest_of))
}

/// What a damaged partition still serves: from its start until its end, an error or silence.
pub fn read_until_error(load: &Load, partition: i32) -> Outcome<Vec<Found>> {
    let consumer = connect(load)?;
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(&load.topic, partition, Offset::Offset(0))?;
    consumer.assign(&assignment)?;
    let mut records = Vec::new();
    let mut deadline = Instant::now() + SILENCE;
    while Instant::now() < deadline {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                records.push(found(load, &message));
                deadline = Instant::now() + SILENCE;
            }
            Some(Err(_)) => break,
            None => {}
        }
    }
    Ok(records)
}

/// Every record that the partitions hold now, in the order of arrival.
fn read(load: &Load, partitions: &[i32]) -> Outcome<HashMap<i32, Vec<Found>>> {
    let consumer = connect(load)?;
    let mut log = HashMap::new();
    let mut ends = HashMap::new();
    let mut missing = 0;
    let mut assignment = TopicPartitionList::new();
    for partition in partitions {
        let (start, end) = watermarks(&consumer, &load.topic, *partition)?;
        missing += end - start;
        ends.insert(*partition, end);
        log.insert(*partition, Vec::with_capacity((end - start) as usize));
        if start < end {
            assignment.add_partition_offset(&load.topic, *partition, Offset::Offset(start))?;
        }
    }
    consumer.assign(&assignment)?;
    let mut deadline = Instant::now() + PATIENCE;
    while 0 < missing {
        match consumer.poll(Duration::from_millis(200)) {
            Some(message) => {
                let message = message?;
                // What producers append meanwhile takes no other record's place.
                if message.offset() < ends[&message.partition()] {
                    log.entry(message.partition()).or_default().push(found(load, &message));
                    missing -= 1;
                }
                deadline = Instant::now() + PATIENCE;
            }
            None if deadline < Instant::now() => {
                let why = format!("{missing} records did not arrive within {PATIENCE:?}");
                return Err(Trouble::failed(why));
            }
            None => {}
        }
    }
    Ok(log)
}

/// The ends of a partition. A leader that is just changing is asked again.
fn watermarks(consumer: &BaseConsumer, topic: &str, partition: i32) -> Outcome<(i64, i64)> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match consumer.fetch_watermarks(topic, partition, PATIENCE) {
            Ok(ends) => return Ok(ends),
            Err(error) if deadline < Instant::now() => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

fn connect(load: &Load) -> Outcome<BaseConsumer> {
    let consumer = client_config(&load.bootstrap)
        .set("group.id", "trials") // unused, but librdkafka assigns nothing without
        .set("enable.auto.commit", "false")
        .set("check.crcs", "true")
        .set("auto.offset.reset", "error")
        .set("fetch.wait.max.ms", "100")
        .create()?;
    Ok(consumer)
}

fn found(load: &Load, message: &impl Message) -> Found {
    let (key, value) = (message.key().unwrap_or_default(), message.payload().unwrap_or_default());
    Found {
        offset: message.offset(),
        stamp: Stamp::read(load.run, value),
        digest: digest(key, value),
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;

    use super::*;
    use crate::producers::Producers;

    /// The whole chain against librdkafka's own mock broker.
    #[test]
    fn what_producers_were_told_is_found_by_the_reader() {
        let broker = MockCluster::new(1).unwrap();
        broker.create_topic("ledger", 3, 1).unwrap();
        let load = Load {
            bootstrap: broker.bootstrap_servers(),
            topic: "ledger".into(),
            partitions: 3,
            producers: 2,
            records_per_s: 2000,
            body_bytes_max: 100,
            run: 42,
            answer_within: Duration::from_secs(20),
        };
        let producers = Producers::start(&load).unwrap();
        producers.await_acks(500, Duration::from_secs(20)).unwrap();
        let mut ledger = producers.finish().unwrap();
        let verdict = audit(&load, &ledger).unwrap();
        assert!(verdict.is_clean(), "{verdict}");
        assert_eq!(verdict.acked, verdict.found);
        ledger.acks[7].offset += 1_000_000;
        assert_eq!(audit(&load, &ledger).unwrap().lost(), 1, "a ledger that claims more");
    }
}
