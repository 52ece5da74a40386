//! The tagged fields by which transforms write to their outputs, and learn how far they have come.

use bytes::{Buf, BufMut, BytesMut};
use thalweg_types::{Follows, Offset, ProducerEpoch, ProducerId, TransformProgress};

use super::TaggedFields;

/// In a Produce request's partition, from a transform: an [`OutputTag`].
pub const OUTPUT_TAG: i32 = 20010;
/// In a DescribeProducers response's producer, of a transform: a [`TransformProgress`].
pub const PROGRESS_TAG: i32 = 20011;
/// In a DescribeProducers request's topic: the one producer that is asked for. An `i64`.
pub const PRODUCER_TAG: i32 = 20012;

/// How long an [`OutputTag`] is.
const OUTPUT_BYTES: usize = 11;
/// How long a [`TransformProgress`] is.
const PROGRESS_BYTES: usize = 12;

const FOLLOWS_ANYTHING: u8 = 0;
const FOLLOWS_NOTHING: u8 = 1;
const FOLLOWS_BATCH: u8 = 2;

/// What a transform says of a batch for its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputTag {
    /// Where the batch's sequences begin, which do not count its records.
    pub first_sequence: i32,
    /// What the partition must know of the producer.
    pub follows: Follows,
}

/// Says what a transform's batch is.
pub fn set_output(fields: &mut TaggedFields, output: OutputTag) {
    let mut value = BytesMut::with_capacity(OUTPUT_BYTES);
    value.put_i32(output.first_sequence);
    let (kind, epoch, last_sequence) = match output.follows {
        Follows::Anything => (FOLLOWS_ANYTHING, ProducerEpoch::NONE, -1),
        Follows::Nothing => (FOLLOWS_NOTHING, ProducerEpoch::NONE, -1),
        Follows::Batch {
            producer_epoch,
            last_sequence,
        } => (FOLLOWS_BATCH, producer_epoch, last_sequence),
    };
    value.put_u8(kind);
    value.put_i16(epoch.0);
    value.put_i32(last_sequence);
    fields.insert(OUTPUT_TAG, value.freeze());
}

/// What a transform's batch is; `None` where it is no transform's, or malformed.
#[must_use]
pub fn output(fields: &TaggedFields) -> Option<OutputTag> {
    let mut value = fields.get(&OUTPUT_TAG)?.as_ref();
    if value.len() != OUTPUT_BYTES {
        return None;
    }
    let first_sequence = value.get_i32();
    let kind = value.get_u8();
    let producer_epoch = ProducerEpoch(value.get_i16());
    let last_sequence = value.get_i32();
    let follows = match kind {
        FOLLOWS_ANYTHING => Follows::Anything,
        FOLLOWS_NOTHING => Follows::Nothing,
        FOLLOWS_BATCH => Follows::Batch {
            producer_epoch,
            last_sequence,
        },
        _ => return None,
    };
    Some(OutputTag {
        first_sequence,
        follows,
    })
}

/// Says how far a transform has come.
pub fn set_progress(fields: &mut TaggedFields, progress: TransformProgress) {
    let mut value = BytesMut::with_capacity(PROGRESS_BYTES);
    value.put_i64(progress.position.0);
    value.put_u32(progress.records_within);
    fields.insert(PROGRESS_TAG, value.freeze());
}

/// How far a transform has come.
#[must_use]
pub fn progress(fields: &TaggedFields) -> Option<TransformProgress> {
    let mut value = fields.get(&PROGRESS_TAG)?.as_ref();
    if value.len() != PROGRESS_BYTES {
        return None;
    }
    Some(TransformProgress {
        position: Offset(value.get_i64()),
        records_within: value.get_u32(),
    })
}

/// Asks for one producer alone.
pub fn set_producer(fields: &mut TaggedFields, producer: ProducerId) {
    super::set_offset(fields, PRODUCER_TAG, Offset(producer.0));
}

/// The one producer that is asked for.
#[must_use]
pub fn producer(fields: &TaggedFields) -> Option<ProducerId> {
    super::offset(fields, PRODUCER_TAG).map(|id| ProducerId(id.0))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_a_transform_says_survives_the_round_trip(
            first_sequence: i32, kind in 0..3_u8, epoch: i16, last_sequence: i32,
            position: i64, records_within: u32, id: i64,
        ) {
            let follows = match kind {
                0 => Follows::Anything,
                1 => Follows::Nothing,
                _ => Follows::Batch { producer_epoch: ProducerEpoch(epoch), last_sequence },
            };
            let said = OutputTag { first_sequence, follows };
            let reached = TransformProgress { position: Offset(position), records_within };
            let mut fields = TaggedFields::new();
            set_output(&mut fields, said);
            set_progress(&mut fields, reached);
            set_producer(&mut fields, ProducerId(id));
            prop_assert_eq!(output(&fields), Some(said));
            prop_assert_eq!(progress(&fields), Some(reached));
            prop_assert_eq!(producer(&fields), Some(ProducerId(id)));
        }

        #[test]
        fn garbage_never_panics(bytes: Vec<u8>) {
            let tags = OUTPUT_TAG..=PRODUCER_TAG;
            let fields: TaggedFields = tags.map(|tag| (tag, Bytes::from(bytes.clone()))).collect();
            let _ = (output(&fields), progress(&fields), producer(&fields));
        }
    }
}
