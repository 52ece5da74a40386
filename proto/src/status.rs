//! The one map between our error codes and gRPC's.
//!
//! gRPC's codes are too coarse to act on (`UNAVAILABLE` may be any of three things), so ours
//! travels beside it in the metadata entry `thalweg-error-code`. Servers make a `Status` by
//! [`status_of`], clients read the code by [`error_code`].

use std::error::Error;
use std::fmt::Write as _;

use thalweg_types::ErrorCode;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

/// The metadata entry that carries the error code's name.
pub const ERROR_CODE_ENTRY: &str = "thalweg-error-code";

/// An error that knows what its caller must do.
pub trait ServiceError: Error {
    /// What the caller must do.
    fn code(&self) -> ErrorCode;
}

/// A `Status` with `code` and a message.
#[must_use]
pub fn status(code: ErrorCode, message: impl Into<String>) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert(ERROR_CODE_ENTRY, MetadataValue::from_static(name(code)));
    Status::with_metadata(grpc_code(code), message, metadata)
}

/// The `Status` of `error`: its code, and its message followed by those of its causes.
#[must_use]
pub fn status_of(error: &impl ServiceError) -> Status {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(message, ": {error}").expect("writing to a String can't fail");
        cause = error.source();
    }
    status(error.code(), message)
}

/// The error code that `status` carries, or, where it came from somebody else (a proxy, the
/// transport), the nearest to its gRPC code.
#[must_use]
pub fn error_code(status: &Status) -> ErrorCode {
    status
        .metadata()
        .get(ERROR_CODE_ENTRY)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| ALL.into_iter().find(|code| name(*code) == text))
        .unwrap_or_else(|| nearest(status.code()))
}

const ALL: [ErrorCode; 10] = [
    ErrorCode::InvalidRequest,
    ErrorCode::NotFound,
    ErrorCode::AlreadyExists,
    ErrorCode::Conflict,
    ErrorCode::WrongNode,
    ErrorCode::Unavailable,
    ErrorCode::OutcomeUnknown,
    ErrorCode::Fenced,
    ErrorCode::Corrupt,
    ErrorCode::Internal,
];

fn name(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::InvalidRequest => "invalid-request",
        ErrorCode::NotFound => "not-found",
        ErrorCode::AlreadyExists => "already-exists",
        ErrorCode::Conflict => "conflict",
        ErrorCode::WrongNode => "wrong-node",
        ErrorCode::Unavailable => "unavailable",
        ErrorCode::OutcomeUnknown => "outcome-unknown",
        ErrorCode::Fenced => "fenced",
        ErrorCode::Corrupt => "corrupt",
        // The enum may grow; an older reader treats what it doesn't know as a bug to report.
        _ => "internal",
    }
}

fn grpc_code(code: ErrorCode) -> Code {
    match code {
        ErrorCode::InvalidRequest => Code::InvalidArgument,
        ErrorCode::NotFound => Code::NotFound,
        ErrorCode::AlreadyExists => Code::AlreadyExists,
        ErrorCode::Conflict => Code::Aborted,
        ErrorCode::WrongNode | ErrorCode::Fenced => Code::FailedPrecondition,
        ErrorCode::Unavailable => Code::Unavailable,
        ErrorCode::OutcomeUnknown => Code::Unknown,
        ErrorCode::Corrupt => Code::DataLoss,
        _ => Code::Internal,
    }
}

fn nearest(code: Code) -> ErrorCode {
    match code {
        Code::InvalidArgument | Code::OutOfRange | Code::Unimplemented => ErrorCode::InvalidRequest,
        Code::NotFound => ErrorCode::NotFound,
        Code::AlreadyExists => ErrorCode::AlreadyExists,
        Code::Aborted => ErrorCode::Conflict,
        Code::Unavailable | Code::ResourceExhausted => ErrorCode::Unavailable,
        // The request may have reached the server before the connection or the time ended.
        Code::Unknown | Code::Cancelled | Code::DeadlineExceeded => ErrorCode::OutcomeUnknown,
        Code::DataLoss => ErrorCode::Corrupt,
        _ => ErrorCode::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_the_way_through_a_status() {
        for code in ALL {
            assert_eq!(error_code(&status(code, "because")), code);
        }
    }

    #[test]
    fn a_status_from_somebody_else_gets_the_nearest_code() {
        assert_eq!(
            error_code(&Status::unavailable("tcp connect error")),
            ErrorCode::Unavailable
        );
        assert_eq!(
            error_code(&Status::deadline_exceeded("too slow")),
            ErrorCode::OutcomeUnknown
        );
    }

    #[test]
    fn the_message_of_a_status_names_the_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("failed to store topic `t`")]
        struct Outer(#[source] std::io::Error);
        impl ServiceError for Outer {
            fn code(&self) -> ErrorCode {
                ErrorCode::Unavailable
            }
        }

        let status = status_of(&Outer(std::io::Error::other("disk full")));

        assert_eq!(status.message(), "failed to store topic `t`: disk full");
        assert_eq!(status.code(), Code::Unavailable);
    }
}
