//! What the SC's refusals are to a Kafka client.

use thalweg_proto::ServiceError;
use thalweg_types::ErrorCode;
use thalweg_wire::KafkaError;

use super::refusal::{Refusal, chain};
use crate::admin::AdminError;

impl From<AdminError> for Refusal {
    fn from(error: AdminError) -> Self {
        let code = match error.code() {
            ErrorCode::InvalidRequest => KafkaError::InvalidRequest,
            ErrorCode::NotFound => KafkaError::UnknownTopicOrPartition,
            ErrorCode::AlreadyExists => KafkaError::TopicAlreadyExists,
            // A client may retry upon this one, and knows that it may have happened.
            ErrorCode::Conflict
            | ErrorCode::WrongNode
            | ErrorCode::Unavailable
            | ErrorCode::OutcomeUnknown => KafkaError::RequestTimedOut,
            _ => KafkaError::UnknownServerError,
        };
        Self::new(code, chain(&error))
    }
}
