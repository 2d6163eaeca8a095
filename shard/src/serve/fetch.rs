//! Fetch: reads every partition, answers when there is enough, else watches and reads again.
//!
//! ```text
//!   reading ──all answered──▶ enough, an error, or out of time? ──yes──▶ answered
//!      ▲                               │ no
//!      └── woken, or out of time ── parked: a watch with every owner
//! ```

use core::cell::Cell;
use core::time::Duration;

use base::{Now, Offset, Piece};
use net::api::fetch::{
    FetchPartition, FetchTopicView, NodeEndpoint, PartitionData, RequestView, Response,
    TopicResponse,
};
use net::{Empty, ErrorCode, Null, Outgoing, Records, Uuid, each};

use super::partitions::parse_epoch;
use super::redirect::{self, Redirects};
use super::{Call, Home, Served};
use crate::ask::{Answer, Ask};
use crate::core::Core;
use crate::job::{FetchPlan, Job, Part, Want};
use crate::mail::Ticket;

/// The longest a fetch may wait, whatever the client asks.
const WAIT_MAX: Duration = Duration::from_secs(60);

impl Core {
    pub(super) fn fetch(&mut self, now: Now, call: &Call<'_>, view: &RequestView<'_>) -> Served {
        if view.session_id != 0 {
            return self.refuse_session(call);
        }
        let mut wants = self.pool.wants();
        for topic in &view.topics {
            for wanted in &topic.partitions {
                let home = if topic.topic_id == Uuid::ZERO {
                    self.locate_by_name(call.listener, topic.topic, wanted.partition)
                } else {
                    self.locate_by_id(call.listener, topic.topic_id, wanted.partition)
                };
                let want = home.and_then(|home| want(home, &wanted));
                wants.push(want);
            }
        }
        let wait =
            Duration::from_millis(u64::try_from(view.max_wait_ms).unwrap_or(0)).min(WAIT_MAX);
        let deadline = now.mono.plus(wait);
        let parts = self.pool.parts();
        let mut job = Job::new(call, self.keep(call.body), parts);
        job.fetch = Some(FetchPlan {
            deadline,
            min_bytes: u32::try_from(view.min_bytes).unwrap_or(0),
            max_bytes: u32::try_from(view.max_bytes)
                .unwrap_or(0)
                .min(self.settings.fetch_bytes_max),
            parked: false,
            wants,
        });
        let ticket = self.begin_job(job);
        self.deadlines.insert(deadline, ticket);
        self.read_parts(now, ticket);
        Served::Yes
    }

    /// We keep no fetch sessions (KIP-227): one that a client remembers was another broker's.
    fn refuse_session(&mut self, call: &Call<'_>) -> Served {
        let response = Response {
            throttle_time_ms: 0,
            error_code: ErrorCode::FetchSessionIdNotFound,
            session_id: 0,
            responses: Empty,
            node_endpoints: Empty,
        };
        self.answer(call, response)
    }

    /// Asks every owner for records, within what the client takes. The first partition that has
    /// any yields at least one batch, however large.
    fn read_parts(&mut self, now: Now, ticket: Ticket) {
        let Some(mut plan) = self.jobs.get_mut(ticket).and_then(|job| job.begin_reading()) else {
            return;
        };
        let mut left = plan.max_bytes;
        for (part, want) in plan.wants.iter().enumerate() {
            let Ok(want) = want else { continue };
            let most = want.max_bytes.min(left);
            let ask = Ask::Fetch {
                from: want.from,
                max_bytes: most,
                min_one: left == plan.max_bytes,
                known_epoch: want.known_epoch,
            };
            self.ask(now, self.asker(ticket, part), want.home, ask);
            self.collect_answers(now);
            left = left.saturating_sub(self.part_bytes(ticket, part).unwrap_or(most));
        }
        plan.parked = false;
        if let Some(job) = self.jobs.get_mut(ticket) {
            job.fetch = Some(plan);
        }
        self.finish_if_answered(now, ticket);
    }

    /// Bytes that a part was answered with; `None` while it is not.
    fn part_bytes(&mut self, ticket: Ticket, part: usize) -> Option<u32> {
        match self.jobs.get_mut(ticket)?.parts.get(part)? {
            Part::Asked => None,
            Part::Answered(Answer::Fetched(fetched)) => Some(fetched.bytes),
            Part::Answered(_) | Part::Refused(_) | Part::Proposed(_) | Part::ProposedFor(..) => {
                Some(0)
            }
        }
    }

    /// All parts are answered: answer the client, or wait for more.
    pub(crate) fn settle_read(&mut self, now: Now, ticket: Ticket) {
        let Some(job) = self.jobs.get_mut(ticket) else { return };
        let plan = job.fetch.as_ref().expect("a fetch has a plan");
        let found = job.parts.iter().map(bytes_of).sum::<u32>();
        let failed = job.parts.iter().any(is_failure);
        if plan.min_bytes <= found || failed || plan.deadline <= now.mono || job.parts.is_empty() {
            let deadline = plan.deadline;
            self.deadlines.remove(deadline, ticket);
            return self.finish_job(ticket);
        }
        self.park(now, ticket);
    }

