//! A record on its way into a batch.

use thalweg_record::{Header, record_bytes_max};
use thalweg_types::PartitionIndex;

/// A record to send. It borrows: `send` copies it into the batch at once.
///
/// ```
/// use thalweg_client::{ProducerRecord, RecordHeader};
///
/// let headers = [RecordHeader::new("source", b"nycflights13")];
/// let record = ProducerRecord::new(b"2013-01-01,UA,1545").key(b"UA").headers(&headers);
/// # let _ = record;
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProducerRecord<'a> {
    /// Chooses the partition where none is given, and what compaction keeps one of.
    pub key: Option<&'a [u8]>,
    /// The payload; `None` marks the key as deleted in a compacted topic.
    pub value: Option<&'a [u8]>,
    /// Named values beside the payload; names may repeat.
    pub headers: &'a [Header<'a>],
    /// Milliseconds since 1970; `None` is the time of the call.
    pub timestamp_ms: Option<i64>,
    /// The partition; `None` leaves it to the partitioner.
    pub partition: Option<PartitionIndex>,
}

impl<'a> ProducerRecord<'a> {
    /// A record with a value and nothing else.
    #[must_use]
    pub fn new(value: &'a [u8]) -> Self {
        Self {
            value: Some(value),
            ..Self::default()
        }
    }

    /// With a key.
    #[must_use]
    pub fn key(mut self, key: &'a [u8]) -> Self {
        self.key = Some(key);
        self
    }

    /// With headers.
    #[must_use]
    pub fn headers(mut self, headers: &'a [Header<'a>]) -> Self {
        self.headers = headers;
        self
    }

    /// With a timestamp of its own, in milliseconds since 1970.
    #[must_use]
    pub fn timestamp_ms(mut self, timestamp_ms: i64) -> Self {
        self.timestamp_ms = Some(timestamp_ms);
        self
    }

    /// For one partition.
    #[must_use]
    pub fn partition(mut self, partition: PartitionIndex) -> Self {
        self.partition = Some(partition);
        self
    }

    /// An upper bound of its size in a batch, in bytes.
    pub(crate) fn size_bytes_max(&self) -> usize {
        record_bytes_max(self.key, self.value, self.headers)
    }
}
