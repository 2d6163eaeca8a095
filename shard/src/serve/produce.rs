//! Produce: one batch per partition, appended in the turn it arrives.
//!
//! The answer of a request whose partitions all live on one shard of this core is written at once
//! and waits for the frame. Anything else (another core, a full journal, a quorum) becomes a job.

use core::cell::Cell;

use base::{Batch, BatchError, Listener, Now, Seq, ShardId};
use net::api::produce::{NodeEndpoint, PartitionResponse, RequestView, Response, TopicResponse};
use net::{Empty, ErrorCode, Outgoing, Records, ReplyTo, each};
use replication::topic_name;

use super::redirect::{self, Redirects};
use super::{Call, Home, Relayed, Served};
use crate::ask::{Answer, Ask, Produced};
use crate::core::Core;
use crate::job::{Job, Part};
use crate::mail::Ticket;
use crate::reply::Gate;
use crate::shard::{Placed, Unplaced};

/// The first version whose clients know zstd.
const ZSTD_VERSION: i16 = 7;

/// What is known half way through a request.
#[derive(Debug)]
struct Walk {
    /// One per partition seen.
    parts: Vec<Part>,
    /// The frame that all appends made here wait for.
    frame: Option<(ShardId, Seq)>,
    relayed: Vec<Relayed>,
    /// Appended here, by place in `parts`, and answered when a quorum has them.
    replicated: Vec<(usize, Home, Placed)>,
    /// The producer wants a quorum.
    all: bool,
}

/// Which batches of a request fail their checksum, by their place in it.
#[derive(Debug)]
enum Damaged {
    /// Not known: the request is small enough to be verified while it is appended.
    Unknown,
    These(Vec<usize>),
}

impl Core {
    pub(super) fn produce(&mut self, now: Now, call: &Call<'_>, view: &RequestView<'_>) -> Served {
        if self.shards.iter().any(|shard| shard.is_holding()) {
            return Served::Stall;
        }
        let Some(damaged) = self.verify(call, view) else { return Served::Verifying };
        let parts = self.pool.parts();
        let (relayed, replicated) = (self.pool.relayed(), Vec::new());
        let mut walk = Walk { parts, frame: None, relayed, replicated, all: view.acks == -1 };
        for topic in &view.topic_data {
            for data in &topic.partition_data {
                let part = if topic_name::is_reserved(topic.name) {
                    Err(ErrorCode::InvalidTopic)
                } else if matches!(view.acks, -1..=1) {
                    let home = self.locate_by_name(call.listener, topic.name, data.index);
                    home.and_then(|home| {
                        let batch = check_batch(call.header.version, data.records)?;
                        let is_sound = match &damaged {
                            Damaged::These(damaged) => !damaged.contains(&walk.parts.len()),
                            Damaged::Unknown => batch.verify_checksum().is_ok(),
                        };
                        if !is_sound {
                            return Err(ErrorCode::CorruptMessage);
                        }
                        self.append(now, home, batch, &mut walk)
                    })
                } else {
                    Err(ErrorCode::InvalidRequiredAcks)
                };
                walk.parts.push(part.unwrap_or_else(Part::Refused));
            }
        }
        if view.acks == 0 {
            return self.finish_unanswered(now, walk);
        }
        if !walk.relayed.is_empty() || !walk.replicated.is_empty() {
            return self.produce_by_job(now, call, walk);
        }
        self.pool.give_relayed(walk.relayed);
        self.write_parts(call.listener, call.header.reply_to(), view, &walk.parts);
        self.reply_written(call.conn, gate(walk.frame));
        self.pool.give_parts(walk.parts);
        Served::Yes
    }

    /// Verifies the checksums of a large request, or of one of many, as far as its connection may in
    /// this turn. `None`: not all of them.
    fn verify(&mut self, call: &Call<'_>, view: &RequestView<'_>) -> Option<Damaged> {
        let conn = self.connections.get_mut(call.conn).expect("it is being served");
        if conn.checksums.spend(self.turns, call.body.len()) {
            return Some(Damaged::Unknown);
        }
        let batches = view.topic_data.iter().flat_map(|topic| topic.partition_data.iter());
        let batches =
            batches.map(|data| Batch::parse(data.records.unwrap_or_default().bytes()).ok());
        conn.checksums.advance(self.turns, batches).map(Damaged::These)
    }

    /// Appends here and now if the owner is here and has room, else leaves the batch to be asked.
    fn append(
        &mut self,
        now: Now,
        home: Home,
        batch: Batch<'_>,
        walk: &mut Walk,
    ) -> Result<Part, ErrorCode> {
        let same_frame = walk.frame.is_none_or(|(shard, _)| shard == home.shard);
        if let Some(shard) = self.shard_mut(home.shard).filter(|_| same_frame) {
            match shard.append(now, home.partition, batch, walk.all) {
                Ok(placed) if walk.all && placed.replicated.is_some() => {
                    walk.replicated.push((walk.parts.len(), home, placed));
                    return Ok(Part::Asked);
                }
                Ok(Placed { seq, produced, .. }) => {
                    let last = walk.frame.map_or(seq, |(_, last)| last.max(seq));
                    walk.frame = Some((home.shard, last));
                    return Ok(Part::Answered(Answer::Produced(produced)));
                }
                Err(Unplaced::NoRoom | Unplaced::HandedOver) => {}
                Err(Unplaced::Refused(code)) => return Err(code),
            }
        }
        let batch = self.keep(batch.bytes());
        walk.relayed.push(Relayed { part: walk.parts.len(), home, batch });
        Ok(Part::Asked)
    }

