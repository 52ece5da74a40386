//! What became of a record: known once for its whole batch, and shared by all of its records.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use thalweg_types::{Offset, PartitionIndex};

use super::ProduceError;

/// Where a record was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivery {
    /// The partition.
    pub partition: PartitionIndex,
    /// Its position there; `None` where the leader does not say: with acks 0, for a repetition of
    /// what it had stored before, and where a SmartModule may have dropped the record.
    pub offset: Option<Offset>,
    /// The leader's timestamp, where the topic asks for that, in milliseconds since 1970.
    pub log_append_time_ms: Option<i64>,
}

/// Resolves once a record is delivered. Dropping it changes nothing about the delivery.
#[derive(Debug)]
#[must_use = "whether the record was delivered shows only here, or in `Producer::flush`"]
pub struct DeliveryFuture {
    batch: Arc<BatchDelivery>,
    index: u32,
    /// Which of the batch's wakers is this future's.
    waker: Option<usize>,
}

/// The delivery of one batch.
#[derive(Debug)]
pub(crate) struct BatchDelivery {
    partition: PartitionIndex,
    state: Mutex<DeliveryState>,
}

#[derive(Debug, Default)]
struct DeliveryState {
    outcome: Option<Result<BatchStored, ProduceError>>,
    wakers: Vec<Waker>,
}

/// Where a batch was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchStored {
    /// The first record's position, where the leader said.
    pub(crate) base_offset: Option<Offset>,
    pub(crate) log_append_time_ms: Option<i64>,
}

impl BatchStored {
    /// Stored, and nobody says where.
    pub(crate) const UNKNOWN: Self = Self {
        base_offset: None,
        log_append_time_ms: None,
    };
}

impl BatchDelivery {
    pub(crate) fn new(partition: PartitionIndex) -> Arc<Self> {
        Arc::new(Self {
            partition,
            state: Mutex::default(),
        })
    }

    /// The delivery of the record at `index` of the batch.
    pub(crate) fn of_record(self: &Arc<Self>, index: u32) -> DeliveryFuture {
        DeliveryFuture {
            batch: Arc::clone(self),
            index,
            waker: None,
        }
    }

    pub(crate) fn resolve(&self, outcome: Result<BatchStored, ProduceError>) {
        let wakers = {
            let mut state = self.lock();
            state.outcome = Some(outcome);
            std::mem::take(&mut state.wakers)
        };
        for waker in wakers {
            waker.wake();
        }
    }

    pub(crate) fn is_resolved(&self) -> bool {
        self.lock().outcome.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, DeliveryState> {
        self.state
            .lock()
            .expect("nothing panics while it holds this lock")
    }
}

impl Future for DeliveryFuture {
    type Output = Result<Delivery, ProduceError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut state = this.batch.lock();
        if let Some(outcome) = &state.outcome {
            return Poll::Ready(outcome.clone().map(|stored| {
                Delivery {
                    partition: this.batch.partition,
                    offset: stored
                        .base_offset
                        .map(|base| base.plus(i64::from(this.index))),
                    log_append_time_ms: stored.log_append_time_ms,
                }
            }));
        }
        match this.waker {
            Some(slot) => state.wakers[slot].clone_from(context.waker()),
            None => {
                this.waker = Some(state.wakers.len());
                state.wakers.push(context.waker().clone());
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn records_take_consecutive_offsets_from_their_batch() {
        let batch = BatchDelivery::new(PartitionIndex(3));
        let (first, third) = (batch.of_record(0), batch.of_record(2));
        let waiting = async { tokio::join!(first, third) };

        let ((first, third), ()) = tokio::join!(waiting, async {
            tokio::task::yield_now().await;
            batch.resolve(Ok(BatchStored {
                base_offset: Some(Offset(40)),
                log_append_time_ms: None,
            }));
        });

        assert_eq!(first.unwrap().offset, Some(Offset(40)));
        assert_eq!(third.unwrap().offset, Some(Offset(42)));
        assert!(batch.is_resolved());
    }

    #[tokio::test]
    async fn every_record_of_a_failed_batch_learns_why() {
        let batch = BatchDelivery::new(PartitionIndex(0));
        let records = [batch.of_record(0), batch.of_record(1)];
        batch.resolve(Err(ProduceError::Closed));

        for record in records {
            assert!(matches!(record.await, Err(ProduceError::Closed)));
        }
    }
}
