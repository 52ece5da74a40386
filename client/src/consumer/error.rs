//! Why a consumer ended.

use thalweg_types::{ErrorCode, Offset, PartitionIndex, TopicName, TopicPartition};

use crate::data::RequestError;

/// Every way that consuming can fail. A consumer that has failed answers nothing more; a new one
/// can start where it stopped.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConsumeError {
    /// There is no such topic.
    #[error("topic `{topic}` does not exist, see `thalweg topic list`")]
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
    /// The next record is not in the log.
    #[error(
        "offset {offset} of partition `{partition}` is out of range: the log holds {log_start} up to (not including) {log_end}"
    )]
    OffsetOutOfRange {
        /// The partition.
        partition: TopicPartition,
        /// The offset that was asked for.
        offset: Offset,
        /// The first offset that is kept.
        log_start: Offset,
        /// The offset that the next record gets.
        log_end: Offset,
    },
    /// What arrived is damaged. Nothing of it was handed out.
    #[error("batch at offset {offset} of partition `{partition}` is damaged: {reason}")]
    Corrupt {
        /// The partition.
        partition: TopicPartition,
        /// Where reading stopped.
        offset: Offset,
        /// What is wrong with it.
        reason: String,
    },
    /// The SPU can't use the SmartModules: not wasm, no kind, a wrong ABI, `init` failed.
    #[error("the SmartModules can't be used: {message}")]
    SmartModulesRefused {
        /// The SPU's words, with the module's name.
        message: String,
    },
    /// A SmartModule failed on a record.
    #[error("SmartModule failed on partition `{partition}`: {message}")]
    SmartModule {
        /// The partition.
        partition: TopicPartition,
        /// The module's own words, with the record's place and key.
        message: String,
    },
    /// The leader could not go on with the stream for now, for too long: dead letters that can't be
    /// delivered, too many calls waiting.
    #[error("partition `{partition}` can't be read now: {message}")]
    NotNow {
        /// The partition.
        partition: TopicPartition,
        /// The SPU's words.
        message: String,
    },
    /// The leader refused the request, and would again.
    #[error("partition `{partition}` can't be read: {name} ({kafka_code})")]
    Refused {
        /// The partition.
        partition: TopicPartition,
        /// Kafka's number for the error.
        kafka_code: i16,
        /// Kafka's name for it.
        name: String,
    },
    /// The consumer can't be a member of its group.
    #[error("can't read as a member of group `{group}`: {reason}")]
    Group {
        /// The group.
        group: String,
        /// Why, and what to do.
        reason: String,
    },
    /// Offsets could not be committed. The consumer goes on.
    #[error("offsets could not be committed to group `{group}`: {reason}")]
    NotCommitted {
        /// The group.
        group: String,
        /// Why.
        reason: String,
    },
    /// Offsets are committed to groups, and the consumer is in none.
    #[error(
        "the consumer is in no group: give it one in `ConsumerOptions::group` to commit offsets"
    )]
    NoGroup,
    /// Options that don't go together.
    #[error("a consumer in a group can't be asked for {what}: {instead}")]
    NotInGroup {
        /// What was asked for.
        what: &'static str,
        /// What to do.
        instead: &'static str,
    },
    /// The cluster could not be asked.
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl ConsumeError {
    /// What the caller should do.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownTopic { .. } | Self::UnknownPartition { .. } => ErrorCode::NotFound,
            Self::OffsetOutOfRange { .. }
            | Self::SmartModulesRefused { .. }
            | Self::SmartModule { .. }
            | Self::Group { .. }
            | Self::NotInGroup { .. }
            | Self::NoGroup
            | Self::Refused { .. } => ErrorCode::InvalidRequest,
            Self::NotNow { .. } | Self::NotCommitted { .. } => ErrorCode::Unavailable,
            Self::Corrupt { .. } => ErrorCode::Corrupt,
            Self::Request(error) => error.code(),
        }
    }
}
