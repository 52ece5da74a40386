//! One whole batch, borrowed from the bytes that it came in.

use std::borrow::Cow;

use thalweg_types::NO_SEQUENCE;

use crate::codec::Codec;
use crate::compression;
use crate::error::BatchError;
use crate::header::{BATCH_HEADER_BYTES, BatchHeader, CHECKED_POSITION};
use crate::records::Records;

/// The smallest record: a byte each for its length, attributes, two deltas, key, value and headers.
const RECORD_BYTES_MIN: usize = 7;

/// One whole batch. Parsing it reads the header alone.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    header: BatchHeader,
    bytes: &'a [u8],
}

impl<'a> Batch<'a> {
    /// The first batch in `bytes`, which may go on after it. The checksum is not looked at.
    ///
    /// # Errors
    /// As [`BatchHeader::parse`], and [`BatchError::Truncated`] when the batch is not all there.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(bytes)?;
        let needed_bytes = header.size_bytes();
        let bytes = bytes.get(..needed_bytes).ok_or(BatchError::Truncated {
            needed_bytes,
            available_bytes: bytes.len(),
        })?;
        Ok(Self { header, bytes })
    }

    /// The header.
    #[must_use]
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Everything after the header: the records, compressed when the header says so.
    #[must_use]
    pub fn records_bytes(&self) -> &'a [u8] {
        &self.bytes[BATCH_HEADER_BYTES..]
    }

    /// Checks the bytes against the checksum in the header.
    ///
    /// # Errors
    /// [`BatchError::Crc`].
    pub fn verify_crc(&self) -> Result<(), BatchError> {
        let actual = crc32c::crc32c(&self.bytes[CHECKED_POSITION..]);
        if actual == self.header.crc {
            return Ok(());
        }
        Err(BatchError::Crc {
            expected: self.header.crc,
            actual,
        })
    }

    /// Checks the checksum and that the header agrees with itself, without a look at the records.
    /// Holds for every batch of a log, also after compaction, and for what a SmartModule made of one.
    ///
    /// # Errors
    /// [`BatchError::Crc`], [`BatchError::Codec`] or [`BatchError::Header`].
    pub fn validate_shallow(&self) -> Result<(), BatchError> {
        self.verify_crc()?;
        self.header.check()
    }

    /// What a leader checks of a batch that a producer sent: [`Batch::validate_shallow`], and that
    /// the batch has records, no gaps, no control records, and a sequence when it has a producer.
    ///
    /// # Errors
    /// As [`Batch::validate_shallow`].
    pub fn validate_produced(&self) -> Result<(), BatchError> {
        self.validate_shallow()?;
        let header = &self.header;
        let refuse = |field, value: i64, reason| {
            Err(BatchError::Header {
                field,
                value,
                reason,
            })
        };
        let count = i64::from(header.record_count);
        if count == 0 {
            return refuse("recordCount", count, "a produced batch has records");
        }
        if count != i64::from(header.last_offset_delta) + 1 {
            return refuse("recordCount", count, "a produced batch has no gaps");
        }
        let records_fit = self.records_bytes().len() / RECORD_BYTES_MIN;
        if header.codec()? == Codec::None && usize::try_from(count).is_ok_and(|c| c > records_fit) {
            return refuse("recordCount", count, "so many records don't fit the batch");
        }
        let attributes = i64::from(header.attributes);
        if header.is_control() {
            return refuse(
                "attributes",
                attributes,
                "producers send no control records",
            );
        }
        if header.has_delete_horizon() {
            return refuse(
                "attributes",
                attributes,
                "only compaction says when tombstones may go",
            );
        }
        let has_producer = header.producer_id.0 >= 0;
        if has_producer && (header.base_sequence < 0 || header.producer_epoch.0 < 0) {
            let sequence = i64::from(header.base_sequence);
            return refuse(
                "baseSequence",
                sequence,
                "an idempotent producer counts from 0",
            );
        }
        if !has_producer && header.base_sequence != NO_SEQUENCE {
            let sequence = i64::from(header.base_sequence);
            return refuse(
                "baseSequence",
                sequence,
                "it means nothing without a producer id",
            );
        }
        if !has_producer && header.is_transactional() {
            return refuse(
                "attributes",
                attributes,
                "a transaction needs a producer id",
            );
        }
        Ok(())
    }

    /// Checks everything: [`Batch::validate_shallow`], that every record parses, that there are as
    /// many as the header says, and that their offsets rise within the batch.
    ///
    /// # Errors
    /// Any [`BatchError`] but those of [`Batch::parse`].
    pub fn validate(&self, max_decompressed_bytes: usize) -> Result<(), BatchError> {
        self.validate_shallow()?;
        let records = self.records(max_decompressed_bytes)?;
        let mut last_offset = None;
        for (index, record) in records.iter().enumerate() {
            let offset = record?.offset;
            if last_offset.is_some_and(|last| offset <= last) {
                let reason = "its offset does not follow the one before it";
                return Err(BatchError::MalformedRecord { index, reason });
            }
            last_offset = Some(offset);
        }
        Ok(())
    }

    /// The records, decompressed when need be. Records that are not compressed are borrowed, and
    /// the bound does not concern them.
    ///
    /// # Errors
    /// [`BatchError::Codec`], [`BatchError::Decompress`] or [`BatchError::TooLarge`]. The checksum
    /// is not looked at.
    pub fn records(&self, max_decompressed_bytes: usize) -> Result<Records<'a>, BatchError> {
        let section = match self.header.codec()? {
            Codec::None => Cow::Borrowed(self.records_bytes()),
            // What compaction leaves of a batch that has lost its last record.
            _ if self.records_bytes().is_empty() => Cow::Borrowed(self.records_bytes()),
            codec => Cow::Owned(compression::decompress(
                codec,
                self.records_bytes(),
                max_decompressed_bytes,
            )?),
        };
        Ok(Records::new(self.header, section))
    }
}
