//! What comes out of a chain for one batch.

use thalweg_record::{BatchHeader, BuildError, Codec, assemble_batch};
use thalweg_types::{NO_SEQUENCE, Offset, ProducerEpoch, ProducerId};

use crate::{AccumulatorsByKey, FailedRecord};

/// The bit of a batch's attributes that says whose timestamps its records have.
const TIMESTAMP_TYPE_ATTRIBUTE: i16 = 1 << 3;

/// What a chain makes of one batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainOutput {
    /// One uncompressed v2 batch, in which each record keeps the offset of the input record that
    /// it came from; base offset and last offset delta are the input's, the producer's fields are
    /// cleared. `None` when nothing passed.
    pub records: Option<Vec<u8>>,
    /// How many records [`records`](Self::records) holds.
    pub record_count: usize,
    /// Where to go on: the offset behind the last input record that was dealt with. Lies within
    /// the input batch when a record failed or the output grew large; put the same batch in again
    /// from there.
    pub next_offset: Offset,
    /// The aggregate's accumulator as of [`next_offset`](Self::next_offset), when the chain holds
    /// an aggregate with one for all records.
    pub accumulator: Option<Vec<u8>>,
    /// Those of an aggregate by key that these records changed, as of
    /// [`next_offset`](Self::next_offset).
    pub accumulators: AccumulatorsByKey,
    /// The records that the chain went on without, below [`next_offset`](Self::next_offset), by
    /// rising offset and step.
    pub failed: Vec<FailedRecord>,
    /// The header of the input batch.
    pub input: BatchHeader,
}

/// The batch that a consumer gets: `section` under the input's header, without what belongs to the
/// producer of the input.
pub(crate) fn assemble(
    input: &BatchHeader,
    section: &[u8],
    record_count: usize,
) -> Result<Vec<u8>, BuildError> {
    let header = BatchHeader {
        // The codec is set along with the section's; no transaction goes through a chain.
        attributes: input.attributes & TIMESTAMP_TYPE_ATTRIBUTE,
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch::NONE,
        base_sequence: NO_SEQUENCE,
        record_count: i32::try_from(record_count).map_err(|_| BuildError::TooManyRecords)?,
        ..*input
    };
    assemble_batch(header, section, Codec::None)
}
