//! From a connection's bytes to requests, and from each request to what serves it.

mod cluster;
mod configs;
mod coordinators;
mod fetch;
mod group_answers;
mod groups;
mod jobs;
mod metadata;
mod moves;
mod partitions;
mod produce;
mod producer_ids;
mod quorum;
mod redirect;
mod topics;

pub(crate) use producer_ids::ProducerIds;

use base::{ConnId, Listener, Now, Output, PartitionId, Piece, ShardId};
use net::{
    ErrorCode, Incoming, ReplyTo, Request, RequestFrame, RequestHeader, ResponseBody, Uuid,
    negotiation,
};
use replication::Topic;

use crate::connection::{PIPELINE_MAX, WAITING_BYTES_MAX};
use crate::core::Core;
use crate::job::Job;
use crate::mail::Ticket;
use crate::reply::Gate;

/// A connection gives memory back that a request above this size had needed.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// How a request went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Served {
    /// It was answered, or a job will answer it, or it wants no answer.
    Yes,
    /// No room now: it is served again, whole, when there is.
    Stall,
    /// Its checksums are not verified yet: it goes on in the next turn.
    Verifying,
    /// The client broke the protocol.
    Close,
}

/// A request as it stands in its frame, and who sent it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    pub(crate) conn: ConnId,
    pub(crate) listener: Listener,
    pub(crate) header: RequestHeader<'a>,
    pub(crate) body: &'a [u8],
}

/// Where a partition of a request lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Home {
    pub(crate) shard: ShardId,
    pub(crate) partition: PartitionId,
}

/// A batch that its owner, on another core or without room now, has to be asked to append.
#[derive(Debug)]
pub(crate) struct Relayed {
    /// Its partition's place in the request.
    pub(crate) part: usize,
    pub(crate) home: Home,
    pub(crate) batch: Vec<u8>,
}

impl Call<'_> {
    pub(crate) fn reply_to(&self) -> ReplyTo {
        self.header.reply_to()
    }
}

impl Core {
    /// Takes bytes of a client and serves what they complete, while there is room.
    pub(crate) fn receive(&mut self, now: Now, id: ConnId, mut received: &[u8]) {
        let Some(conn) = self.connections.get_mut(id) else { return };
        let listener = conn.listener;
        let mut session =
            conn.session.take().expect("a connection is served by one call at a time");
        while self.may_serve(id) {
            let before = received;
            match session.next(&mut received) {
                Ok(Some(incoming)) => {
                    if !self.serve(now, id, listener, &incoming) {
                        session.take_back(&mut received, before);
                    }
                }
                Ok(None) => break,
                Err(_) => self.close(id),
            }
        }
        session.keep(received);
        let framer = session.framer();
        if framer.kept_bytes() == 0 && KEPT_BYTES_MAX < framer.memory_bytes() {
            session.shrink();
        }
        if WAITING_BYTES_MAX < session.framer().kept_bytes() {
            self.pause(id);
        }
        if let Some(conn) = self.connections.get_mut(id) {
            conn.session = Some(session);
        }
    }

    /// Serves the connections whose next request waited.
    pub(crate) fn resume_stalled(&mut self, now: Now) {
        if !self.serving {
            return;
        }
        self.verifying = None;
        for _ in 0..self.stalled.len() {
            let Some(id) = self.stalled.pop_front() else { return };
            let Some(conn) = self.connections.get_mut(id) else { continue };
            conn.stalled = false;
            self.receive(now, id, &[]);
            self.resume(id);
        }
    }

    /// Answers at once.
    pub(crate) fn answer<B: ResponseBody>(&mut self, call: &Call<'_>, body: B) -> Served {
        self.out.respond(call.reply_to(), body);
        self.reply_written(call.conn, Gate::Open);
        Served::Yes
    }

    /// Queues the answer that was written to `self.out`.
    pub(crate) fn reply_written(&mut self, conn: ConnId, gate: Gate) {
        let body = self.take_written();
        self.reply(conn, gate, body);
    }

    /// The answer in `self.out` as one piece.
    pub(crate) fn take_written(&mut self) -> Vec<Piece> {
        let mut body = self.pool.pieces();
        let spare = self.pool.bytes();
        body.push(Piece::Bytes { bytes: self.out.take_bytes(spare), from: 0 });
        body
    }

    /// Files a job for a request; the job's answer holds the request's place in the order.
    pub(crate) fn begin_job(&mut self, job: Job) -> Ticket {
        let conn = job.conn;
        let ticket = self.jobs.insert(job);
        self.reply(conn, Gate::Job(ticket), Vec::new());
        ticket
    }

    /// The request's bytes, kept for the job that will answer it.
    pub(crate) fn keep(&mut self, body: &[u8]) -> Vec<u8> {
        let mut kept = self.pool.bytes();
        kept.extend_from_slice(body);
        kept
    }

    pub(crate) fn locate_by_name(
        &self,
        listener: Listener,
        topic: &str,
        index: i32,
    ) -> Result<Home, ErrorCode> {
        let topic = self.state.topics().by_name(topic);
        self.locate(listener, topic.ok_or(ErrorCode::UnknownTopicOrPartition)?, index)
    }

    pub(crate) fn locate_by_id(
        &self,
        listener: Listener,
        topic: Uuid,
        index: i32,
    ) -> Result<Home, ErrorCode> {
        let topic = self.state.topics().by_uuid(replication::Uuid(topic.0));
        self.locate(listener, topic.ok_or(ErrorCode::UnknownTopicId)?, index)
    }

