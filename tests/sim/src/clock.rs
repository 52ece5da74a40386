//! A host's clock: its wall clock may be wrong.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use thalweg_runtime::Clock;

use crate::one_thread::{EPOCH_SECONDS, elapsed};

/// The clock of one host.
#[derive(Debug, Default)]
pub(crate) struct HostClock {
    /// How far the wall clock is ahead.
    ahead_ms: AtomicI64,
}

impl HostClock {
    /// Sets the wall clock wrong by so much.
    pub(crate) fn set_ahead(&self, ahead_ms: i64) {
        self.ahead_ms.store(ahead_ms, Ordering::Relaxed);
    }
}

impl Clock for HostClock {
    fn now_ms(&self) -> i64 {
        let now = Duration::from_secs(EPOCH_SECONDS) + elapsed();
        let now_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        now_ms + self.ahead_ms.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        elapsed()
    }
}
