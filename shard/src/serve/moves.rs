//! AlterPartitionReassignments, ListPartitionReassignments and ElectLeaders.

use core::cell::Cell;

use base::{Listener, PartitionId};
use net::api::elect_leaders::{PartitionResult, ReplicaElectionResult};
use net::api::list_partition_reassignments::{
    self, OngoingPartitionReassignment, OngoingTopicReassignment,
};
use net::api::{alter_partition_reassignments, elect_leaders};
use net::{ErrorCode, each};
use replication::{Partition, Placement, Proposal, Topic};

use super::topics::{Wish, outcome, places};
use super::{Call, Served};
use crate::brokers::broker_id;
use crate::core::Core;
use crate::job::{Job, Part};

/// A partition of an answer: its index, how it went, and the sentence that goes with it.
type Elected = (i32, ErrorCode, Option<String>);

/// Kafka's election types.
const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;

impl Core {
    pub(super) fn reassign(
        &mut self,
        call: &Call<'_>,
        view: &alter_partition_reassignments::RequestView<'_>,
    ) -> Served {
        let keeps_factor = !view.allow_replication_factor_change;
        let mut wishes: Vec<Wish> = Vec::new();
        for topic in &view.topics {
            for wanted in &topic.partitions {
                let id = self.partition_named(topic.name, wanted.partition_index);
                wishes.push(id.and_then(|(partition, known)| {
                    let places = wanted.replicas.map(|brokers| places(&brokers)).transpose()?;
                    let replicas = known.replicas.len();
                    if keeps_factor && places.as_ref().is_some_and(|to| to.len() != replicas) {
                        return Err(ErrorCode::InvalidReplicationFactor);
                    }
                    Ok(Proposal::Reassign { partition, places })
                }));
            }
        }
        self.wish(call, wishes, false)
    }

    /// The hand-over or election begins when this is answered; Metadata tells of its end.
    pub(super) fn elect_leaders(
        &mut self,
        call: &Call<'_>,
        view: &elect_leaders::RequestView<'_>,
    ) -> Served {
        let wish = |partition| match view.election_type {
            PREFERRED => Ok(Proposal::PreferLeader { partition }),
            UNCLEAN => Ok(Proposal::ElectUnclean { partition }),
            _ => Err(ErrorCode::InvalidRequest),
        };
        let Some(topics) = view.topic_partitions else {
            return self.elect_everywhere(call, view.election_type, wish);
        };
        let mut wishes: Vec<Wish> = Vec::new();
        for topic in &topics {
            for index in &topic.partitions {
                let id = self.partition_named(topic.topic, index);
                wishes.push(id.and_then(|(partition, _)| wish(partition)));
            }
        }
        self.wish(call, wishes, false)
    }

    /// For all partitions that need it.
    fn elect_everywhere(
        &mut self,
        call: &Call<'_>,
        election_type: i8,
        wish: impl Fn(PartitionId) -> Wish,
    ) -> Served {
        let (mut parts, mut proposals) = (Vec::new(), Vec::new());
        for topic in self.state.topics().iter() {
            for (id, partition) in topic.partition_ids().zip(&topic.partitions) {
                let leader = partition.leader.map(|leader| leader.placement);
                let needs = match election_type {
                    PREFERRED => leader.is_some_and(|leader| leader != partition.preferred()),
                    _ => leader.is_none(),
                };
                if needs && let Ok(proposal) = wish(id) {
                    parts.push(Part::ProposedFor(proposals.len(), id));
                    proposals.push(proposal);
                }
            }
        }
        let body = self.keep(call.body);
        self.propose(Job::new(call, body, parts), proposals, false);
        Served::Yes
    }

