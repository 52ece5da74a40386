//! Changes to a log other than appends: epochs, truncation, deletion, retention, checkpoint, close.
//!
//! All of them hold `writer`, so that none meets a write half-way.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use thalweg_types::{LeaderEpoch, Offset};

use super::sync::SyncOutcome;
use super::writer::sequences_of;
use super::{EPOCHS_FILE, Log, PRODUCERS_FILE};
use crate::batch_walk::WalkError;
use crate::checkpoint::{Checkpoint, CleanShutdown};
use crate::files::{OpenMode, write_all};
use crate::locks::{lock, read, write};
use crate::producer_state::Producers;
use crate::retention::{SegmentAge, count_over_size, is_expired};
use crate::segment::Segment;
use crate::segment_index::NO_TIMESTAMP;
use crate::{MaintainError, ReadError};

/// What is written to see whether there is room; recovery removes files that end so.
const PROBE_FILE: &str = "room.tmp";

/// How much room there must be before a full disk counts as healed: a batch of the usual limit.
const PROBE_BYTES: usize = 1 << 20;

impl Log {
    /// Notes that an epoch begins at the log's end: on disk before it returns. Appends under an
    /// older epoch are refused from then on.
    ///
    /// # Errors
    /// When the epoch is older than the log's, or can't be written.
    pub fn begin_epoch(&self, epoch: LeaderEpoch) -> Result<(), MaintainError> {
        let _writer = lock(&self.writer);
        self.check_usable()?;
        let latest = self.latest_epoch();
        if epoch < latest || epoch < LeaderEpoch(0) {
            return Err(MaintainError::StaleEpoch {
                given: epoch,
                latest,
            });
        }
        self.assign_epoch(epoch)
            .map_err(failed_to("write", &self.folder.join(EPOCHS_FILE)))
    }

    /// Cuts the log so that it ends at an offset, or before it when the offset lies within a
    /// batch. For followers.
    ///
    /// # Errors
    /// When the offset is not in the log, or a file operation fails.
    pub fn truncate_to(self: &Arc<Self>, offset: Offset) -> Result<(), MaintainError> {
        let result = {
            let _swap = lock(&self.swap);
            let _run = lock(&self.sync_run);
            let _writer = lock(&self.writer);
            self.check_usable()?;
            self.check_range(offset, self.log_start(), self.log_end())?;
            if offset == self.log_end() {
                return Ok(());
            }
            // Nothing is cut yet: where this fails, for one by a full disk, the log is as it was.
            self.prepare_cut(offset)?;
            let cut = self.cut_at(offset);
            if let Err(error) = &cut {
                // Half of it may be done: what the log holds is found out when it is reopened.
                self.set_failed(format!("failed to truncate: {error}"));
            }
            cut
        };
        if result.is_err() {
            self.tell_failure();
        }
        result
    }

    /// Writes down what must be on the disk before anything is cut, so that no clean shutdown is
    /// believed whose end is not the log's any more. The caller holds `swap`, `sync_run` and `writer`.
    fn prepare_cut(&self, offset: Offset) -> Result<(), MaintainError> {
        self.note_cut(offset)?;
        let checkpoint_path = self.checkpoint_path();
        self.write_checkpoint(self.current_checkpoint(), true)
            .map_err(failed_to("write", &checkpoint_path))
    }

    /// Cuts the log. The caller holds `swap`, `sync_run` and `writer`.
    fn cut_at(&self, offset: Offset) -> Result<(), MaintainError> {
        let checkpoint_path = self.checkpoint_path();
        let cut = self.segment_at(offset);
        let later: Vec<_> = {
            let mut segments = write(&self.segments);
            let after = segments.partition_point(|known| known.base_offset() <= offset);
            segments.drain(after.max(1)..).collect()
        };
        // The newest first, so that a crash leaves no hole.
        for segment in later.iter().rev() {
            segment
                .delete_files()
                .map_err(failed_to("delete", &segment.path("log")))?;
        }
        cut.truncate_to(offset)
            .map_err(|error| self.walk_failed(&cut, error))?;
        let end = cut.tail().next_offset;

        self.log_end.store(end);
        self.high_watermark.lower(end);
        if end < self.log_start() {
            // The batch that holds the log's start went whole.
            self.log_start.lower(end);
            self.write_checkpoint(self.current_checkpoint(), true)
                .map_err(failed_to("write", &checkpoint_path))?;
        }
        {
            let mut sync = lock(&self.sync);
            sync.note_truncated(end);
            sync.note_dirty(&cut, None);
            self.stable_end.lower(end);
        }
        self.truncate_epochs(end)?;
        self.rebuild_producers()
    }

