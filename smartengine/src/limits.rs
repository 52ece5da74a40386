//! What one call of a guest may use. Set by whoever opens a chain, enforced by [`crate::Chain`].

use std::time::Duration;

/// What a step may write whatever it was given, in bytes: [`CallLimits::output_factor`] is for
/// what goes beyond.
const OUTPUT_FLOOR_BYTES: usize = 1 << 20;

/// What part of an instance's memory the accumulators of one call may have: they stand there three times over, and one
/// that was read may be much larger than its bytes.
const MEMORY_PART_FOR_GROUPS: u64 = 64;

/// In how many deadlines a step must be done with all its calls for one batch.
const DEADLINES_PER_BATCH: u32 = 10;

/// How many deadlines may go by on the clock while a call has less than one of the processor.
const DEADLINES_TO_STARVE: u32 = 10;

/// As [`DEADLINES_TO_STARVE`], for all calls of a step for one batch.
const DEADLINES_TO_STARVE_PER_BATCH: u32 = 30;

/// How many instances of a step may crash in one batch.
pub(crate) const CRASHES_PER_BATCH: u32 = 1000;

/// The bounds of each call into a guest: time, memory and output.
///
/// A guest that passes one of them is stopped; its instance is dropped, and nothing of the call is
/// kept. All calls of a step for one batch together may take ten deadlines (thirty by the clock),
/// and a thousand instances of it may crash in one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallLimits {
    /// How long a call may run, which is what it has of the processor. Covers instantiation,
    /// `init`, and each batch separately. Where others take the processor from it, it ends when
    /// ten times as long has gone by on the clock; twice as long where it has only the time that
    /// nobody else wants, as modules do that had to be stopped before.
    pub deadline: Duration,
    /// How large the linear memory of one instance may grow, in bytes; rounded down to wasm pages
    /// of 64 KiB. Also how large a chain's accumulators may be together.
    pub memory_bytes: u64,
    /// How many bytes of records one batch may become.
    pub output_bytes: usize,
    /// How many bytes of records one byte of input may become, beyond a first mebibyte.
    pub output_factor: usize,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(1),
            memory_bytes: 64 << 20,
            output_bytes: 32 << 20,
            output_factor: 10_000,
        }
    }
}

impl CallLimits {
    /// These limits, lowered to `bounds` where they pass them.
    #[must_use]
    pub(crate) fn within(self, bounds: &Self) -> Self {
        Self {
            deadline: self.deadline.min(bounds.deadline),
            memory_bytes: self.memory_bytes.min(bounds.memory_bytes),
            output_bytes: self.output_bytes.min(bounds.output_bytes),
            output_factor: self.output_factor.min(bounds.output_factor),
        }
    }

    /// How many bytes may come of `input_bytes` of records.
    pub(crate) fn output_bytes_of(&self, input_bytes: usize) -> usize {
        input_bytes
            .saturating_mul(self.output_factor)
            .saturating_add(OUTPUT_FLOOR_BYTES)
            .min(self.output_bytes)
    }

    /// Where a step should leave the rest of a batch for another time: at half the bound, so that
    /// the record which passes it has as much again.
    pub(crate) fn output_bytes_soft(&self) -> usize {
        self.output_bytes / 2
    }

    /// How many bytes the accumulators of a call with many groups should have at most together.
    pub(crate) fn group_accumulators_bytes(&self) -> usize {
        usize::try_from(self.memory_bytes / MEMORY_PART_FOR_GROUPS).unwrap_or(usize::MAX)
    }

    /// How long all calls of a step for one batch may take.
    pub(crate) fn batch_deadline(&self) -> Duration {
        self.deadline.saturating_mul(DEADLINES_PER_BATCH)
    }

    /// How long a call may go on while others take the processor from it.
    pub(crate) fn patience(&self) -> Duration {
        self.deadline.saturating_mul(DEADLINES_TO_STARVE)
    }

    /// As [`Self::patience`], for all calls of a step for one batch.
    pub(crate) fn batch_patience(&self) -> Duration {
        self.deadline.saturating_mul(DEADLINES_TO_STARVE_PER_BATCH)
    }
}
