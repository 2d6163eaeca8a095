//! A simulated Kafka producer.

use std::time::Duration;

use base::{Instant, Offset, PartitionId};
use net::api::{init_producer_id, produce};
use net::{ErrorCode, Records, decode_response};

use super::Scene;
use super::admin::is_passing;
use super::catalogue::Stay;
use super::line::{Line, garbled};
use crate::knobs::Knobs;
use crate::ledger::SentId;
use crate::producer::Producer;
use crate::violation::{Checker, Violation};

const PRODUCE_VERSION: i16 = 9;
const INIT_VERSION: i16 = 4;
/// `retry.backoff.ms` of Kafka's clients.
const RETRY_BACKOFF: Duration = Duration::from_millis(100);

/// See the module's description.
#[derive(Debug)]
pub(super) struct Supplier {
    producer: Producer,
    line: Line<Question>,
    /// The producer has the id that its idempotence needs.
    identified: bool,
    /// Nothing is sent before this: the back-off after an error.
    rests_until: Instant,
}

#[derive(Debug)]
enum Question {
    Identity,
    Batch(PartitionId, SentId),
}

impl Supplier {
    pub(super) fn new(producer: Producer) -> Self {
        let identified = !producer.is_idempotent();
        Self { producer, line: Line::default(), identified, rests_until: Instant(0) }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.producer.outstanding() == 0
    }

    /// Makes a batch if the pipeline has room.
    pub(super) fn step(&mut self, scene: &mut Scene<'_>, knobs: &Knobs, bytes_max: u64) {
        self.settle_down(scene);
        let full = knobs.pipeline as usize <= self.producer.outstanding();
        if self.identified && !full && self.producer.next_to_send().is_none() {
            let (ledger, random) = (&mut *scene.ledger, &mut *scene.random);
            self.producer.make(ledger, random, knobs, scene.host.now().wall, bytes_max);
        }
        self.push(scene);
    }

    /// Sends what it has, if it can.
    pub(super) fn push(&mut self, scene: &mut Scene<'_>) {
        self.settle_down(scene);
        if scene.host.now().mono < self.rests_until {
            return;
        }
        if !self.line.is_connected(scene.wire) {
            self.disconnected();
            let place = scene.place_for(self.producer.partition);
            let partition = self.producer.partition;
            scene.host.say(
                "connected",
                format_args!("a producer of {partition}, core and port {place:?}"),
            );
            self.line.connect(scene.host.now(), scene.node, scene.wire, place);
        }
        if !self.identified {
            if self.line.pending() == 0 {
                self.ask_identity(scene);
            }
            return;
        }
        while self.send_next(scene) {}
    }

    /// Takes the answers that have come.
    pub(super) fn observe(&mut self, scene: &mut Scene<'_>) -> Result<(), Violation> {
        for (question, answer) in self.line.answers(scene.wire)? {
            match question {
                Question::Identity => self.identify(scene, &answer)?,
                Question::Batch(partition, id) => self.judge(scene, partition, id, &answer)?,
            }
        }
        let now = scene.host.now().mono;
        let overdue = |since: Instant| super::CLIENT_PATIENCE < now.since(since);
        if self.line.waits_since().is_some_and(overdue) || scene.loses_connection() {
            self.line.hang_up(scene.host.now(), scene.node, scene.wire);
            self.disconnected();
        }
        Ok(())
    }

    /// The connection is gone, perhaps with its node.
    pub(super) fn disconnected(&mut self) {
        self.line = Line::default();
        self.producer.disconnected();
    }

    /// Goes elsewhere if its topic is to be deleted.
    fn settle_down(&mut self, scene: &mut Scene<'_>) {
        let wanted = scene.catalogue.partitions();
        if !wanted.contains(&self.producer.partition) {
            self.producer.move_to(scene.random.pick(&wanted));
            self.identified = !self.producer.is_idempotent();
            self.line.hang_up(scene.host.now(), scene.node, scene.wire);
        }
    }

