//! Batches to the leaders of their partitions.
//!
//! A batch is sent again only after the server refused it for a reason that passes: then it was not
//! appended. When a connection breaks while answers are due, nobody knows, and the command says so.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use net::api::produce;
use net::{ErrorCode, Records, ReplyTo, each};

use super::{Acks, ProduceArgs};
use crate::client::{ClientError, Cluster, Topic};
use crate::failure::Failure;

const RETRY: Duration = Duration::from_millis(100);

/// See the module's description.
#[derive(Debug)]
pub(super) struct Delivery {
    cluster: Cluster,
    topic: Topic,
    acks: Acks,
}

/// Batches by partition.
pub(super) type Batches = BTreeMap<i32, Vec<u8>>;

impl Delivery {
    pub(super) fn start(args: &ProduceArgs) -> Result<Self, Failure> {
        let mut cluster = args.server.connect()?;
        let topic = cluster.topic(&args.topic, true)?;
        if let Some(partition) = args.partition
            && topic.partitions.len() <= partition as usize
        {
            let topic = topic.name;
            return Err(ClientError::NoPartition { topic, partition }.into());
        }
        Ok(Self { cluster, topic, acks: args.acks })
    }

    pub(super) fn partition_count(&self) -> usize {
        self.topic.partitions.len()
    }

    /// Returns once every batch is acknowledged.
    pub(super) fn deliver(&mut self, mut batches: Batches) -> Result<(), ClientError> {
        let give_up_at = Instant::now() + self.cluster.patience();
        loop {
            let Some(passing) = self.attempt(&mut batches)? else { return Ok(()) };
            if give_up_at < Instant::now() {
                return Err(passing);
            }
            std::thread::sleep(RETRY);
            self.topic = self.cluster.topic(&self.topic.name, false)?;
        }
    }

    /// Sends every batch once and keeps those that were refused for a passing reason, which is
    /// returned.
    fn attempt(&mut self, batches: &mut Batches) -> Result<Option<ClientError>, ClientError> {
        let mut asked = Vec::new();
        let mut passing = None;
        for (leader, partitions) in self.by_leader(batches) {
            let of_leader: Vec<_> =
                partitions.iter().map(|index| (*index, batches[index].as_slice())).collect();
            match self.send(leader, &of_leader) {
                Ok(to) => asked.push((leader, to)),
                // Nothing was sent, so nothing can have been appended.
                Err(error @ ClientError::Unreachable { .. }) => passing = Some(error),
                Err(error) => return Err(error),
            }
            if self.acks == Acks::None {
                batches.retain(|index, _| !partitions.contains(index));
            }
        }
        if self.acks != Acks::None {
            for (leader, to) in asked {
                passing = self.receive(leader, to, batches)?.or(passing);
            }
        }
        Ok(passing)
    }

    fn by_leader(&self, batches: &Batches) -> BTreeMap<i32, Vec<i32>> {
        let mut leaders = BTreeMap::<i32, Vec<i32>>::new();
        for index in batches.keys() {
            let partition = &self.topic.partitions[*index as usize];
            let leader = partition.leader.expect("a topic is taken once all are led");
            leaders.entry(leader).or_default().push(*index);
        }
        leaders
    }

    fn send(&mut self, leader: i32, batches: &[(i32, &[u8])]) -> Result<ReplyTo, ClientError> {
        let timeout_ms = self.cluster.patience().as_millis().try_into().unwrap_or(i32::MAX);
        let acks = match self.acks {
            Acks::All => -1,
            Acks::Leader => 1,
            Acks::None => 0,
        };
        let request = produce::Request {
            transactional_id: None,
            acks,
            timeout_ms,
            topic_data: [produce::TopicData {
                name: &self.topic.name,
                partition_data: each(batches.iter().map(|(index, batch)| produce::PartitionData {
                    index: *index,
                    records: Some(Records::Bytes(batch)),
                })),
            }],
        };
        self.cluster.broker(leader)?.send(request)
    }

    /// Drops the acknowledged batches.
    fn receive(
        &mut self,
        leader: i32,
        to: ReplyTo,
        batches: &mut Batches,
    ) -> Result<Option<ClientError>, ClientError> {
        let name = &self.topic.name;
        let response = self.cluster.broker(leader)?.receive::<produce::RequestView<'_>>(to)?;
        let mut passing = None;
        for answer in response.responses.iter().flat_map(|topic| topic.partition_responses.iter()) {
            let index = answer.index;
            let subject = || format!("writing to {name}-{index}");
            match ClientError::check(subject, answer.error_code, answer.error_message) {
                Ok(()) => drop(batches.remove(&index)),
                Err(error) if error.is_passing() => passing = Some(error),
                Err(ClientError::Refused { subject, code: ErrorCode::MessageTooLarge, .. }) => {
                    return Err(ClientError::BatchTooLarge(subject));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(passing)
    }
}
