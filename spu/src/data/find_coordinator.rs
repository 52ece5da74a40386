//! FindCoordinator: there are no consumer groups yet, and this says so.
//!
//! It is told of to librdkafka alone, which compresses nothing with LZ4 unless a broker announces
//! this API. All other clients find it missing, and fail at once and clearly when they are asked
//! to join a group.

use thalweg_wire::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use thalweg_wire::{KafkaError, StrBytes};

use super::connection::Shared;

pub(super) async fn answer(
    _shared: &Shared,
    _request: FindCoordinatorRequest,
    version: i16,
) -> FindCoordinatorResponse {
    let response = FindCoordinatorResponse::default()
        .with_error_code(KafkaError::UnsupportedVersion.code())
        .with_node_id(BrokerId(-1))
        .with_port(-1);
    if version < 1 {
        return response;
    }
    response.with_error_message(Some(StrBytes::from_static_str(
        "there are no consumer groups here yet: assign partitions instead of subscribing",
    )))
}
