//! Why a request to an SPU had no answer.

use std::time::Duration;

use thalweg_types::{ClusterId, ErrorCode};

/// Every way that a conversation with the cluster's SPUs can fail, apart from what they answer.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// No connection could be made.
    #[error("can't connect to `{address}`: {reason}")]
    Connect {
        /// `host:port`, as tried.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// The connection broke before the answer; the request may have been carried out.
    #[error("lost the connection to `{address}`: {reason}")]
    Disconnected {
        /// `host:port` of the peer.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// No answer came in time; the request may have been carried out.
    #[error("`{address}` did not answer within {after:?}")]
    TimedOut {
        /// `host:port` of the peer.
        address: String,
        /// How long the wait was.
        after: Duration,
    },
    /// The cluster has given the SPU up, as it is silent; the request may have been carried out.
    #[error("`{address}` does not answer, and the cluster takes it for down")]
    GivenUp {
        /// `host:port` of the peer.
        address: String,
    },
    /// The peer does not speak the protocol, or not the versions that are needed.
    #[error("`{address}` does not speak our protocol: {reason}")]
    Protocol {
        /// `host:port` of the peer.
        address: String,
        /// What was wrong.
        reason: String,
    },
    /// Another cluster has come to the address. What this client knows, its producers' ids and its
    /// consumers' offsets among it, means something else there.
    #[error(
        "`{address}` is of cluster {found} now, and this client began with {begun_with}: connect anew to go on there"
    )]
    AnotherCluster {
        /// `host:port` of the peer.
        address: String,
        /// The peer's cluster.
        found: ClusterId,
        /// The cluster of the first SPU that this client was connected to.
        begun_with: ClusterId,
    },
    /// The peer answered with an error that concerns the whole request.
    #[error("`{address}` answered {name} ({kafka_code}) to {request}")]
    Refused {
        /// `host:port` of the peer.
        address: String,
        /// What was asked.
        request: &'static str,
        /// Kafka's number for the error.
        kafka_code: i16,
        /// Kafka's name for it.
        name: String,
    },
    /// None of the known SPUs could be reached.
    #[error("no SPU could be reached; the last failure: {last_failure}")]
    NoSpuReachable {
        /// What the last attempt ended with.
        last_failure: String,
    },
    /// The partition has no leader for now.
    #[error(
        "partition `{partition}` has no leader now: its SPU is down, or what it holds is damaged; `thalweg partition list` says which"
    )]
    NoLeader {
        /// The partition.
        partition: String,
    },
    /// The client has been dropped or closed.
    #[error("the client is closed")]
    Closed,
}

impl RequestError {
    /// What the caller should do.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Connect { .. } | Self::NoSpuReachable { .. } | Self::NoLeader { .. } => {
                ErrorCode::Unavailable
            }
            Self::Disconnected { .. } | Self::TimedOut { .. } | Self::GivenUp { .. } => {
                ErrorCode::OutcomeUnknown
            }
            Self::Protocol { .. }
            | Self::AnotherCluster { .. }
            | Self::Refused { .. }
            | Self::Closed => ErrorCode::InvalidRequest,
        }
    }

    /// Whether the peer may have carried the request out.
    pub(crate) fn outcome_unknown(&self) -> bool {
        matches!(
            self,
            Self::Disconnected { .. }
                | Self::TimedOut { .. }
                | Self::GivenUp { .. }
                | Self::Protocol { .. }
        )
    }
}
