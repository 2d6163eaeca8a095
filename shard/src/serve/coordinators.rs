//! FindCoordinator: the broker that leads the partition that a group belongs to. The first to ask
//! creates the topic.

use net::api::find_coordinator::{Coordinator, RequestView, Response};
use net::{Empty, ErrorCode, each};
use replication::{NewPartitions, Proposal};

use super::{Call, Served};
use crate::brokers::{Broker, broker_id, brokers, reachable_leader};
use crate::core::Core;
use crate::groups::{OFFSETS_PARTITIONS, OFFSETS_TOPIC, partition_of};
use crate::job::Job;
use crate::reply::Gate;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
/// The first version that asks for many keys.
const MANY_KEYS_VERSION: i16 = 4;

impl Core {
    pub(super) fn find_coordinator(&mut self, call: &Call<'_>, view: &RequestView<'_>) -> Served {
        let is_there = self.state.topics().by_name(OFFSETS_TOPIC).is_some();
        if is_there || view.key_type != GROUP {
            self.write_coordinators(call.listener, call.reply_to(), view);
            self.reply_written(call.conn, Gate::Open);
            return Served::Yes;
        }
        let keep = |name: &str| (name.to_owned(), "-1".to_owned());
        let creation = Proposal::CreateTopic {
            name: OFFSETS_TOPIC.to_owned(),
            uuid: self.draw_uuid(),
            partitions: NewPartitions::Count(OFFSETS_PARTITIONS),
            replication_factor: None,
            configs: ["retention.ms", "retention.bytes"].map(keep).to_vec(),
        };
        let job = Job::new(call, self.keep(call.body), Vec::new());
        self.propose(job, vec![creation], false);
        Served::Yes
    }

    pub(super) fn write_coordinators(
        &mut self,
        listener: base::Listener,
        to: net::ReplyTo,
        view: &RequestView<'_>,
    ) {
        let known = brokers(&self.state, listener);
        let find = |key: &str| -> Result<Broker<'_>, ErrorCode> {
            match view.key_type {
                GROUP => {}
                TRANSACTION => return Err(ErrorCode::CoordinatorNotAvailable),
                _ => return Err(ErrorCode::InvalidRequest),
            }
            let topic = self.state.topics().by_name(OFFSETS_TOPIC);
            let partition = topic.and_then(|topic| {
                let index = partition_of(key, topic.partitions.len() as u32);
                topic.partitions.get(index as usize)
            });
            let leader = partition.and_then(|partition| reachable_leader(&self.state, partition));
            let id = leader.map(|leader| broker_id(listener, leader));
            let broker = known.iter().find(|broker| Some(broker.id) == id);
            broker.copied().ok_or(ErrorCode::CoordinatorNotAvailable)
        };
        let one = |key| {
            let found = find(key);
            let error_code = found.err().unwrap_or(ErrorCode::None);
            Coordinator {
                key,
                node_id: found.map_or(-1, |broker| broker.id),
                host: found.map_or("", |broker| broker.host),
                port: found.map_or(-1, |broker| broker.port.into()),
                error_code,
                error_message: Some(if error_code.is_ok() { "" } else { "not available here" }),
            }
        };
        if to.version < MANY_KEYS_VERSION {
            let Coordinator { node_id, host, port, error_code, error_message, .. } = one(view.key);
            let response = Response {
                throttle_time_ms: 0,
                error_code,
                error_message,
                node_id,
                host,
                port,
                coordinators: Empty,
            };
            return self.out.respond(to, response);
        }
        let coordinators = each(view.coordinator_keys.iter().map(one));
        let response = Response {
            throttle_time_ms: 0,
            error_code: ErrorCode::None,
            error_message: None,
            node_id: -1,
            host: "",
            port: -1,
            coordinators,
        };
        self.out.respond(to, response);
    }
}
