//! The marker by which a transform says in its output how far it has come in its input.
//!
//! A control batch without records, so that readers pass over it: the producer is the transform's
//! ([`ProducerId::is_transform`]), the base timestamp is the position. The producer's sequences count on from the
//! marker as its input positions do: see `docs/formats/record-batch.md`, "Progress markers".

use thalweg_types::{Offset, ProducerEpoch, ProducerId};

use crate::assemble::assemble_batch;
use crate::codec::Codec;
use crate::error::BuildError;
use crate::header::BatchHeader;

/// What a marker says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgressMarker {
    /// The transform's producer for one input partition.
    pub producer_id: ProducerId,
    /// The version of the producer's identity.
    pub producer_epoch: ProducerEpoch,
    /// The marker's own sequence.
    pub sequence: i32,
    /// Everything that input below this offset gave for this output is in front of the marker.
    pub position: Offset,
    /// `Some` where the sequences from the marker's on count records of what the input record at `position`
    /// gives, and not input records: so many of them are in front of the marker.
    pub records_within: Option<u32>,
}

impl ProgressMarker {
    /// The marker as a batch, of the time `now_ms` in milliseconds since 1970.
    ///
    /// # Errors
    /// [`BuildError::TooManyRecords`] where more are within the record than a batch has offsets.
    pub fn encode(&self, now_ms: i64) -> Result<Vec<u8>, BuildError> {
        let records_within = self.records_within.unwrap_or(0);
        let mut header = BatchHeader {
            last_offset_delta: i32::try_from(records_within)
                .map_err(|_| BuildError::TooManyRecords)?,
            base_timestamp_ms: self.position.0,
            max_timestamp_ms: now_ms,
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            base_sequence: self.sequence,
            ..BatchHeader::default()
        };
        header.set_control(true);
        header.set_transactional(self.records_within.is_some());
        assemble_batch(header, &[], Codec::None)
    }

    /// The marker that a batch is, if it is one.
    #[must_use]
    pub const fn of(header: &BatchHeader) -> Option<Self> {
        let is_marker = header.is_control()
            && header.producer_id.is_transform()
            && header.record_count == 0
            && header.last_offset_delta >= 0
            && (header.is_transactional() || header.last_offset_delta == 0);
        if !is_marker {
            return None;
        }
        let records_within = if header.is_transactional() {
            Some(header.last_offset_delta.cast_unsigned())
        } else {
            None
        };
        Some(Self {
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            sequence: header.base_sequence,
            position: Offset(header.base_timestamp_ms),
            records_within,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Batch;

    #[test]
    fn a_marker_survives_the_way_into_a_log_and_back() {
        let marker = ProgressMarker {
            producer_id: ProducerId(1 << 62 | 7),
            producer_epoch: ProducerEpoch(3),
            sequence: 42,
            position: Offset(1 << 40),
            records_within: Some(30),
        };

        let bytes = marker.encode(1_700_000_000_000).unwrap();
        let batch = Batch::parse(&bytes).unwrap();

        batch.validate_shallow().unwrap();
        assert_eq!(ProgressMarker::of(batch.header()), Some(marker));
        assert_eq!(batch.header().last_sequence(), Some(72));
        assert_eq!(batch.header().max_timestamp_ms, 1_700_000_000_000);
        assert_eq!(batch.records(0).unwrap().iter().count(), 0);
    }

    #[test]
    fn the_documented_example_is_what_is_written() {
        let page = include_str!("../../docs/formats/record-batch.md");
        let block = page.split("```hex marker\n").nth(1).unwrap();
        let lines = block.lines().take_while(|line| !line.starts_with("```"));
        let bytes: Vec<_> = lines
            .flat_map(|line| line.split('|').next().unwrap().split_whitespace())
            .map(|byte| u8::from_str_radix(byte, 16).unwrap())
            .collect();
        let marker = ProgressMarker {
            producer_id: ProducerId(1 << 62 | 3 << 24),
            producer_epoch: ProducerEpoch(1),
            sequence: 0,
            position: Offset(5000),
            records_within: None,
        };

        assert_eq!(marker.encode(1_700_000_000_000).unwrap(), bytes);
    }

    #[test]
    fn no_other_batch_is_a_marker() {
        let mut header = BatchHeader {
            producer_id: ProducerId(1 << 62),
            ..BatchHeader::default()
        };
        assert_eq!(ProgressMarker::of(&header), None, "no control batch");
        header.set_control(true);
        header.producer_id = ProducerId(7);
        assert_eq!(ProgressMarker::of(&header), None, "no transform's producer");
    }
}
