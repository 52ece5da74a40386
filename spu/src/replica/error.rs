//! Why a partition can't be served here, and why a produce failed.

use std::time::Duration;

use thalweg_storage::AppendError;
use thalweg_types::{ErrorCode, LeaderEpoch, SpuId, TopicPartition};

/// Why this SPU does not serve a partition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplicaError {
    /// The cluster has no such topic or partition.
    #[error(
        "there is no partition `{partition}`, list what there is with `thalweg partition list`"
    )]
    UnknownTopicOrPartition {
        /// What was asked for.
        partition: TopicPartition,
    },
    /// Another SPU leads it, or nobody.
    #[error("this SPU does not lead `{partition}`, ask for the metadata again")]
    NotLeader {
        /// What was asked for.
        partition: TopicPartition,
        /// Who leads, as far as this SPU knows.
        leader: Option<SpuId>,
    },
    /// The log is still being opened.
    #[error("`{partition}` is still being opened, retry in a moment")]
    Opening {
        /// What was asked for.
        partition: TopicPartition,
    },
    /// The client knows an older reign: its metadata is stale.
    #[error("leader epoch {asked} of `{partition}` is over, the current one is {current}")]
    FencedLeaderEpoch {
        /// What was asked for.
        partition: TopicPartition,
        /// The epoch that the client knows.
        asked: LeaderEpoch,
        /// The epoch in force.
        current: LeaderEpoch,
    },
    /// The client knows a newer reign than this SPU.
    #[error(
        "leader epoch {asked} of `{partition}` has not reached this SPU, which knows {current}"
    )]
    UnknownLeaderEpoch {
        /// What was asked for.
        partition: TopicPartition,
        /// The epoch that the client knows.
        asked: LeaderEpoch,
        /// The epoch in force here.
        current: LeaderEpoch,
    },
    /// The log can't be trusted any more, or could not be opened.
    #[error("`{partition}` can't be served by this SPU: {reason}")]
    Failed {
        /// What was asked for.
        partition: TopicPartition,
        /// What happened.
        reason: String,
    },
}

impl ReplicaError {
    /// What a caller must do.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownTopicOrPartition { .. } => ErrorCode::NotFound,
            Self::NotLeader { .. }
            | Self::FencedLeaderEpoch { .. }
            | Self::UnknownLeaderEpoch { .. } => ErrorCode::WrongNode,
            Self::Opening { .. } => ErrorCode::Unavailable,
            Self::Failed { .. } => ErrorCode::Corrupt,
        }
    }
}

/// Why a produce failed.
#[derive(Debug, thiserror::Error)]
pub enum ProduceError {
    /// `acks=all`, and too few replicas are in sync. Nothing was appended.
    #[error(
        "`{partition}` has {in_sync} replicas in sync, `min.insync.replicas` asks for {wanted}; retry later"
    )]
    NotEnoughReplicas {
        /// The partition.
        partition: TopicPartition,
        /// How many are in sync.
        in_sync: usize,
        /// How many the topic asks for.
        wanted: u16,
    },
    /// `acks=all`, and replicas left while it waited for them: fewer have it than the topic asks for.
    /// It is appended.
    #[error(
        "`{partition}` has {in_sync} replicas in sync by now, `min.insync.replicas` asks for {wanted}; the records are kept by those, retry later"
    )]
    NotEnoughReplicasAfterAppend {
        /// The partition.
        partition: TopicPartition,
        /// How many are in sync.
        in_sync: usize,
        /// How many the topic asks for.
        wanted: u16,
    },
    /// The append was not acknowledged in time; it may still be.
    #[error("`{partition}` did not acknowledge within {timeout:?}; the records may be kept or not")]
    TimedOut {
        /// The partition.
        partition: TopicPartition,
        /// How long it waited.
        timeout: Duration,
    },
    /// This SPU stopped leading before the append was acknowledged; it may be kept or not.
    #[error("this SPU stopped leading `{partition}`: {reason}; ask for the metadata and retry")]
    LeadershipEnded {
        /// The partition.
        partition: TopicPartition,
        /// Why.
        reason: String,
    },
    /// The log refused it.
    #[error("failed to append to `{partition}`")]
    Append {
        /// The partition.
        partition: TopicPartition,
        /// Why.
        source: AppendError,
    },
}

impl ProduceError {
    /// Whether the records are in this leader's log although the produce failed.
    pub(crate) fn is_after_append(&self) -> bool {
        matches!(self, Self::NotEnoughReplicasAfterAppend { .. })
    }
}
