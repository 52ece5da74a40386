//! One partition's log: what a replica, its connections and the storage threads share.
//!
//! This file holds the state and what can be asked of it at once; the verbs are beside it:
//! `open` and `recovery`, `writer` (appends), `sync`, `read`, `maintenance`, `scrub`, and `clean`
//! (compaction) with `dirt` and `swap_in`.
//!
//! ```text
//! submit ─▶ queue ─▶ writer thread: pwritev ─▶ done ─▶ sync thread: fdatasync ─▶ stable_end
//!                    (one lock, `writer`)              (meanwhile the next write goes on)
//! ```
//!
//! Locks are taken in this order and none is held while a callback runs: `cleaning`, `swap`,
//! `sync_run`, `writer`, `queue`, then any one of the others.

mod clean;
mod dirt;
mod following;
mod group;
mod maintenance;
mod open;
mod producers;
mod queue;
mod read;
mod recovery;
mod scrub;
mod swap_in;
mod sync;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use thalweg_types::{CopyNumber, LeaderEpoch, Offset};
use tracing::{error, info, warn};

pub use self::clean::{CleanOptions, CleanPace, CleanReport};
pub use self::dirt::Dirtiness;
use self::queue::AppendQueue;
use self::sync::SyncState;
use self::writer::WriterState;
use crate::checkpoint::Checkpoint;
use crate::compaction::CleanedTo;
use crate::damage::Damage;
use crate::epoch_cache::EpochCache;
use crate::files::LogFiles;
use crate::locks::{lock, read, write};
use crate::producer_state::{Producers, Verdict};
use crate::segment::{Segment, SegmentContext};
use crate::{
    Appended, LogHealth, LogListener, LogOptions, LogProgress, ProducerSequences, StorageThreads,
};

/// One partition's log. Shared by its replica, the connections that read it and the threads that
/// write it.
pub struct Log {
    folder: PathBuf,
    /// Of all copies that these threads work for.
    copy: CopyNumber,
    files: Arc<dyn LogFiles>,
    threads: Arc<StorageThreads>,
    segment_context: Arc<SegmentContext>,
    options: RwLock<Arc<LogOptions>>,

    /// Batches that wait for the writer.
    queue: Mutex<AppendQueue>,
    /// Held by whoever compacts the log.
    cleaning: Mutex<()>,
    /// Held by whoever puts other segments in the place of some, removes some or cuts one.
    swap: Mutex<()>,
    /// Held by whoever changes the log's bytes.
    writer: Mutex<WriterState>,
    /// Held by whoever syncs.
    sync_run: Mutex<()>,
    sync: Mutex<SyncState>,

    /// Oldest first; never empty. The last one takes the appends.
    segments: RwLock<Vec<Arc<Segment>>>,
    epochs: RwLock<Arc<EpochCache>>,
    producers: Mutex<Producers>,
    /// How many snapshots of them were made.
    producer_snapshots: AtomicU64,
    /// The number of the snapshot that the `producers` file holds.
    producers_written: Mutex<u64>,
    /// What the `compacted` file holds.
    cleaned: Mutex<CleanedTo>,
    /// What the `checkpoint` file holds.
    checkpointed: Mutex<Checkpoint>,

    log_start: AtomicOffset,
    log_end: AtomicOffset,
    stable_end: AtomicOffset,
    high_watermark: AtomicOffset,

    health: RwLock<LogHealth>,
    /// Whether `health` is final, to be asked without a lock.
    is_out: AtomicBool,
    is_read_only: AtomicBool,
    is_closed: AtomicBool,
    /// Where recovery found damage below the high watermark: reads from there on are refused.
    damaged_from: Option<Damage>,
    scrub_next: Mutex<Offset>,
    listener: RwLock<Option<Arc<dyn LogListener>>>,
}

impl Log {
    /// Who hears of progress and failure from now on. It is called once at once, with where the
    /// log is and, if so, that it has failed.
    pub fn set_listener(&self, listener: Arc<dyn LogListener>) {
        *write(&self.listener) = Some(Arc::clone(&listener));
        listener.progressed(self.progress());
        let health = self.health();
        if health.is_final() {
            listener.failed(health);
        }
    }

    /// The number of this copy: a log that is opened later has a larger one.
    pub fn copy(&self) -> CopyNumber {
        self.copy
    }

