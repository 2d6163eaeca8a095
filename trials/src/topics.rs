//! Topics made, shortened and unmade with librdkafka's admin client.

use std::collections::HashMap;
use std::time::Duration;

use futures_executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use crate::producers::client_config;
use crate::{Outcome, Trouble};

const LIMIT: Duration = Duration::from_secs(20);

/// Makes a topic with the server's defaults.
pub fn create(bootstrap: &str, name: &str, partitions: i32) -> Outcome<()> {
    create_replicated(bootstrap, name, partitions, 1)
}

/// Makes a topic with so many replicas of each partition.
pub fn create_replicated(
    bootstrap: &str,
    name: &str,
    partitions: i32,
    replicas: i32,
) -> Outcome<()> {
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(replicas));
    let (client, options) = admin(bootstrap)?;
    let results = block_on(client.create_topics([&topic], &options))?;
    each(results.into_iter().map(|result| result.map(drop).map_err(|(_, code)| code)))
}

pub fn delete(bootstrap: &str, name: &str) -> Outcome<()> {
    let (client, options) = admin(bootstrap)?;
    let results = block_on(client.delete_topics(&[name], &options))?;
    each(results.into_iter().map(|result| result.map(drop).map_err(|(_, code)| code)))
}

/// Gives up every record before the offset of each partition in `before`.
pub fn delete_records(bootstrap: &str, name: &str, before: &HashMap<i32, i64>) -> Outcome<()> {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in before {
        list.add_partition_offset(name, *partition, Offset::Offset(*offset))?;
    }
    let (client, options) = admin(bootstrap)?;
    let answered = block_on(client.delete_records(&list, &options))?;
    each(answered.elements().iter().map(|element| element.error()))
}

/// The first and the next offset of each partition.
pub fn watermarks(
    bootstrap: &str,
    name: &str,
    partitions: i32,
) -> Outcome<HashMap<i32, (i64, i64)>> {
    let consumer: BaseConsumer = client_config(bootstrap).set("group.id", "trials").create()?;
    (0..partitions)
        .map(|partition| Ok((partition, consumer.fetch_watermarks(name, partition, LIMIT)?)))
        .collect()
}

fn admin(bootstrap: &str) -> Outcome<(AdminClient<DefaultClientContext>, AdminOptions)> {
    let options = AdminOptions::new().operation_timeout(Some(LIMIT)).request_timeout(Some(LIMIT));
    Ok((client_config(bootstrap).create()?, options))
}

fn each<E: std::fmt::Debug>(mut results: impl Iterator<Item = Result<(), E>>) -> Outcome<()> {
    match results.find_map(Result::err) {
        Some(error) => Err(Trouble::failed(format!("the server refused: {error:?}"))),
        None => Ok(()),
    }
}