    fn produce_by_job(&mut self, now: Now, call: &Call<'_>, walk: Walk) -> Served {
        let mut job = Job::new(call, self.keep(call.body), walk.parts);
        job.frame = walk.frame;
        let ticket = self.begin_job(job);
        for (part, home, placed) in walk.replicated {
            let to = (self.asker(ticket, part), walk.all);
            let shard = self.shard_mut(home.shard).expect("it took the batch");
            shard.await_placed(now, home.partition, to, placed);
        }
        self.relay(now, ticket, walk.relayed, walk.all);
        Served::Yes
    }

    /// Asks the owners to append.
    fn relay(&mut self, now: Now, ticket: Ticket, mut relayed: Vec<Relayed>, all: bool) {
        for Relayed { part, home, batch } in relayed.drain(..) {
            self.ask(now, self.asker(ticket, part), home, Ask::Produce { batch, all });
        }
        self.pool.give_relayed(relayed);
    }

    /// With acks=0 nobody is told anything; a refused batch closes the connection, as in Kafka.
    fn finish_unanswered(&mut self, now: Now, walk: Walk) -> Served {
        self.relay(now, Ticket::NOBODY, walk.relayed, false);
        let refused = walk.parts.iter().any(|part| matches!(part, Part::Refused(_)));
        self.pool.give_parts(walk.parts);
        if refused { Served::Close } else { Served::Yes }
    }

    /// Writes the answer of a job whose parts are all there.
    pub(super) fn write_produced(&mut self, job: &Job, view: &RequestView<'_>) {
        self.write_parts(job.listener, job.reply_to, view, &job.parts);
    }

    fn write_parts(
        &mut self,
        listener: Listener,
        to: ReplyTo,
        view: &RequestView<'_>,
        parts: &[Part],
    ) {
        let redirects = Redirects { state: &self.state, node: self.layout.node, listener };
        write_response(&mut self.out, to, view, parts, &redirects);
    }
}

pub(crate) fn gate(frame: Option<(ShardId, Seq)>) -> Gate {
    frame.map_or(Gate::Open, |(shard, seq)| Gate::Durable { shard, seq })
}

/// What can be judged of a batch without its partition and without a look at all of it: Kafka's
/// `LogValidator` without decompression.
fn check_batch(version: i16, records: Option<Records<'_>>) -> Result<Batch<'_>, ErrorCode> {
    let bytes = records.unwrap_or_default().bytes();
    let batch = Batch::parse(bytes).map_err(|error| batch_error_code(&error))?;
    let codec_known = batch.codec() < 4 || batch.codec() == 4 && ZSTD_VERSION <= version;
    let sequence_known = batch.producer_id() < 0 || 0 <= batch.base_sequence();
    if !codec_known {
        return Err(ErrorCode::UnsupportedCompressionType);
    }
    if batch.is_log_append_time() {
        return Err(ErrorCode::InvalidTimestamp);
    }
    if batch.is_transactional() {
        return Err(ErrorCode::InvalidTxnState);
    }
    if batch.is_control() || !sequence_known {
        return Err(ErrorCode::InvalidRecord);
    }
    Ok(batch)
}

fn batch_error_code(error: &BatchError) -> ErrorCode {
    match error {
        BatchError::Truncated | BatchError::Checksum => ErrorCode::CorruptMessage,
        BatchError::Trailing | BatchError::Magic(_) | BatchError::Count => ErrorCode::InvalidRecord,
    }
}

fn write_response(
    out: &mut Outgoing,
    to: ReplyTo,
    view: &RequestView<'_>,
    parts: &[Part],
    redirects: &Redirects<'_>,
) {
    let leader = |topic: &str, index, part| {
        redirects.leader(redirects.state.topics().by_name(topic), index, part)
    };
    let leader = &leader;
    let refused = view
        .topic_data
        .iter()
        .flat_map(|topic| topic.partition_data.iter().map(move |data| (topic.name, data.index)));
    let leaders =
        refused.zip(parts).filter_map(|((topic, index), part)| leader(topic, index, part));
    let endpoints = redirects.endpoints(leaders);
    let next = Cell::new(0);
    let next_part = || &parts[next.replace(next.get() + 1)];
    let next_part = &next_part;
    let responses = each(view.topic_data.iter().map(|topic| TopicResponse {
        name: topic.name,
        partition_responses: each(topic.partition_data.iter().map(move |data| {
            let part = next_part();
            let current_leader = redirect::in_produced(leader(topic.name, data.index, part));
            PartitionResponse { current_leader, ..partition_response(data.index, part) }
        })),
    }));
    let node_endpoints = each(endpoints.iter().map(|broker| NodeEndpoint {
        node_id: broker.id,
        host: broker.host,
        port: i32::from(broker.port),
        rack: broker.rack,
    }));
    out.respond(to, Response { responses, throttle_time_ms: 0, node_endpoints });
}

fn partition_response(index: i32, part: &Part) -> PartitionResponse<'static, Empty> {
    let (error_code, produced) = match part {
        Part::Answered(Answer::Produced(produced)) => (ErrorCode::None, Some(*produced)),
        Part::Answered(Answer::Failed(code)) | Part::Refused(code) => (*code, None),
        other => panic!("a produce answered with {other:?}"),
    };
    let Produced { base, append_time_ms, log_start } = produced.unwrap_or_default();
    PartitionResponse {
        index,
        error_code,
        base_offset: produced.map_or(-1, |_| base.0 as i64),
        log_append_time_ms: append_time_ms.unwrap_or(-1),
        log_start_offset: produced.map_or(-1, |_| log_start.0 as i64),
        record_errors: Empty,
        error_message: None,
        current_leader: Default::default(),
    }
}
