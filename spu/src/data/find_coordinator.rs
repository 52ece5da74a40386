//! FindCoordinator: there are no consumer groups yet, and this says so.
//!
//! It is told of to librdkafka alone, which compresses nothing with LZ4 unless a broker announces
//! this API. All other clients find it missing, and fail at once and clearly when they are asked
//! to join a group.

use thalweg_wire::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use thalweg_wire::{KafkaError, StrBytes};

use super::connection::Shared;

/// What is looked for is a transaction's coordinator and not a group's.
const KEY_TYPE_TRANSACTION: i8 = 1;

pub(super) async fn answer(
    _shared: &Shared,
    request: FindCoordinatorRequest,
    version: i16,
) -> FindCoordinatorResponse {
    let (error, message) = match request.key_type {
        KEY_TYPE_TRANSACTION => (
            // Clients take this one as final.
            KafkaError::TransactionalIdAuthorizationFailed,
            "there are no transactions here: produce without a transactional id",
        ),
        _ => (
            KafkaError::UnsupportedVersion,
            "there are no consumer groups here yet: assign partitions instead of subscribing",
        ),
    };
    let response = FindCoordinatorResponse::default()
        .with_error_code(error.code())
        .with_node_id(BrokerId(-1))
        .with_port(-1);
    if version < 1 {
        return response;
    }
    response.with_error_message(Some(StrBytes::from_static_str(message)))
}
