//! The 61 bytes in front of a batch's records.
//!
//! Everything that the broker's path needs (offsets, epochs, producer, count, size) stands here, so
//! that a batch is routed, stored and served without a look at its records.

use thalweg_types::{
    LeaderEpoch, NO_SEQUENCE, Offset, ProducerEpoch, ProducerId, TimestampType, next_sequence,
};

use crate::codec::Codec;
use crate::error::BatchError;

/// The size of a batch's header, in bytes.
pub const BATCH_HEADER_BYTES: usize = 61;

/// The version of the format, at byte 16 of every batch.
pub const MAGIC: i8 = 2;

/// What `batchLength` does not count: the base offset and itself.
pub(crate) const LENGTH_PREFIX_BYTES: usize = 12;
pub(crate) const MAGIC_POSITION: usize = 16;
pub(crate) const CRC_POSITION: usize = 17;
/// Where the checksummed bytes begin.
pub(crate) const CHECKED_POSITION: usize = 21;
pub(crate) const MAX_TIMESTAMP_POSITION: usize = 35;
pub(crate) const PRODUCER_POSITION: usize = 43;

const _: () = assert!(LENGTH_PREFIX_BYTES + 4 == MAGIC_POSITION);
const _: () = assert!(CRC_POSITION + 4 == CHECKED_POSITION);

const TIMESTAMP_TYPE_BIT: i16 = 1 << 3;
const TRANSACTIONAL_BIT: i16 = 1 << 4;
const CONTROL_BIT: i16 = 1 << 5;
const DELETE_HORIZON_BIT: i16 = 1 << 6;

/// The header of a batch. Its fields are what the bytes say, checked by [`BatchHeader::check`] only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// The offset of the first record, or of the first that there was before compaction.
    pub base_offset: Offset,
    /// The size of what follows this field, in bytes.
    pub batch_length: i32,
    /// The reign of the leader that appended the batch.
    pub leader_epoch: LeaderEpoch,
    /// CRC32C of everything from the attributes on.
    pub crc: u32,
    /// Bits 0-2 codec, 3 timestamp type, 4 transactional, 5 control, 6 delete horizon.
    pub attributes: i16,
    /// The last offset less the base offset. Stays when compaction removes the last record.
    pub last_offset_delta: i32,
    /// The timestamp that the records' deltas count from, in milliseconds since 1970.
    pub base_timestamp_ms: i64,
    /// The largest timestamp of the records, or when the leader appended them.
    pub max_timestamp_ms: i64,
    /// The idempotent producer, or [`ProducerId::NONE`].
    pub producer_id: ProducerId,
    /// The version of the producer's identity.
    pub producer_epoch: ProducerEpoch,
    /// The sequence of the first record, or [`NO_SEQUENCE`].
    pub base_sequence: i32,
    /// How many records follow. Only a claim until they are iterated: never allocate by it.
    pub record_count: i32,
}

