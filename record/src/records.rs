//! The uncompressed records of a batch.

use std::borrow::Cow;

use crate::error::BatchError;
use crate::header::BatchHeader;
use crate::record::take_body;
use crate::record_iter::{EncodedRecords, RecordIter};
use crate::varint::{read_varint, read_varlong, varint_bytes, write_varint};

/// The uncompressed records of a batch: borrowed from it, or decompressed.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    header: BatchHeader,
    section: Cow<'a, [u8]>,
}

impl<'a> Records<'a> {
    /// Records that lie uncompressed in `section` and belong to `header`.
    #[must_use]
    pub const fn new(header: BatchHeader, section: Cow<'a, [u8]>) -> Self {
        Self { header, section }
    }

    /// Decodes the records one after the other.
    #[must_use]
    pub fn iter(&self) -> RecordIter<'_> {
        RecordIter::new(self.header, &self.section)
    }

    /// Cuts the section into records, each with its length in front, without decoding them.
    #[must_use]
    pub fn iter_encoded(&self) -> EncodedRecords<'_> {
        EncodedRecords::new(self.header.record_count, &self.section)
    }

    /// The uncompressed records section.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.section
    }

    /// The uncompressed records section, without a copy where it is already its own.
    #[must_use]
    pub fn into_bytes(self) -> Cow<'a, [u8]> {
        self.section
    }

    /// The header of the batch that the records come from.
    #[must_use]
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }
}

impl<'a> IntoIterator for &'a Records<'_> {
    type Item = Result<crate::Record<'a>, BatchError>;
    type IntoIter = RecordIter<'a>;

    fn into_iter(self) -> RecordIter<'a> {
        self.iter()
    }
}

/// Appends the records of `section` to `out` with the offset deltas 0, 1, 2 and so on, everything
/// else as it is. For records that a SmartModule left over or multiplied on their way to the log.
///
/// # Errors
/// [`BatchError::MalformedRecord`] or [`BatchError::RecordCount`]; `out` then ends in rubbish.
pub fn renumber_records(
    record_count: i32,
    section: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), BatchError> {
    out.reserve(section.len());
    for (index, record) in EncodedRecords::new(record_count, section).enumerate() {
        renumber_record(record?, index as i64, out)
            .map_err(|reason| BatchError::MalformedRecord { index, reason })?;
    }
    Ok(())
}

/// Appends the first record of `section` to `out` with `shift_ms` added to its timestamp delta,
/// everything else as it is, and returns how many bytes of the section it took. For batches whose
/// base timestamp moves.
///
/// # Errors
/// [`BatchError::MalformedRecord`]; `out` then ends in rubbish.
pub fn write_shifted_record(
    section: &[u8],
    shift_ms: i64,
    out: &mut Vec<u8>,
) -> Result<usize, BatchError> {
    let mut rest = section;
    shift_record(&mut rest, shift_ms, out)
        .map_err(|reason| BatchError::MalformedRecord { index: 0, reason })?;
    Ok(section.len() - rest.len())
}

fn shift_record(section: &mut &[u8], shift_ms: i64, out: &mut Vec<u8>) -> Result<(), &'static str> {
    let body = take_body(section)?;
    let (attributes, mut rest) = body.split_first().ok_or("it is empty")?;
    let delta = read_varlong(&mut rest).ok_or("the timestamp delta is not a number")?;
    // Wraps as it does when the timestamp is read.
    let shifted = delta.wrapping_add(shift_ms);
    let body_bytes = 1 + varint_bytes(shifted) + rest.len();
    write_varint(out, body_bytes as i64);
    out.push(*attributes);
    write_varint(out, shifted);
    out.extend_from_slice(rest);
    Ok(())
}

fn renumber_record(
    mut record: &[u8],
    offset_delta: i64,
    out: &mut Vec<u8>,
) -> Result<(), &'static str> {
    let body = take_body(&mut record)?;
    let (_attributes, mut rest) = body.split_first().ok_or("it is empty")?;
    read_varlong(&mut rest).ok_or("the timestamp delta is not a number")?;
    let before_delta = &body[..body.len() - rest.len()];
    read_varint(&mut rest).ok_or("the offset delta is not a number")?;

    let body_bytes = before_delta.len() + varint_bytes(offset_delta) + rest.len();
    write_varint(out, body_bytes as i64);
    out.extend_from_slice(before_delta);
    write_varint(out, offset_delta);
    out.extend_from_slice(rest);
    Ok(())
}