    fn ask_identity(&mut self, scene: &mut Scene<'_>) {
        let request = init_producer_id::Request {
            transactional_id: None,
            transaction_timeout_ms: 60_000,
            producer_id: -1,
            producer_epoch: -1,
        };
        self.line.ask(scene.host.now(), scene.wire, INIT_VERSION, request, Question::Identity);
    }

    fn identify(&mut self, scene: &mut Scene<'_>, answer: &[u8]) -> Result<(), Violation> {
        let (_, view) = decode_response::<init_producer_id::Request<'_>>(INIT_VERSION, answer)
            .map_err(garbled)?;
        if view.error_code != ErrorCode::None {
            return Ok(());
        }
        scene.host.say("got a producer id", format_args!("{}", view.producer_id));
        if !scene.producer_ids.insert(view.producer_id) {
            let what = format!("producer id {} was given out twice", view.producer_id);
            return Err(Violation::new(Checker::Once, what));
        }
        self.producer.identify(view.producer_id, view.producer_epoch);
        self.identified = true;
        Ok(())
    }

    fn send_next(&mut self, scene: &mut Scene<'_>) -> bool {
        let partition = self.producer.partition;
        // A client sends once metadata has told it of the partition.
        let topic = scene.catalogue.topic(partition).filter(|topic| topic.stay == Stay::There);
        let Some(topic) = topic else { return false };
        let Some(next) = self.producer.next_to_send() else { return false };
        let id = next.id;
        let request = produce::Request {
            transactional_id: None,
            acks: -1,
            timeout_ms: 30_000,
            topic_data: [produce::TopicData {
                name: topic.name.as_str(),
                partition_data: [produce::PartitionData {
                    index: partition.index as i32,
                    records: Some(Records::Bytes(&next.bytes)),
                }],
            }],
        };
        scene.host.say("sent", format_args!("{id:?} to {partition}"));
        let question = Question::Batch(partition, id);
        self.line.ask(scene.host.now(), scene.wire, PRODUCE_VERSION, request, question);
        self.producer.taken(id);
        true
    }

    fn judge(
        &mut self,
        scene: &mut Scene<'_>,
        partition: PartitionId,
        id: SentId,
        answer: &[u8],
    ) -> Result<(), Violation> {
        let (_, view) = decode_response::<produce::RequestView<'_>>(PRODUCE_VERSION, answer)
            .map_err(garbled)?;
        let mut parts = view.responses.iter().flat_map(|topic| topic.partition_responses.iter());
        let Some(part) = parts.next() else {
            return Err(garbled("no partition in the answer"));
        };
        let (code, base) = (part.error_code, part.base_offset);
        scene.host.say("answered", format_args!("{id:?}: {code:?} at {base}"));
        if code != ErrorCode::None {
            self.rests_until = scene.host.now().mono.plus(RETRY_BACKOFF);
        }
        match code {
            ErrorCode::None => {
                scene.ledger.acked(id, Offset(base as u64))?;
                self.producer.acked(id);
                scene.acked();
            }
            code if is_passing(code) => {
                self.producer.not_taken(id);
                *scene.full |= code == ErrorCode::KafkaStorageError;
                if code == ErrorCode::NotLeaderOrFollower {
                    self.line.hang_up(scene.host.now(), scene.node, scene.wire);
                    self.producer.disconnected();
                }
            }
            // What was sent behind a batch that failed comes too early, and will be sent again.
            ErrorCode::OutOfOrderSequenceNumber if !self.producer.is_first(id) => {
                self.producer.not_taken(id);
            }
            ErrorCode::InvalidTimestamp => self.producer.not_taken(id),
            code if !scene.beyond => {
                let what = format!("{partition}: {id:?} was refused: {code}");
                return Err(Violation::new(Checker::Once, what));
            }
            _ => self.producer.not_taken(id),
        }
        Ok(())
    }
}