impl Default for BatchHeader {
    /// An empty batch at offset 0 that no idempotent producer wrote.
    fn default() -> Self {
        Self {
            base_offset: Offset::ZERO,
            batch_length: (BATCH_HEADER_BYTES - LENGTH_PREFIX_BYTES) as i32,
            leader_epoch: LeaderEpoch::UNKNOWN,
            crc: 0,
            attributes: 0,
            last_offset_delta: 0,
            base_timestamp_ms: -1,
            max_timestamp_ms: -1,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            base_sequence: NO_SEQUENCE,
            record_count: 0,
        }
    }
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`. The rest of the batch need not be there.
    ///
    /// # Errors
    /// [`BatchError::Truncated`] for fewer than 61 bytes, [`BatchError::Magic`] for another format,
    /// [`BatchError::Length`] for a length smaller than a header.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        // Versions 0 and 1 keep their version at the same place and may be shorter than our header.
        if let Some(&magic) = bytes.get(MAGIC_POSITION)
            && magic as i8 != MAGIC
        {
            return Err(BatchError::Magic { found: magic as i8 });
        }
        let Some(bytes) = bytes.first_chunk::<BATCH_HEADER_BYTES>() else {
            return Err(BatchError::Truncated {
                needed_bytes: BATCH_HEADER_BYTES,
                available_bytes: bytes.len(),
            });
        };

        let header = Self {
            base_offset: Offset(i64::from_be_bytes(field(bytes, 0))),
            batch_length: i32::from_be_bytes(field(bytes, 8)),
            leader_epoch: LeaderEpoch(i32::from_be_bytes(field(bytes, LENGTH_PREFIX_BYTES))),
            crc: u32::from_be_bytes(field(bytes, CRC_POSITION)),
            attributes: i16::from_be_bytes(field(bytes, CHECKED_POSITION)),
            last_offset_delta: i32::from_be_bytes(field(bytes, 23)),
            base_timestamp_ms: i64::from_be_bytes(field(bytes, 27)),
            max_timestamp_ms: i64::from_be_bytes(field(bytes, MAX_TIMESTAMP_POSITION)),
            producer_id: ProducerId(i64::from_be_bytes(field(bytes, PRODUCER_POSITION))),
            producer_epoch: ProducerEpoch(i16::from_be_bytes(field(bytes, 51))),
            base_sequence: i32::from_be_bytes(field(bytes, 53)),
            record_count: i32::from_be_bytes(field(bytes, 57)),
        };
        if header.batch_length < Self::default().batch_length {
            return Err(BatchError::Length {
                batch_length: header.batch_length,
            });
        }
        Ok(header)
    }

    /// The header's bytes, with the checksum and the length as they are in the fields.
    #[must_use]
    pub fn encode(&self) -> [u8; BATCH_HEADER_BYTES] {
        let mut bytes = [0; BATCH_HEADER_BYTES];
        let mut put = |position: usize, field: &[u8]| {
            bytes[position..position + field.len()].copy_from_slice(field);
        };
        put(0, &self.base_offset.0.to_be_bytes());
        put(8, &self.batch_length.to_be_bytes());
        put(LENGTH_PREFIX_BYTES, &self.leader_epoch.0.to_be_bytes());
        put(MAGIC_POSITION, &MAGIC.to_be_bytes());
        put(CRC_POSITION, &self.crc.to_be_bytes());
        put(CHECKED_POSITION, &self.attributes.to_be_bytes());
        put(23, &self.last_offset_delta.to_be_bytes());
        put(27, &self.base_timestamp_ms.to_be_bytes());
        put(MAX_TIMESTAMP_POSITION, &self.max_timestamp_ms.to_be_bytes());
        put(PRODUCER_POSITION, &self.producer_id.0.to_be_bytes());
        put(51, &self.producer_epoch.0.to_be_bytes());
        put(53, &self.base_sequence.to_be_bytes());
        put(57, &self.record_count.to_be_bytes());
        bytes
    }

    /// The size of the whole batch, header and all, in bytes.
    #[must_use]
    pub const fn size_bytes(&self) -> usize {
        // `parse` refuses a negative length, and a header made by hand with one is at least no
        // reason to panic.
        LENGTH_PREFIX_BYTES
            + if self.batch_length > 0 {
                self.batch_length as usize
            } else {
                0
            }
    }

    /// The offset of the last record, or of the last that there was before compaction.
    #[must_use]
    pub const fn last_offset(&self) -> Offset {
        self.base_offset.plus(self.last_offset_delta as i64)
    }

    /// The offset that the batch after this one begins at.
    #[must_use]
    pub const fn next_offset(&self) -> Offset {
        self.last_offset().next()
    }

    /// How the records are compressed.
    ///
    /// # Errors
    /// [`BatchError::Codec`] for a number that stands for no codec.
    pub const fn codec(&self) -> Result<Codec, BatchError> {
        Codec::from_attributes(self.attributes)
    }

    /// Sets the codec in the attributes.
    pub const fn set_codec(&mut self, codec: Codec) {
        self.attributes = self.attributes & !Codec::ATTRIBUTE_MASK | codec.attribute_bits();
    }

    /// Whose clock the records' timestamps are.
    #[must_use]
    pub const fn timestamp_type(&self) -> TimestampType {
        if self.attributes & TIMESTAMP_TYPE_BIT == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// Sets whose clock the records' timestamps are.
    pub const fn set_timestamp_type(&mut self, timestamp_type: TimestampType) {
        let on = matches!(timestamp_type, TimestampType::LogAppendTime);
        self.set_bit(TIMESTAMP_TYPE_BIT, on);
    }

    /// Whether the records are markers of the log itself, which no consumer sees.
    #[must_use]
    pub const fn is_control(&self) -> bool {
        self.attributes & CONTROL_BIT != 0
    }

    /// Sets whether the records are markers of the log itself.
    pub const fn set_control(&mut self, control: bool) {
        self.set_bit(CONTROL_BIT, control);
    }

    /// Whether the records belong to a transaction.
    #[must_use]
    pub const fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_BIT != 0
    }

    /// Sets whether the records belong to a transaction.
    pub const fn set_transactional(&mut self, transactional: bool) {
        self.set_bit(TRANSACTIONAL_BIT, transactional);
    }

    /// Whether the base timestamp tells when compaction may drop the batch's tombstones (KIP-534).
    #[must_use]
    pub const fn has_delete_horizon(&self) -> bool {
        self.attributes & DELETE_HORIZON_BIT != 0
    }

    /// Notes when compaction may drop the batch's tombstones. The caller has the records' deltas
    /// count from there, see [`crate::write_shifted_record`].
    pub const fn set_delete_horizon(&mut self, at_ms: i64) {
        self.set_bit(DELETE_HORIZON_BIT, true);
        self.base_timestamp_ms = at_ms;
    }

    /// The sequence of the last record, or `None` when no idempotent producer wrote the batch.
    #[must_use]
    pub fn last_sequence(&self) -> Option<i32> {
        (self.base_sequence != NO_SEQUENCE)
            .then(|| next_sequence(self.base_sequence, self.last_offset_delta))
    }

    /// Checks that the fields agree with one another. There may be fewer records than offsets, as
    /// compaction leaves gaps, and more, as a SmartModule makes several of one.
    ///
    /// # Errors
    /// [`BatchError::Codec`], or [`BatchError::Header`] with the field's name.
    pub fn check(&self) -> Result<(), BatchError> {
        self.codec()?;
        let refuse = |field, value: i64, reason| {
            Err(BatchError::Header {
                field,
                value,
                reason,
            })
        };
        if self.base_offset.0 < 0 {
            return refuse("baseOffset", self.base_offset.0, "offsets begin at 0");
        }
        if self.last_offset_delta < 0 {
            let delta = i64::from(self.last_offset_delta);
            return refuse(
                "lastOffsetDelta",
                delta,
                "the last record follows the first",
            );
        }
        // The offset after the last must exist too, as the next batch's base offset.
        if i64::MAX - self.base_offset.0 <= i64::from(self.last_offset_delta) {
            return refuse(
                "baseOffset",
                self.base_offset.0,
                "offsets past it would overflow",
            );
        }
        if self.record_count < 0 {
            let count = i64::from(self.record_count);
            return refuse("recordCount", count, "there can't be fewer than none");
        }
        Ok(())
    }

    const fn set_bit(&mut self, bit: i16, on: bool) {
        if on {
            self.attributes |= bit;
        } else {
            self.attributes &= !bit;
        }
    }
}

fn field<const N: usize>(bytes: &[u8; BATCH_HEADER_BYTES], position: usize) -> [u8; N] {
    bytes[position..]
        .first_chunk()
        .copied()
        .expect("fields lie within the header")
}

#[cfg(test)]
mod tests;
