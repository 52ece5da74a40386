//! Requests and responses as frames.
//!
//! A client writes with [`encode_request`], finds out which of its requests an answer is for with
//! [`peek_correlation_id`], and reads it with [`decode_response`]. A server reads with
//! [`decode_request_header`](crate::decode_request_header) and [`decode_request`], and answers
//! with [`encode_response`].

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::{Decodable, Encodable, Request};

use crate::api::header_versions;
use crate::error::{DecodeError, EncodeError};
use crate::header::RequestHeader;
use crate::primitives::{Cursor, Malformed, put_uvarint};
use crate::shape::{self, Shape};

/// A message that can be sent in a frame.
pub trait ApiMessage: Sized {
    /// Appends the message in `version` to `out`.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    fn encode_message(&self, out: &mut BytesMut, version: i16) -> Result<(), String>;

    /// Takes the message off the head of `message`. The length of every array has been checked.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    fn decode_message(message: &mut Bytes, version: i16) -> Result<Self, String>;
}

/// A request, which has an API key and a kind of response.
pub trait ApiRequest: ApiMessage {
    /// The API's key.
    const KEY: i16;
    /// What it is answered with.
    type Response: ApiMessage;
}

impl<M: Encodable + Decodable> ApiMessage for M {
    fn encode_message(&self, out: &mut BytesMut, version: i16) -> Result<(), String> {
        self.encode(out, version).map_err(|error| error.to_string())
    }

    fn decode_message(message: &mut Bytes, version: i16) -> Result<Self, String> {
        Self::decode(message, version).map_err(|error| error.to_string())
    }
}

impl<R: Request> ApiRequest for R {
    const KEY: i16 = <R as Request>::KEY;
    type Response = <R as Request>::Response;
}

/// Writes a request with its length and header.
///
/// # Errors
/// When a field is set that `version` does not have, or the frame would be too long.
pub fn encode_request<R: ApiRequest>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: &str,
) -> Result<Bytes, EncodeError> {
    let header = RequestHeader {
        api_key: R::KEY,
        api_version: version,
        correlation_id,
        client_id: Some(client_id.to_owned()),
    };
    framed(R::KEY, version, |out, header_version| {
        header.encode(out, header_version.request);
        request.encode_message(out, version)
    })
}

/// Writes a response with its length and header.
///
/// # Errors
/// When a field is set that `version` does not have, or the frame would be too long.
pub fn encode_response<R: ApiRequest>(
    response: &R::Response,
    version: i16,
    correlation_id: i32,
) -> Result<Bytes, EncodeError> {
    framed(R::KEY, version, |out, header_version| {
        out.put_i32(correlation_id);
        if header_version.response >= 1 {
            put_uvarint(out, 0);
        }
        response.encode_message(out, version)
    })
}

fn framed(
    api_key: i16,
    version: i16,
    write: impl FnOnce(&mut BytesMut, crate::HeaderVersions) -> Result<(), String>,
) -> Result<Bytes, EncodeError> {
    let failed = |reason| EncodeError {
        api_key,
        version,
        reason,
    };
    let headers =
        header_versions(api_key, version).ok_or_else(|| failed("unknown API".to_owned()))?;
    let mut out = BytesMut::with_capacity(256);
    out.put_i32(0);
    write(&mut out, headers).map_err(failed)?;
    let length = i32::try_from(out.len() - 4)
        .map_err(|_| failed("the frame is longer than 2^31 bytes".to_owned()))?;
    out[..4].copy_from_slice(&length.to_be_bytes());
    Ok(out.freeze())
}

/// Reads the message of a request, which [`decode_request_header`](crate::decode_request_header)
/// has separated from its header. Bytes that follow it are ignored, as Kafka's brokers do.
///
/// # Errors
/// When it is malformed, or claims more than it holds.
pub fn decode_request<R: ApiRequest>(version: i16, message: Bytes) -> Result<R, DecodeError> {
    decode(
        R::KEY,
        version,
        message,
        shape::request_shape(R::KEY),
        |shape, message| shape.check_start(message, version).map(drop),
    )
}

/// Reads the correlation id at the head of a response frame.
#[must_use]
pub fn peek_correlation_id(frame: &[u8]) -> Option<i32> {
    Cursor::new(frame).i32().ok()
}

/// Reads a response frame to a request of `R` in `version`.
///
/// # Errors
/// When it is malformed, or claims more than it holds.
pub fn decode_response<R: ApiRequest>(
    version: i16,
    frame: Bytes,
) -> Result<R::Response, DecodeError> {
    let header = |frame: &Bytes| {
        let mut cursor = Cursor::new(frame);
        let _correlation_id = cursor.i32()?;
        let headers = header_versions(R::KEY, version).ok_or("unknown API")?;
        if headers.response >= 1 {
            cursor.skip_tagged_fields()?;
        }
        Ok(cursor.position())
    };
    let message_position = header(&frame).map_err(|reason: String| DecodeError {
        api_key: R::KEY,
        version,
        reason,
    })?;
    let message = frame.slice(message_position..);
    decode(
        R::KEY,
        version,
        message,
        shape::response_shape(R::KEY),
        |shape, message| shape.check(message, version).map(drop),
    )
}

fn decode<M: ApiMessage>(
    api_key: i16,
    version: i16,
    mut message: Bytes,
    shape: Option<&Shape>,
    check: impl FnOnce(&Shape, &[u8]) -> Result<(), Malformed>,
) -> Result<M, DecodeError> {
    shape
        .ok_or_else(|| "unknown API".to_owned())
        .and_then(|shape| check(shape, &message))
        .and_then(|()| M::decode_message(&mut message, version))
        .map_err(|reason| DecodeError {
            api_key,
            version,
            reason,
        })
}

#[cfg(test)]
mod tests;
