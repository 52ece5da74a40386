//! What the clones of a producer and its senders share.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use thalweg_record::BATCH_HEADER_BYTES;
use thalweg_runtime::CancellationToken;
use thalweg_types::{PartitionIndex, ProducerEpoch, ProducerId, TopicName};
use tokio::time::{Instant, interval_at};
use tracing::debug;

use super::delivery::{BatchDelivery, BatchStored};
use super::memory::MemoryBudget;
use super::partitioner::StickyPartition;
use super::queue::PartitionQueue;
use super::sender::PartitionSender;
use super::spare_buffers::SpareBuffers;
use super::{Acks, DeliveryFuture, ProduceError, ProducerOptions, ProducerRecord};
use crate::client::ClientCore;
use crate::failure_report::FailureCounts;

/// What the clones of a producer and its senders share.
#[derive(Debug)]
pub(crate) struct ProducerCore {
    pub(crate) client: Arc<ClientCore>,
    pub(crate) topic: TopicName,
    pub(crate) options: ProducerOptions,
    /// `None` where not idempotent.
    pub(crate) identity: Option<(ProducerId, ProducerEpoch)>,
    pub(crate) memory: MemoryBudget,
    /// The largest batch that the topic accepts.
    batch_bytes_limit: usize,
    sticky: StickyPartition,
    spares: Arc<SpareBuffers>,
    /// Batches that were sent and are not settled.
    under_way: AtomicUsize,
    /// In the order of the partitions; grows when the topic does.
    queues: RwLock<Vec<Arc<PartitionQueue>>>,
    closed: CancellationToken,
    first_failure: Mutex<Option<ProduceError>>,
    /// Records that SmartModules left out or sent elsewhere.
    pub(crate) failures: FailureCounts,
}

impl ProducerCore {
    pub(crate) async fn open(
        client: Arc<ClientCore>,
        topic: TopicName,
        options: ProducerOptions,
    ) -> Result<Arc<Self>, ProduceError> {
        let accumulates = options.accumulator.is_some() || options.accumulate_by_key;
        if accumulates && options.acks == Acks::None {
            return Err(ProduceError::AggregateUnacknowledged);
        }
        let Some(metadata) = client.existing_topic(&topic).await? else {
            return Err(ProduceError::UnknownTopic { topic });
        };
        let identity = if options.idempotent && options.acks != Acks::None {
            Some(client.new_producer_identity().await?)
        } else {
            None
        };
        let batch_bytes_limit = client.max_message_bytes(&topic).await?;
        let core = Arc::new(Self {
            memory: MemoryBudget::new(options.memory_bytes),
            spares: Arc::new(SpareBuffers::new(options.memory_bytes / 2)),
            under_way: AtomicUsize::new(0),
            client,
            topic,
            options,
            identity,
            batch_bytes_limit,
            sticky: StickyPartition::default(),
            queues: RwLock::default(),
            closed: CancellationToken::new(),
            first_failure: Mutex::default(),
            failures: FailureCounts::new(),
        });
        core.grow(metadata.partitions.len());
        core.look_for_partitions();
        Ok(core)
    }

