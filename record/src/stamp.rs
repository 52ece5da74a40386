//! Changes single header fields of an encoded batch, records untouched.
//!
//! The leader stamps what it decides (offset, epoch, append time) into the batches of producers;
//! a producer that gets a new identity stamps it into the batches that it has yet to send.

use thalweg_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampType};

use crate::assemble::write_crc;
use crate::error::BatchError;
use crate::header::{BATCH_HEADER_BYTES, BatchHeader, LENGTH_PREFIX_BYTES, MAGIC_POSITION};

/// The first 16 bytes of a batch: those outside the checksum, which the leader sets.
#[must_use]
pub fn batch_prefix(
    base_offset: Offset,
    batch_length: i32,
    leader_epoch: LeaderEpoch,
) -> [u8; MAGIC_POSITION] {
    let mut prefix = [0; MAGIC_POSITION];
    prefix[..8].copy_from_slice(&base_offset.0.to_be_bytes());
    prefix[8..LENGTH_PREFIX_BYTES].copy_from_slice(&batch_length.to_be_bytes());
    prefix[LENGTH_PREFIX_BYTES..].copy_from_slice(&leader_epoch.0.to_be_bytes());
    prefix
}

/// Gives the batch at the start of `bytes` its place in the log. The checksum does not cover it.
///
/// # Errors
/// As [`BatchHeader::parse`].
pub fn stamp_position(
    bytes: &mut [u8],
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
) -> Result<(), BatchError> {
    let header = BatchHeader::parse(bytes)?;
    let prefix = batch_prefix(base_offset, header.batch_length, leader_epoch);
    bytes[..MAGIC_POSITION].copy_from_slice(&prefix);
    Ok(())
}

/// Gives every record of the batch at the start of `bytes` the leader's time, and the batch a new
/// checksum. Check the old one first: this covers up a wrong one.
///
/// # Errors
/// As [`crate::Batch::parse`].
pub fn stamp_log_append_time(bytes: &mut [u8], now_ms: i64) -> Result<(), BatchError> {
    restamp(bytes, |header| {
        header.set_timestamp_type(TimestampType::LogAppendTime);
        header.max_timestamp_ms = now_ms;
    })
}

/// Gives the batch at the start of `bytes` another producer and sequence, and a new checksum.
///
/// # Errors
/// As [`crate::Batch::parse`].
pub fn stamp_sequence(
    bytes: &mut [u8],
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    base_sequence: i32,
) -> Result<(), BatchError> {
    restamp(bytes, |header| {
        header.producer_id = producer_id;
        header.producer_epoch = producer_epoch;
        header.base_sequence = base_sequence;
    })
}

fn restamp(bytes: &mut [u8], change: impl FnOnce(&mut BatchHeader)) -> Result<(), BatchError> {
    let mut header = *crate::Batch::parse(bytes)?.header();
    change(&mut header);
    bytes[..BATCH_HEADER_BYTES].copy_from_slice(&header.encode());
    write_crc(&mut bytes[..header.size_bytes()]);
    Ok(())
}
