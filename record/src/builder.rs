//! Builds a batch record by record.
//!
//! Records are encoded straight into one buffer behind room for the header; header and checksum
//! are written once at the end. Used by the client's producer, the SmartModule host and tests.

use thalweg_types::{LeaderEpoch, NO_SEQUENCE, Offset, ProducerEpoch, ProducerId, TimestampType};

use crate::assemble::seal;
use crate::codec::Codec;
use crate::compression;
use crate::error::BuildError;
use crate::header::{BATCH_HEADER_BYTES, BatchHeader};
use crate::headers::Header;
use crate::record_writer::{RecordFields, record_bytes_max, write_record};

/// What a batch says beside its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchOptions {
    /// How to compress the records.
    pub codec: Codec,
    /// The offset of offset delta 0. A producer leaves it at 0, the leader sets it.
    pub base_offset: Offset,
    /// The reign of the leader; a producer leaves it unknown.
    pub leader_epoch: LeaderEpoch,
    /// The idempotent producer.
    pub producer_id: ProducerId,
    /// The version of the producer's identity.
    pub producer_epoch: ProducerEpoch,
    /// The sequence of the first record.
    pub base_sequence: i32,
    /// The leader's time, when that is what the records' timestamps shall be.
    pub log_append_time_ms: Option<i64>,
    /// Whether the records belong to a transaction.
    pub transactional: bool,
    /// Whether the records are markers of the log itself.
    pub control: bool,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self {
            codec: Codec::None,
            base_offset: Offset::ZERO,
            leader_epoch: LeaderEpoch::UNKNOWN,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            base_sequence: NO_SEQUENCE,
            log_append_time_ms: None,
            transactional: false,
            control: false,
        }
    }
}

/// Builds a batch record by record.
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    options: BatchOptions,
    /// Room for the header, then the records.
    buffer: Vec<u8>,
    record_count: i32,
    last_offset_delta: i32,
    base_timestamp_ms: i64,
    max_timestamp_ms: i64,
}

/// The largest batch: its length is an `i32` that does not count the twelve bytes in front.
const BATCH_BYTES_MAX: usize = i32::MAX as usize;

impl BatchBuilder {
    /// A batch without records.
    #[must_use]
    pub fn new(options: BatchOptions) -> Self {
        Self::with_capacity(options, BATCH_HEADER_BYTES)
    }

    /// A batch without records, in a buffer that holds `capacity_bytes` before it grows.
    #[must_use]
    pub fn with_capacity(options: BatchOptions, capacity_bytes: usize) -> Self {
        let capacity_bytes = capacity_bytes.max(BATCH_HEADER_BYTES);
        Self::with_buffer(options, Vec::with_capacity(capacity_bytes))
    }

    /// A batch without records, in a buffer that served before. What is in it is dropped.
    #[must_use]
    pub fn with_buffer(options: BatchOptions, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        buffer.resize(BATCH_HEADER_BYTES, 0);
        Self {
            options,
            buffer,
            record_count: 0,
            last_offset_delta: -1,
            base_timestamp_ms: -1,
            max_timestamp_ms: -1,
        }
    }

    /// Appends a record at the offset after the last one.
    ///
    /// # Errors
    /// [`BuildError::TooLarge`] or [`BuildError::TooManyRecords`]; the batch is then as it was.
    #[inline]
    pub fn push(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> Result<(), BuildError> {
        let offset_delta = self.last_offset_delta.checked_add(1);
        let offset_delta = offset_delta.ok_or(BuildError::TooManyRecords)?;
        self.push_at(offset_delta, timestamp_ms, key, value, headers)
    }

    /// Appends a record at an offset of its own, which leaves a gap when it is not the next.
    ///
    /// # Errors
    /// [`BuildError::OffsetDelta`] when it does not follow the last record, else as
    /// [`BatchBuilder::push`].
    #[inline]
    pub fn push_at(
        &mut self,
        offset_delta: i32,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> Result<(), BuildError> {
        if offset_delta <= self.last_offset_delta {
            return Err(BuildError::OffsetDelta {
                offset_delta,
                last_offset_delta: self.last_offset_delta,
            });
        }
        if self.buffer.len() + record_bytes_max(key, value, headers) > BATCH_BYTES_MAX {
            return Err(BuildError::TooLarge {
                limit_bytes: BATCH_BYTES_MAX,
            });
        }

        if self.record_count == 0 {
            self.base_timestamp_ms = timestamp_ms;
            self.max_timestamp_ms = timestamp_ms;
        }
        let record = RecordFields {
            offset_delta,
            // Wraps, and wraps back when it is read.
            timestamp_delta: timestamp_ms.wrapping_sub(self.base_timestamp_ms),
            key,
            value,
            headers,
        };
        write_record(&mut self.buffer, &record);
        self.max_timestamp_ms = self.max_timestamp_ms.max(timestamp_ms);
        self.last_offset_delta = offset_delta;
        self.record_count += 1;
        Ok(())
    }

    /// Gives the batch its producer and sequence: known only when a batch is about to be sent.
    pub const fn set_sequence(
        &mut self,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        base_sequence: i32,
    ) {
        self.options.producer_id = producer_id;
        self.options.producer_epoch = producer_epoch;
        self.options.base_sequence = base_sequence;
    }

    /// The size of the batch as it is now, before compression.
    #[must_use]
    pub const fn size_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Whether there are no records yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    /// How many records there are.
    #[must_use]
    pub const fn record_count(&self) -> i32 {
        self.record_count
    }

    /// Finishes the batch. Without records it is an empty one that holds its base offset.
    ///
    /// # Errors
    /// [`BuildError::TooLarge`] when the records grew by being compressed.
    pub fn build(self) -> Result<Vec<u8>, BuildError> {
        let header = self.header();
        // Kafka, too, leaves empty batches uncompressed.
        if self.options.codec == Codec::None || self.is_empty() {
            return seal(header, Codec::None, self.buffer);
        }
        let records = &self.buffer[BATCH_HEADER_BYTES..];
        let mut batch = Vec::with_capacity(BATCH_HEADER_BYTES + records.len() / 2);
        batch.resize(BATCH_HEADER_BYTES, 0);
        compression::compress_into(self.options.codec, records, &mut batch);
        seal(header, self.options.codec, batch)
    }

    fn header(&self) -> BatchHeader {
        let options = &self.options;
        let mut header = BatchHeader {
            base_offset: options.base_offset,
            leader_epoch: options.leader_epoch,
            last_offset_delta: self.last_offset_delta.max(0),
            base_timestamp_ms: self.base_timestamp_ms,
            max_timestamp_ms: self.max_timestamp_ms,
            producer_id: options.producer_id,
            producer_epoch: options.producer_epoch,
            base_sequence: options.base_sequence,
            record_count: self.record_count,
            ..BatchHeader::default()
        };
        if let Some(now_ms) = options.log_append_time_ms {
            header.set_timestamp_type(TimestampType::LogAppendTime);
            header.max_timestamp_ms = now_ms;
        }
        header.set_transactional(options.transactional);
        header.set_control(options.control);
        header
    }
}
