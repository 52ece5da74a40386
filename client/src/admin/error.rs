//! Why the SC did not do as asked.

use thalweg_types::ErrorCode;

use crate::data::RequestError;
use crate::module_bytes::ModuleBytesError;

/// Every way that an admin call can fail.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// No SC address was given when the client connected.
    #[error("no address of the cluster's SC is known; give one as `cluster`")]
    NoAddress,
    /// The address can't be one.
    #[error("`{address}` is no address, write HOST:PORT")]
    InvalidAddress {
        /// The address as given.
        address: String,
    },
    /// The SC can't be reached, or the connection to it broke.
    #[error(
        "can't reach the SC at `{address}`: {reason}; is the cluster up? see `thalweg cluster status`"
    )]
    Unreachable {
        /// `host:port`, as tried.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// The SC refused. The message is its own, and names the thing and the next step.
    #[error("{message}")]
    Refused {
        /// What the caller should do.
        code: ErrorCode,
        /// The SC's words.
        message: String,
    },
    /// The SC's answer makes no sense to this version of the client.
    #[error("the SC's answer has no valid {field}; is it of another version?")]
    InvalidReply {
        /// What is missing or wrong.
        field: &'static str,
    },
    /// The partition's leader refused, and would again.
    #[error("partition `{partition}` refused: {name} ({kafka_code})")]
    PartitionRefused {
        /// The partition.
        partition: String,
        /// Kafka's number for the error.
        kafka_code: i16,
        /// Kafka's name for it.
        name: String,
    },
    /// The bytes of a registered SmartModule can't be had.
    #[error(transparent)]
    ModuleBytes(#[from] ModuleBytesError),
    /// An SPU could not be asked.
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl AdminError {
    /// What the caller should do.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NoAddress | Self::InvalidAddress { .. } | Self::PartitionRefused { .. } => {
                ErrorCode::InvalidRequest
            }
            Self::Unreachable { .. } => ErrorCode::Unavailable,
            Self::Refused { code, .. } => *code,
            Self::InvalidReply { .. } => ErrorCode::Internal,
            Self::ModuleBytes(error) => error.code(),
            Self::Request(error) => error.code(),
        }
    }
}
