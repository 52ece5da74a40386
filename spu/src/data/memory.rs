//! The memory that all connections share for requests and answers.
//!
//! Whoever is about to read or build something reserves its size first and waits while there is
//! none left: that is the back-pressure that a client feels as a socket which takes no more.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is counted in one go, in bytes: a semaphore hands out at most 2^32 permits at a time.
const UNIT_BYTES: usize = 1024;

/// A budget of bytes. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    units: Arc<Semaphore>,
    units_max: u32,
}

/// Bytes of the budget, given back when dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Memory {
    /// A budget of `bytes`.
    pub(super) fn new(bytes: u64) -> Self {
        let units = usize::try_from(bytes).unwrap_or(usize::MAX) / UNIT_BYTES;
        let units_max = u32::try_from(units.max(1)).unwrap_or(u32::MAX);
        Self {
            units: Arc::new(Semaphore::new(units_max as usize)),
            units_max,
        }
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
        }
    }
}

impl Reservation {
    /// Ties the reservation to the bytes it was made for: it is given back once the last slice of
    /// them is gone, wherever that is.
    pub(super) fn hold(self, bytes: Bytes) -> Bytes {
        struct Held {
            bytes: Bytes,
            _reservation: Reservation,
        }
        impl AsRef<[u8]> for Held {
            fn as_ref(&self) -> &[u8] {
                &self.bytes
            }
        }
        Bytes::from_owner(Held {
            bytes,
            _reservation: self,
        })
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
    async fn what_exceeds_the_budget_is_served_alone() {
        let memory = Memory::new(4096);
        let all = memory.reserve(1 << 30).await;
        assert!(memory.reserve(1).now_or_never().is_none());
        drop(all);
        assert!(memory.reserve(1).now_or_never().is_some());
    }
}
