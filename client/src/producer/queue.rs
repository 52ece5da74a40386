//! The records of one partition that wait to be sent: one open batch that grows, and full ones.
//!
//! `send` encodes a record right into the open batch under a lock, which is all that it costs. The
//! partition's [`PartitionSender`](super::sender::PartitionSender) takes batches out. It is woken
//! when there is something new to decide, not for every record.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use thalweg_record::{BatchBuilder, BatchOptions, Codec};
use thalweg_types::PartitionIndex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::delivery::{BatchDelivery, DeliveryFuture};
use super::spare_buffers::SpareBuffers;
use super::{ProduceError, ProducerOptions, ProducerRecord};

/// How long a batch that is not full waits while another is under way: of its partition, or of any
/// where records without a key go. Without it, a fast producer would send many small batches; with it, an
/// answer or a full batch ends the wait first.
const PIPELINE_LINGER: Duration = Duration::from_millis(1);

/// The records of one partition that wait to be sent.
#[derive(Debug)]
pub(crate) struct PartitionQueue {
    partition: PartitionIndex,
    batch_bytes: usize,
    linger: Duration,
    codec: Codec,
    spares: Arc<SpareBuffers>,
    /// Whether somebody takes batches out.
    has_sender: AtomicBool,
    state: Mutex<QueueState>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct QueueState {
    open: Option<OpenBatch>,
    full: VecDeque<OpenBatch>,
    /// Batches that are not delivered yet, in order; those delivered are dropped when looked at.
    undelivered: VecDeque<Arc<BatchDelivery>>,
    flushing: bool,
    closed: bool,
    /// The size of the batch that was closed last.
    last_batch_bytes: usize,
}

/// A batch that has yet to be sent.
#[derive(Debug)]
pub(crate) struct OpenBatch {
    pub(crate) builder: BatchBuilder,
    pub(crate) delivery: Arc<BatchDelivery>,
    pub(crate) opened_at: Instant,
    /// What its records took of the producer's memory.
    pub(crate) memory_bytes: usize,
}

/// What a sender finds.
#[derive(Debug)]
pub(crate) enum Take {
    /// This goes out now.
    Batch(OpenBatch),
    /// Something waits, until then at the latest.
    Later(Instant),
    /// Nothing waits.
    Empty,
    /// Nothing waits, and nothing will come.
    Closed,
}

/// What became of a record that was pushed.
pub(crate) struct Pushed {
    pub(crate) delivery: DeliveryFuture,
    /// Whether the batch before it was closed: records without a key go elsewhere then.
    pub(crate) closed_a_batch: bool,
}

impl PartitionQueue {
    pub(crate) fn new(
        partition: PartitionIndex,
        batch_bytes: usize,
        options: &ProducerOptions,
        spares: Arc<SpareBuffers>,
    ) -> Self {
        Self {
            partition,
            batch_bytes,
            linger: options.linger,
            codec: options.compression,
            spares,
            has_sender: AtomicBool::new(false),
            state: Mutex::default(),
            wake: Notify::new(),
        }
    }

    pub(crate) fn partition(&self) -> PartitionIndex {
        self.partition
    }

    /// Whether a sender has to be started: once.
    pub(crate) fn needs_sender(&self) -> bool {
        !self.has_sender.load(Ordering::Acquire) && !self.has_sender.swap(true, Ordering::AcqRel)
    }

    /// Encodes a record into the open batch. `memory_bytes` is what it took of the budget. `None` for one
    /// that `is_free` to go elsewhere, where it would begin another batch: that one was closed.
    pub(crate) fn push(
        &self,
        record: &ProducerRecord<'_>,
        timestamp_ms: i64,
        memory_bytes: usize,
        is_free: bool,
    ) -> Result<Option<Pushed>, ProduceError> {
        let mut state = self.lock();
        if state.closed {
            return Err(ProduceError::Closed);
        }
        let fits = |open: &OpenBatch| open.builder.size_bytes() + memory_bytes <= self.batch_bytes;
        let mut closed_a_batch = false;
        if state.open.as_ref().is_some_and(|open| !fits(open)) {
            let full = state.open.take();
            state.last_batch_bytes = self.batch_bytes;
            state.full.extend(full);
            closed_a_batch = true;
            if is_free {
                drop(state);
                self.wake.notify_one();
                return Ok(None);
            }
        }
        let is_new = state.open.is_none();
        if is_new {
            let delivery = BatchDelivery::new(self.partition);
            while state
                .undelivered
                .front()
                .is_some_and(|first| first.is_resolved())
            {
                state.undelivered.pop_front();
            }
            state.undelivered.push_back(Arc::clone(&delivery));
            let options = BatchOptions {
                codec: self.codec,
                ..BatchOptions::default()
            };
            // As large as the last one, so that a busy partition's buffers don't grow by copies.
            let capacity_bytes = state.last_batch_bytes;
            let buffer = self.spares.take(capacity_bytes);
            state.open = Some(OpenBatch {
                builder: BatchBuilder::with_buffer(options, buffer),
                delivery,
                opened_at: Instant::now(),
                memory_bytes: 0,
            });
        }
        let open = state.open.as_mut().expect("one was just opened");
        let index = open.builder.record_count().unsigned_abs();
        open.builder
            .push(timestamp_ms, record.key, record.value, record.headers)
            .map_err(|error| ProduceError::InvalidRecord {
                reason: error.to_string(),
            })?;
        open.memory_bytes += memory_bytes;
        let delivery = open.delivery.of_record(index);
        drop(state);
        if is_new {
            self.wake.notify_one();
        }
        Ok(Some(Pushed {
            delivery,
            closed_a_batch,
        }))
    }

