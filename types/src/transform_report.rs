//! What the runner of a transform says of itself: SPUs make it, the SC keeps the newest, clients are shown it.

use std::fmt;

use crate::resource::TransformNumber;
use crate::{LeaderEpoch, Offset, PartitionIndex, ResourceName, TopicName};

/// How a transform fares on one input partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransformReport {
    /// The transform.
    pub transform: ResourceName,
    /// Its number, which a later transform of that name does not have.
    pub number: TransformNumber,
    /// The input topic.
    pub topic: TopicName,
    /// The input's partition.
    pub partition: PartitionIndex,
    /// The reign in which the runner began.
    pub leader_epoch: LeaderEpoch,
    /// What it does.
    pub state: TransformRunState,
    /// Why it does not run, for people; empty where it does.
    pub reason: String,
    /// The next offset of the input that it takes.
    pub position: Offset,
    /// The high watermark of the input.
    pub end: Offset,
    /// How long ago the oldest record that is not through was appended; 0 where all are through.
    pub lag_ms: i64,
    /// How many records it has taken since it began.
    pub records_in: u64,
    /// How many it has written since then.
    pub records_out: u64,
    /// How many of those that it has taken a module failed on.
    pub failed: u64,
    /// How many came too late for every window that they belong to, and were left out.
    pub late: u64,
    /// How many were left out because one with their key came before.
    pub duplicates: u64,
    /// How many keys, or windows of keys, it keeps something of.
    pub state_entries: u64,
    /// How large those are, with what is kept of each, in bytes.
    pub state_bytes: u64,
    /// How often it has begun again after a failure.
    pub restarts: u32,
    /// The versions of the modules that it runs, for people: `late@1.2.0, stats@0.1.0`.
    pub modules: String,
}

impl TransformReport {
    /// How many records of the input are committed and not through.
    #[must_use]
    pub fn lag_records(&self) -> i64 {
        self.end.0.saturating_sub(self.position.0).max(0)
    }
}

/// What a transform does on one input partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransformRunState {
    /// It finds out where it was, and gets its modules ready.
    Starting,
    /// It takes records as they are committed.
    Running,
    /// It can't go on for now, and tries again by itself.
    Waiting,
    /// It has failed, and does not go on before somebody does something.
    Failed,
}

impl fmt::Display for TransformRunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Failed => "failed",
        })
    }
}
