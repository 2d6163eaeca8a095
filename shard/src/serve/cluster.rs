//! DescribeCluster.

use net::api::describe_cluster::{DescribeClusterBroker, Request, Response};
use net::{ErrorCode, each};

use super::{Call, Served};
use crate::brokers::brokers;
use crate::core::Core;

/// The endpoint type of brokers; controllers, 2, have no listener of their own here.
const BROKERS: i8 = 1;
const OPERATIONS_OMITTED: i32 = i32::MIN;

impl Core {
    pub(super) fn describe_cluster(&mut self, call: &Call<'_>, view: Request) -> Served {
        let error_code = if view.endpoint_type == BROKERS {
            ErrorCode::None
        } else {
            ErrorCode::MismatchedEndpointType
        };
        let state = std::sync::Arc::clone(&self.state);
        let mut brokers = brokers(&state, call.listener);
        brokers.retain(|broker| view.include_fenced_brokers || !broker.is_fenced);
        let response = Response {
            throttle_time_ms: 0,
            error_code,
            error_message: None,
            endpoint_type: BROKERS,
            cluster_id: &std::sync::Arc::clone(&self.layout).cluster_id,
            controller_id: self.controller(call.listener),
            brokers: each(brokers.iter().map(|broker| DescribeClusterBroker {
                broker_id: broker.id,
                host: broker.host,
                port: i32::from(broker.port),
                rack: broker.rack,
                is_fenced: broker.is_fenced,
            })),
            cluster_authorized_operations: OPERATIONS_OMITTED,
        };
        self.answer(call, response)
    }
}