    /// What can be sent while `under_way` batches are.
    pub(crate) fn take(&self, now: Instant, under_way: usize) -> Take {
        let mut state = self.lock();
        if let Some(full) = state.full.pop_front() {
            return Take::Batch(full);
        }
        let Some(open) = &state.open else {
            state.flushing = false;
            return if state.closed {
                Take::Closed
            } else {
                Take::Empty
            };
        };
        let linger = match under_way {
            0 => self.linger,
            _ => self.linger.max(PIPELINE_LINGER),
        };
        let due = open.opened_at + linger;
        if state.flushing || state.closed || due <= now {
            let open = state.open.take().expect("just seen");
            state.last_batch_bytes = open.builder.size_bytes();
            return Take::Batch(open);
        }
        Take::Later(due)
    }

    /// Takes back the buffer of a batch that is delivered. One that somebody still reads is left
    /// to them, and a compressed batch's is too small to be of use.
    pub(crate) fn reuse(&self, batch: Bytes) {
        if self.codec == Codec::None && batch.is_unique() {
            self.spares.put(batch.into());
        }
    }

    /// Takes whatever waits, for giving it up, when it is older than `age`.
    pub(crate) fn take_older_than(&self, now: Instant, age: Duration) -> Option<OpenBatch> {
        let mut state = self.lock();
        let is_old = |batch: &OpenBatch| batch.opened_at + age <= now;
        if state.full.front().is_some_and(is_old) {
            return state.full.pop_front();
        }
        if state.full.is_empty() && state.open.as_ref().is_some_and(is_old) {
            return state.open.take();
        }
        None
    }

    /// Sends everything without lingering; answers the batches to wait for.
    pub(crate) fn flush(&self) -> Vec<Arc<BatchDelivery>> {
        let mut state = self.lock();
        state.flushing = state.open.is_some();
        let has_open = state.flushing;
        let undelivered = state.undelivered.iter();
        let undelivered = undelivered
            .filter(|batch| !batch.is_resolved())
            .cloned()
            .collect();
        drop(state);
        // The sender of a full batch knows of it.
        if has_open {
            self.wake();
        }
        undelivered
    }

    /// Refuses further records.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.wake();
    }

    /// Has the sender look again.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Resolves when there may be something new to take. Cancel-safe.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state
            .lock()
            .expect("nothing panics while it holds this lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For batches of two records.
    fn queue() -> PartitionQueue {
        let options = ProducerOptions::default();
        let spares = Arc::new(SpareBuffers::new(1 << 20));
        PartitionQueue::new(PartitionIndex(0), 120, &options, spares)
    }

    fn push(queue: &PartitionQueue, is_free: bool) -> Option<bool> {
        let record = ProducerRecord::new(b"0123456789");
        let pushed = queue.push(&record, 1, record.size_bytes_max(), is_free);
        pushed.unwrap().map(|pushed| pushed.closed_a_batch)
    }

    fn taken(queue: &PartitionQueue, under_way: usize) -> i32 {
        match queue.take(Instant::now(), under_way) {
            Take::Batch(batch) => batch.builder.record_count(),
            _ => 0,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_that_may_go_elsewhere_begins_no_batch_behind_a_full_one() {
        let queue = queue();
        let mut count = 0;
        while push(&queue, true) == Some(false) {
            count += 1;
        }

        assert!(count > 1);
        assert_eq!(taken(&queue, 1), count, "it is full, and goes out at once");
        assert!(matches!(queue.take(Instant::now(), 1), Take::Empty));

        assert!((0..count).all(|_| push(&queue, false) == Some(false)));
        assert_eq!(push(&queue, false), Some(true), "its own is behind it");
        assert_eq!(taken(&queue, 1), count);
        assert_eq!(taken(&queue, 1), 0, "and waits for more");
        assert_eq!(taken(&queue, 0), 1);
    }
}
