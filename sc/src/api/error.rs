//! Why an admin request was not done.

use thalweg_metadata::StoreError;
use thalweg_proto::{InvalidField, ServiceError};
use thalweg_types::resource::ResourceVersion;
use thalweg_types::{ErrorCode, TopicName};

use crate::state::ChangeError;

/// Every way an admin request can fail.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
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
    /// The write was not made.
    #[error(transparent)]
    Change(#[from] ChangeError),
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::Change(error.into())
    }
}

impl ServiceError for ApiError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_) => ErrorCode::InvalidRequest,
            Self::TopicExists(_) => ErrorCode::AlreadyExists,
            Self::TopicBeingDeleted(_) => ErrorCode::Unavailable,
            Self::NoSuchTopic(_) => ErrorCode::NotFound,
            Self::TopicChanged { .. } => ErrorCode::Conflict,
            Self::Change(error) => error.code(),
        }
    }
}