    /// Forgets all records before an offset: on disk before it returns the new log start.
    ///
    /// # Errors
    /// When the offset lies beyond the high watermark, or a file operation fails. An offset before
    /// the log's start is no error.
    pub fn delete_records_before(
        self: &Arc<Self>,
        offset: Offset,
    ) -> Result<Offset, MaintainError> {
        let _swap = lock(&self.swap);
        let mut writer = lock(&self.writer);
        self.check_usable()?;
        self.check_range(offset, Offset::ZERO, self.high_watermark())?;
        if offset <= self.log_start() {
            return Ok(self.log_start());
        }
        self.log_start.raise(offset);
        let path = self.checkpoint_path();
        self.write_checkpoint(self.current_checkpoint(), true)
            .map_err(failed_to("write", &path))?;
        if offset == self.log_end() && self.active_segment().tail().len_bytes > 0 {
            self.roll()
                .map_err(failed_to("make a segment in", &self.folder))?;
            writer.active_since_ms = None;
        }
        self.delete_segments_before_start()?;
        Ok(offset)
    }

    /// Deletes segments whose records are all too old or that make the log too large, as far as
    /// they lie below the high watermark; and forgets idle producers.
    ///
    /// # Errors
    /// When a file operation fails.
    pub fn apply_retention(self: &Arc<Self>, now_ms: i64) -> Result<(), MaintainError> {
        let _swap = lock(&self.swap);
        let mut writer = lock(&self.writer);
        self.check_usable()?;
        let options = self.options();
        let expiry = options.producer_expiry;
        lock(&self.producers).forget_idle(expiry, now_ms, self.log_start());

        let segments = read(&self.segments).clone();
        let sizes: Vec<_> = segments
            .iter()
            .map(|segment| segment.tail().len_bytes)
            .collect();
        let over_size = options
            .retention_bytes
            .map_or(0, |limit| count_over_size(&sizes, limit));
        let mut count = over_size.min(segments.len() - 1);
        while let Some(limit) = options.retention
            && let Some(segment) = segments.get(count)
            && is_expired(self.age_of(segment)?, limit, now_ms)
        {
            count += 1;
        }
        let high_watermark = self.high_watermark();
        let deletable =
            segments.partition_point(|segment| segment.tail().next_offset <= high_watermark);
        count = count.min(deletable);
        if count == 0 {
            return Ok(());
        }
        let goes_whole = count == segments.len();
        if goes_whole {
            self.roll()
                .map_err(failed_to("make a segment in", &self.folder))?;
            writer.active_since_ms = None;
        }
        self.log_start.raise(segments[count - 1].tail().next_offset);
        if goes_whole {
            // A power cut may leave no segment to tell where the log goes on.
            let path = self.checkpoint_path();
            self.write_checkpoint(self.current_checkpoint(), true)
                .map_err(failed_to("write", &path))?;
        }
        self.delete_segments_before_start()
    }

    /// Closes the active segment when it is older than the topic's limit.
    ///
    /// # Errors
    /// When a file operation fails.
    pub fn roll_if_old(self: &Arc<Self>, now_ms: i64) -> Result<(), MaintainError> {
        let mut writer = lock(&self.writer);
        self.check_usable()?;
        let active = self.active_segment();
        if active.tail().len_bytes == 0 {
            return Ok(());
        }
        let since_ms = match writer.active_since_ms {
            Some(since_ms) => since_ms,
            // It is older than this process: the first batch's timestamp is the best guess.
            None => *writer.active_since_ms.insert(
                first_timestamp(&active, now_ms)
                    .map_err(|error| self.walk_failed(&active, error))?,
            ),
        };
        let age_ms = u128::from(now_ms.saturating_sub(since_ms).max(0).unsigned_abs());
        if age_ms < self.options().segment_age.as_millis() {
            return Ok(());
        }
        self.roll()
            .map_err(failed_to("make a segment in", &self.folder))?;
        writer.active_since_ms = None;
        Ok(())
    }

