//! Why a part of a request failed, as the client is told: a code of Kafka's and a sentence.

use thalweg_storage::{AppendError, MaintainError, ReadError};
use thalweg_types::InvalidTopicName;
use thalweg_wire::{KafkaError, StrBytes};

use crate::replica::{ProduceError, ReplicaError};

/// Why a part of a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// What the client acts upon.
    pub(super) error: KafkaError,
    /// What people read.
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(error: KafkaError, message: impl Into<String>) -> Self {
        Self {
            error,
            message: message.into(),
        }
    }

    pub(super) fn code(&self) -> i16 {
        self.error.code()
    }

    pub(super) fn text(&self) -> StrBytes {
        StrBytes::from_string(self.message.clone())
    }
}

/// An error and what caused it, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

impl From<InvalidTopicName> for Refusal {
    fn from(error: InvalidTopicName) -> Self {
        Self::new(KafkaError::InvalidTopicException, error.to_string())
    }
}

impl From<ReplicaError> for Refusal {
    fn from(error: ReplicaError) -> Self {
        let code = match &error {
            ReplicaError::UnknownTopicOrPartition { .. } => KafkaError::UnknownTopicOrPartition,
            // Kafka's clients ask for the metadata again and retry, which is right for a log that
            // is about to open, too.
            ReplicaError::NotLeader { .. } | ReplicaError::Opening { .. } => {
                KafkaError::NotLeaderOrFollower
            }
            ReplicaError::FencedLeaderEpoch { .. } => KafkaError::FencedLeaderEpoch,
            ReplicaError::UnknownLeaderEpoch { .. } => KafkaError::UnknownLeaderEpoch,
            ReplicaError::Failed { .. } => KafkaError::KafkaStorageError,
        };
        Self::new(code, error.to_string())
    }
}

impl From<ProduceError> for Refusal {
    fn from(error: ProduceError) -> Self {
        let code = match &error {
            ProduceError::NotEnoughReplicas { .. } => KafkaError::NotEnoughReplicas,
            ProduceError::NotEnoughReplicasAfterAppend { .. } => {
                KafkaError::NotEnoughReplicasAfterAppend
            }
            ProduceError::TimedOut { .. } => KafkaError::RequestTimedOut,
            ProduceError::LeadershipEnded { .. } => KafkaError::NotLeaderOrFollower,
            ProduceError::Append { source, .. } => append_code(source),
        };
        Self::new(code, chain(&error))
    }
}

fn append_code(error: &AppendError) -> KafkaError {
    match error {
        AppendError::StaleEpoch { .. } | AppendError::Closed => KafkaError::NotLeaderOrFollower,
        AppendError::OutOfOrderSequence { .. } => KafkaError::OutOfOrderSequenceNumber,
        AppendError::InvalidProducerEpoch { .. } => KafkaError::InvalidProducerEpoch,
        AppendError::DuplicateSequence { .. } => KafkaError::DuplicateSequenceNumber,
        AppendError::BatchTooLarge { .. } => KafkaError::MessageTooLarge,
        AppendError::InvalidTimestampType => KafkaError::InvalidTimestamp,
        AppendError::Corrupt { .. } => KafkaError::CorruptMessage,
        AppendError::Invalid { .. } => KafkaError::InvalidRecord,
        // All of these are worth a retry, which Kafka's clients do upon this code.
        AppendError::DiskFull
        | AppendError::Io { .. }
        | AppendError::Failed { .. }
        | AppendError::QueueFull => KafkaError::KafkaStorageError,
        _ => KafkaError::UnknownServerError,
    }
}

impl From<AppendError> for Refusal {
    fn from(error: AppendError) -> Self {
        Self::new(append_code(&error), chain(&error))
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        let code = match &error {
            ReadError::OutOfRange { .. } => KafkaError::OffsetOutOfRange,
            ReadError::Closed => KafkaError::NotLeaderOrFollower,
            _ => KafkaError::KafkaStorageError,
        };
        Self::new(code, chain(&error))
    }
}

impl From<MaintainError> for Refusal {
    fn from(error: MaintainError) -> Self {
        let code = match &error {
            MaintainError::OutOfRange { .. } => KafkaError::OffsetOutOfRange,
            MaintainError::StaleEpoch { .. } | MaintainError::Closed => {
                KafkaError::NotLeaderOrFollower
            }
            _ => KafkaError::KafkaStorageError,
        };
        Self::new(code, chain(&error))
    }
}
