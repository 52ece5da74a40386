//! Encodes records into the records section of a batch.

use crate::headers::Header;
use crate::varint::{VARINT_BYTES_MAX, VARLONG_BYTES_MAX, varint_bytes, write_varint, zigzag};

/// What goes into one encoded record.
#[derive(Debug, Clone, Copy, Default)]
pub struct RecordFields<'a> {
    /// The record's offset less the batch's base offset.
    pub offset_delta: i32,
    /// The record's timestamp less the batch's base timestamp, in milliseconds.
    pub timestamp_delta: i64,
    /// The key, or `None` for null.
    pub key: Option<&'a [u8]>,
    /// The value, or `None` for null.
    pub value: Option<&'a [u8]>,
    /// The headers, in order.
    pub headers: &'a [Header<'a>],
}

/// Appends one record to `out`, which is all or part of a records section.
///
/// The sizes must stay below 2 GiB in sum, as every length in the format is an `i32`;
/// [`crate::BatchBuilder`] sees to it.
#[inline]
pub fn write_record(out: &mut Vec<u8>, record: &RecordFields<'_>) {
    let body_bytes = body_bytes(record);
    out.reserve(VARINT_BYTES_MAX + body_bytes);
    // Everything before the key's bytes goes out in one piece: a push for each of these bytes is
    // most of the cost of a small record.
    let mut before_key = ArrayWriter::default();
    before_key.write_varint(body_bytes as i64);
    before_key.write_byte(0);
    before_key.write_varint(record.timestamp_delta);
    before_key.write_varint(record.offset_delta.into());
    before_key.write_varint(record.key.map_or(-1, |key| key.len() as i64));
    out.extend_from_slice(before_key.written());
    out.extend_from_slice(record.key.unwrap_or_default());
    write_nullable(out, record.value);
    write_varint(out, record.headers.len() as i64);
    for header in record.headers {
        write_nullable(out, Some(header.key));
        write_nullable(out, header.value);
    }
}

/// How many bytes [`write_record`] appends.
#[must_use]
pub fn encoded_record_bytes(record: &RecordFields<'_>) -> usize {
    let body_bytes = body_bytes(record);
    varint_bytes(body_bytes as i64) + body_bytes
}

/// The most bytes that a record takes in any batch, for deciding whether it still fits.
#[must_use]
#[inline]
pub fn record_bytes_max(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header<'_>]) -> usize {
    // Length, attributes and both deltas at their largest.
    let deltas = VARINT_BYTES_MAX + 1 + VARLONG_BYTES_MAX + VARINT_BYTES_MAX;
    deltas + nullable_bytes(key) + nullable_bytes(value) + headers_bytes(headers)
}

#[inline]
fn body_bytes(record: &RecordFields<'_>) -> usize {
    1 + varint_bytes(record.timestamp_delta)
        + varint_bytes(record.offset_delta.into())
        + nullable_bytes(record.key)
        + nullable_bytes(record.value)
        + headers_bytes(record.headers)
}

#[inline]
fn headers_bytes(headers: &[Header<'_>]) -> usize {
    let each = headers
        .iter()
        .map(|header| nullable_bytes(Some(header.key)) + nullable_bytes(header.value));
    varint_bytes(headers.len() as i64) + each.sum::<usize>()
}

#[inline]
fn nullable_bytes(field: Option<&[u8]>) -> usize {
    field.map_or(1, |field| varint_bytes(field.len() as i64) + field.len())
}

#[inline]
fn write_nullable(out: &mut Vec<u8>, field: Option<&[u8]>) {
    match field {
        Some(field) => {
            write_varint(out, field.len() as i64);
            out.extend_from_slice(field);
        }
        None => write_varint(out, -1),
    }
}

/// A few numbers on their way into a record.
#[derive(Default)]
struct ArrayWriter {
    bytes: [u8; ARRAY_BYTES],
    length: usize,
}

/// What stands before a key's bytes takes 26 bytes at most.
const ARRAY_BYTES: usize = 32;
const _: () = assert!(3 * VARINT_BYTES_MAX + 1 + VARLONG_BYTES_MAX <= ARRAY_BYTES);

impl ArrayWriter {
    #[inline]
    fn write_byte(&mut self, byte: u8) {
        self.bytes[self.length] = byte;
        self.length += 1;
    }

    #[inline]
    fn write_varint(&mut self, value: i64) {
        let mut raw = zigzag(value);
        while raw >= 0x80 {
            self.write_byte(raw as u8 | 0x80);
            raw >>= 7;
        }
        self.write_byte(raw as u8);
    }

    #[inline]
    fn written(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}
