//! Producing.

mod error;
mod murmur2;
mod options;
mod partitioner;
mod record;

use std::pin::Pin;
use std::task::{Context, Poll};

pub use error::ProduceError;
pub use options::{Acks, InvalidAcks, ProducerOptions};
pub use partitioner::{Partitioner, partition_for_key};
pub use record::{ProducerRecord, RecordHeader};
use thalweg_types::{Offset, PartitionIndex};

/// Sends records to one topic. Cheap to clone; clones share batches and memory.
#[derive(Debug, Clone)]
pub struct Producer {}

/// Where a record was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivery {
    /// The partition.
    pub partition: PartitionIndex,
    /// Its position there; `None` where the leader does not say (acks 0, or a retry of what it
    /// had stored long before).
    pub offset: Option<Offset>,
    /// The leader's timestamp, where the topic asks for that, in milliseconds since 1970.
    pub log_append_time_ms: Option<i64>,
}

/// Resolves once a record is delivered. Dropping it changes nothing about the delivery.
#[derive(Debug)]
pub struct DeliveryFuture {}

impl Future for DeliveryFuture {
    type Output = Result<Delivery, ProduceError>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Err(ProduceError::Closed))
    }
}

impl Producer {
    pub(crate) async fn open(_: std::sync::Arc<crate::client::ClientCore>, _: thalweg_types::TopicName, _: ProducerOptions) -> Result<Self, ProduceError> { Ok(Self {}) }
    /// Puts a record into a batch, waiting while the producer's memory is full.
    ///
    /// # Errors
    /// When the record can't be accepted.
    pub async fn send(&self, record: ProducerRecord<'_>) -> Result<DeliveryFuture, ProduceError> {
        let _ = record;
        Err(ProduceError::Closed)
    }

    /// As `send`, for callers that only look at [`Producer::flush`]: it answers the first failure.
    ///
    /// # Errors
    /// When the record can't be accepted.
    pub async fn enqueue(&self, record: ProducerRecord<'_>) -> Result<(), ProduceError> {
        let _ = record;
        Err(ProduceError::Closed)
    }

    /// As `send`, and fails with [`ProduceError::QueueFull`] instead of waiting.
    ///
    /// # Errors
    /// When the record can't be accepted.
    pub fn try_send(&self, record: ProducerRecord<'_>) -> Result<DeliveryFuture, ProduceError> {
        let _ = record;
        Err(ProduceError::Closed)
    }

    /// Sends what waits, and resolves once everything sent before this call is delivered.
    ///
    /// # Errors
    /// The first failure of a batch since the last flush.
    pub async fn flush(&self) -> Result<(), ProduceError> {
        Ok(())
    }

    /// Flushes and refuses further records.
    ///
    /// # Errors
    /// As `flush`.
    pub async fn close(&self) -> Result<(), ProduceError> {
        Ok(())
    }
}