    /// Starts the task that finds partitions which are added while the producer runs. One look that
    /// fails is as good as none: the next may find them.
    fn look_for_partitions(self: &Arc<Self>) {
        let core = Arc::clone(self);
        let pause = core.client.options.metadata_max_age;
        let look = async move {
            let mut looks = interval_at(Instant::now() + pause, pause);
            loop {
                looks.tick().await;
                match core.client.metadata.refresh(&core.topic, u64::MAX).await {
                    Ok(found) => core.grow(found.map_or(0, |topic| topic.partitions.len())),
                    Err(error) => debug!(%error, topic = %core.topic, "can't look for partitions"),
                }
            }
        };
        let closed = self.closed.clone();
        self.client
            .tasks
            .spawn("producer-partitions", |shutdown| async move {
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    () = closed.cancelled() => {}
                    () = look => {}
                }
                Ok::<_, Infallible>(())
            });
    }

    /// Asks for the topic's partitions anew when `partition` is not known.
    pub(crate) async fn ensure_partition(
        self: &Arc<Self>,
        partition: PartitionIndex,
    ) -> Result<(), ProduceError> {
        let count = self.queues().len();
        let is_known = usize::try_from(partition.0).is_ok_and(|index| index < count);
        if !is_known && partition.0 >= 0 {
            let metadata = self.client.metadata.refresh(&self.topic, u64::MAX).await?;
            self.grow(metadata.map_or(0, |metadata| metadata.partitions.len()));
        }
        Ok(())
    }

    /// What `record` takes of the memory, in bytes, or that it is too large for the topic.
    pub(crate) fn check_size(&self, record: &ProducerRecord<'_>) -> Result<usize, ProduceError> {
        let size_bytes = record.size_bytes_max();
        let limit_bytes = self.batch_bytes_limit.saturating_sub(BATCH_HEADER_BYTES);
        if size_bytes > limit_bytes {
            return Err(ProduceError::RecordTooLarge {
                topic: self.topic.clone(),
                size_bytes,
                limit_bytes,
            });
        }
        Ok(size_bytes)
    }

    /// Puts a record into its partition's batch. Its memory has been taken, and is given back
    /// when it can't be accepted.
    pub(crate) fn accept(
        self: &Arc<Self>,
        record: &ProducerRecord<'_>,
        memory_bytes: usize,
    ) -> Result<DeliveryFuture, ProduceError> {
        let accepted = self.push(record, memory_bytes);
        if accepted.is_err() {
            self.memory.give_back(memory_bytes);
        }
        accepted
    }

    /// Notes that a batch is on its way: records without a key go to another partition now.
    pub(crate) fn batch_closed(&self, partition: PartitionIndex) {
        let count = self.queues().len();
        if let Ok(index) = usize::try_from(partition.0) {
            self.sticky.batch_closed(index, count);
        }
    }

    /// Notes that a batch was sent for the first time.
    pub(crate) fn batch_begun(&self) {
        self.under_way.fetch_add(1, Ordering::AcqRel);
    }

    /// Notes that a batch is settled. What waited for that where records without a key go need wait no
    /// longer.
    pub(crate) fn batch_ended(&self, partition: PartitionIndex) {
        if self.under_way.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        let queues = self.queues();
        let current = self.sticky.current(self.options.partitioner, queues.len());
        let waiting = current.and_then(|index| queues.get(index));
        // Its own sender looks again in any case.
        if let Some(queue) = waiting.filter(|queue| queue.partition() != partition) {
            queue.wake();
        }
    }

    /// How many batches are under way of all partitions, where this is the one that records without a key
    /// go to: they would go to the next as soon as its batch is sent, and each be a batch of its own.
    pub(crate) fn under_way_beside(&self, partition: PartitionIndex) -> usize {
        let count = self.queues().len();
        let current = self.sticky.current(self.options.partitioner, count);
        if current.is_some() && current == usize::try_from(partition.0).ok() {
            self.under_way.load(Ordering::Acquire)
        } else {
            0
        }
    }

    /// Notes what became of a batch.
    pub(crate) fn settled(
        &self,
        delivery: &BatchDelivery,
        memory_bytes: usize,
        outcome: Result<BatchStored, ProduceError>,
    ) {
        if let Err(error) = &outcome {
            let mut first = self
                .first_failure
                .lock()
                .expect("nothing panics while it holds this lock");
            first.get_or_insert_with(|| error.clone());
        }
        delivery.resolve(outcome);
        self.memory.give_back(memory_bytes);
        if self.memory.is_unused() {
            self.spares.clear();
        }
    }

    pub(crate) async fn flush(&self) -> Result<(), ProduceError> {
        let queues = self.queues().clone();
        let undelivered: Vec<_> = queues.iter().flat_map(|queue| queue.flush()).collect();
        for batch in undelivered {
            // Failures are told below, also those of batches that were settled before.
            let _ = batch.of_record(0).await;
        }
        let first = self
            .first_failure
            .lock()
            .expect("nothing panics while it holds this lock")
            .take();
        first.map_or(Ok(()), Err)
    }

    pub(crate) fn close(&self) {
        self.closed.cancel();
        for queue in self.queues().iter() {
            queue.close();
        }
    }

    fn push(
        self: &Arc<Self>,
        record: &ProducerRecord<'_>,
        memory_bytes: usize,
    ) -> Result<DeliveryFuture, ProduceError> {
        let timestamp_ms = record
            .timestamp_ms
            .unwrap_or_else(|| self.client.clock.now_ms());
        let queues = self.queues();
        let count = queues.len();
        let partitioner = self.options.partitioner;
        let mut is_free = count > 1
            && record.partition.is_none()
            && StickyPartition::is_free(partitioner, record.key);
        loop {
            let index = match record.partition {
                Some(partition) => usize::try_from(partition.0).unwrap_or(usize::MAX),
                None => self.sticky.choose(partitioner, record.key, count),
            };
            let queue = queues
                .get(index)
                .ok_or_else(|| ProduceError::UnknownPartition {
                    topic: self.topic.clone(),
                    partition: record.partition.unwrap_or_default(),
                    partition_count: count,
                })?;
            let pushed = queue.push(record, timestamp_ms, memory_bytes, is_free)?;
            if pushed.as_ref().is_none_or(|pushed| pushed.closed_a_batch) {
                self.sticky.batch_closed(index, count);
            }
            let Some(pushed) = pushed else {
                // The next partition takes it, whatever its batch.
                is_free = false;
                continue;
            };
            if queue.needs_sender() {
                PartitionSender::spawn(self, Arc::clone(queue));
            }
            return Ok(pushed.delivery);
        }
    }

    /// Adds queues up to `partition_count`. Each gets a sender with its first record.
    fn grow(&self, partition_count: usize) {
        let batch_bytes = self.options.batch_bytes.min(self.batch_bytes_limit);
        let mut queues = self
            .queues
            .write()
            .expect("nothing panics while it holds this lock");
        while queues.len() < partition_count {
            let index = i32::try_from(queues.len()).expect("partitions are numbered by i32");
            let spares = Arc::clone(&self.spares);
            let queue =
                PartitionQueue::new(PartitionIndex(index), batch_bytes, &self.options, spares);
            queues.push(Arc::new(queue));
        }
    }

    fn queues(&self) -> std::sync::RwLockReadGuard<'_, Vec<Arc<PartitionQueue>>> {
        self.queues
            .read()
            .expect("nothing panics while it holds this lock")
    }
}