    /// Where partition `index` of `topic` lives, if a client of `listener` may ask for it here.
    fn locate(&self, listener: Listener, topic: &Topic, index: i32) -> Result<Home, ErrorCode> {
        let index = u32::try_from(index).map_err(|_| ErrorCode::UnknownTopicOrPartition)?;
        let partition = topic.partitions.get(index as usize);
        let leader = partition.ok_or(ErrorCode::UnknownTopicOrPartition)?.leader;
        let leader = leader.ok_or(ErrorCode::NotLeaderOrFollower)?.placement;
        let led_here = leader.node == self.layout.node
            && match listener {
                Listener::Node => true,
                Listener::Core(shard) | Listener::Peer(shard) => shard == leader.shard,
            };
        if !led_here {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        Ok(Home { shard: leader.shard, partition: PartitionId::new(topic.number, index) })
    }

    /// Serves a request; `false` if it must wait and be served again.
    fn serve(
        &mut self,
        now: Now,
        conn: ConnId,
        listener: Listener,
        incoming: &Incoming<'_>,
    ) -> bool {
        let RequestFrame { header, body } = match *incoming {
            Incoming::UnknownApiVersions { correlation_id } => {
                negotiation::refuse(&mut self.out, correlation_id);
                self.reply_written(conn, Gate::Open);
                return true;
            }
            Incoming::Request(frame) => frame,
        };
        match self.dispatch(now, &Call { conn, listener, header, body }) {
            Served::Yes => return true,
            Served::Close => self.close(conn),
            Served::Stall => self.stall(conn),
            Served::Verifying => {
                self.verifying = Some(now.mono);
                self.defer(conn);
            }
        }
        false
    }

    fn dispatch(&mut self, now: Now, call: &Call<'_>) -> Served {
        let RequestHeader { api, version, .. } = call.header;
        let Ok(request) = Request::decode(api, version, call.body) else { return Served::Close };
        match request {
            Request::Produce(view) => self.produce(now, call, &view),
            Request::Fetch(view) => self.fetch(now, call, &view),
            Request::ListOffsets(view) => self.list_offsets(now, call, &view),
            Request::Metadata(view) => self.metadata(now, call, &view),
            Request::ApiVersions(request) => {
                negotiation::answer(&mut self.out, call.reply_to(), request);
                self.reply_written(call.conn, Gate::Open);
                Served::Yes
            }
            Request::CreateTopics(view) => self.create_topics(call, &view),
            Request::DeleteTopics(view) => self.delete_topics(call, &view),
            Request::CreatePartitions(view) => self.create_partitions(call, &view),
            Request::DeleteRecords(view) => self.delete_records(now, call, &view),
            Request::OffsetForLeaderEpoch(view) => self.epoch_ends(now, call, &view),
            Request::InitProducerId(view) => self.init_producer_id(call, &view),
            Request::DescribeConfigs(view) => self.describe_configs(call, &view),
            Request::IncrementalAlterConfigs(view) => self.alter_configs(call, &view),
            Request::DescribeCluster(view) => self.describe_cluster(call, view),
            Request::DescribeQuorum(view) => self.describe_quorum(call, &view),
            Request::AlterPartitionReassignments(view) => self.reassign(call, &view),
            Request::ListPartitionReassignments(view) => self.list_reassignments(call, &view),
            Request::ElectLeaders(view) => self.elect_leaders(call, &view),
            Request::FindCoordinator(_)
            | Request::JoinGroup(_)
            | Request::SyncGroup(_)
            | Request::Heartbeat(_)
            | Request::LeaveGroup(_)
            | Request::OffsetCommit(_)
            | Request::OffsetFetch(_)
            | Request::OffsetDelete(_)
            | Request::DescribeGroups(_)
            | Request::ListGroups(_)
            | Request::DeleteGroups(_) => self.serve_groups(now, call, &request),
        }
    }

    /// Whether the connection may be served another request; stalls it if it has too many waiting.
    fn may_serve(&mut self, id: ConnId) -> bool {
        let Some(conn) = self.connections.get_mut(id) else { return false };
        if conn.closing || conn.stalled {
            return false;
        }
        if PIPELINE_MAX <= conn.replies.len() {
            self.stall(id);
            return false;
        }
        true
    }

    /// Reads no more from the client until there is room.
    pub(crate) fn stall(&mut self, id: ConnId) {
        self.defer(id);
        self.pause(id);
    }

    /// Serves no further request of the client before the turn ends.
    fn defer(&mut self, id: ConnId) {
        let Some(conn) = self.connections.get_mut(id) else { return };
        if !conn.stalled {
            conn.stalled = true;
            self.stalled.push_back(id);
        }
    }

    /// Reads no more from the client until [`Core::resume`].
    fn pause(&mut self, id: ConnId) {
        let Some(conn) = self.connections.get_mut(id) else { return };
        if !conn.paused && conn.stalled {
            conn.paused = true;
            self.outputs.push_back(Output::Pause(id));
        }
    }

    fn resume(&mut self, id: ConnId) {
        let Some(conn) = self.connections.get_mut(id) else { return };
        if conn.paused && !conn.stalled && !conn.closing {
            conn.paused = false;
            self.outputs.push_back(Output::Resume(id));
        }
    }
}
