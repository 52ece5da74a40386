//! How the log's operations fail: one enum per operation, a variant per decision of the caller.

use std::io;
use std::path::PathBuf;

use thalweg_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

/// Why a log can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A file operation failed.
    #[error("failed to {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A file is of a later version of Thalweg.
    #[error("`{}` has format version {found}, and this version of Thalweg reads up to {known}: upgrade it", path.display())]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u16,
        /// The newest version that this code reads.
        known: u16,
    },
}

/// Why an append was refused. Nothing of it was written, but for the cases that say otherwise.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// Somebody leads under a newer epoch.
    #[error("leader epoch {given} is older than the log's {latest}")]
    StaleEpoch {
        /// The epoch of the append.
        given: LeaderEpoch,
        /// The newest epoch of the log.
        latest: LeaderEpoch,
    },
    /// A batch is missing between what the producer sent before and this.
    #[error("producer {producer_id} sent sequence {given}, {expected} is next")]
    OutOfOrderSequence {
        /// The producer.
        producer_id: ProducerId,
        /// The sequence that must come next.
        expected: i32,
        /// The sequence that came.
        given: i32,
    },
    /// A newer instance of the producer has taken over.
    #[error("producer {producer_id} has epoch {latest:?}, and {given:?} is fenced")]
    InvalidProducerEpoch {
        /// The producer.
        producer_id: ProducerId,
        /// The producer's newest epoch.
        latest: ProducerEpoch,
        /// The epoch that came.
        given: ProducerEpoch,
    },
    /// A batch of this producer that is older than the five that are remembered.
    #[error(
        "producer {producer_id} sent sequence {given} again, and its offset is not known any more"
    )]
    DuplicateSequence {
        /// The producer.
        producer_id: ProducerId,
        /// The sequence that came.
        given: i32,
    },
    /// A batch exceeds the topic's limit.
    #[error("batch of {batch_bytes} bytes exceeds the topic's limit of {limit_bytes}")]
    BatchTooLarge {
        /// The batch's size.
        batch_bytes: u64,
        /// The topic's `max.message.bytes`.
        limit_bytes: u64,
    },
    /// A batch that claims the leader's timestamps in a topic whose timestamps are the producer's.
    #[error("batch claims log append time, and only the leader may set that")]
    InvalidTimestampType,
    /// A batch is damaged.
    #[error("batch is damaged: {reason}")]
    Corrupt {
        /// What is wrong with it.
        reason: String,
    },
    /// A batch that no log can hold, or more than one where one is allowed.
    #[error("append is not valid: {reason}")]
    Invalid {
        /// What is wrong.
        reason: &'static str,
    },
    /// A follower's batch does not begin where the log ends.
    #[error("batch begins at offset {given}, the log ends at {log_end}")]
    NotAtLogEnd {
        /// The offset that the batch begins at.
        given: Offset,
        /// The log's end.
        log_end: Offset,
    },
    /// The disk is full. Appends work again once there is room.
    #[error("disk is full: free space on the data directory's file system, appends then go on")]
    DiskFull,
    /// A write failed and was undone. The log goes on.
    #[error("failed to write to the log: {reason}")]
    Io {
        /// The operating system's words.
        reason: String,
    },
    /// The replica takes no appends until it is reopened or refilled.
    #[error("replica takes no appends: {reason}")]
    Failed {
        /// What happened to it.
        reason: String,
    },
    /// Too much waits to be written.
    #[error("too many appends wait for the disk, retry in a moment")]
    QueueFull,
    /// The log is closed.
    #[error("log is closed")]
    Closed,
}

/// Why a read gave nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The log does not hold the offset.
    #[error("offset {from} is not in the log, which holds {log_start} to {log_end}")]
    OutOfRange {
        /// The offset that was asked for.
        from: Offset,
        /// The first offset kept.
        log_start: Offset,
        /// The log's end.
        log_end: Offset,
    },
    /// The bytes at the offset are damaged.
    #[error("log is damaged at offset {offset}: {reason}")]
    Corrupt {
        /// The offset that the damaged batch should have.
        offset: Offset,
        /// What is wrong with it.
        reason: String,
    },
    /// A file operation failed.
    #[error("failed to read the log")]
    Io(#[from] io::Error),
    /// The log is closed.
    #[error("log is closed")]
    Closed,
}

/// Why a timestamp could not be looked up: as reads fail.
pub type LookupError = ReadError;

/// Why a change to the log other than an append failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MaintainError {
    /// The offset is outside of what the operation may reach.
    #[error("offset {given} is not within {first} to {last}")]
    OutOfRange {
        /// The offset that was asked for.
        given: Offset,
        /// The smallest that is allowed.
        first: Offset,
        /// The largest that is allowed.
        last: Offset,
    },
    /// The epoch is older than the log's.
    #[error("leader epoch {given} is older than the log's {latest}")]
    StaleEpoch {
        /// The epoch that was given.
        given: LeaderEpoch,
        /// The newest epoch of the log.
        latest: LeaderEpoch,
    },
    /// The log's bytes are damaged.
    #[error(transparent)]
    Damaged(ReadError),
    /// A file operation failed.
    #[error("failed to {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The replica takes no changes until it is reopened or refilled.
    #[error("replica takes no changes: {reason}")]
    Failed {
        /// What happened to it.
        reason: String,
    },
    /// The log is closed.
    #[error("log is closed")]
    Closed,
}
