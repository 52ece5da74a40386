//! Error codes on the wire, and what they ask of a caller.

use thalweg_types::ErrorCode;

pub use kafka_protocol::error::ResponseError as KafkaError;

/// A SmartModule failed on a record; the partition's
/// [`STREAM_ERROR_TAG`](crate::tags::STREAM_ERROR_TAG) says where and why.
pub const STREAM_FAILED: i16 = 20000;
/// The connection has no stream with that id.
pub const UNKNOWN_STREAM: i16 = 20001;
/// A SmartModule in OpenStream can't be used: not wasm, no kind, a wrong ABI, `init` refused.
pub const MODULE_REFUSED: i16 = 20002;
/// The connection has as many streams, or as many bytes of modules, as it may.
pub const STREAM_LIMIT: i16 = 20003;
/// The stream's aggregate does not stand at the offset that a fetch asks for, and the fetch brought
/// no accumulators: fetch again with them.
pub const ACCUMULATORS_NEEDED: i16 = 20004;

/// A message that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("message of API {api_key} version {version} is malformed: {reason}")]
pub struct DecodeError {
    /// The API's key; -1 where not even that could be read.
    pub api_key: i16,
    /// The message's version.
    pub version: i16,
    /// What is wrong with it.
    pub reason: String,
}

/// A message that could not be written: a field that its version does not have, or too long a
/// frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to write a message of API {api_key} version {version}: {reason}")]
pub struct EncodeError {
    /// The API's key.
    pub api_key: i16,
    /// The message's version.
    pub version: i16,
    /// What is wrong with it.
    pub reason: String,
}

/// The error that `code` stands for; `None` for 0, which is success.
#[must_use]
pub const fn kafka_error(code: i16) -> Option<KafkaError> {
    KafkaError::try_from_code(code)
}

/// What a caller must do about an error code that an SPU answered with.
#[must_use]
pub fn error_code_of(error: KafkaError) -> ErrorCode {
    use KafkaError as K;
    match error {
        K::UnknownTopicOrPartition
        | K::UnknownTopicId
        | K::ResourceNotFound
        | K::Unknown(UNKNOWN_STREAM) => ErrorCode::NotFound,
        K::TopicAlreadyExists => ErrorCode::AlreadyExists,
        K::NotLeaderOrFollower | K::NotController | K::FencedLeaderEpoch => ErrorCode::WrongNode,
        K::LeaderNotAvailable
        | K::UnknownLeaderEpoch
        | K::NotEnoughReplicas
        | K::BrokerNotAvailable
        | K::KafkaStorageError
        | K::ThrottlingQuotaExceeded
        | K::OffsetNotAvailable
        | K::CoordinatorNotAvailable
        | K::CoordinatorLoadInProgress => ErrorCode::Unavailable,
        K::RequestTimedOut | K::NotEnoughReplicasAfterAppend | K::NetworkException => {
            ErrorCode::OutcomeUnknown
        }
        K::InvalidProducerEpoch | K::ProducerFenced => ErrorCode::Fenced,
        // The batch was damaged on its way here; what is stored is not.
        K::CorruptMessage => ErrorCode::Corrupt,
        K::UnknownServerError => ErrorCode::Internal,
        _ => ErrorCode::InvalidRequest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_codes_are_none_of_kafkas() {
        for code in [
            STREAM_FAILED,
            UNKNOWN_STREAM,
            MODULE_REFUSED,
            STREAM_LIMIT,
            ACCUMULATORS_NEEDED,
        ] {
            assert_eq!(kafka_error(code), Some(KafkaError::Unknown(code)));
        }
        assert_eq!(kafka_error(0), None);
    }

    #[test]
    fn a_wrong_leader_sends_the_client_elsewhere() {
        assert_eq!(
            error_code_of(KafkaError::NotLeaderOrFollower),
            ErrorCode::WrongNode
        );
    }
}
