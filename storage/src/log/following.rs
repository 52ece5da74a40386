//! What a follower does to its log beside appending and cutting.

use std::sync::Arc;

use thalweg_types::{LeaderEpoch, Offset};

use super::Log;
use super::maintenance::failed_to;
use super::{CHECKPOINT_FILE, EPOCHS_FILE, PRODUCERS_FILE};
use crate::MaintainError;
use crate::checkpoint::Checkpoint;
use crate::compaction::CleanedTo;
use crate::epoch_cache::EpochCache;
use crate::locks::{lock, write};
use crate::producer_state::Producers;
use crate::segment::Segment;

impl Log {
    /// Forgets an epoch that was begun here and in which nothing was written: the next leader may
    /// hold batches of an older one from the log's end on, which would be taken for stale.
    ///
    /// # Errors
    /// When the log is closed or has failed, or the epochs can't be written.
    pub fn begin_following(&self) -> Result<(), MaintainError> {
        let _writer = lock(&self.writer);
        self.check_usable()?;
        self.truncate_epochs(self.log_end())
    }

    /// The epoch of the last batch; `LeaderEpoch::UNKNOWN` where the log is empty. A follower tells
    /// it with what it asks for, so that its leader sees whether the two agree (KIP-595).
    pub fn last_epoch(&self) -> LeaderEpoch {
        let end = self.log_end();
        if end <= self.log_start() {
            return LeaderEpoch::UNKNOWN;
        }
        self.epochs().epoch_at(Offset(end.0 - 1))
    }

    /// Empties the log and lets it go on at an offset: for a follower whose leader does not hold
    /// any more what comes after it. A crash meanwhile leaves the log as it was, shorter, or empty at
    /// that offset.
    ///
    /// # Errors
    /// When the log is closed or has failed, or a file operation fails; the log has failed then.
    pub fn restart_at(self: &Arc<Self>, offset: Offset) -> Result<(), MaintainError> {
        let result = {
            let _swap = lock(&self.swap);
            let _run = lock(&self.sync_run);
            let mut writer = lock(&self.writer);
            self.check_usable()?;
            let restarted = self.replace_all(offset);
            writer.active_since_ms = None;
            if let Err(error) = &restarted {
                self.set_failed(format!("failed to begin anew at {offset}: {error}"));
            }
            restarted
        };
        if result.is_err() {
            self.tell_failure();
        }
        result
    }

    /// The caller holds `swap`, `sync_run` and `writer`.
    fn replace_all(self: &Arc<Self>, offset: Offset) -> Result<(), MaintainError> {
        let cleaned = CleanedTo {
            first_dirty: Offset::ZERO,
            ..*lock(&self.cleaned)
        };
        self.store_cleaned(cleaned)?;
        // Where all segments end before it, opening the log makes one there.
        let checkpoint = Checkpoint {
            high_watermark: offset,
            log_start: offset,
            clean: None,
            sync_failed_at: None,
        };
        self.write_checkpoint(checkpoint, true)
            .map_err(failed_to("write", &self.folder.join(CHECKPOINT_FILE)))?;

        let former = std::mem::take(&mut *write(&self.segments));
        let removed = former.iter().rev().try_for_each(|segment| {
            // The newest first, so that a crash leaves no hole.
            segment
                .delete_files()
                .map_err(failed_to("delete", &segment.path("log")))
        });
        let interval_bytes = self.options().index_interval_bytes;
        let first = Segment::create(Arc::clone(&self.segment_context), offset, interval_bytes);
        let first = first.map_err(failed_to("make a segment in", &self.folder));
        let first = match (removed, first) {
            (Ok(()), Ok(first)) => first,
            (Err(error), _) | (_, Err(error)) => {
                // There is always a segment; the log has failed and takes nothing more.
                *write(&self.segments) = former;
                return Err(error);
            }
        };
        write(&self.segments).push(Arc::clone(&first));
        self.files
            .sync_folder(&self.folder)
            .map_err(failed_to("sync", &self.folder))?;

        self.log_start.store(offset);
        self.log_end.store(offset);
        self.high_watermark.store(offset);
        {
            let mut sync = lock(&self.sync);
            sync.note_truncated(offset);
            sync.note_dirty(&first, None);
            self.stable_end.store(offset);
        }
        *lock(&self.scrub_next) = offset;
        *write(&self.epochs) = Arc::new(EpochCache::default());
        self.store_epochs()
            .map_err(failed_to("write", &self.folder.join(EPOCHS_FILE)))?;
        *lock(&self.producers) = Producers::default();
        self.store_producers(true)
            .map_err(failed_to("write", &self.folder.join(PRODUCERS_FILE)))
    }
}
