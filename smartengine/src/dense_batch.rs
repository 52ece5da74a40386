//! Gives what came out of a chain the shape of a produced batch.

use thalweg_record::{Batch, BatchHeader, Codec, assemble_batch, renumber_records};
use thalweg_types::{LeaderEpoch, Offset};

use crate::{ChainError, ChainOutput};

/// The batch to append in place of the one that a producer sent: offset deltas from 0 without
/// gaps, the producer's identity and sequence as sent, compressed with `codec`. `None` when
/// nothing passed.
///
/// The sequences that the producer counts are those of what it sent, so that the log has to be
/// told the input's count (`ChainOutput::input`) where the chain changed it.
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
        producer_id: output.input.producer_id,
        producer_epoch: output.input.producer_epoch,
        base_sequence: output.input.base_sequence,
        ..*batch.header()
    };
    Ok(Some(assemble_batch(header, &section, codec)?))
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
