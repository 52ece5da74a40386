//! The memory that all connections share for requests and answers.
//!
//! Whoever is about to read or build something reserves its size first and waits while there is
//! none left: that is the back-pressure that a client feels as a socket which takes no more.

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is counted in one go, in bytes: a semaphore hands out at most 2^32 permits at a time.
const UNIT_BYTES: usize = 1024;

/// How large a buffer is that is kept to be used again, in bytes: batches of the usual sizes.
const SPARE_BYTES: RangeInclusive<usize> = 64 << 10..=(1 << 20) + (64 << 10);
/// How many such buffers are kept. They are not counted in the budget.
const SPARES_MAX: usize = 8;

/// A budget of bytes. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    units: Arc<Semaphore>,
    units_max: u32,
    spares: Arc<Spares>,
}

/// Buffers that served before. Memory that is new to the process costs about as much as copying
/// a request into it.
#[derive(Debug, Default)]
struct Spares(Mutex<Vec<BytesMut>>);

/// Bytes of the budget, given back when dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    _permit: Option<OwnedSemaphorePermit>,
    spares: Arc<Spares>,
}

impl Memory {
    /// A budget of `bytes`.
    pub(super) fn new(bytes: u64) -> Self {
        let units = usize::try_from(bytes).unwrap_or(usize::MAX) / UNIT_BYTES;
        let units_max = u32::try_from(units.max(1)).unwrap_or(u32::MAX);
        Self {
            units: Arc::new(Semaphore::new(units_max as usize)),
            units_max,
            spares: Arc::default(),
        }
    }

    /// A buffer for what was reserved, of at least `bytes`.
    pub(super) fn buffer(&self, bytes: usize) -> BytesMut {
        if !SPARE_BYTES.contains(&bytes) {
            return BytesMut::with_capacity(bytes);
        }
        self.spares.take(bytes).unwrap_or_else(|| {
            // Rounded up, so that it also serves a request that is a little larger.
            BytesMut::with_capacity(bytes.next_multiple_of(*SPARE_BYTES.start()))
        })
    }

    /// Takes `bytes` at once if half of the budget is left then, for what would do with less.
    pub(super) fn reserve_of_plenty(&self, bytes: usize) -> Option<Reservation> {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        let spare = self.units.available_permits().checked_sub(units as usize)?;
        if spare < self.units_max as usize / 2 {
            return None;
        }
        let permit = Arc::clone(&self.units).try_acquire_many_owned(units).ok()?;
        Some(Reservation {
            _permit: Some(permit),
            spares: Arc::clone(&self.spares),
        })
    }

    /// Waits until `bytes` are free and takes them, in turn with everybody else. What is larger
    /// than the whole budget gets the whole budget, so that it is served alone.
    pub(super) async fn reserve(&self, bytes: usize) -> Reservation {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.units)
            .acquire_many_owned(units.min(self.units_max))
            .await;
        Reservation {
            // It fails only when the semaphore is closed, which nobody does.
            _permit: permit.ok(),
            spares: Arc::clone(&self.spares),
        }
    }
}

impl Reservation {
    /// Ties the reservation to the bytes it was made for: it is given back once the last slice of
    /// them is gone, wherever that is. Their buffer is used again then.
    pub(super) fn hold(self, bytes: Bytes) -> Bytes {
        struct Held {
            bytes: Bytes,
            reservation: Reservation,
        }
        impl Drop for Held {
            fn drop(&mut self) {
                self.reservation
                    .spares
                    .give(std::mem::take(&mut self.bytes));
            }
        }
        impl AsRef<[u8]> for Held {
            fn as_ref(&self) -> &[u8] {
                &self.bytes
            }
        }
        Bytes::from_owner(Held {
            bytes,
            reservation: self,
        })
    }
}

impl Spares {
    fn take(&self, bytes: usize) -> Option<BytesMut> {
        let mut spares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The one that was used last: most of it is in the processor's caches still.
        let index = spares.iter().rposition(|spare| spare.capacity() >= bytes)?;
        Some(spares.remove(index))
    }

    fn give(&self, bytes: Bytes) {
        let Ok(mut buffer) = bytes.try_into_mut() else {
            return;
        };
        buffer.clear();
        let mut spares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if SPARE_BYTES.contains(&buffer.capacity()) && spares.len() < SPARES_MAX {
            spares.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn bytes_are_given_back_with_their_last_slice() {
        let memory = Memory::new(10 * 1024);
        let frame = memory
            .reserve(8 * 1024)
            .await
            .hold(Bytes::from(vec![0; 8 * 1024]));
        let records = frame.slice(100..200);
        drop(frame);
        assert!(memory.reserve(4 * 1024).now_or_never().is_none());

        drop(records);

        assert!(memory.reserve(4 * 1024).now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_buffer_is_used_again_once_its_last_slice_is_gone() {
        let memory = Memory::new(1 << 20);
        let mut buffer = memory.buffer(100_000);
        let place = buffer.as_ptr();
        buffer.extend_from_slice(&[1; 100_000]);
        let held = memory.reserve(100_000).await.hold(buffer.freeze());
        let records = held.slice(10..20);
        drop(held);
        assert_ne!(memory.buffer(100_000).as_ptr(), place);

        drop(records);

        assert_eq!(memory.buffer(101_000).as_ptr(), place);
    }

    #[tokio::test]
    async fn what_would_do_with_less_leaves_half_of_the_budget_to_others() {
        let memory = Memory::new(100 * 1024);
        let first = memory.reserve_of_plenty(30 * 1024).unwrap();
        assert!(memory.reserve_of_plenty(30 * 1024).is_none());
        let _second = memory.reserve_of_plenty(20 * 1024).unwrap();

        assert!(memory.reserve_of_plenty(1).is_none());
        assert!(memory.reserve(50 * 1024).now_or_never().is_some());

        drop(first);
        assert!(memory.reserve_of_plenty(30 * 1024).is_some());
    }

    #[tokio::test]
    async fn nobody_has_plenty_of_a_budget_that_is_too_small() {
        let memory = Memory::new(4 * 1024);

        assert!(memory.reserve_of_plenty(3 * 1024).is_none());
        assert!(memory.reserve_of_plenty(1 << 40).is_none());
    }

    #[tokio::test]
    async fn what_exceeds_the_budget_is_served_alone() {
        let memory = Memory::new(4096);
        let all = memory.reserve(1 << 30).await;
        assert!(memory.reserve(1).now_or_never().is_none());
        drop(all);
        assert!(memory.reserve(1).now_or_never().is_some());
    }
}
