//! One partition's log.
#![allow(
    unused_variables,
    clippy::missing_errors_doc,
    reason = "signatures first"
)]

use std::path::PathBuf;
use std::sync::Arc;

use thalweg_types::{LeaderEpoch, Offset};

use crate::{
    Append, AppendError, Appended, FollowerAppend, LogFiles, LogHealth, LogListener, LogOptions,
    LogSlice, LookupError, MaintainError, OpenError, ProducerSequences, ReadError, ScrubProgress,
    StorageThreads,
};

/// One partition's log. Shared by its replica, the connections that read it and the threads that
/// write it.
#[derive(Debug)]
pub struct Log {}

impl Log {
    /// Opens the log in a folder, which is created when missing; recovers it if needed.
    pub fn open(
        path: PathBuf,
        options: LogOptions,
        threads: Arc<StorageThreads>,
        files: Arc<dyn LogFiles>,
        now_ms: i64,
    ) -> Result<Arc<Self>, OpenError> {
        todo!()
    }

    /// Queues batches for the partition's writer.
    pub fn submit(self: &Arc<Self>, append: Append) {
        todo!()
    }

    /// Appends what a follower fetched, before it returns.
    pub fn append_as_follower(
        self: &Arc<Self>,
        append: FollowerAppend,
    ) -> Result<Appended, AppendError> {
        todo!()
    }

    /// Who hears of progress and failure from now on. Called once at once with where the log is.
    pub fn set_listener(&self, listener: Arc<dyn LogListener>) {
        todo!()
    }

    /// The first offset kept.
    pub fn log_start(&self) -> Offset {
        todo!()
    }

    /// The offset that the next record gets.
    pub fn log_end(&self) -> Offset {
        todo!()
    }

    /// The offset up to which the topic's durability is met.
    pub fn stable_end(&self) -> Offset {
        todo!()
    }

    /// The high watermark, as last set.
    pub fn high_watermark(&self) -> Offset {
        todo!()
    }

    /// Raises the high watermark; a smaller one is ignored.
    pub fn set_high_watermark(&self, offset: Offset) {
        todo!()
    }

    /// Reads whole batches from an offset on, verified: at least one if there is one below
    /// `until`, else an empty slice.
    pub fn read(&self, from: Offset, max_bytes: u32, until: Offset) -> Result<LogSlice, ReadError> {
        todo!()
    }

    /// Whether a read from here has to verify bytes first, so that it belongs on a thread that
    /// may block.
    pub fn read_needs_disk(&self, from: Offset) -> bool {
        todo!()
    }

    /// The first record at or after a timestamp, below `until`: its offset and timestamp.
    pub fn offset_for_timestamp(
        &self,
        timestamp_ms: i64,
        until: Offset,
    ) -> Result<Option<(Offset, i64)>, LookupError> {
        todo!()
    }

    /// The newest epoch not after the given one, and the offset at which it ended (KIP-101).
    /// `(LeaderEpoch::UNKNOWN, Offset(-1))` when the log knows no such epoch.
    pub fn epoch_end(&self, epoch: LeaderEpoch) -> (LeaderEpoch, Offset) {
        todo!()
    }

    /// The newest epoch; `LeaderEpoch::UNKNOWN` for a log that never had a leader.
    pub fn latest_epoch(&self) -> LeaderEpoch {
        todo!()
    }

    /// Notes that an epoch begins at the log's end. Older epochs are fenced from then on.
    pub fn begin_epoch(&self, epoch: LeaderEpoch) -> Result<(), MaintainError> {
        todo!()
    }

    /// Cuts the log so that it ends at an offset. For followers.
    pub fn truncate_to(&self, offset: Offset) -> Result<(), MaintainError> {
        todo!()
    }

    /// Forgets all records before an offset; returns the new log start.
    pub fn delete_records_before(&self, offset: Offset) -> Result<Offset, MaintainError> {
        todo!()
    }

    /// Deletes segments that are too old or too many, and forgets idle producers.
    pub fn apply_retention(&self, now_ms: i64) -> Result<(), MaintainError> {
        todo!()
    }

    /// Closes the active segment when it is older than the topic's limit.
    pub fn roll_if_old(&self, now_ms: i64) -> Result<(), MaintainError> {
        todo!()
    }

    /// Writes the high watermark to the disk if it has moved.
    pub fn checkpoint(&self) -> Result<(), MaintainError> {
        todo!()
    }

    /// Checks the next so many bytes of the log against their checksums.
    pub fn scrub(&self, budget_bytes: u64) -> Result<ScrubProgress, ReadError> {
        todo!()
    }

    /// Notes the sequences of a batch that a SmartModule emptied: on disk before it returns.
    pub fn advance_producer(
        &self,
        sequences: ProducerSequences,
        now_ms: i64,
    ) -> Result<Appended, MaintainError> {
        todo!()
    }

    /// Puts new settings in force.
    pub fn update_options(&self, options: LogOptions) {
        todo!()
    }

    /// The settings in force.
    pub fn options(&self) -> Arc<LogOptions> {
        todo!()
    }

    /// The size of all segments, in bytes.
    pub fn size_bytes(&self) -> u64 {
        todo!()
    }

    /// Whether the log can be used.
    pub fn health(&self) -> LogHealth {
        todo!()
    }

    /// Ends what is queued, syncs, and notes the clean shutdown. The log refuses everything after.
    pub fn close(&self) -> Result<(), MaintainError> {
        todo!()
    }
}
