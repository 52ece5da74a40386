//! Waiting longer after each failure, with jitter, so that many clients don't return at once.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// How long to wait between attempts.
#[derive(Debug, Clone, Copy)]
pub struct BackoffOptions {
    /// The wait after the first failure.
    pub initial: Duration,
    /// The longest wait.
    pub max: Duration,
}

impl Default for BackoffOptions {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(50),
            max: Duration::from_secs(2),
        }
    }
}

/// The state of one series of attempts.
#[derive(Debug, Clone)]
pub struct Backoff {
    options: BackoffOptions,
    attempt: u32,
    seed: RandomState,
}

impl Backoff {
    /// A series that has not failed yet.
    #[must_use]
    pub fn new(options: BackoffOptions) -> Self {
        Self {
            options,
            attempt: 0,
            seed: RandomState::new(),
        }
    }

    /// How many attempts have failed since the last success.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Notes a success: the next wait is the first one again.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }

    /// Notes a failure and says how long to wait: twice the last wait, less up to a quarter.
    pub fn next_delay(&mut self) -> Duration {
        let doublings = self.attempt.min(16);
        self.attempt = self.attempt.saturating_add(1);
        let full = self
            .options
            .initial
            .saturating_mul(1 << doublings)
            .min(self.options.max);
        let mut hasher = self.seed.build_hasher();
        hasher.write_u32(self.attempt);
        let jitter = f64::from((hasher.finish() % 1000) as u32) / 1000.0;
        full.mul_f64(1.0 - 0.25 * jitter)
    }

    /// Notes a failure and waits, or returns at once when `shutdown` fires.
    pub async fn wait(&mut self, shutdown: &CancellationToken) {
        let delay = self.next_delay();
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(delay) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_start_again_after_a_success() {
        let mut backoff = Backoff::new(BackoffOptions {
            initial: Duration::from_millis(100),
            max: Duration::from_millis(400),
        });

        let waits: Vec<_> = (0..5).map(|_| backoff.next_delay().as_millis()).collect();
        for (wait, full) in waits.iter().zip([100, 200, 400, 400, 400]) {
            assert!((full * 3 / 4..=full).contains(wait), "{waits:?}");
        }
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_millis(100));
    }
}
