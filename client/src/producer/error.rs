//! Why a record was not delivered.

use std::time::Duration;

use thalweg_types::{ErrorCode, PartitionIndex, TopicName, TopicPartition};

use crate::data::RequestError;

/// Every way that producing can fail. All records of one batch get the same error.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ProduceError {
    /// There is no such topic.
    #[error("topic `{topic}` does not exist, create it with `thalweg topic create {topic}`")]
    UnknownTopic {
        /// Its name.
        topic: TopicName,
    },
    /// The topic has no such partition.
    #[error(
        "topic `{topic}` has no partition {partition}, it has {partition_count}, counted from 0"
    )]
    UnknownPartition {
        /// The topic's name.
        topic: TopicName,
        /// The partition as given.
        partition: PartitionIndex,
        /// How many there are.
        partition_count: usize,
    },
    /// The record alone is larger than the topic allows.
    #[error(
        "record of {size_bytes} bytes exceeds the limit of {limit_bytes}; raise `max.message.bytes` of topic `{topic}`"
    )]
    RecordTooLarge {
        /// The topic's name.
        topic: TopicName,
        /// The record's size in a batch.
        size_bytes: usize,
        /// The largest that fits.
        limit_bytes: usize,
    },
    /// The record can't be put into a batch.
    #[error("record can't be encoded: {reason}")]
    InvalidRecord {
        /// What is wrong with it.
        reason: String,
    },
    /// The producer's memory is full; only `try_send` answers this.
    #[error("{memory_bytes} bytes wait for delivery already; wait, or raise `memory_bytes`")]
    QueueFull {
        /// The producer's `memory_bytes`.
        memory_bytes: usize,
    },
    /// The producer has been closed.
    #[error("the producer is closed")]
    Closed,
    /// The delivery time-out passed.
    #[error(
        "partition `{partition}` acknowledged nothing within {after:?}{}; last failure: {last_failure}",
        if *.outcome_unknown { ", the records may be stored or not" } else { "" }
    )]
    DeliveryTimeout {
        /// Where the records were to go.
        partition: TopicPartition,
        /// The producer's `delivery_timeout`.
        after: Duration,
        /// Whether a request may have reached the leader.
        outcome_unknown: bool,
        /// What the last attempt ended with.
        last_failure: String,
    },
    /// The leader's log ends before records that it had acknowledged.
    #[error(
        "partition `{partition}` lost records that it had acknowledged: sequence {sequence} does not follow its last"
    )]
    OutOfOrderSequence {
        /// The partition.
        partition: TopicPartition,
        /// The sequence of the batch that was refused.
        sequence: i32,
    },
    /// The leader refuses this producer's identity.
    #[error(
        "partition `{partition}` refuses this producer's identity, start a new producer: {reason}"
    )]
    Fenced {
        /// The partition.
        partition: TopicPartition,
        /// What the leader said.
        reason: String,
    },
    /// A SmartModule failed on the batch, or could not be set up. Nothing of it is stored.
    #[error("SmartModule failed on partition `{partition}`: {message}")]
    SmartModule {
        /// The partition.
        partition: TopicPartition,
        /// The module's own words, with the record's place and key.
        message: String,
    },
    /// Without acknowledgements nobody would know what an aggregate has come to.
    #[error("an aggregate's accumulators come with acknowledgements: produce with acks 1 or all")]
    AggregateUnacknowledged,
    /// The leader refused the batch, and would again.
    #[error("partition `{partition}` refused the batch: {message} ({name})")]
    Refused {
        /// The partition.
        partition: TopicPartition,
        /// Kafka's number for the error.
        kafka_code: i16,
        /// Kafka's name for it.
        name: String,
        /// What the leader said.
        message: String,
    },
    /// The cluster could not be asked.
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl ProduceError {
    /// What the caller should do.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownTopic { .. } | Self::UnknownPartition { .. } => ErrorCode::NotFound,
            Self::RecordTooLarge { .. }
            | Self::InvalidRecord { .. }
            | Self::Closed
            | Self::AggregateUnacknowledged
            | Self::SmartModule { .. }
            | Self::Refused { .. } => ErrorCode::InvalidRequest,
            Self::QueueFull { .. } => ErrorCode::Unavailable,
            Self::DeliveryTimeout {
                outcome_unknown: true,
                ..
            } => ErrorCode::OutcomeUnknown,
            Self::DeliveryTimeout { .. } => ErrorCode::Unavailable,
            Self::OutOfOrderSequence { .. } => ErrorCode::Corrupt,
            Self::Fenced { .. } => ErrorCode::Fenced,
            Self::Request(error) => error.code(),
        }
    }
}
