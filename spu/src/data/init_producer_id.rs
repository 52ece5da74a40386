//! InitProducerId: the identity of an idempotent producer.

use thalweg_wire::KafkaError;
use thalweg_wire::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};
use tracing::warn;

use super::connection::Shared;
use super::refusal::chain;

pub(super) async fn answer(
    shared: &Shared,
    request: InitProducerIdRequest,
    _version: i16,
) -> InitProducerIdResponse {
    let refused = |error: KafkaError| {
        InitProducerIdResponse::default()
            .with_error_code(error.code())
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1)
    };
    if request.transactional_id.is_some() {
        // Clients take this one as final; there are no transactions to be allowed to use.
        return refused(KafkaError::TransactionalIdAuthorizationFailed);
    }
    // A client that asks for a newer epoch of its identity gets a new identity, as Kafka gives
    // producers without transactions.
    match shared.context.producer_ids.next().await {
        Ok((id, epoch)) => InitProducerIdResponse::default()
            .with_producer_id(ProducerId(id.0))
            .with_producer_epoch(epoch.0),
        Err(error) => {
            warn!(error = chain(&error), "no identity for a producer");
            // Clients retry upon this one.
            refused(KafkaError::CoordinatorLoadInProgress)
        }
    }
}