    /// The first offset kept.
    pub fn log_start(&self) -> Offset {
        self.log_start.load()
    }

    /// The offset that the next record gets.
    pub fn log_end(&self) -> Offset {
        self.log_end.load()
    }

    /// The offset up to which the topic's durability is met: synced, or written for
    /// `durability: memory`.
    pub fn stable_end(&self) -> Offset {
        self.stable_end.load()
    }

    /// The high watermark, as last set. After a restart: as it was written to the disk last.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark.load()
    }

    /// Raises the high watermark; a smaller one is ignored, and one beyond the log's end means
    /// the log's end. It reaches the disk with the next [`Log::checkpoint`].
    pub fn set_high_watermark(&self, offset: Offset) {
        self.high_watermark.raise(offset.min(self.log_end()));
    }

    /// The newest epoch not after the given one, and the offset at which it ended (KIP-101).
    /// `(LeaderEpoch::UNKNOWN, Offset(-1))` when the log knows no such epoch.
    pub fn epoch_end(&self, epoch: LeaderEpoch) -> (LeaderEpoch, Offset) {
        self.epochs().end_of(epoch, self.log_end())
    }

    /// The newest epoch; `LeaderEpoch::UNKNOWN` for a log that never had a leader.
    pub fn latest_epoch(&self) -> LeaderEpoch {
        read(&self.epochs).latest()
    }

    /// Where the log has a batch of an idempotent producer, if it does. What is queued and not yet
    /// written is not known here.
    pub fn stored_before(&self, sequences: &ProducerSequences) -> Option<Appended> {
        match lock(&self.producers).check(sequences) {
            Ok(Verdict::Duplicate(seen)) => Some(Appended {
                base_offset: seen.base_offset,
                next_offset: seen.next_offset,
                log_append_time_ms: None,
                duplicate: true,
            }),
            Ok(Verdict::Append) | Err(_) => None,
        }
    }

    /// Puts new settings in force.
    pub fn update_options(&self, options: LogOptions) {
        *write(&self.options) = Arc::new(options);
    }

    /// The settings in force.
    pub fn options(&self) -> Arc<LogOptions> {
        Arc::clone(&read(&self.options))
    }

    /// The size of all segments, in bytes.
    pub fn size_bytes(&self) -> u64 {
        let segments = read(&self.segments);
        segments
            .iter()
            .map(|segment| segment.tail().len_bytes)
            .sum()
    }

    /// Whether the log can be used.
    pub fn health(&self) -> LogHealth {
        read(&self.health).clone()
    }

    fn progress(&self) -> LogProgress {
        LogProgress {
            log_end: self.log_end(),
            stable_end: self.stable_end(),
        }
    }

    fn tell_progress(&self) {
        let listener = read(&self.listener).clone();
        if let Some(listener) = listener {
            listener.progressed(self.progress());
        }
    }

    /// Takes the log out of use until it is reopened, and tells its listener.
    pub(crate) fn fail(&self, reason: String) {
        self.set_failed(reason);
        self.tell_failure();
    }

    /// Takes the log out of use until it is reopened. Whoever calls this under a lock calls
    /// `tell_failure` after it.
    fn set_failed(&self, reason: String) {
        error!(log = %self.folder.display(), reason, "log failed, it takes no appends until it is reopened");
        self.set_out(LogHealth::Failed { reason });
    }

    /// Takes the log out of use because bytes of it are damaged, also when it is opened again, and
    /// tells its listener.
    fn quarantine(&self, damage: &Damage) {
        if self.is_out.load(Ordering::Acquire) {
            return;
        }
        let log = self.folder.display();
        error!(%log, reason = %damage, "log is damaged, quarantined until it is refilled");
        // Before anybody sees it: whoever does may put another copy into the folder, or end.
        let path = self.folder.join(DAMAGED_FILE);
        if let Err(error) = self.files.replace(&path, &damage.encode(), true) {
            warn!(%log, %error, "failed to note the damage: after a restart it has to be found again");
        }
        self.set_out(LogHealth::Quarantined {
            reason: damage.to_string(),
        });
        self.tell_failure();
    }

    fn set_out(&self, to: LogHealth) {
        let mut health = write(&self.health);
        // The first reason is the cause, later ones follow from it.
        if !health.is_final() {
            *health = to;
            self.is_out.store(true, Ordering::Release);
        }
    }

    fn tell_failure(&self) {
        let listener = read(&self.listener).clone();
        if let Some(listener) = listener {
            listener.failed(self.health());
        }
    }

    fn note_disk_full(&self, reason: &str) {
        if !self.is_read_only.swap(true, Ordering::AcqRel) {
            warn!(log = %self.folder.display(), reason, "disk is full, log is read-only until there is room");
        }
        let mut health = write(&self.health);
        if !health.is_final() {
            *health = LogHealth::ReadOnly {
                reason: reason.to_owned(),
            };
        }
    }

    fn note_room(&self) {
        if self.is_read_only.load(Ordering::Acquire) {
            self.is_read_only.store(false, Ordering::Release);
            let mut health = write(&self.health);
            if matches!(*health, LogHealth::ReadOnly { .. }) {
                *health = LogHealth::Ok;
            }
            info!(log = %self.folder.display(), "there is room again, log takes appends");
        }
    }

    /// Why the log takes no changes, if so.
    fn out_reason(&self) -> Option<String> {
        if !self.is_out.load(Ordering::Acquire) {
            return None;
        }
        match self.health() {
            LogHealth::Failed { reason } | LogHealth::Quarantined { reason } => Some(reason),
            LogHealth::Ok | LogHealth::ReadOnly { .. } => None,
        }
    }

    fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    fn epochs(&self) -> Arc<EpochCache> {
        Arc::clone(&read(&self.epochs))
    }

    fn active_segment(&self) -> Arc<Segment> {
        let segments = read(&self.segments);
        Arc::clone(segments.last().expect("a log has at least one segment"))
    }

    /// The segment that holds an offset at or after the log's start.
    fn segment_at(&self, offset: Offset) -> Arc<Segment> {
        let segments = read(&self.segments);
        let after = segments.partition_point(|segment| segment.base_offset() <= offset);
        Arc::clone(&segments[after.saturating_sub(1)])
    }

    /// The segments from the one that holds an offset on.
    fn segments_from(&self, offset: Offset) -> Vec<Arc<Segment>> {
        let segments = read(&self.segments);
        let after = segments.partition_point(|segment| segment.base_offset() <= offset);
        segments[after.saturating_sub(1)..].to_vec()
    }

    fn checkpoint_path(&self) -> PathBuf {
        self.folder.join(CHECKPOINT_FILE)
    }

    /// What the checkpoint file should hold now, but for a clean shutdown.
    fn current_checkpoint(&self) -> Checkpoint {
        Checkpoint {
            high_watermark: self.high_watermark(),
            log_start: self.log_start(),
            clean: None,
            sync_failed_at: None,
        }
    }

    /// Replaces the checkpoint file.
    fn write_checkpoint(&self, checkpoint: Checkpoint, sync: bool) -> std::io::Result<()> {
        let mut checkpointed = lock(&self.checkpointed);
        self.files
            .replace(&self.checkpoint_path(), &checkpoint.encode(), sync)?;
        *checkpointed = checkpoint;
        Ok(())
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("folder", &self.folder)
            .field("log_start", &self.log_start())
            .field("log_end", &self.log_end())
            .field("health", &self.health())
            .finish_non_exhaustive()
    }
}

/// The names of the small files beside the segments.
const CHECKPOINT_FILE: &str = "checkpoint";
const COMPACTED_FILE: &str = "compacted";
const DAMAGED_FILE: &str = "damaged";
const EPOCHS_FILE: &str = "leader-epochs";
const PRODUCERS_FILE: &str = "producers";

/// An offset that is read without a lock.
#[derive(Debug, Default)]
struct AtomicOffset(AtomicI64);

impl AtomicOffset {
    const fn new(offset: Offset) -> Self {
        Self(AtomicI64::new(offset.0))
    }

    fn load(&self) -> Offset {
        Offset(self.0.load(Ordering::Acquire))
    }

    fn store(&self, offset: Offset) {
        self.0.store(offset.0, Ordering::Release);
    }

    fn raise(&self, offset: Offset) {
        self.0.fetch_max(offset.0, Ordering::AcqRel);
    }

    fn lower(&self, offset: Offset) {
        self.0.fetch_min(offset.0, Ordering::AcqRel);
    }
}