    /// Gives the records found back and watches every partition from where it ends now.
    fn park(&mut self, now: Now, ticket: Ticket) {
        let Some(job) = self.jobs.get_mut(ticket) else { return };
        let mut plan = job.fetch.take().expect("a fetch has a plan");
        let mut parts = core::mem::take(&mut job.parts);
        plan.parked = true;
        for (index, (part, want)) in parts.drain(..).zip(&plan.wants).enumerate() {
            let (Part::Answered(Answer::Fetched(fetched)), Ok(want)) = (part, want) else {
                continue;
            };
            self.recycle(fetched.records);
            let ask = Ask::Watch { from: fetched.committed, until: plan.deadline };
            self.ask(now, self.asker(ticket, index), want.home, ask);
        }
        let job = self.jobs.get_mut(ticket).expect("watching ends no job");
        job.parts = parts;
        job.fetch = Some(plan);
    }

    /// A watch was woken, or time is up: reads again.
    pub(crate) fn read_again(&mut self, now: Now, ticket: Ticket) {
        let plan = self.jobs.get_mut(ticket).and_then(|job| job.fetch.as_ref());
        if plan.is_some_and(|plan| plan.parked) {
            self.read_parts(now, ticket);
        }
    }

    /// Writes the answer and fills it with the records found.
    pub(super) fn write_fetched(&mut self, job: &mut Job, view: &RequestView<'_>) -> Vec<Piece> {
        let listener = job.listener;
        let redirects = Redirects { state: &self.state, node: self.layout.node, listener };
        write_response(&mut self.out, job, view, &redirects);
        let mut body = self.pool.pieces();
        let mut records = job.parts.iter_mut().filter_map(|part| match part {
            Part::Answered(Answer::Fetched(fetched)) if 0 < fetched.bytes => {
                Some(&mut fetched.records)
            }
            _ => None,
        });
        for part in self.out.parts() {
            match part {
                net::Part::Bytes(bytes) => {
                    let mut own = self.pool.bytes();
                    own.extend_from_slice(bytes);
                    body.push(Piece::Bytes { bytes: own, from: 0 });
                }
                net::Part::Hole(_) => {
                    body.append(records.next().expect("a hole was left for these records"));
                }
            }
        }
        self.out.clear();
        body
    }
}

fn want(home: Home, wanted: &FetchPartition) -> Result<Want, ErrorCode> {
    let from = u64::try_from(wanted.fetch_offset).map_err(|_| ErrorCode::OffsetOutOfRange)?;
    Ok(Want {
        home,
        from: Offset(from),
        max_bytes: u32::try_from(wanted.partition_max_bytes).unwrap_or(0),
        known_epoch: parse_epoch(wanted.current_leader_epoch),
    })
}

fn bytes_of(part: &Part) -> u32 {
    match part {
        Part::Answered(Answer::Fetched(fetched)) => fetched.bytes,
        _ => 0,
    }
}

fn is_failure(part: &Part) -> bool {
    matches!(part, Part::Answered(Answer::Failed(_)) | Part::Refused(_))
}

fn write_response(
    out: &mut Outgoing,
    job: &Job,
    view: &RequestView<'_>,
    redirects: &Redirects<'_>,
) {
    let topics = redirects.state.topics();
    let known = |topic: &FetchTopicView<'_>| match topic.topic_id {
        Uuid::ZERO => topics.by_name(topic.topic),
        id => topics.by_uuid(replication::Uuid(id.0)),
    };
    let leader =
        |topic: &FetchTopicView<'_>, index, part| redirects.leader(known(topic), index, part);
    let leader = &leader;
    let asked = view
        .topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(move |wanted| (topic, wanted.partition)));
    let leaders =
        asked.zip(&job.parts).filter_map(|((topic, index), part)| leader(&topic, index, part));
    let endpoints = redirects.endpoints(leaders);
    let next = Cell::new(0);
    let next_part = || &job.parts[next.replace(next.get() + 1)];
    let next_part = &next_part;
    let responses = each(view.topics.iter().map(|topic| TopicResponse {
        topic: topic.topic,
        topic_id: topic.topic_id,
        partitions: each(topic.partitions.iter().map(move |wanted| {
            let part = next_part();
            let current_leader = redirect::in_fetched(leader(&topic, wanted.partition, part));
            PartitionData { current_leader, ..partition_data(wanted.partition, part) }
        })),
    }));
    let response = Response {
        throttle_time_ms: 0,
        error_code: ErrorCode::None,
        session_id: 0,
        responses,
        node_endpoints: each(endpoints.iter().map(|broker| NodeEndpoint {
            node_id: broker.id,
            host: broker.host,
            port: i32::from(broker.port),
            rack: broker.rack,
        })),
    };
    out.respond(job.reply_to, response);
}

fn partition_data(partition_index: i32, part: &Part) -> PartitionData<'static, Null> {
    let (error_code, fetched) = match part {
        Part::Answered(Answer::Fetched(fetched)) => (ErrorCode::None, Some(fetched)),
        Part::Answered(Answer::Failed(code)) | Part::Refused(code) => (*code, None),
        other => panic!("a fetch answered with {other:?}"),
    };
    let committed = fetched.map_or(-1, |fetched| fetched.committed.0 as i64);
    let records = match fetched.map_or(0, |fetched| fetched.bytes) {
        0 => Records::EMPTY,
        bytes => Records::Hole(bytes),
    };
    PartitionData {
        partition_index,
        error_code,
        high_watermark: committed,
        last_stable_offset: committed,
        log_start_offset: fetched.map_or(-1, |fetched| fetched.log_start.0 as i64),
        diverging_epoch: Default::default(),
        current_leader: Default::default(),
        snapshot_id: Default::default(),
        aborted_transactions: Null,
        preferred_read_replica: -1,
        records: Some(records),
    }
}
