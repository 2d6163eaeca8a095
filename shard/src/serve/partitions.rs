//! Requests that put one question to each partition: ListOffsets, DeleteRecords,
//! OffsetForLeaderEpoch.

use core::cell::Cell;

use base::{Epoch, Now, Offset};
use net::api::{delete_records, list_offsets, offset_for_leader_epoch};
use net::{ErrorCode, each};

use super::{Call, Home, Served};
use crate::ask::{Answer, Ask};
use crate::core::Core;
use crate::job::{Job, Part};

/// Where a question goes, or why it goes nowhere.
type Question = Result<(Home, Ask), ErrorCode>;

impl Core {
    pub(super) fn list_offsets(
        &mut self,
        now: Now,
        call: &Call<'_>,
        view: &list_offsets::RequestView<'_>,
    ) -> Served {
        let mut questions = Vec::new();
        for topic in &view.topics {
            for wanted in &topic.partitions {
                let known_epoch = parse_epoch(wanted.current_leader_epoch);
                let ask = Ask::ListOffset { timestamp: wanted.timestamp, known_epoch };
                let home = self.locate_by_name(call.listener, topic.name, wanted.partition_index);
                questions.push(home.map(|home| (home, ask)));
            }
        }
        self.ask_each(now, call, questions)
    }

    pub(super) fn delete_records(
        &mut self,
        now: Now,
        call: &Call<'_>,
        view: &delete_records::RequestView<'_>,
    ) -> Served {
        let mut questions = Vec::new();
        for topic in &view.topics {
            for wanted in &topic.partitions {
                let before = match wanted.offset {
                    -1 => Ok(None),
                    offset => u64::try_from(offset).map(Offset).map(Some),
                };
                let before = before.map_err(|_| ErrorCode::OffsetOutOfRange);
                let home = self.locate_by_name(call.listener, topic.name, wanted.partition_index);
                questions
                    .push(home.and_then(|home| Ok((home, Ask::DeleteRecords { before: before? }))));
            }
        }
        self.ask_each(now, call, questions)
    }

    pub(super) fn epoch_ends(
        &mut self,
        now: Now,
        call: &Call<'_>,
        view: &offset_for_leader_epoch::RequestView<'_>,
    ) -> Served {
        let mut questions = Vec::new();
        for topic in &view.topics {
            for wanted in &topic.partitions {
                let known_epoch = parse_epoch(wanted.current_leader_epoch);
                let epoch = parse_epoch(wanted.leader_epoch).ok_or(ErrorCode::InvalidRequest);
                let home = self.locate_by_name(call.listener, topic.topic, wanted.partition);
                questions.push(
                    home.and_then(|home| Ok((home, Ask::EpochEnd { epoch: epoch?, known_epoch }))),
                );
            }
        }
        self.ask_each(now, call, questions)
    }

    /// Asks every owner; the job's end writes the answer.
    pub(super) fn ask_each(
        &mut self,
        now: Now,
        call: &Call<'_>,
        questions: Vec<Question>,
    ) -> Served {
        let part = |question: &Question| match question {
            Ok(_) => Part::Asked,
            Err(code) => Part::Refused(*code),
        };
        let parts = questions.iter().map(part).collect();
        let body = self.keep(call.body);
        let ticket = self.begin_job(Job::new(call, body, parts));
        for (index, question) in questions.into_iter().enumerate() {
            if let Ok((home, ask)) = question {
                self.ask(now, self.asker(ticket, index), home, ask);
            }
        }
        self.finish_if_answered(now, ticket);
        Served::Yes
    }

    pub(super) fn write_listed(&mut self, job: &Job, view: &list_offsets::RequestView<'_>) {
        let next = Cell::new(0);
        let next_part = || &job.parts[next.replace(next.get() + 1)];
        let next_part = &next_part;
        let topics = each(view.topics.iter().map(|topic| list_offsets::ListOffsetsTopicResponse {
            name: topic.name,
            partitions: each(
                topic.partitions.iter().map(|wanted| listed(wanted.partition_index, next_part())),
            ),
        }));
        self.out.respond(job.reply_to, list_offsets::Response { throttle_time_ms: 0, topics });
    }

    pub(super) fn write_records_deleted(
        &mut self,
        job: &Job,
        view: &delete_records::RequestView<'_>,
    ) {
        let next = Cell::new(0);
        let next_part = || &job.parts[next.replace(next.get() + 1)];
        let next_part = &next_part;
        let topics = each(view.topics.iter().map(|topic| delete_records::TopicResult {
            name: topic.name,
            partitions: each(
                topic.partitions.iter().map(|wanted| deleted(wanted.partition_index, next_part())),
            ),
        }));
        self.out.respond(job.reply_to, delete_records::Response { throttle_time_ms: 0, topics });
    }

    pub(super) fn write_epoch_ends(
        &mut self,
        job: &Job,
        view: &offset_for_leader_epoch::RequestView<'_>,
    ) {
        let next = Cell::new(0);
        let next_part = || &job.parts[next.replace(next.get() + 1)];
        let next_part = &next_part;
        let topics = each(view.topics.iter().map(|topic| {
            offset_for_leader_epoch::OffsetForLeaderTopicResult {
                topic: topic.topic,
                partitions: each(
                    topic.partitions.iter().map(|wanted| epoch_end(wanted.partition, next_part())),
                ),
            }
        }));
        let response = offset_for_leader_epoch::Response { throttle_time_ms: 0, topics };
        self.out.respond(job.reply_to, response);
    }
}

/// Kafka's −1 stands for "the client does not know".
pub(super) fn parse_epoch(epoch: i32) -> Option<Epoch> {
    u32::try_from(epoch).ok().map(Epoch)
}

fn listed(partition_index: i32, part: &Part) -> list_offsets::ListOffsetsPartitionResponse {
    let mut response =
        list_offsets::ListOffsetsPartitionResponse { partition_index, ..Default::default() };
    match part {
        Part::Answered(Answer::Offset { offset, timestamp_ms, epoch }) => {
            response.offset = *offset;
            response.timestamp = *timestamp_ms;
            response.leader_epoch = *epoch;
        }
        Part::Answered(Answer::Failed(code)) | Part::Refused(code) => response.error_code = *code,
        other => panic!("ListOffsets answered with {other:?}"),
    }
    response
}

fn deleted(partition_index: i32, part: &Part) -> delete_records::PartitionResult {
    let (low_watermark, error_code) = match part {
        Part::Answered(Answer::Deleted { log_start }) => (log_start.0 as i64, ErrorCode::None),
        Part::Answered(Answer::Failed(code)) | Part::Refused(code) => (-1, *code),
        other => panic!("DeleteRecords answered with {other:?}"),
    };
    delete_records::PartitionResult { partition_index, low_watermark, error_code }
}

fn epoch_end(partition: i32, part: &Part) -> offset_for_leader_epoch::EpochEndOffset {
    let (end, error_code) = match part {
        Part::Answered(Answer::EpochEnd(end)) => (*end, ErrorCode::None),
        Part::Answered(Answer::Failed(code)) | Part::Refused(code) => (None, *code),
        other => panic!("OffsetForLeaderEpoch answered with {other:?}"),
    };
    offset_for_leader_epoch::EpochEndOffset {
        error_code,
        partition,
        leader_epoch: end.map_or(-1, |(epoch, _)| epoch.0 as i32),
        end_offset: end.map_or(-1, |(_, offset)| offset.0 as i64),
    }
}
