//! Gives what came out of a chain the shape of a produced batch.

use thalweg_record::{Batch, BatchHeader, Codec, assemble_batch, renumber_records};
use thalweg_types::{LeaderEpoch, Offset, next_sequence};

use crate::{ChainError, ChainOutput};

/// The batch to append in place of the one that a producer sent: offset deltas from 0 without
/// gaps, the producer's identity as sent, compressed with `codec`. `None` when nothing passed.
///
/// Its last sequence is that of what was sent, as the next batch of an idempotent producer follows on
/// it; its base sequence is counted back from there, and so is not the producer's where the chain
/// changed the number of records.
///
/// # Errors
///
/// When the records do not fit a batch.
pub fn dense_batch(output: &ChainOutput, codec: Codec) -> Result<Option<Vec<u8>>, ChainError> {
    let Some(batch) = &output.records else {
        return Ok(None);
    };
    let batch = Batch::parse(batch)?;
    let mut section = Vec::new();
    renumber_records(
        batch.header().record_count,
        batch.records_bytes(),
        &mut section,
    )?;
    let header = BatchHeader {
        base_offset: Offset::ZERO,
        leader_epoch: LeaderEpoch::UNKNOWN,
        attributes: output.input.attributes,
        last_offset_delta: batch.header().record_count - 1,
        max_timestamp_ms: max_timestamp_ms(&batch)?,
        ..*batch.header()
    };
    let header = with_sequences_of(&output.input, header);
    Ok(Some(assemble_batch(header, &section, codec)?))
}

/// What to append in place of an idempotent producer's batch of which nothing passed: a batch without
/// records that says how far the producer has counted, as compaction leaves of such batches, too. It
/// takes one offset.
#[must_use]
pub fn emptied_batch(input: &BatchHeader) -> Vec<u8> {
    let header = with_sequences_of(input, BatchHeader::default());
    assemble_batch(header, &[], Codec::None).expect("a header alone fits a batch")
}

/// `header` as of the producer of `input`, and ending with its last sequence.
fn with_sequences_of(input: &BatchHeader, header: BatchHeader) -> BatchHeader {
    let base_sequence = input.last_sequence().map_or(input.base_sequence, |last| {
        next_sequence(last, -header.last_offset_delta)
    });
    BatchHeader {
        producer_id: input.producer_id,
        producer_epoch: input.producer_epoch,
        base_sequence,
        ..header
    }
}

/// The largest timestamp of the records that are left, by which the log finds them.
fn max_timestamp_ms(batch: &Batch<'_>) -> Result<i64, ChainError> {
    let records = batch.records(0)?;
    let mut max = i64::MIN;
    for record in &records {
        max = max.max(record?.timestamp_ms);
    }
    Ok(max)
}
