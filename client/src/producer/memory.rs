//! How many bytes of records may wait for their delivery: the producer's back-pressure.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// A budget of bytes. One record may be larger than the whole budget: it waits until it is alone.
#[derive(Debug)]
pub(crate) struct MemoryBudget {
    limit_bytes: usize,
    used_bytes: AtomicUsize,
    released: Notify,
}

impl MemoryBudget {
    pub(crate) fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            used_bytes: AtomicUsize::new(0),
            released: Notify::new(),
        }
    }

    pub(crate) fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    /// Takes `bytes`, or says that there is no room now.
    pub(crate) fn try_take(&self, bytes: usize) -> bool {
        let take = |used: usize| {
            let after = used.saturating_add(bytes);
            (used == 0 || after <= self.limit_bytes).then_some(after)
        };
        self.used_bytes
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, take)
            .is_ok()
    }

    /// Takes `bytes` once there is room. Dropping the future takes nothing.
    pub(crate) async fn take(&self, bytes: usize) {
        loop {
            let mut released = std::pin::pin!(self.released.notified());
            // Listen before looking, so that a release in between is not missed.
            released.as_mut().enable();
            if self.try_take(bytes) {
                return;
            }
            released.await;
        }
    }

    /// Whether nothing waits for its delivery.
    pub(crate) fn is_unused(&self) -> bool {
        self.used_bytes.load(Ordering::Acquire) == 0
    }

    pub(crate) fn give_back(&self, bytes: usize) {
        self.used_bytes.fetch_sub(bytes, Ordering::AcqRel);
        self.released.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taker_waits_until_there_is_room() {
        let budget = MemoryBudget::new(10);
        assert!(budget.try_take(8));
        assert!(!budget.try_take(3));

        tokio::join!(budget.take(3), async { budget.give_back(8) });

        assert!(!budget.try_take(8));
    }

    #[test]
    fn a_record_larger_than_the_budget_passes_when_it_is_alone() {
        let budget = MemoryBudget::new(10);
        assert!(budget.try_take(100));
        assert!(!budget.try_take(1));
    }
}
