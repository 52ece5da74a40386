//! The gRPC conversations: generated code, its conversion to and from the vocabulary, and the one
//! map between our error codes and gRPC's.
//!
//! Generated types stop at the edge: handlers turn them into `thalweg_types` by `TryFrom` before
//! they look at them, and that is where a request is checked.
#![forbid(unsafe_code)]

/// Generated from `proto/thalweg/v1/*.proto`: the messages and the services `admin` (clients to
/// the SC) and `control` (SPUs to the SC).
pub mod v1 {
    #![allow(
        missing_docs,
        unreachable_pub,
        unused_qualifications,
        clippy::all,
        clippy::allow_attributes_without_reason,
        reason = "generated"
    )]
    tonic::include_proto!("thalweg.v1");
}

mod channel;
mod convert;
mod status;

pub use channel::connect_lazily;
pub use convert::InvalidField;
pub use status::{ERROR_CODE_ENTRY, ServiceError, error_code, status, status_of};
