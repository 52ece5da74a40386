//! Produce versions 0 to 2: read so far that every partition can be told that its format is not
//! kept here. They are announced only because librdkafka compresses nothing otherwise.

use bytes::{BufMut, Bytes, BytesMut};
use thalweg_wire::messages::{ProduceRequest, ProduceResponse};
use thalweg_wire::{DecodeError, RequestHeader, decode_request};

/// Version 3 begins with a transactional id, and is as version 2 after it.
pub(super) fn decode(message: Bytes) -> Result<ProduceRequest, DecodeError> {
    const NO_TRANSACTIONAL_ID: i16 = -1;
    let mut as_version_3 = BytesMut::with_capacity(2 + message.len());
    as_version_3.put_i16(NO_TRANSACTIONAL_ID);
    as_version_3.put_slice(&message);
    decode_request(3, as_version_3.freeze())
}

/// Version 2 is as version 3; 1 has no append time, 0 no throttle time either.
pub(super) fn encode(header: &RequestHeader, response: &ProduceResponse) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i32(0);
    out.put_i32(header.correlation_id);
    put_length(&mut out, response.responses.len());
    for topic in &response.responses {
        let name = topic.name.as_bytes();
        out.put_i16(i16::try_from(name.len()).expect("it came with a 16-bit length"));
        out.put_slice(name);
        put_length(&mut out, topic.partition_responses.len());
        for partition in &topic.partition_responses {
            out.put_i32(partition.index);
            out.put_i16(partition.error_code);
            out.put_i64(partition.base_offset);
            if header.api_version >= 2 {
                out.put_i64(partition.log_append_time_ms);
            }
        }
    }
    if header.api_version >= 1 {
        out.put_i32(response.throttle_time_ms);
    }
    let length = out.len() - 4;
    out[..4].copy_from_slice(&as_i32(length).to_be_bytes());
    out.freeze()
}

fn put_length(out: &mut BytesMut, length: usize) {
    out.put_i32(as_i32(length));
}

fn as_i32(length: usize) -> i32 {
    i32::try_from(length).expect("as many as came in a frame of less than 2^31 bytes")
}
