//! CreateTopics, DeleteTopics, CreatePartitions: each item becomes a proposal to the control core.

use std::sync::Arc;

use net::api::create_partitions::{self, CreatePartitionsTopicView};
use net::api::create_topics::{self, AssignmentView, CreatableTopicView};
use net::api::delete_topics;
use net::{Array, Empty, ErrorCode, each};
use replication::{NewPartitions, Place, Placement, Proposal, Topic, Uuid, topic_name};

use super::{Call, Served};
use crate::brokers::named_by;
use crate::core::Core;
use crate::job::{Job, Part};
use crate::refusal;

/// What an item of a request becomes.
pub(super) type Wish = Result<Proposal, ErrorCode>;

impl Core {
    pub(super) fn create_topics(
        &mut self,
        call: &Call<'_>,
        view: &create_topics::RequestView<'_>,
    ) -> Served {
        let mut wishes = Vec::with_capacity(view.topics.len());
        for topic in &view.topics {
            let times = view.topics.iter().filter(|other| other.name == topic.name).count();
            let wish =
                if times == 1 { self.creation(&topic) } else { Err(ErrorCode::InvalidRequest) };
            wishes.push(wish);
        }
        self.wish(call, wishes, view.validate_only)
    }

    pub(super) fn delete_topics(
        &mut self,
        call: &Call<'_>,
        view: &delete_topics::RequestView<'_>,
    ) -> Served {
        let topics = self.state.topics();
        let deletion = |known: Option<&Arc<Topic>>, unknown| match known {
            Some(topic) if topic_name::is_reserved(&topic.name) => Err(ErrorCode::PolicyViolation),
            Some(topic) => Ok(Proposal::DeleteTopic { topic: topic.number }),
            None => Err(unknown),
        };
        let by_name = |name| deletion(topics.by_name(name), ErrorCode::UnknownTopicOrPartition);
        let named = view.topic_names.iter().map(by_name);
        let wishes = view.topics.iter().map(|topic| match topic.name {
            Some(name) => by_name(name),
            None => deletion(topics.by_uuid(Uuid(topic.topic_id.0)), ErrorCode::UnknownTopicId),
        });
        let wishes = wishes.chain(named).collect();
        self.wish(call, wishes, false)
    }

    pub(super) fn create_partitions(
        &mut self,
        call: &Call<'_>,
        view: &create_partitions::RequestView<'_>,
    ) -> Served {
        let wishes = view.topics.iter().map(|topic| self.growth(&topic)).collect();
        self.wish(call, wishes, view.validate_only)
    }

    /// Sends what can be proposed to the control core; the job answers for all items.
    pub(super) fn wish(
        &mut self,
        call: &Call<'_>,
        wishes: Vec<Wish>,
        validate_only: bool,
    ) -> Served {
        let mut proposals = Vec::new();
        let mut parts = Vec::with_capacity(wishes.len());
        for wish in wishes {
            parts.push(match wish {
                Ok(proposal) => {
                    proposals.push(proposal);
                    Part::Proposed(proposals.len() - 1)
                }
                Err(code) => Part::Refused(code),
            });
        }
        let body = self.keep(call.body);
        self.propose(Job::new(call, body, parts), proposals, validate_only);
        Served::Yes
    }

