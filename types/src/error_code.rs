//! What an error means for the one who made the request.

use serde::{Deserialize, Serialize};

/// What a caller must do about an error. Every error that crosses a process boundary has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ErrorCode {
    /// The request is wrong: fix it, a retry can't help.
    InvalidRequest,
    /// The thing that it names does not exist.
    NotFound,
    /// The thing that it would create exists.
    AlreadyExists,
    /// The resource has changed since it was read: read it again, then retry.
    Conflict,
    /// Another node answers for it: find the leader, then retry there.
    WrongNode,
    /// Not now: retry here, after a moment.
    Unavailable,
    /// It may have happened or not; a retry may do it twice.
    OutcomeUnknown,
    /// The caller was replaced by a newer one, and must stop.
    Fenced,
    /// Something that we hold is damaged.
    Corrupt,
    /// A bug of ours.
    Internal,
}

impl ErrorCode {
    /// Whether the same request can succeed later without any change to it.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Unavailable | Self::WrongNode | Self::Conflict)
    }
}
