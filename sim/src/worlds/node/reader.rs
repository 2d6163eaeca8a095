//! A simulated Kafka consumer: reads partitions on and on; for the last look, from start to end.

use std::collections::BTreeMap;

use base::{Offset, PartitionId};
use net::api::fetch::{self, FetchPartition, FetchTopic};
use net::api::list_offsets;
use net::{Empty, ErrorCode, Uuid, decode_response, each};

use super::Scene;
use super::line::{Line, garbled};
use crate::violation::{Checker, Violation};

const FETCH_VERSION: i16 = 12;
const LIST_VERSION: i16 = 6;
/// The timestamp that asks where a partition starts.
const EARLIEST: i64 = -2;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Reader {
    line: Line<Question>,
    positions: BTreeMap<PartitionId, Offset>,
    /// In the last look: partitions that were read to their end.
    finished: BTreeMap<PartitionId, Offset>,
}

#[derive(Debug)]
enum Question {
    Fetch(Vec<Asked>),
    /// Where the partition starts, since what was asked for is gone.
    Start(PartitionId),
}

/// What was asked of one partition.
#[derive(Clone, Copy, Debug)]
struct Asked {
    partition: PartitionId,
    from: Offset,
    /// What was known to be there when it was asked.
    end: Offset,
}

impl Reader {
    /// Fetches from some partitions.
    pub(super) fn step(&mut self, scene: &mut Scene<'_>) {
        let partitions = scene.catalogue.partitions();
        if self.positions.is_empty() || scene.random.chance(50_000) {
            self.positions.clear();
            for _ in 0..scene.random.within(1..=3) {
                let partition = scene.random.pick(&partitions);
                let end = scene.ledger.end(partition);
                self.positions.insert(partition, Offset(scene.random.within(0..=end.0)));
            }
        }
        self.positions.retain(|partition, _| partitions.contains(partition));
        self.fetch(scene, 1);
    }

    /// Reads `partitions` from start to end; true when all were.
    pub(super) fn read_all(
        &mut self,
        scene: &mut Scene<'_>,
        partitions: &[PartitionId],
    ) -> Result<bool, Violation> {
        let left: Vec<_> =
            partitions.iter().filter(|one| !self.finished.contains_key(one)).collect();
        let Some(partition) = left.first() else { return Ok(true) };
        if !self.positions.contains_key(partition) || self.positions.len() != 1 {
            self.positions = BTreeMap::from([(**partition, Offset::ZERO)]);
        }
        self.fetch(scene, 0);
        Ok(false)
    }

    /// Takes the answers that have come.
    pub(super) fn observe(&mut self, scene: &mut Scene<'_>) -> Result<(), Violation> {
        for (question, answer) in self.line.answers(scene.wire)? {
            match question {
                Question::Fetch(asked) => self.take_all(scene, &asked, &answer)?,
                Question::Start(partition) => self.move_to_start(scene, partition, &answer)?,
            }
        }
        let now = scene.host.now().mono;
        let overdue = |since: base::Instant| super::CLIENT_PATIENCE < now.since(since);
        if self.line.waits_since().is_some_and(overdue) || scene.loses_connection() {
            self.line.hang_up(scene.host.now(), scene.node, scene.wire);
        }
        Ok(())
    }

    /// The node is gone.
    pub(super) fn disconnected(&mut self) {
        *self = Self::default();
    }

    fn fetch(&mut self, scene: &mut Scene<'_>, min_bytes: i32) {
        if !self.line.is_connected(scene.wire) {
            let Some(partition) = self.positions.keys().next().copied() else { return };
            let place = scene.place_for(partition);
            self.line.connect(scene.host.now(), scene.node, scene.wire, place);
        }
        if 0 < self.line.pending() {
            return;
        }
        let max_bytes = scene.random.pick(&[1, 2_000, 50_000, 1_000_000]);
        let asked = self.positions.iter().map(|(partition, from)| {
            let end = scene.ledger.end(*partition);
            Asked { partition: *partition, from: *from, end }
        });
        let asked: Vec<_> = asked.collect();
        let topics = asked.iter().filter_map(|asked| {
            let topic = scene.catalogue.topic(asked.partition)?;
            Some(FetchTopic {
                topic: topic.name.as_str(),
                topic_id: Uuid::ZERO,
                partitions: [FetchPartition {
                    partition: asked.partition.index as i32,
                    fetch_offset: asked.from.0 as i64,
                    partition_max_bytes: max_bytes,
                    ..FetchPartition::default()
                }],
            })
        });
        let topics: Vec<_> = topics.collect();
        let request = fetch::Request {
            cluster_id: None,
            replica_id: -1,
            replica_state: fetch::ReplicaState::default(),
            max_wait_ms: scene.random.pick(&[0, 10, 500]),
            min_bytes,
            max_bytes: 10_000_000,
            isolation_level: 0,
            session_id: 0,
            session_epoch: -1,
            topics: each(topics),
            forgotten_topics_data: Empty,
            rack_id: "",
        };
        let question = Question::Fetch(asked);
        self.line.ask(scene.host.now(), scene.wire, FETCH_VERSION, request, question);
    }

