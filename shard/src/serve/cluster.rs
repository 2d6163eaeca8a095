//! DescribeCluster.

use net::api::describe_cluster::{DescribeClusterBroker, Request, Response};
use net::{ErrorCode, each};

use super::{Call, Served};
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
        let layout = std::sync::Arc::clone(&self.layout);
        let brokers: Vec<_> = layout.brokers(call.listener).collect();
        let response = Response {
            throttle_time_ms: 0,
            error_code,
            error_message: None,
            endpoint_type: BROKERS,
            cluster_id: &layout.cluster_id,
            controller_id: brokers.first().map_or(-1, |broker| broker.id),
            brokers: each(brokers.iter().map(|broker| DescribeClusterBroker {
                broker_id: broker.id,
                host: broker.host,
                port: i32::from(broker.port),
                rack: broker.rack,
                is_fenced: false,
            })),
            cluster_authorized_operations: OPERATIONS_OMITTED,
        };
        self.answer(call, response)
    }
}
