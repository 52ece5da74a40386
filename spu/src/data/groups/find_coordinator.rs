//! FindCoordinator: which SPU coordinates a group. The topic that keeps groups is made when somebody
//! first asks.

use thalweg_wire::messages::find_coordinator_response::Coordinator;
use thalweg_wire::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use thalweg_wire::{KafkaError, StrBytes};

use super::super::connection::Shared;
use super::text;

const KEY_TYPE_GROUP: i8 = 0;
const KEY_TYPE_TRANSACTION: i8 = 1;
/// The first version with several keys.
const BATCHED: i16 = 4;

pub(super) async fn answer(
    shared: &Shared,
    request: FindCoordinatorRequest,
    version: i16,
) -> FindCoordinatorResponse {
    if version < BATCHED {
        let found = find(shared, &request.key, request.key_type).await;
        let response = FindCoordinatorResponse::default()
            .with_error_code(found.error_code)
            .with_node_id(found.node_id)
            .with_host(found.host)
            .with_port(found.port);
        return if version >= 1 {
            response.with_error_message(found.error_message)
        } else {
            response
        };
    }
    let mut coordinators = Vec::with_capacity(request.coordinator_keys.len());
    for key in &request.coordinator_keys {
        coordinators.push(find(shared, key, request.key_type).await);
    }
    FindCoordinatorResponse::default().with_coordinators(coordinators)
}

async fn find(shared: &Shared, key: &StrBytes, key_type: i8) -> Coordinator {
    let found = Coordinator::default().with_key(key.clone());
    let refused = |error: KafkaError, message: &str| {
        Coordinator::default()
            .with_key(key.clone())
            .with_node_id(BrokerId(-1))
            .with_port(-1)
            .with_error_code(error.code())
            .with_error_message(Some(text(message)))
    };
    match key_type {
        KEY_TYPE_GROUP => match shared.context.groups.find(key).await {
            Ok(spu) => found
                .with_node_id(BrokerId(spu.id.0))
                .with_host(StrBytes::from_string(spu.host))
                .with_port(spu.port.into()),
            Err(error) => refused(error.kafka_error(), &error.to_string()),
        },
        // Clients take this one as final.
        KEY_TYPE_TRANSACTION => refused(
            KafkaError::TransactionalIdAuthorizationFailed,
            "there are no transactions here: produce without a transactional id",
        ),
        _ => refused(
            KafkaError::InvalidRequest,
            "only groups have coordinators here, which is key type 0",
        ),
    }
}
