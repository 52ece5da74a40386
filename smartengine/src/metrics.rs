//! What a chain's steps have done so far.

use std::time::Duration;

/// What one step of a chain has done since the chain was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StepMetrics {
    /// How often the module was called with records.
    pub calls: u64,
    /// How many records it was given. Those of a call that crashed count again when they are given
    /// to another instance.
    pub records_in: u64,
    /// How many records came out of it.
    pub records_out: u64,
    /// How many input offsets it left out under [`crate::OnFailure::Skip`].
    pub skipped: u64,
    /// How many input offsets it left out under [`crate::OnFailure::DeadLetter`].
    pub dead_lettered: u64,
    /// How often it failed: errors that it answered with, crashes, and bounds that it passed.
    pub errors: u64,
    /// The time that its calls took, what they copied included.
    pub time: Duration,
    /// How large the linear memory of its instance is, in bytes.
    pub memory_bytes: u64,
}

impl StepMetrics {
    /// What the step has done since it had done `before`; its memory is as it is now.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            calls: self.calls.saturating_sub(before.calls),
            records_in: self.records_in.saturating_sub(before.records_in),
            records_out: self.records_out.saturating_sub(before.records_out),
            skipped: self.skipped.saturating_sub(before.skipped),
            dead_lettered: self.dead_lettered.saturating_sub(before.dead_lettered),
            errors: self.errors.saturating_sub(before.errors),
            time: self.time.saturating_sub(before.time),
            memory_bytes: self.memory_bytes,
        }
    }
}
