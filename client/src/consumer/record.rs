//! What a consumer hands out: batches whose records are borrowed, and records on their own.

use std::ops::Range;

use bytes::Bytes;
use thalweg_record::{
    BATCH_HEADER_BYTES, Batch, BatchError, BatchHeader, Codec, Record, RecordIter,
};
use thalweg_types::{Offset, PartitionIndex};

/// One record, on its own: its bytes are slices of what arrived, which stays in memory as long as
/// one of its records is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerRecord {
    /// Its partition.
    pub partition: PartitionIndex,
    /// Its position there.
    pub offset: Offset,
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its payload.
    pub value: Option<Bytes>,
    /// Its headers, in order; names may repeat.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

/// A batch of records of one partition: checked, decompressed, and cut to what was asked for.
#[derive(Debug, Clone)]
pub struct ConsumerBatch {
    partition: PartitionIndex,
    header: BatchHeader,
    /// The uncompressed records.
    section: Bytes,
    wanted: Range<Offset>,
    record_count: usize,
}

impl ConsumerBatch {
    /// Takes the batch at the head of `bytes`, checks all of it, and keeps the records of
    /// `wanted`.
    pub(crate) fn open(
        partition: PartitionIndex,
        bytes: &Bytes,
        wanted: Range<Offset>,
        batch_bytes_max: usize,
    ) -> Result<Self, BatchError> {
        let batch = Batch::parse(bytes)?;
        batch.validate_shallow()?;
        let header = *batch.header();
        let section = match header.codec()? {
            Codec::None => bytes.slice(BATCH_HEADER_BYTES..batch.bytes().len()),
            _ => Bytes::from(batch.records(batch_bytes_max)?.into_bytes().into_owned()),
        };
        // Every record is decoded once here, so that nothing of a bad batch is handed out and
        // `records` can't fail.
        let mut record_count = 0;
        for record in RecordIter::new(header, &section) {
            record_count += usize::from(wanted.contains(&record?.offset));
        }
        if header.is_control() {
            record_count = 0;
        }
        Ok(Self {
            partition,
            header,
            section,
            wanted,
            record_count,
        })
    }

    /// The partition that its records are of.
    #[must_use]
    pub fn partition(&self) -> PartitionIndex {
        self.partition
    }

    /// How many records there are. Never zero.
    #[must_use]
    pub fn record_count(&self) -> usize {
        self.record_count
    }

    /// The size of the whole batch as it came, in bytes.
    pub(crate) fn encoded_bytes(&self) -> usize {
        self.header.size_bytes()
    }

    /// The offset after the batch.
    pub(crate) fn next_offset(&self) -> Offset {
        self.header.next_offset()
    }

    /// How many bytes its records take, decompressed.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.section.len()
    }

    /// Its records, in order, borrowed.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        RecordIter::new(self.header, &self.section)
            // Never an error: `open` has decoded the same bytes.
            .filter_map(Result::ok)
            .filter(|record| self.wanted.contains(&record.offset))
    }

    /// Its records, in order, each on its own, without copying their bytes.
    pub fn shared_records(&self) -> impl Iterator<Item = ConsumerRecord> {
        let share = |bytes: &[u8]| self.section.slice_ref(bytes);
        self.records().map(move |record| ConsumerRecord {
            partition: self.partition,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            key: record.key.map(share),
            value: record.value.map(share),
            headers: record
                .headers
                .iter()
                .map(|header| (share(header.key), header.value.map(share)))
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use thalweg_record::{BatchBuilder, BatchOptions};

    use super::*;

    fn batch(codec: Codec, base_offset: i64, count: i64) -> Bytes {
        let mut builder = BatchBuilder::new(BatchOptions {
            codec,
            base_offset: Offset(base_offset),
            ..BatchOptions::default()
        });
        for index in 0..count {
            let value = format!("value {}", base_offset + index);
            builder
                .push(1000 + index, Some(b"key"), Some(value.as_bytes()), &[])
                .unwrap();
        }
        builder.build().unwrap().into()
    }

    fn open(bytes: &Bytes, wanted: Range<i64>) -> Result<ConsumerBatch, BatchError> {
        let wanted = Offset(wanted.start)..Offset(wanted.end);
        ConsumerBatch::open(PartitionIndex(0), bytes, wanted, 1 << 20)
    }

    #[test]
    fn records_outside_what_was_asked_for_are_left_out() {
        for codec in Codec::ALL {
            let batch = open(&batch(codec, 10, 10), 13..15).unwrap();

            let offsets: Vec<_> = batch.records().map(|record| record.offset.0).collect();
            assert_eq!(offsets, [13, 14], "{codec}");
            assert_eq!(batch.record_count(), 2);
            let shared: Vec<_> = batch.shared_records().collect();
            assert_eq!(shared[1].value.as_deref(), Some(&b"value 14"[..]));
            assert_eq!(shared[1].timestamp_ms, 1004);
        }
    }

    #[test]
    fn a_flipped_bit_is_found() {
        let mut bytes = batch(Codec::None, 0, 3).to_vec();
        let last = bytes.len() - 1;
        bytes[last - 3] ^= 1;

        assert!(matches!(
            open(&bytes.into(), 0..9),
            Err(BatchError::Crc { .. })
        ));
    }
}
