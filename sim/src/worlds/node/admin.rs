//! A simulated administrator: creates and deletes topics until they are as the catalogue wants.

use base::{Listener, Offset, PartitionId, ShardId};
use net::api::create_topics::{self, CreatableTopic, TopicConfig};
use net::api::{delete_records, delete_topics};
use net::{Empty, ErrorCode, decode_response, each};

use super::Scene;
use super::catalogue::Stay;
use super::line::{Line, garbled};
use crate::violation::{Checker, Violation};

const CREATE_VERSION: i16 = 5;
const DELETE_VERSION: i16 = 4;
const RECORDS_VERSION: i16 = 2;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Admin {
    /// A question about records went to a shard that does not lead them.
    turned_away: bool,
    line: Line<Question>,
}

#[derive(Debug)]
enum Question {
    Create(String),
    Delete(String),
    Records(PartitionId, Offset),
}

impl Admin {
    pub(super) fn is_idle(&self) -> bool {
        self.line.pending() == 0
    }

    /// Asks for the next thing that is not as it should be.
    pub(super) fn step(&mut self, scene: &mut Scene<'_>) {
        if !self.line.is_connected(scene.wire) {
            self.connect(scene);
        }
        if 3 < self.line.pending() {
            return;
        }
        let now = scene.host.now();
        let topics = &mut scene.catalogue.topics;
        let due = |topic: &&mut super::catalogue::Topic| {
            matches!(topic.stay, Stay::Wanted | Stay::Unwanted)
        };
        let Some(topic) = topics.iter_mut().find(due) else { return };
        if topic.stay == Stay::Unwanted {
            topic.stay = Stay::Going;
            let request = delete_topics::Request {
                topics: Empty,
                topic_names: [topic.name.as_str()],
                timeout_ms: 30_000,
            };
            let question = Question::Delete(topic.name.clone());
            return self.line.ask(now, scene.wire, DELETE_VERSION, request, question);
        }
        topic.stay = Stay::Coming;
        let configs = topic.configs.iter();
        let request = create_topics::Request {
            topics: [CreatableTopic {
                name: &topic.name,
                num_partitions: topic.partitions as i32,
                replication_factor: 1,
                assignments: Empty,
                configs: each(
                    configs.map(|(name, value)| TopicConfig { name, value: Some(value) }),
                ),
            }],
            timeout_ms: 30_000,
            validate_only: false,
        };
        self.line.ask(
            now,
            scene.wire,
            CREATE_VERSION,
            request,
            Question::Create(topic.name.clone()),
        );
    }

    /// Asks to forget a partition's records before `offset`.
    pub(super) fn delete_records(
        &mut self,
        scene: &mut Scene<'_>,
        partition: PartitionId,
        offset: Offset,
    ) {
        let Some(topic) = scene.catalogue.topic(partition) else { return };
        if !self.line.is_connected(scene.wire) {
            return;
        }
        let now = scene.host.now();
        let request = delete_records::Request {
            topics: [delete_records::RecordsTopic {
                name: topic.name.as_str(),
                partitions: [delete_records::RecordsPartition {
                    partition_index: partition.index as i32,
                    offset: offset.0 as i64,
                }],
            }],
            timeout_ms: 30_000,
        };
        scene.ledger.delete_requested(partition, offset);
        scene.host.say("asked to delete records", format_args!("{partition} before {offset}"));
        let question = Question::Records(partition, offset);
        self.line.ask(now, scene.wire, RECORDS_VERSION, request, question);
    }

    /// Takes the answers that have come.
    pub(super) fn observe(&mut self, scene: &mut Scene<'_>) -> Result<(), Violation> {
        if !self.line.is_connected(scene.wire) && 0 < self.line.pending() {
            self.line = Line::default();
            scene.catalogue.disconnected();
        }
        for (question, answer) in self.line.answers(scene.wire)? {
            match question {
                Question::Create(name) => self.created(scene, &name, &answer)?,
                Question::Delete(name) => self.deleted(scene, &name, &answer)?,
                Question::Records(partition, offset) => {
                    self.records_deleted(scene, partition, offset, &answer)?;
                }
            }
        }
        // In the core view a port speaks for its own shard alone: the next one may be another's.
        if self.turned_away && self.is_idle() {
            self.turned_away = false;
            self.line.hang_up(scene.host.now(), scene.node, scene.wire);
        }
        Ok(())
    }

