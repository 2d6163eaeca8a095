//! Metadata: who leads what, in the view of the port the client came by.

use base::{Listener, Now};
use net::api::metadata::{Broker, Partition, RequestView, Response, Topic};
use net::{ErrorCode, List, Uuid, each};
use replication::replicas::REPLICAS_MAX;
use replication::{ClusterState, NewPartitions, Placement, Proposal, topic_name};

use super::{Call, Served};
use crate::brokers::{broker_id, brokers, is_down, reachable_leader};
use crate::core::Core;
use crate::job::Job;

/// Kafka's "not asked for" in the fields of authorized operations.
const OPERATIONS_OMITTED: i32 = i32::MIN;

/// One topic of the answer: what was asked for and what was found.
#[derive(Clone, Copy, Debug)]
struct Found<'a> {
    name: Option<&'a str>,
    id: Uuid,
    topic: Result<&'a replication::Topic, ErrorCode>,
}

impl Core {
    pub(super) fn metadata(&mut self, now: Now, call: &Call<'_>, view: &RequestView<'_>) -> Served {
        let missing = self.topics_to_create(view);
        if missing.is_empty() {
            if let Some(until) = self.election_wait(now, view) {
                let job = Job::new(call, self.keep(call.body), Vec::new());
                let ticket = self.begin_job(job);
                self.await_election(ticket, until);
                return Served::Yes;
            }
            self.write_metadata(call.listener, call.header.reply_to(), view);
            self.reply_written(call.conn, crate::reply::Gate::Open);
            return Served::Yes;
        }
        let job = Job::new(call, self.keep(call.body), Vec::new());
        self.propose(job, missing, false);
        Served::Yes
    }

    /// A proposal for each topic that was asked for by name, does not exist and may.
    fn topics_to_create(&mut self, view: &RequestView<'_>) -> Vec<Proposal> {
        if !self.settings.auto_create_topics || !view.allow_auto_topic_creation {
            return Vec::new();
        }
        let mut proposals = Vec::new();
        for name in view.topics.into_iter().flatten().filter_map(|topic| topic.name) {
            let known = self.state.topics().by_name(name).is_some();
            if !known && topic_name::check(name).is_ok() {
                proposals.push(Proposal::CreateTopic {
                    name: name.to_owned(),
                    uuid: self.draw_uuid(),
                    partitions: NewPartitions::Count(self.settings.default_partitions),
                    replication_factor: None,
                    configs: Vec::new(),
                });
            }
        }
        proposals
    }

    /// The broker of the node that leads the cluster log; any broker takes requests for it.
    pub(super) fn controller(&self, listener: Listener) -> i32 {
        let own = self.layout.node;
        let node = self.state.controller().unwrap_or(own);
        let shard = match listener {
            Listener::Core(shard) if node == own => shard,
            Listener::Node | Listener::Core(_) | Listener::Peer(_) => base::ShardId(0),
        };
        broker_id(listener, Placement { node, shard })
    }

    pub(super) fn write_metadata(
        &mut self,
        listener: Listener,
        to: net::ReplyTo,
        view: &RequestView<'_>,
    ) {
        let (state, controller_id) = (&self.state, self.controller(listener));
        let all = view.topics.is_none_or(|topics| to.version == 0 && topics.is_empty());
        let found: Vec<Found<'_>> = if all {
            state.topics().iter().map(|topic| found(topic)).collect()
        } else {
            let asked = view.topics.into_iter().flatten();
            asked.map(|asked| find(state.topics(), asked.name, asked.topic_id)).collect()
        };
        let mut known = brokers(state, listener);
        known.retain(|broker| !broker.is_fenced);
        let response =
            Response {
                throttle_time_ms: 0,
                brokers: each(known.iter().map(|broker| Broker {
                    node_id: broker.id,
                    host: broker.host,
                    port: i32::from(broker.port),
                    rack: broker.rack,
                })),
                cluster_id: Some(self.layout.cluster_id.as_str()),
                controller_id,
                topics: each(found.iter().map(|found| Topic {
                    error_code: found.topic.err().unwrap_or(ErrorCode::None),
                    name: found.name,
                    topic_id: found.id,
                    is_internal: found.name.is_some_and(topic_name::is_reserved),
                    partitions: each(partitions(found).iter().enumerate().map(
                        |(index, partition)| described(state, listener, index as i32, partition),
                    )),
                    topic_authorized_operations: OPERATIONS_OMITTED,
                })),
                cluster_authorized_operations: OPERATIONS_OMITTED,
                error_code: ErrorCode::None,
            };
        self.out.respond(to, response);
    }
}

/// One partition as clients see it.
fn described(
    state: &ClusterState,
    listener: Listener,
    partition_index: i32,
    partition: &replication::Partition,
) -> Partition<impl List<i32> + use<>, impl List<i32> + use<>, impl List<i32> + use<>> {
    let ids = |members| ids(listener, members);
    let id = |placement| broker_id(listener, placement);
    let leader = reachable_leader(state, partition);
    let in_sync = |placement: &Placement| {
        !partition.learners.contains(placement) && !is_down(state, *placement)
    };
    Partition {
        error_code: leader.map_or(ErrorCode::LeaderNotAvailable, |_| ErrorCode::None),
        partition_index,
        leader_id: leader.map_or(-1, id),
        leader_epoch: partition.epoch.0 as i32,
        replica_nodes: ids(&mut partition.members()),
        isr_nodes: ids(&mut partition.members().filter(in_sync)),
        offline_replicas: ids(&mut partition.members().filter(|at| is_down(state, *at))),
    }
}

/// The brokers that stand for some of a partition's members: never more than two configs hold.
fn ids(listener: Listener, members: &mut dyn Iterator<Item = Placement>) -> impl List<i32> + use<> {
    let mut ids = [0; 2 * REPLICAS_MAX];
    let mut count = 0;
    for (id, member) in ids.iter_mut().zip(members) {
        *id = broker_id(listener, member);
        count += 1;
    }
    each((0..count).map(move |index| ids[index]))
}

fn partitions<'a>(found: &Found<'a>) -> &'a [replication::Partition] {
    found.topic.map_or(&[], |topic| &topic.partitions)
}

fn found(topic: &replication::Topic) -> Found<'_> {
    Found { name: Some(&topic.name), id: Uuid(topic.uuid.0), topic: Ok(topic) }
}

fn find<'a>(topics: &'a replication::Topics, name: Option<&'a str>, id: Uuid) -> Found<'a> {
    let by_id = name.is_none();
    let known = match name {
        Some(name) => topics.by_name(name),
        None => topics.by_uuid(replication::Uuid(id.0)),
    };
    match known {
        Some(topic) => found(topic),
        None if by_id => Found { name: None, id, topic: Err(ErrorCode::UnknownTopicId) },
        None => {
            let legal = name.is_some_and(|name| topic_name::check(name).is_ok());
            let unknown = ErrorCode::UnknownTopicOrPartition;
            let code = if legal { unknown } else { ErrorCode::InvalidTopic };
            Found { name, id: Uuid::ZERO, topic: Err(code) }
        }
    }
}