    /// Writes the high watermark to the disk if it has moved. To be called every few seconds.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn checkpoint(&self) -> Result<(), MaintainError> {
        let _writer = lock(&self.writer);
        self.check_usable()?;
        let current = self.current_checkpoint();
        if *lock(&self.checkpointed) == current {
            return Ok(());
        }
        let is_only_mark = {
            let written = lock(&self.checkpointed);
            written.clean.is_some()
                && written.high_watermark == current.high_watermark
                && written.log_start == current.log_start
        };
        if is_only_mark {
            return Ok(());
        }
        // A torn file is noticed and costs only the high watermark, unless the log start is in it.
        let holds_start = current.log_start > read(&self.segments)[0].base_offset();
        self.write_checkpoint(current, holds_start)
            .map_err(failed_to("write", &self.checkpoint_path()))
    }

    /// Tries whether a disk that was full has room again, so that the log takes appends, and is
    /// seen to, before somebody appends. To be called every few seconds; does nothing while there
    /// is room.
    pub fn probe_room(&self) {
        let _writer = lock(&self.writer);
        if !self.is_read_only.load(Ordering::Acquire) || self.check_usable().is_err() {
            return;
        }
        let path = self.folder.join(PROBE_FILE);
        let content = vec![0; PROBE_BYTES];
        let probed = self
            .files
            .open(&path, OpenMode::Create)
            .and_then(|file| write_all(&*file, vec![IoSlice::new(&content)], 0));
        // Should it stay, it is removed when the log is opened.
        let removed = self.files.remove(&path);
        if probed.and(removed).is_ok() {
            self.note_room();
        }
    }

    /// Writes what is queued, syncs, and notes the clean shutdown. The log refuses everything
    /// after. A log that has failed is closed without a mark, and recovered when it is opened.
    ///
    /// # Errors
    /// When a file operation fails; the log is closed then, too.
    pub fn close(self: &Arc<Self>) -> Result<(), MaintainError> {
        self.close_and(Self::sync_once)
    }

    /// Closes a log that is about to be deleted: what is not on the disk yet need not get there.
    ///
    /// # Errors
    /// As [`close`](Self::close).
    pub fn close_to_delete(self: &Arc<Self>) -> Result<(), MaintainError> {
        self.close_and(|_| SyncOutcome::Refused)
    }

    fn close_and(
        self: &Arc<Self>,
        sync: impl FnOnce(&Self) -> SyncOutcome,
    ) -> Result<(), MaintainError> {
        lock(&self.queue).close();
        let (result, finished, outcome) = {
            let _swap = lock(&self.swap);
            let _run = lock(&self.sync_run);
            let mut writer = lock(&self.writer);
            let finished = self.write_all_queued(&mut writer);
            let was_closed = self.is_closed.swap(true, Ordering::AcqRel);
            if was_closed {
                return Ok(());
            }
            let outcome = sync(self);
            let result = if outcome == SyncOutcome::Synced {
                self.mark_clean()
            } else {
                Ok(())
            };
            for segment in read(&self.segments).iter() {
                segment.close_files();
            }
            (result, finished, outcome)
        };
        for group in finished {
            self.finish(group);
        }
        match outcome {
            SyncOutcome::Synced => self.tell_progress(),
            SyncOutcome::Failed => self.tell_failure(),
            SyncOutcome::Refused => {}
        }
        result.map_err(failed_to("note the clean shutdown of", &self.folder))
    }

    fn mark_clean(&self) -> io::Result<()> {
        self.store_producers(true)?;
        let active = self.active_segment();
        if active.tail().len_bytes > 0 {
            active.store_index()?;
        }
        let checkpoint = Checkpoint {
            clean: Some(CleanShutdown {
                last_segment: active.base_offset(),
                last_segment_bytes: active.tail().len_bytes,
                log_end: self.log_end(),
            }),
            ..self.current_checkpoint()
        };
        self.write_checkpoint(checkpoint, true)
    }

    /// Deletes segments that lie wholly before the log's start.
    fn delete_segments_before_start(&self) -> Result<(), MaintainError> {
        let log_start = self.log_start();
        let (doomed, first_left) = {
            let mut segments = write(&self.segments);
            let ended = segments.partition_point(|segment| segment.tail().next_offset <= log_start);
            let count = ended.min(segments.len() - 1);
            let doomed: Vec<_> = segments.drain(..count).collect();
            (doomed, segments[0].base_offset())
        };
        // The oldest first, so that a crash leaves no hole.
        for segment in &doomed {
            segment
                .delete_files()
                .map_err(failed_to("delete", &segment.path("log")))?;
        }
        let mut epochs = (*self.epochs()).clone();
        if epochs.forget_before(first_left) {
            *write(&self.epochs) = Arc::new(epochs);
            self.store_epochs()
                .map_err(failed_to("write", &self.folder.join(EPOCHS_FILE)))?;
        }
        Ok(())
    }

    pub(super) fn truncate_epochs(&self, end: Offset) -> Result<(), MaintainError> {
        let mut epochs = (*self.epochs()).clone();
        if epochs.truncate_to(end) {
            *write(&self.epochs) = Arc::new(epochs);
            self.store_epochs()
                .map_err(failed_to("write", &self.folder.join(EPOCHS_FILE)))?;
        }
        Ok(())
    }

    /// Makes the producers' state again after a truncation: from the snapshot where it is old
    /// enough, else from all batches.
    fn rebuild_producers(&self) -> Result<(), MaintainError> {
        let log_end = self.log_end();
        let path = self.folder.join(PRODUCERS_FILE);
        let snapshot = self.files.read(&path).map_err(failed_to("read", &path))?;
        let (mut producers, from) = snapshot
            .and_then(|bytes| Producers::decode(&bytes).ok())
            .filter(|(_, at)| *at <= log_end)
            .unwrap_or_default();
        let known = lock(&self.producers).clone();
        for segment in self.segments_from(from.max(self.log_start())) {
            segment
                .for_each_header(from, |header| {
                    if let Some(sequences) = sequences_of(header) {
                        let last_append_ms = known
                            .last_append_ms(sequences.producer_id)
                            .unwrap_or(header.max_timestamp_ms);
                        producers.note_batch(&sequences, header, last_append_ms);
                    }
                })
                .map_err(|error| self.walk_failed(&segment, error))?;
        }
        *lock(&self.producers) = producers;
        // The file may cover batches that are gone.
        self.store_producers(true)
            .map_err(failed_to("write", &path))
    }

    fn age_of(&self, segment: &Arc<Segment>) -> Result<SegmentAge, MaintainError> {
        let newest = segment
            .max_timestamp_ms()
            .map_err(failed_to("read", &segment.path("timeindex")))?;
        Ok(SegmentAge {
            size_bytes: segment.tail().len_bytes,
            max_timestamp_ms: (newest != NO_TIMESTAMP).then_some(newest),
        })
    }

    pub(super) fn check_usable(&self) -> Result<(), MaintainError> {
        if self.is_closed() {
            return Err(MaintainError::Closed);
        }
        match self.out_reason() {
            Some(reason) => Err(MaintainError::Failed { reason }),
            None => Ok(()),
        }
    }

    const fn check_range(
        &self,
        given: Offset,
        first: Offset,
        last: Offset,
    ) -> Result<(), MaintainError> {
        if given.0 < first.0 || given.0 > last.0 {
            return Err(MaintainError::OutOfRange { given, first, last });
        }
        Ok(())
    }

    pub(super) fn walk_failed(&self, segment: &Arc<Segment>, error: WalkError) -> MaintainError {
        match error {
            WalkError::Io(source) => MaintainError::Io {
                action: "read",
                path: segment.path("log"),
                source,
            },
            WalkError::Bad { offset, reason, .. } => {
                MaintainError::Damaged(ReadError::Corrupt { offset, reason })
            }
        }
    }
}

/// The timestamp of a segment's first batch, unless it lies in the future.
fn first_timestamp(segment: &Arc<Segment>, now_ms: i64) -> Result<i64, WalkError> {
    let first = segment.first_header()?;
    Ok(first.map_or(now_ms, |header| {
        if header.max_timestamp_ms < 0 {
            now_ms
        } else {
            header.max_timestamp_ms.min(now_ms)
        }
    }))
}

pub(super) fn failed_to<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl Fn(io::Error) -> MaintainError + 'a {
    move |source| MaintainError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}