    /// The node is gone.
    pub(super) fn disconnected(&mut self) {
        *self = Self::default();
    }

    fn connect(&mut self, scene: &mut Scene<'_>) {
        let core = scene.random.below(scene.node.cores.len() as u64) as usize;
        let listener = if scene.random.chance(500_000) {
            Listener::Node
        } else {
            let here: Vec<ShardId> = scene.node.cores[core].engines().map(|(id, _)| id).collect();
            here.first().map_or(Listener::Node, |shard| Listener::Core(*shard))
        };
        scene.catalogue.disconnected();
        self.line.connect(scene.host.now(), scene.node, scene.wire, (core, listener));
    }

    fn created(
        &mut self,
        scene: &mut Scene<'_>,
        name: &str,
        answer: &[u8],
    ) -> Result<(), Violation> {
        let (_, view) = decode_response::<create_topics::RequestView<'_>>(CREATE_VERSION, answer)
            .map_err(garbled)?;
        let code =
            view.topics.iter().next().map_or(ErrorCode::UnknownServerError, |t| t.error_code);
        scene.host.say("topic created", format_args!("{name}: {code:?}"));
        let Some(topic) = scene.catalogue.named(name) else { return Ok(()) };
        let stay = match code {
            ErrorCode::None | ErrorCode::TopicAlreadyExists => Stay::There,
            code if is_passing(code) => Stay::Wanted,
            code => return Err(refused(name, "created", code)),
        };
        if topic.stay == Stay::Coming {
            topic.stay = stay;
        }
        Ok(())
    }

    fn deleted(
        &mut self,
        scene: &mut Scene<'_>,
        name: &str,
        answer: &[u8],
    ) -> Result<(), Violation> {
        let (_, view) = decode_response::<delete_topics::RequestView<'_>>(DELETE_VERSION, answer)
            .map_err(garbled)?;
        let first = view.responses.iter().next();
        let code = first.map_or(ErrorCode::UnknownServerError, |topic| topic.error_code);
        scene.host.say("topic deleted", format_args!("{name}: {code:?}"));
        let Some(topic) = scene.catalogue.named(name) else { return Ok(()) };
        topic.stay = match code {
            ErrorCode::None | ErrorCode::UnknownTopicOrPartition => Stay::Gone,
            code if is_passing(code) => Stay::Unwanted,
            code => return Err(refused(name, "deleted", code)),
        };
        Ok(())
    }

    fn records_deleted(
        &mut self,
        scene: &mut Scene<'_>,
        partition: PartitionId,
        offset: Offset,
        answer: &[u8],
    ) -> Result<(), Violation> {
        let (_, view) = decode_response::<delete_records::RequestView<'_>>(RECORDS_VERSION, answer)
            .map_err(garbled)?;
        let mut parts = view.topics.iter().flat_map(|topic| topic.partitions.iter());
        let code = parts.next().map_or(ErrorCode::UnknownServerError, |part| part.error_code);
        scene.host.say("records deleted", format_args!("{partition} before {offset}: {code:?}"));
        match code {
            ErrorCode::None => scene.ledger.delete_acked(partition, offset),
            ErrorCode::NotLeaderOrFollower => self.turned_away = true,
            _ => {}
        }
        Ok(())
    }
}

/// Errors after which a client tries again.
pub(super) fn is_passing(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NotLeaderOrFollower
            | ErrorCode::UnknownTopicOrPartition
            | ErrorCode::LeaderNotAvailable
            | ErrorCode::RequestTimedOut
            | ErrorCode::KafkaStorageError
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::NotController
            | ErrorCode::ThrottlingQuotaExceeded
    )
}

fn refused(name: &str, verb: &str, code: ErrorCode) -> Violation {
    Violation::new(Checker::Protocol, format!("{name} could not be {verb}: {code}"))
}
