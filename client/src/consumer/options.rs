//! What a consumer can be asked for.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use thalweg_types::{Offset, PartitionIndex};

use super::Checkpoint;
use crate::SmartModuleInvocation;
use crate::group::GroupOptions;

/// What a [`Consumer`](crate::Consumer) reads, and how.
///
/// ```
/// use thalweg_client::{ConsumerOptions, EndOffset, StartOffset};
///
/// // The last ten records of each partition, then stop.
/// let options = ConsumerOptions {
///     start: StartOffset::FromEnd(10),
///     end: EndOffset::LogEnd,
///     ..ConsumerOptions::default()
/// };
/// # let _ = options;
/// ```
#[derive(Debug, Clone)]
pub struct ConsumerOptions {
    /// Which partitions. Default: all.
    pub partitions: PartitionSelection,
    /// Where to begin. Default: [`StartOffset::End`].
    pub start: StartOffset,
    /// Where to stop. Default: [`EndOffset::Never`].
    pub end: EndOffset,
    /// Which records are seen. Default: [`Isolation::ReadUncommitted`], as in Kafka.
    pub isolation: Isolation,
    /// What to do when the next record is not in the log any more. Default: fail.
    pub on_out_of_range: OnOutOfRange,
    /// How many bytes one answer may carry. Default: 16 MiB.
    pub fetch_bytes_max: u32,
    /// How many bytes of one partition one answer may carry. Default: 4 MiB.
    pub partition_bytes_max: u32,
    /// How many bytes an answer waits for. Default: 1, that is, any record.
    pub fetch_bytes_min: u32,
    /// How long an answer waits for `fetch_bytes_min`. Default: 500 ms. Where nothing is new and any
    /// record ends the wait, it is ten seconds at least: asking again would tell nothing.
    pub fetch_wait: Duration,
    /// How many bytes are fetched ahead of what was taken. One more answer may be under way.
    /// Default: 32 MiB.
    pub prefetch_bytes: usize,
    /// The size that one batch may have when decompressed, in bytes. Default: 128 MiB.
    pub batch_bytes_max: usize,
    /// How long to wait for an answer, beyond `fetch_wait`. Default: 30 s.
    pub request_timeout: Duration,
    /// SmartModules that the SPU applies to the stream.
    pub smartmodules: Vec<SmartModuleInvocation>,
    /// What an aggregate starts from. Default: nothing.
    pub accumulator: Option<Bytes>,
    /// Whether an aggregate keeps an accumulator for each key, and not one for each partition. Each
    /// starts from `accumulator`. Default: false.
    pub accumulate_by_key: bool,
    /// Partitions that begin at a checkpoint of an earlier consumer with the same SmartModules,
    /// instead of at `start`. Default: none.
    pub resume: BTreeMap<PartitionIndex, Checkpoint>,
    /// The group that this consumer is a member of: it reads a share of the partitions, from where the
    /// group has committed to, and from `start` where it has committed nothing. Default: none.
    pub group: Option<GroupOptions>,
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self {
            partitions: PartitionSelection::All,
            start: StartOffset::End,
            end: EndOffset::Never,
            isolation: Isolation::ReadUncommitted,
            on_out_of_range: OnOutOfRange::Fail,
            fetch_bytes_max: 16 << 20,
            partition_bytes_max: 4 << 20,
            fetch_bytes_min: 1,
            fetch_wait: Duration::from_millis(500),
            prefetch_bytes: 32 << 20,
            batch_bytes_max: 128 << 20,
            request_timeout: Duration::from_secs(30),
            smartmodules: Vec::new(),
            accumulator: None,
            accumulate_by_key: false,
            resume: BTreeMap::new(),
            group: None,
        }
    }
}

/// Which partitions of the topic a consumer reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PartitionSelection {
    /// All that the topic has when the consumer starts.
    #[default]
    All,
    /// These.
    Only(Vec<PartitionIndex>),
}

/// Where a consumer begins, in each partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartOffset {
    /// At the first record that is kept.
    Beginning,
    /// After the last record.
    #[default]
    End,
    /// At this record.
    Offset(Offset),
    /// This many offsets after the first record that is kept, or at the end.
    FromBeginning(u64),
    /// This many records before the end, or at the first that is kept.
    FromEnd(u64),
    /// At the first record with this timestamp or a later one, in milliseconds since 1970; at
    /// the end where there is none.
    Timestamp(i64),
}

/// Where a consumer stops, in each partition. It ends once all have stopped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndOffset {
    /// Never: wait for more.
    #[default]
    Never,
    /// Before the end of the log as it was when the consumer started.
    LogEnd,
    /// Before this record.
    Offset(Offset),
}

/// Which records a consumer sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Isolation {
    /// Every record that all in-sync replicas hold.
    #[default]
    ReadUncommitted,
    /// Of transactions, only the records of those that were committed.
    ReadCommitted,
}

/// What a consumer does when its next record is not in the log any more (or not yet).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnOutOfRange {
    /// End with an error that names what the log holds.
    #[default]
    Fail,
    /// Go on with the first record that is kept.
    Beginning,
    /// Go on after the last record.
    End,
}

impl Isolation {
    pub(crate) const fn wire_value(self) -> i8 {
        match self {
            Self::ReadUncommitted => 0,
            Self::ReadCommitted => 1,
        }
    }
}
