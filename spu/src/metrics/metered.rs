//! A chain whose steps are counted for Prometheus.
//!
//! What the steps did is counted after each turn on a guest thread, and when the chain goes.

use thalweg_smartengine::{Chain, StepMetrics};

use super::ModuleUser;

/// A chain, and the counters of its steps.
pub(crate) struct Metered {
    pub(crate) chain: Chain,
    /// One for each step.
    users: Vec<ModuleUser>,
    /// What was counted already.
    counted: Vec<StepMetrics>,
}

impl Metered {
    /// `users` are those of the chain's steps, in order.
    pub(crate) fn new(chain: Chain, users: Vec<ModuleUser>) -> Self {
        let counted = vec![StepMetrics::default(); users.len()];
        let mut metered = Self {
            chain,
            users,
            counted,
        };
        metered.count();
        metered
    }

    /// Counts what the steps did since the last time.
    pub(crate) fn count(&mut self) {
        let steps = self.users.iter_mut().zip(&mut self.counted);
        for (now, (user, counted)) in self.chain.metrics().into_iter().zip(steps) {
            user.add(&now.since(counted));
            *counted = now;
        }
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        self.count();
    }
}

impl std::fmt::Debug for Metered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.chain.fmt(f)
    }
}
