//! What comes out of a chain for one batch.

use std::borrow::Cow;

use thalweg_record::{Batch, BatchHeader, BuildError, Codec, append_batch, append_under_header};
use thalweg_types::{NO_SEQUENCE, Offset, ProducerEpoch, ProducerId};

use crate::step_run::Passing;
use crate::{AccumulatorsByKey, FailedRecord, KeyValueChanges, SeenChanges, WindowChanges};

/// The bit of a batch's attributes that says whose timestamps its records have.
const TIMESTAMP_TYPE_ATTRIBUTE: i16 = 1 << 3;

/// What a chain makes of one batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChainOutput {
    /// One uncompressed v2 batch, in which each record keeps the offset of the input record that
    /// it came from; base offset and last offset delta are the input's, the producer's fields are
    /// cleared. `None` when nothing passed, when it was asked for elsewhere
    /// ([`crate::Chain::process_into`]), or when it is not needed
    /// ([`crate::Chain::process_produced`], [`crate::Chain::process_changed_into`]).
    pub records: Option<Vec<u8>>,
    /// Whether all records of the batch came out as they went in.
    pub is_unchanged: bool,
    /// How many records came out.
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
    /// What these records changed of an aggregate's windows, as of [`next_offset`](Self::next_offset).
    pub windows: WindowChanges,
    /// What they changed of the keys that were seen, as of [`next_offset`](Self::next_offset).
    pub seen: SeenChanges,
    /// What they changed of what modules keep under keys of their own.
    pub key_values: KeyValueChanges,
    /// The records that the chain went on without, below [`next_offset`](Self::next_offset), by
    /// rising offset and step.
    pub failed: Vec<FailedRecord>,
    /// The header of the input batch.
    pub input: BatchHeader,
}

/// Where a batch's output is wanted.
pub(crate) struct Wanted<'a> {
    /// Behind what stands here, or else by itself.
    pub(crate) out: Option<&'a mut Vec<u8>>,
    /// Also that of a batch of which all records come out as they went in.
    pub(crate) unchanged: bool,
}

/// Appends the batch that a consumer gets to `out`: what passed under the input's header, without
/// what belongs to the producer of the input. `input` is given where it has records.
pub(crate) fn append(
    header: &BatchHeader,
    input: Option<&Batch<'_>>,
    passing: &Passing<'_>,
    out: &mut Vec<u8>,
) -> Result<(), BuildError> {
    let record_count = passing.record_count;
    let header = BatchHeader {
        // The codec is set along with the section's; no transaction goes through a chain.
        attributes: header.attributes & TIMESTAMP_TYPE_ATTRIBUTE,
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch::NONE,
        base_sequence: NO_SEQUENCE,
        record_count: i32::try_from(record_count).map_err(|_| BuildError::TooManyRecords)?,
        ..*header
    };
    if let Some(input) = input
        && is_whole(input, passing)
    {
        append_under_header(input, header, out);
        return Ok(());
    }
    append_batch(header, &passing.section, Codec::None, out)
}

/// Whether what passed is all that the batch holds, as it lies there.
fn is_whole(input: &Batch<'_>, passing: &Passing<'_>) -> bool {
    let records = input.records_bytes();
    match &passing.section {
        Cow::Borrowed(section) => std::ptr::eq(*section, records),
        Cow::Owned(_) => false,
    }
}
