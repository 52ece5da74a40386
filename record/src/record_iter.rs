//! Walks the records of a batch: decoded one by one, or only cut apart.
//!
//! One pass, no allocation. Both iterators end after their first error.

use std::iter::FusedIterator;

use thalweg_types::TimestampType;

use crate::error::BatchError;
use crate::header::BatchHeader;
use crate::record::{Record, RecordBody, take_body};

/// Iterates the records of an uncompressed records section.
///
/// Offsets may repeat or leave gaps (a SmartModule's output and compaction do), but lie within the
/// batch; [`crate::Batch::validate`] asks for more.
#[derive(Debug, Clone)]
pub struct RecordIter<'a> {
    header: BatchHeader,
    section_bytes: usize,
    encoded: EncodedRecords<'a>,
}

impl<'a> RecordIter<'a> {
    /// Iterates `section`, the uncompressed records that belong to `header`.
    #[must_use]
    pub fn new(header: BatchHeader, section: &'a [u8]) -> Self {
        Self {
            header,
            section_bytes: section.len(),
            encoded: EncodedRecords::new(header.record_count, section),
        }
    }

    /// Where in the section the next record begins, in bytes.
    #[must_use]
    pub const fn position_bytes(&self) -> usize {
        self.section_bytes - self.encoded.rest.len()
    }

    #[inline]
    fn decode(&self, body: &'a [u8]) -> Result<Record<'a>, &'static str> {
        let body = RecordBody::read(body)?;
        if body.offset_delta < 0 || body.offset_delta > self.header.last_offset_delta {
            return Err("its offset lies outside the batch");
        }
        let timestamp_ms = match self.header.timestamp_type() {
            // Wraps as Java does, so that every pair of timestamps can share a batch.
            TimestampType::CreateTime => self
                .header
                .base_timestamp_ms
                .wrapping_add(body.timestamp_delta),
            TimestampType::LogAppendTime => self.header.max_timestamp_ms,
        };
        Ok(Record {
            offset: self.header.base_offset.plus(body.offset_delta.into()),
            timestamp_ms,
            key: body.key,
            value: body.value,
            headers: body.headers,
        })
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<Record<'a>, BatchError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let body = match self.encoded.next_body()? {
            Ok(body) => body,
            Err(error) => return Some(Err(error)),
        };
        Some(match self.decode(body) {
            Ok(record) => Ok(record),
            Err(reason) => Err(self.encoded.malformed(reason)),
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.encoded.size_hint()
    }
}

impl FusedIterator for RecordIter<'_> {}

/// Cuts an uncompressed records section into its records, each with its length in front, without
/// decoding them.
#[derive(Debug, Clone)]
pub struct EncodedRecords<'a> {
    rest: &'a [u8],
    declared: i32,
    found: usize,
    ended: bool,
}

/// A record takes a length, attributes, two deltas, key, value and header count: a byte each.
const RECORD_BYTES_MIN: usize = 7;

impl<'a> EncodedRecords<'a> {
    /// Cuts `section` into `record_count` records.
    #[must_use]
    pub const fn new(record_count: i32, section: &'a [u8]) -> Self {
        Self {
            rest: section,
            declared: record_count,
            found: 0,
            ended: false,
        }
    }

    /// The body of the next record, without its length.
    #[inline]
    fn next_body(&mut self) -> Option<Result<&'a [u8], BatchError>> {
        if self.ended {
            return None;
        }
        let is_last = i64::from(self.declared) == self.found as i64;
        if is_last || self.rest.is_empty() {
            self.ended = true;
            return (!is_last || !self.rest.is_empty()).then(|| Err(self.miscounted()));
        }
        match take_body(&mut self.rest) {
            Ok(body) => {
                self.found += 1;
                Some(Ok(body))
            }
            Err(reason) => {
                self.found += 1;
                Some(Err(self.malformed(reason)))
            }
        }
    }

    /// The error for the record that was just counted. Ends the iteration.
    #[cold]
    fn malformed(&mut self, reason: &'static str) -> BatchError {
        self.ended = true;
        BatchError::MalformedRecord {
            index: self.found - 1,
            reason,
        }
    }

    #[cold]
    const fn miscounted(&self) -> BatchError {
        BatchError::RecordCount {
            declared: self.declared,
            found: self.found,
        }
    }
}

impl<'a> Iterator for EncodedRecords<'a> {
    type Item = Result<&'a [u8], BatchError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let before = self.rest;
        Some(
            self.next_body()?
                .map(|_body| &before[..before.len() - self.rest.len()]),
        )
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // Bounded by the bytes, so that collecting never allocates by a lying count.
        let most = usize::try_from(self.declared)
            .unwrap_or(0)
            .saturating_sub(self.found)
            .min(self.rest.len() / RECORD_BYTES_MIN);
        (if self.ended { 0 } else { most.min(1) }, None)
    }
}

impl FusedIterator for EncodedRecords<'_> {}
