//! One record of a batch, borrowed from it.

use thalweg_types::Offset;

use crate::headers::{Headers, read_nullable};
use crate::varint::{read_varint, read_varlong};

/// One record, borrowed from the uncompressed records of its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// The record's position in its partition.
    pub offset: Offset,
    /// Milliseconds since 1970, by the clock that the batch's timestamp type names.
    pub timestamp_ms: i64,
    /// The key, or `None` where the producer gave null.
    pub key: Option<&'a [u8]>,
    /// The value, or `None` for a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers.
    pub headers: Headers<'a>,
}

/// What a record's body says before the batch's header gives it an offset and a time.
pub(crate) struct RecordBody<'a> {
    pub(crate) offset_delta: i32,
    pub(crate) timestamp_delta: i64,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: Headers<'a>,
}

impl<'a> RecordBody<'a> {
    /// Reads a body: everything of a record but its length.
    #[inline]
    pub(crate) fn read(body: &'a [u8]) -> Result<Self, &'static str> {
        // The attributes hold nothing yet. A later version may set bits that we need not know.
        let (_attributes, mut bytes) = body.split_first().ok_or("it is empty")?;
        let timestamp_delta =
            read_varlong(&mut bytes).ok_or("the timestamp delta is not a number")?;
        let offset_delta = read_varint(&mut bytes).ok_or("the offset delta is not a number")?;
        let key = read_nullable(&mut bytes).ok_or("the key does not fit the record")?;
        let value = read_nullable(&mut bytes).ok_or("the value does not fit the record")?;
        let headers = match bytes {
            [0] => Headers::default(),
            _ => Headers::read(bytes)?,
        };
        Ok(Self {
            offset_delta,
            timestamp_delta,
            key,
            value,
            headers,
        })
    }
}

/// Takes one record's body off the front of a records section.
#[inline]
pub(crate) fn take_body<'a>(section: &mut &'a [u8]) -> Result<&'a [u8], &'static str> {
    let length = read_varint(section).ok_or("its length is not a number")?;
    let (body, rest) = usize::try_from(length)
        .ok()
        .and_then(|length| section.split_at_checked(length))
        .ok_or("its length does not fit the batch")?;
    *section = rest;
    Ok(body)
}
