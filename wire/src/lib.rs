//! The data protocol: Kafka's framing and messages, and the stream extension.
//!
//! An SPU and a client exchange frames ([`FrameReader`]): a length, a header ([`RequestHeader`]),
//! and a message. Messages are Kafka's own, as the `kafka-protocol` crate has them
//! ([`messages`]); [`OpenStreamRequest`] and [`CloseStreamRequest`] are ours, for SmartModules on
//! a stream, together with the tagged fields in [`tags`]. `docs/formats/data-protocol.md` says
//! byte by byte what is not Kafka's.
//!
//! Invariant: nothing that arrives makes this crate panic, or allocate much more than it is long.
//! Every message is walked along its [`shape`] before `kafka-protocol` decodes it, because that
//! crate reserves memory for as many elements as an array claims to have.
//!
//! Record bytes are never looked at: a decoded message holds slices of the frame that it came in.
#![forbid(unsafe_code)]

mod accumulators;
mod api;
mod call;
mod error;
mod failed_records;
mod fetch_frame;
mod frame;
mod header;
mod primitives;
pub mod shape;
mod stream;
pub mod tags;

pub use accumulators::{ACCUMULATORS_BYTES_MAX, ACCUMULATORS_MAX, KeyedAccumulators};
pub use api::{
    ANNOUNCED, CLOSE_STREAM_KEY, EXTENSION, HeaderVersions, OPEN_STREAM_KEY, THALWEG_SOFTWARE_NAME,
    VersionRange, header_versions,
};
pub use bytes::{Bytes, BytesMut};
pub use call::{
    ApiMessage, ApiRequest, decode_request, decode_response, encode_request, encode_response,
    peek_correlation_id,
};
pub use error::{
    ACCUMULATORS_NEEDED, DecodeError, EncodeError, KafkaError, MODULE_REFUSED, STREAM_FAILED,
    STREAM_LIMIT, UNKNOWN_STREAM, error_code_of, kafka_error,
};
pub use failed_records::FailedRecords;
pub use fetch_frame::{FetchPart, encode_fetch_response};
pub use frame::{FRAME_BYTES_MAX, FrameError, FrameReader, SMALL_FRAME_BYTES};
pub use header::{RequestHeader, decode_request_header};
pub use kafka_protocol::messages;
pub use kafka_protocol::protocol::{Request, StrBytes};
pub use stream::{
    CloseStreamRequest, CloseStreamResponse, ModuleSource, OpenStreamRequest, OpenStreamResponse,
    StreamId, StreamPurpose, StreamStep,
};
pub use tags::StreamFailure;