    fn creation(&mut self, topic: &CreatableTopicView<'_>) -> Wish {
        if topic_name::is_reserved(topic.name) {
            return Err(ErrorCode::InvalidTopic);
        }
        let replication_factor = match topic.replication_factor {
            -1 => None,
            given => Some(u16::try_from(given).map_err(|_| ErrorCode::InvalidReplicationFactor)?),
        };
        let partitions = if topic.assignments.is_empty() {
            NewPartitions::Count(match topic.num_partitions {
                -1 => self.settings.default_partitions,
                given => u32::try_from(given).map_err(|_| ErrorCode::InvalidPartitions)?,
            })
        } else {
            NewPartitions::At(assigned(&topic.assignments)?)
        };
        let pair = |config: create_topics::TopicConfig<'_>| {
            (config.name.to_owned(), config.value.unwrap_or_default().to_owned())
        };
        Ok(Proposal::CreateTopic {
            name: topic.name.to_owned(),
            uuid: self.draw_uuid(),
            partitions,
            replication_factor,
            configs: topic.configs.iter().map(pair).collect(),
        })
    }

    fn growth(&self, topic: &CreatePartitionsTopicView<'_>) -> Wish {
        let known = self.state.topics().by_name(topic.name);
        let known = known.ok_or(ErrorCode::UnknownTopicOrPartition)?;
        if topic_name::is_reserved(&known.name) {
            // Groups are found by the number of partitions.
            return Err(ErrorCode::PolicyViolation);
        }
        let total = u32::try_from(topic.count).map_err(|_| ErrorCode::InvalidPartitions)?;
        let assigned = topic.assignments.into_iter().flatten();
        let places = assigned.map(|one| places(&one.broker_ids)).collect::<Result<_, _>>()?;
        Ok(Proposal::AddPartitions { topic: known.number, total, places })
    }

    pub(super) fn write_created(&mut self, job: &Job, view: &create_topics::RequestView<'_>) {
        let rows: Vec<_> = view
            .topics
            .iter()
            .zip(&job.parts)
            .map(|(topic, part)| {
                let (error_code, message) = outcome(job, part);
                let known = self.state.topics().by_name(topic.name).filter(|_| error_code.is_ok());
                (topic.name, error_code, message.or_else(|| warning(known?)), known)
            })
            .collect();
        let topics = each(rows.iter().map(|(name, error_code, message, known)| {
            create_topics::TopicResult {
                name,
                topic_id: net::Uuid(known.map_or([0; 16], |topic| topic.uuid.0)),
                error_code: *error_code,
                error_message: message.as_deref(),
                topic_config_error_code: ErrorCode::None,
                num_partitions: known.map_or(-1, |topic| topic.partitions.len() as i32),
                replication_factor: known.map_or(-1, |topic| topic.replication_factor() as i16),
                configs: error_code.is_ok().then_some(Empty),
            }
        }));
        self.out.respond(job.reply_to, create_topics::Response { throttle_time_ms: 0, topics });
    }

    pub(super) fn write_deleted(&mut self, job: &Job, view: &delete_topics::RequestView<'_>) {
        let by_id = view.topics.iter().map(|topic| (topic.name, topic.topic_id));
        let asked = by_id.chain(view.topic_names.iter().map(|name| (Some(name), net::Uuid::ZERO)));
        let rows: Vec<_> =
            asked.zip(&job.parts).map(|(asked, part)| (asked, outcome(job, part))).collect();
        let responses = each(rows.iter().map(|((name, id), (error_code, message))| {
            delete_topics::TopicResult {
                name: *name,
                topic_id: *id,
                error_code: *error_code,
                error_message: message.as_deref(),
            }
        }));
        let response = delete_topics::Response { throttle_time_ms: 0, responses };
        self.out.respond(job.reply_to, response);
    }

    pub(super) fn write_grown(&mut self, job: &Job, view: &create_partitions::RequestView<'_>) {
        let rows: Vec<_> = view
            .topics
            .iter()
            .zip(&job.parts)
            .map(|(topic, part)| (topic.name, outcome(job, part)))
            .collect();
        let results = each(rows.iter().map(|(name, (error_code, message))| {
            create_partitions::CreatePartitionsTopicResult {
                name,
                error_code: *error_code,
                error_message: message.as_deref(),
            }
        }));
        let response = create_partitions::Response { throttle_time_ms: 0, results };
        self.out.respond(job.reply_to, response);
    }
}

/// Manual assignments, which must name every partition once, from 0 on, each with the brokers of
/// either view that shall hold it, the preferred leader first.
fn assigned(assignments: &Array<'_, AssignmentView<'_>>) -> Result<Vec<Vec<Place>>, ErrorCode> {
    let mut assigned = vec![None; assignments.len()];
    for assignment in assignments {
        let index = usize::try_from(assignment.partition_index).unwrap_or(usize::MAX);
        let free = assigned.get_mut(index).filter(|places| places.is_none());
        *free.ok_or(ErrorCode::InvalidReplicaAssignment)? = Some(places(&assignment.broker_ids)?);
    }
    assigned.into_iter().collect::<Option<_>>().ok_or(ErrorCode::InvalidReplicaAssignment)
}

/// The places that broker ids name: nodes, or shards of nodes.
pub(super) fn places(brokers: &Array<'_, i32>) -> Result<Vec<Place>, ErrorCode> {
    let place = |id| match named_by(id)? {
        (node, None) => Some(Place::Node(node)),
        (node, Some(shard)) => Some(Place::Shard(Placement { node, shard })),
    };
    let places = brokers.iter().map(place).collect::<Option<Vec<_>>>();
    places.filter(|places| !places.is_empty()).ok_or(ErrorCode::InvalidReplicaAssignment)
}

/// What an operator should know of a topic that was created as asked.
fn warning(topic: &Topic) -> Option<String> {
    (topic.replication_factor() == 2)
        .then(|| "with 2 replicas, losing either one stops the partition".to_owned())
}

/// What became of one item: its error and the sentence that goes with it.
pub(super) fn outcome(job: &Job, part: &Part) -> (ErrorCode, Option<String>) {
    match part {
        Part::Refused(code) => (*code, Some(code.to_string())),
        Part::Proposed(index) | Part::ProposedFor(index, _) => match &job.results[*index] {
            Ok(()) => (ErrorCode::None, None),
            Err(rejected) => (refusal::rejected(rejected), Some(rejected.to_string())),
        },
        other => panic!("a proposal answered with {other:?}"),
    }
}
