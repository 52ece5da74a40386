//! The header in front of a request.
//!
//! Read by hand and not by `kafka-protocol`, because the header must be readable also where its
//! message is of a version or an API that is not known: ApiVersions is answered then.

use bytes::{Bytes, BytesMut};

use crate::api::header_versions;
use crate::error::DecodeError;
use crate::primitives::{Cursor, Malformed, put_uvarint};
use bytes::BufMut;

/// What a request says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// Which API it asks for.
    pub api_key: i16,
    /// In which version.
    pub api_version: i16,
    /// Comes back in the response.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<String>,
}

impl RequestHeader {
    /// Writes the header.
    pub(crate) fn encode(&self, out: &mut BytesMut, header_version: i16) {
        out.put_i16(self.api_key);
        out.put_i16(self.api_version);
        out.put_i32(self.correlation_id);
        match self
            .client_id
            .as_deref()
            .map(|id| (i16::try_from(id.len()), id))
        {
            Some((Ok(length), id)) => {
                out.put_i16(length);
                out.put_slice(id.as_bytes());
            }
            // A name too long to be sent is for people only, and left out.
            Some((Err(_), _)) | None => out.put_i16(-1),
        }
        if header_version >= 2 {
            put_uvarint(out, 0);
        }
    }
}

/// Reads the header of a request frame and returns it with the message after it. The message of
/// an API that nobody knows begins after the oldest header.
///
/// # Errors
/// When the frame ends within the header, or the client id is not UTF-8.
pub fn decode_request_header(frame: &Bytes) -> Result<(RequestHeader, Bytes), DecodeError> {
    let mut cursor = Cursor::new(frame);
    let (api_key, api_version) = (cursor.i16(), cursor.i16());
    let at = |reason: Malformed| DecodeError {
        api_key: api_key.clone().unwrap_or(-1),
        version: api_version.clone().unwrap_or(-1),
        reason,
    };
    read(
        &mut cursor,
        api_key.clone().map_err(at)?,
        api_version.clone().map_err(at)?,
    )
    .map(|header| (header, frame.slice(cursor.position()..)))
    .map_err(at)
}

fn read(
    cursor: &mut Cursor<'_>,
    api_key: i16,
    api_version: i16,
) -> Result<RequestHeader, Malformed> {
    let correlation_id = cursor.i32()?;
    let client_id = match usize::try_from(cursor.i16()?) {
        Ok(length) => {
            let text = std::str::from_utf8(cursor.take(length)?);
            Some(text.map_err(|_| "client id is not UTF-8")?.to_owned())
        }
        Err(_) => None,
    };
    if header_versions(api_key, api_version).is_some_and(|headers| headers.request >= 2) {
        cursor.skip_tagged_fields()?;
    }
    Ok(RequestHeader {
        api_key,
        api_version,
        correlation_id,
        client_id,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn headers_survive_the_round_trip(
            key in prop_oneof![0_i16..92, Just(20000)],
            version in 0_i16..4,
            correlation_id: i32,
            client_id: Option<String>,
        ) {
            let header = RequestHeader { api_key: key, api_version: version, correlation_id, client_id };
            let mut out = BytesMut::new();
            let header_version = header_versions(key, version).map_or(1, |headers| headers.request);
            header.encode(&mut out, header_version);
            out.put_slice(b"message");

            let (decoded, rest) = decode_request_header(&out.freeze()).unwrap();

            prop_assert_eq!(decoded, header);
            prop_assert_eq!(&rest[..], b"message");
        }

        #[test]
        fn garbage_never_panics(bytes: Vec<u8>) {
            let _ = decode_request_header(&Bytes::from(bytes));
        }
    }
}
