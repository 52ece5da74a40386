//! The data protocol, from the client's side: connections, requests, who leads what.

mod connection;
mod connections;
mod error;
mod liveness;
mod log_bounds;
mod metadata;
mod stream;

pub use connection::{Connection, ConnectionOptions};
pub(crate) use connection::{MAY_SPEAK_TLS, Reply};
pub(crate) use connections::Connections;
pub use error::RequestError;
pub(crate) use liveness::Liveness;
pub(crate) use log_bounds::{Answered, AskedPartition, LogPosition, delete_records, list_offsets};
pub(crate) use metadata::{Metadata, TopicMetadata};
pub(crate) use stream::{NewStream, OpenStreamError, close_stream, open_stream};
use thalweg_wire::kafka_error;

/// Kafka's name of an error code.
pub(crate) fn kafka_name(code: i16) -> String {
    kafka_error(code).map_or_else(|| "NONE".to_owned(), |error| error.to_string())
}