    fn take_all(
        &mut self,
        scene: &mut Scene<'_>,
        asked: &[Asked],
        answer: &[u8],
    ) -> Result<(), Violation> {
        let (_, view) =
            decode_response::<fetch::RequestView<'_>>(FETCH_VERSION, answer).map_err(garbled)?;
        for topic in &view.responses {
            for part in &topic.partitions {
                let found = asked.iter().find(|asked| {
                    let named = scene.catalogue.topic(asked.partition);
                    asked.partition.index as i32 == part.partition_index
                        && named.is_some_and(|named| named.name == topic.topic)
                });
                if let Some(asked) = found {
                    self.take(scene, *asked, &part)?;
                }
            }
        }
        Ok(())
    }

    fn ask_start(&mut self, scene: &mut Scene<'_>, partition: PartitionId) {
        let Some(topic) = scene.catalogue.topic(partition) else { return };
        let request = list_offsets::Request {
            replica_id: -1,
            isolation_level: 0,
            topics: [list_offsets::ListOffsetsTopic {
                name: topic.name.as_str(),
                partitions: [list_offsets::ListOffsetsPartition {
                    partition_index: partition.index as i32,
                    current_leader_epoch: -1,
                    timestamp: EARLIEST,
                }],
            }],
            timeout_ms: 30_000,
        };
        let question = Question::Start(partition);
        self.line.ask(scene.host.now(), scene.wire, LIST_VERSION, request, question);
    }

    fn move_to_start(
        &mut self,
        scene: &mut Scene<'_>,
        partition: PartitionId,
        answer: &[u8],
    ) -> Result<(), Violation> {
        let (_, view) = decode_response::<list_offsets::RequestView<'_>>(LIST_VERSION, answer)
            .map_err(garbled)?;
        let mut parts = view.topics.iter().flat_map(|topic| topic.partitions.iter());
        let Some(part) = parts.next() else { return Err(garbled("no partition in the answer")) };
        scene.host.say("start found", format_args!("{partition}: {part:?}"));
        if part.error_code == ErrorCode::None {
            let start = Offset(part.offset as u64);
            scene.ledger.heard_start(partition, start)?;
            self.positions.insert(partition, start);
        }
        Ok(())
    }

    fn take(
        &mut self,
        scene: &mut Scene<'_>,
        Asked { partition, from, end }: Asked,
        part: &fetch::PartitionDataView<'_>,
    ) -> Result<(), Violation> {
        match part.error_code {
            ErrorCode::None => {}
            ErrorCode::OffsetOutOfRange => {
                self.ask_start(scene, partition);
                return Ok(());
            }
            code => {
                scene.host.say("fetch refused", format_args!("{partition} at {from}: {code:?}"));
                if code == ErrorCode::NotLeaderOrFollower {
                    self.line.hang_up(scene.host.now(), scene.node, scene.wire);
                }
                if scene.beyond && code == ErrorCode::KafkaStorageError {
                    self.finished.insert(partition, from);
                }
                return Ok(());
            }
        }
        let bytes = part.records.map_or(&[][..], net::Records::bytes);
        let next = scene.ledger.saw(partition, from, bytes)?;
        scene.host.say("fetched", format_args!("{partition} from {from} to {next}"));
        let watermark = Offset(part.high_watermark as u64);
        if watermark < next {
            let what = format!("{partition}: read to {next}, above the watermark {watermark}");
            return Err(Violation::new(Checker::Durable, what));
        }
        if let Ok(start) = u64::try_from(part.log_start_offset) {
            scene.ledger.heard_start(partition, Offset(start))?;
        }
        if self.positions.contains_key(&partition) {
            self.positions.insert(partition, next);
        }
        // What was acked since it was asked may lie behind the watermark.
        let is_end = watermark < end || scene.ledger.end(partition) <= watermark;
        if next == watermark && is_end && scene.last_look {
            scene.ledger.saw_end(partition, next)?;
            self.finished.insert(partition, next);
        }
        Ok(())
    }
}
