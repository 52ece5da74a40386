//! DescribeCluster: the cluster's id and the SPUs that are up.

use thalweg_wire::messages::describe_cluster_response::DescribeClusterBroker;
use thalweg_wire::messages::{BrokerId, DescribeClusterRequest, DescribeClusterResponse};
use thalweg_wire::{KafkaError, StrBytes};

use super::connection::Shared;

/// The kind of endpoint that an SPU is; 2 would be Kafka's controllers.
const ENDPOINT_BROKERS: i8 = 1;

pub(super) async fn answer(
    shared: &Shared,
    request: DescribeClusterRequest,
    version: i16,
) -> DescribeClusterResponse {
    if version >= 1 && request.endpoint_type != ENDPOINT_BROKERS {
        return DescribeClusterResponse::default()
            .with_error_code(KafkaError::MismatchedEndpointType.code())
            .with_error_message(Some(StrBytes::from_static_str(
                "this is a broker's endpoint, ask for endpoint type 1",
            )));
    }
    let view = shared.context.view.current();
    let brokers = view
        .online_spus()
        .map(|spu| {
            DescribeClusterBroker::default()
                .with_broker_id(BrokerId(spu.id.0))
                .with_host(StrBytes::from_string(spu.host.clone()))
                .with_port(i32::from(spu.port))
                .with_rack((!spu.rack.is_empty()).then(|| StrBytes::from_string(spu.rack.clone())))
        })
        .collect();
    let cluster_id = view.cluster_id.map(|id| id.to_string()).unwrap_or_default();
    DescribeClusterResponse::default()
        .with_cluster_id(StrBytes::from_string(cluster_id))
        .with_controller_id(BrokerId(view.controller().map_or(-1, |spu| spu.0)))
        .with_brokers(brokers)
}
