//! Why an admin request was not done.

use thalweg_metadata::StoreError;
use thalweg_proto::{InvalidField, ServiceError};
use thalweg_smartmodule_inspect::LoadError;
use thalweg_types::resource::{ResourceVersion, TransformNumber, UnknownModule};
use thalweg_types::{ErrorCode, ResourceName, SpuId, TopicName};

use crate::modules::BytesError;
use crate::modules::rules::Refusal;
use crate::state::ChangeError;
use crate::transforms::rules::TopicUse;

/// Every way an admin request can fail.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// A field can't be what it is.
    #[error(transparent)]
    Invalid(#[from] InvalidField),
    /// It would create what exists.
    #[error("topic `{0}` already exists")]
    TopicExists(TopicName),
    /// The name is taken until a deletion is done.
    #[error("topic `{0}` is being deleted; try again in a moment")]
    TopicBeingDeleted(TopicName),
    /// It names what does not exist.
    #[error("topic `{0}` does not exist; `thalweg topic list` shows those that do")]
    NoSuchTopic(TopicName),
    /// Somebody changed it since the caller read it.
    #[error("topic `{topic}` has version {found} by now, not {expected}; read it again")]
    TopicChanged {
        /// The topic.
        topic: TopicName,
        /// The version that the caller read.
        expected: ResourceVersion,
        /// The version that it has.
        found: ResourceVersion,
    },
    /// It names an SPU that never registered.
    #[error("SPU {0} does not exist; `thalweg spu list` shows those that do")]
    NoSuchSpu(SpuId),
    /// It would remove replicas together with an SPU.
    #[error(
        "SPU {spu} holds {held} partitions, and the only copy of {only_copies}; drain it first with `thalweg spu drain {spu}`"
    )]
    SpuHoldsReplicas {
        /// The SPU.
        spu: SpuId,
        /// How many partitions it should hold.
        held: usize,
        /// How many of them nobody else should.
        only_copies: usize,
    },
    /// It would remove an SPU that would be back at once.
    #[error("SPU {0} is up; stop its process first, or it registers again")]
    SpuIsUp(SpuId),
    /// A client may not touch what the cluster keeps for itself.
    #[error(
        "topic `{0}` is the cluster's own: names that begin with `__` can't be created, changed or deleted"
    )]
    InternalTopic(TopicName),
    /// A transform needs it.
    #[error(
        "{}; delete the transform first: `thalweg transform delete {transform}`",
        .how.told(.transform, .topic)
    )]
    TopicInUse {
        /// The topic.
        topic: TopicName,
        /// Of those that use it, one.
        transform: ResourceName,
        /// What it does with the topic.
        how: TopicUse,
    },
    /// It would create what exists.
    #[error("transform `{0}` already exists; `thalweg transform apply` changes those that do")]
    TransformExists(ResourceName),
    /// It names what does not exist.
    #[error("transform `{0}` does not exist; `thalweg transform list` shows those that do")]
    NoSuchTransform(ResourceName),
    /// Somebody changed it since the caller read it.
    #[error("transform `{transform}` has version {found} by now, not {expected}; read it again")]
    TransformChanged {
        /// The transform.
        transform: ResourceName,
        /// The version that the caller read.
        expected: ResourceVersion,
        /// The version that it has.
        found: ResourceVersion,
    },
    /// It would make another transform of it.
    #[error(
        "the {what} of transform `{transform}` can't be changed: delete it with `thalweg transform delete {transform}`, and deploy it again"
    )]
    TransformTopicsStay {
        /// The transform.
        transform: ResourceName,
        /// `inputs` or `outputs`.
        what: &'static str,
    },
    /// It is under way already.
    #[error(
        "the backfill of transform `{0}` can't be changed: take it away with `thalweg transform backfill abort {0}`, and start another one"
    )]
    BackfillStays(ResourceName),
    /// Nothing says where it would go on.
    #[error("the backfill of transform `{0}` has not begun yet: try again in a moment")]
    BackfillHasNotBegun(ResourceName),
    /// So many were made.
    #[error(
        "no number is left for a transform: {} were given out",
        TransformNumber::MAX
    )]
    TransformNumbersUsedUp,
    /// The bytes are no SmartModule.
    #[error("not a SmartModule that can be registered: {0}")]
    Module(LoadError),
    /// The registry's rules.
    #[error(transparent)]
    Registry(#[from] Refusal),
    /// The bytes of a SmartModule could not be kept.
    #[error(transparent)]
    Bytes(#[from] BytesError),
    /// The SC is going away.
    #[error("the SC is stopping; try again")]
    Stopping,
    /// The write was not made.
    #[error(transparent)]
    Change(#[from] ChangeError),
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::Change(error.into())
    }
}

impl From<UnknownModule> for ApiError {
    fn from(error: UnknownModule) -> Self {
        Self::Registry(error.into())
    }
}

impl From<LoadError> for ApiError {
    fn from(error: LoadError) -> Self {
        Self::Module(error)
    }
}

impl ServiceError for ApiError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_)
            | Self::InternalTopic(_)
            | Self::Module(_)
            | Self::TopicInUse { .. }
            | Self::TransformTopicsStay { .. }
            | Self::BackfillStays(_)
            | Self::TransformNumbersUsedUp
            | Self::SpuHoldsReplicas { .. }
            | Self::SpuIsUp(_) => ErrorCode::InvalidRequest,
            Self::NoSuchSpu(_) | Self::NoSuchTransform(_) => ErrorCode::NotFound,
            Self::Registry(Refusal::VersionTaken { .. }) => ErrorCode::AlreadyExists,
            Self::Registry(Refusal::Unknown(_)) => ErrorCode::NotFound,
            Self::Registry(_) => ErrorCode::InvalidRequest,
            Self::Bytes(error) => error.code(),
            Self::Stopping => ErrorCode::Unavailable,
            Self::TopicExists(_) | Self::TransformExists(_) => ErrorCode::AlreadyExists,
            Self::TopicBeingDeleted(_) | Self::BackfillHasNotBegun(_) => ErrorCode::Unavailable,
            Self::NoSuchTopic(_) => ErrorCode::NotFound,
            Self::TopicChanged { .. } | Self::TransformChanged { .. } => ErrorCode::Conflict,
            Self::Change(error) => error.code(),
        }
    }
}
