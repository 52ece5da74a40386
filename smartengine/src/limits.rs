//! What one call of a guest may use. Set by whoever opens a chain, enforced by [`crate::Chain`].

use std::time::Duration;

/// The bounds of each call into a guest: time, memory and output.
///
/// A guest that passes one of them is stopped; its instance is dropped, and nothing of the call is
/// kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallLimits {
    /// How long a call may run. Covers instantiation, `init`, and each batch separately.
    pub deadline: Duration,
    /// How large the linear memory of one instance may grow, in bytes; rounded down to wasm pages
    /// of 64 KiB.
    pub memory_bytes: u64,
    /// How many bytes of records one batch may become.
    pub output_bytes: usize,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(1),
            memory_bytes: 64 << 20,
            output_bytes: 32 << 20,
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
        }
    }
}
