//! Producing: records go into batches, batches to the leaders of their partitions.
//!
//! ```text
//! send --record--> PartitionQueue --batch--> PartitionSender --request--> leader
//!                       |                        |   ^
//!                       +----- BatchDelivery <---+   +-- SendOrder (the rules)
//! ```
//!
//! - [`Producer`] picks the partition and puts the record right into that partition's open batch.
//! - What an aggregate of its SmartModules has come to is kept here, and handed back ([`accumulation`]).
//! - One task per partition that records go to sends batches, up to five at a time, and keeps their order across
//!   retries ([`state`]).
//! - Records hold part of a byte budget from `send` until their delivery is known ([`memory`]).

mod accumulation;
mod core;
mod delivery;
mod error;
mod link;
mod memory;
mod murmur2;
mod options;
mod partitioner;
mod queue;
mod record;
mod request;
mod sender;
mod spare_buffers;
mod state;

use std::sync::Arc;

use thalweg_types::TopicName;

pub(crate) use self::core::ProducerCore;
use crate::FailureReport;
use crate::client::ClientCore;
pub use delivery::{Delivery, DeliveryFuture};
pub use error::ProduceError;
pub use options::{Acks, InvalidAcks, ProducerOptions};
pub use partitioner::{Partitioner, partition_for_key};
pub use record::ProducerRecord;

/// Sends records to one topic. Cheap to clone; clones share batches and memory.
///
/// Records of one partition are stored in the order of their `send`s. When the last clone is
/// dropped, what was accepted is still sent, but nobody learns what became of it: call
/// [`close`](Self::close).
///
/// ```no_run
/// # use thalweg_client::{Client, ClientOptions, ProducerOptions, ProducerRecord};
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// # let client = Client::connect(ClientOptions::new("127.0.0.1:9003")).await?;
/// let producer = client.producer(&"flights".parse()?, ProducerOptions::default()).await?;
///
/// // Wait for one record.
/// let delivery = producer.send(ProducerRecord::new(b"hello").key(b"UA")).await?.await?;
/// println!("partition {}, offset {:?}", delivery.partition, delivery.offset);
///
/// // Or send many, and look at the end.
/// for line in ["a", "b", "c"] {
///     producer.enqueue(ProducerRecord::new(line.as_bytes())).await?;
/// }
/// producer.close().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Producer {
    core: Arc<ProducerCore>,
    _close_when_dropped: Arc<CloseWhenDropped>,
}

/// Lets the senders end once the last handle is gone.
#[derive(Debug)]
struct CloseWhenDropped(Arc<ProducerCore>);

impl Drop for CloseWhenDropped {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Producer {
    pub(crate) async fn open(
        client: Arc<ClientCore>,
        topic: TopicName,
        options: ProducerOptions,
    ) -> Result<Self, ProduceError> {
        let core = ProducerCore::open(client, topic, options).await?;
        Ok(Self {
            _close_when_dropped: Arc::new(CloseWhenDropped(Arc::clone(&core))),
            core,
        })
    }

    /// Puts a record into a batch, waiting while the producer's memory is full. What it answers
    /// resolves once the record is delivered; records of one partition are delivered in order.
    ///
    /// Dropping the future before it resolves drops the record.
    ///
    /// # Errors
    /// When the record can't be accepted: an unknown partition, too large, a closed producer.
    pub async fn send(&self, record: ProducerRecord<'_>) -> Result<DeliveryFuture, ProduceError> {
        if let Some(partition) = record.partition {
            self.core.ensure_partition(partition).await?;
        }
        let memory_bytes = self.core.check_size(&record)?;
        let memory = &self.core.memory;
        if !memory.try_take(memory_bytes) {
            memory.take(memory_bytes).await;
        }
        self.core.accept(&record, memory_bytes)
    }

    /// As `send`, for callers that only look at [`flush`](Self::flush) or [`close`](Self::close),
    /// which answer the first failure.
    ///
    /// # Errors
    /// As `send`.
    pub async fn enqueue(&self, record: ProducerRecord<'_>) -> Result<(), ProduceError> {
        self.send(record).await.map(drop)
    }

    /// As `send`, and fails with [`ProduceError::QueueFull`] instead of waiting.
    ///
    /// # Errors
    /// As `send`, and when the producer's memory is full.
    pub fn try_send(&self, record: ProducerRecord<'_>) -> Result<DeliveryFuture, ProduceError> {
        let memory_bytes = self.core.check_size(&record)?;
        if !self.core.memory.try_take(memory_bytes) {
            return Err(ProduceError::QueueFull {
                memory_bytes: self.core.memory.limit_bytes(),
            });
        }
        self.core.accept(&record, memory_bytes)
    }

    /// Sends what waits, without lingering, and resolves once everything sent before this call is
    /// delivered.
    ///
    /// # Errors
    /// The first failure of a batch since the last flush. The others went on.
    pub async fn flush(&self) -> Result<(), ProduceError> {
        self.core.flush().await
    }

    /// The records that SmartModules failed on and that were left out or went to a dead-letter
    /// topic. Each of them counts as delivered.
    #[must_use]
    pub fn failures(&self) -> FailureReport {
        self.core.failures.report()
    }

    /// Refuses further records from every clone, and flushes.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub async fn close(&self) -> Result<(), ProduceError> {
        self.core.close();
        self.core.flush().await
    }
}
