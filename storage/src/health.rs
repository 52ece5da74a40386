//! How a log tells its replica what became of it.

use thalweg_types::Offset;

/// Whether a log can be used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum LogHealth {
    /// It can.
    #[default]
    Ok,
    /// The disk is full: it serves reads, and refuses appends until one succeeds again.
    ReadOnly {
        /// What was refused.
        reason: String,
    },
    /// A write or sync left the disk in a state that nobody knows. Until it is reopened it
    /// refuses appends, and its replica must not lead.
    Failed {
        /// What failed.
        reason: String,
    },
    /// A damaged batch was found. What is sound can be read; the replica must not lead and has to
    /// be refilled from its peers.
    Quarantined {
        /// What is damaged.
        reason: String,
    },
}

impl LogHealth {
    /// Whether the log stays as it is until somebody reopens or refills it.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Failed { .. } | Self::Quarantined { .. })
    }
}

/// How far a log has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogProgress {
    /// The offset that the next record gets.
    pub log_end: Offset,
    /// The offset up to which the topic's durability is met: synced, or written for
    /// `durability: memory`.
    pub stable_end: Offset,
}

/// Hears of a log's progress and failures. Called on the writer and sync threads with no lock
/// held, so it may call the log but must not block.
pub trait LogListener: Send + Sync {
    /// The log grew, or more of it became stable. Calls of several threads may arrive out of
    /// order: keep the largest.
    fn progressed(&self, progress: LogProgress);

    /// The log failed or was quarantined, for good.
    fn failed(&self, health: LogHealth);
}