    pub(super) fn list_reassignments(
        &mut self,
        call: &Call<'_>,
        view: &list_partition_reassignments::RequestView<'_>,
    ) -> Served {
        let state = std::sync::Arc::clone(&self.state);
        let asked = |topic: &Topic, index: usize| {
            view.topics.is_none_or(|topics| {
                topics.iter().any(|one| {
                    one.name == &*topic.name
                        && one.partition_indexes.iter().any(|asked| asked as usize == index)
                })
            })
        };
        let moving = |topic: &'_ Topic| -> Vec<(usize, Partition)> {
            let all = topic.partitions.iter().copied().enumerate();
            let moving = all.filter(|(_, partition)| partition.reassignment.is_some());
            moving.filter(|(index, _)| asked(topic, *index)).collect()
        };
        let rows: Vec<_> = state
            .topics()
            .iter()
            .map(|topic| (topic, moving(topic)))
            .filter(|(_, moving)| !moving.is_empty())
            .collect();
        let response = list_partition_reassignments::Response {
            throttle_time_ms: 0,
            error_code: ErrorCode::None,
            error_message: None,
            topics: each(rows.iter().map(|(topic, moving)| {
                OngoingTopicReassignment {
                    name: &topic.name,
                    partitions: each(
                        moving
                            .iter()
                            .map(|(index, partition)| ongoing(call.listener, *index, partition)),
                    ),
                }
            })),
        };
        self.answer(call, response)
    }

    pub(super) fn write_reassigned(
        &mut self,
        job: &Job,
        view: &alter_partition_reassignments::RequestView<'_>,
    ) {
        let outcomes: Vec<_> = job.parts.iter().map(|part| outcome(job, part)).collect();
        let next = Cell::new(0);
        let next = || &outcomes[next.replace(next.get() + 1)];
        let next = &next;
        let responses = each(view.topics.iter().map(|topic| {
            alter_partition_reassignments::ReassignableTopicResponse {
                name: topic.name,
                partitions: each(topic.partitions.iter().map(|wanted| {
                    let (error_code, message) = next();
                    alter_partition_reassignments::ReassignablePartitionResponse {
                        partition_index: wanted.partition_index,
                        error_code: *error_code,
                        error_message: message.as_deref(),
                    }
                })),
            }
        }));
        let response = alter_partition_reassignments::Response {
            throttle_time_ms: 0,
            allow_replication_factor_change: view.allow_replication_factor_change,
            error_code: ErrorCode::None,
            error_message: None,
            responses,
        };
        self.out.respond(job.reply_to, response);
    }

    pub(super) fn write_elected(&mut self, job: &Job, view: &elect_leaders::RequestView<'_>) {
        let mut outcomes = job.parts.iter().map(|part| outcome(job, part));
        let mut rows: Vec<(String, Vec<Elected>)> = Vec::new();
        if let Some(topics) = view.topic_partitions {
            for topic in &topics {
                let partitions = topic.partitions.iter().zip(&mut outcomes);
                let partitions = partitions.map(|(index, (code, message))| (index, code, message));
                rows.push((topic.topic.to_owned(), partitions.collect()));
            }
        } else {
            for (part, (code, message)) in job.parts.iter().zip(outcomes) {
                let Part::ProposedFor(_, id) = part else { continue };
                let Some(topic) = self.state.topics().by_number(id.topic) else { continue };
                if rows.last().is_none_or(|(name, _)| **name != *topic.name) {
                    rows.push((topic.name.to_string(), Vec::new()));
                }
                let (_, partitions) = rows.last_mut().expect("just pushed");
                partitions.push((id.index as i32, code, message));
            }
        }
        let replica_election_results = each(rows.iter().map(|(topic, partitions)| {
            let partition_result =
                each(partitions.iter().map(|(partition_id, code, message)| PartitionResult {
                    partition_id: *partition_id,
                    error_code: *code,
                    error_message: message.as_deref(),
                }));
            ReplicaElectionResult { topic, partition_result }
        }));
        let response = elect_leaders::Response {
            throttle_time_ms: 0,
            error_code: ErrorCode::None,
            replica_election_results,
        };
        self.out.respond(job.reply_to, response);
    }

    fn partition_named(
        &self,
        topic: &str,
        index: i32,
    ) -> Result<(PartitionId, Partition), ErrorCode> {
        let topic = self.state.topics().by_name(topic);
        let topic = topic.ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let index = u32::try_from(index).map_err(|_| ErrorCode::UnknownTopicOrPartition)?;
        let partition = topic.partitions.get(index as usize);
        let partition = partition.ok_or(ErrorCode::UnknownTopicOrPartition)?;
        Ok((PartitionId::new(topic.number, index), *partition))
    }
}

/// A move as Kafka tells it.
fn ongoing(
    listener: Listener,
    index: usize,
    partition: &Partition,
) -> OngoingPartitionReassignment<impl net::List<i32>, impl net::List<i32>, impl net::List<i32>> {
    let target = partition.reassignment.map_or(partition.replicas, |moving| moving.target);
    let replicas = partition.replicas;
    let ids = |members: Vec<Placement>| {
        let ids = members.into_iter().map(move |at| broker_id(listener, at));
        let ids: Vec<i32> = ids.collect();
        each((0..ids.len()).map(move |index| ids[index]))
    };
    let without = |some: &[Placement], others: &[Placement]| {
        some.iter().filter(|at| !others.contains(at)).copied().collect()
    };
    OngoingPartitionReassignment {
        partition_index: index as i32,
        replicas: ids(partition.members().collect()),
        adding_replicas: ids(without(&target, &replicas)),
        removing_replicas: ids(without(&replicas, &target)),
    }
}
