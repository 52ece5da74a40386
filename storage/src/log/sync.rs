//! Makes what was written durable, on the sync threads, while writes go on.
//!
//! A sync covers what was written before it began, and `stable_end` moves there once it is done.
//! A sync that fails is final: the kernel may have dropped the pages and will say nothing when
//! asked again, so the log fails, and what was not stable is cut off when it is next opened.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use thalweg_types::Offset;
use tracing::warn;

use super::{EPOCHS_FILE, Log, PRODUCERS_FILE};
use crate::checkpoint::Checkpoint;
use crate::files::LogFile;
use crate::locks::{lock, read};
use crate::segment::Segment;

/// What became of a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SyncOutcome {
    Synced,
    Failed,
    /// The log was out of use already.
    Refused,
}

/// The producers as they were at some moment, to be written to their file.
pub(super) struct ProducerSnapshot {
    /// Counts snapshots, so that an older one never replaces a newer.
    number: u64,
    content: Vec<u8>,
}

/// A segment with unsynced bytes.
struct Dirty {
    segment: Arc<Segment>,
    /// The very handle that wrote them, where a sync is about to come: an error of the disk is reported
    /// to a handle that was open when it happened. Where none is (`durability: memory`) that may be never,
    /// and ten thousand logs must not keep a file open each: the kernel tells an error that nobody has
    /// heard of to the next handle as well.
    file: Option<Arc<dyn LogFile>>,
}

impl Dirty {
    /// Whether syncing it syncs what was written to `segment` by `file` as well.
    fn covers(&self, segment: &Arc<Segment>, file: Option<&Arc<dyn LogFile>>) -> bool {
        let is_same_file = match (&self.file, file) {
            (_, None) => true,
            (Some(known), Some(file)) => Arc::ptr_eq(known, file),
            (None, Some(_)) => false,
        };
        is_same_file && Arc::ptr_eq(&self.segment, segment)
    }
}

/// What is written and not yet synced.
#[derive(Default)]
pub(super) struct SyncState {
    /// Oldest first.
    dirty: Vec<Dirty>,
    /// The log's end after the last write.
    written_end: Offset,
    /// Whether a segment was made whose name may not be on the disk.
    folder_is_dirty: bool,
    /// A snapshot of the producers to write once what it covers is synced.
    producers: Option<ProducerSnapshot>,
    is_scheduled: bool,
    /// Whether more was written since the scheduled sync began.
    is_wanted_again: bool,
    /// Counts truncations: a sync that began before one says nothing about what came after.
    truncations: u64,
}

impl SyncState {
    /// That of a log that was opened. Whether the names of its segments are on the disk nobody knows: a
    /// sync may have failed, or the process been killed before one.
    pub(super) fn starting_at(log_end: Offset) -> Self {
        Self {
            written_end: log_end,
            folder_is_dirty: true,
            ..Self::default()
        }
    }

    /// Notes that a segment was written and where the log ends now. `file` wrote it, and is kept for a
    /// sync that is about to come.
    pub(super) fn note_written(
        &mut self,
        segment: &Arc<Segment>,
        file: Option<&Arc<dyn LogFile>>,
        log_end: Offset,
    ) {
        self.note_dirty(segment, file);
        self.written_end = log_end;
    }

    /// Notes that a segment has to be synced, by `file` where that is about to come.
    pub(super) fn note_dirty(&mut self, segment: &Arc<Segment>, file: Option<&Arc<dyn LogFile>>) {
        let last = self.dirty.last();
        if !last.is_some_and(|last| last.covers(segment, file)) {
            self.dirty.push(Dirty {
                segment: Arc::clone(segment),
                file: file.cloned(),
            });
        }
    }

    /// How often the log was cut.
    pub(super) const fn truncations(&self) -> u64 {
        self.truncations
    }

    /// Where the first segment begins that has to be synced.
    pub(super) fn first_dirty(&self) -> Option<Offset> {
        self.dirty
            .iter()
            .map(|dirty| dirty.segment.base_offset())
            .min()
    }

    /// Notes that a segment was made.
    pub(super) const fn note_new_segment(&mut self) {
        self.folder_is_dirty = true;
    }

    /// Hands over a snapshot of the producers as they are at the end of what was written.
    pub(super) fn set_producers(&mut self, snapshot: ProducerSnapshot) {
        self.producers = Some(snapshot);
    }

    /// Notes that the log was cut.
    pub(super) fn note_truncated(&mut self, log_end: Offset) {
        self.truncations += 1;
        self.written_end = log_end;
        self.producers = None;
    }
}

impl Log {
    /// Has what was written synced, unless that is under way.
    pub(super) fn schedule_sync(self: &Arc<Self>) {
        {
            let mut sync = lock(&self.sync);
            if std::mem::replace(&mut sync.is_scheduled, true) {
                sync.is_wanted_again = true;
                return;
            }
        }
        self.threads.schedule_sync(self);
    }

    /// Syncs once. Called on a sync thread; returns whether there is more to sync.
    pub(crate) fn sync_written(self: &Arc<Self>) -> bool {
        lock(&self.sync).is_wanted_again = false;
        self.sync_now();
        let mut sync = lock(&self.sync);
        sync.is_scheduled = sync.is_wanted_again && !self.is_out.load(Ordering::Acquire);
        sync.is_scheduled
    }

    /// Syncs what was written up to now and tells of it. When it fails, the log has failed.
    pub(crate) fn sync_now(&self) {
        let outcome = {
            let _run = lock(&self.sync_run);
            // Closing has synced it, or it is deleted and its files are gone.
            if self.is_closed() {
                return;
            }
            self.sync_once()
        };
        match outcome {
            SyncOutcome::Synced => self.tell_progress(),
            SyncOutcome::Failed => self.tell_failure(),
            SyncOutcome::Refused => {}
        }
    }

    /// Syncs what was written up to now. The caller holds `sync_run`.
    pub(super) fn sync_once(&self) -> SyncOutcome {
        if self.out_reason().is_some() {
            return SyncOutcome::Refused;
        }
        let (dirty, target, folder_is_dirty, producers, truncations) = {
            let mut sync = lock(&self.sync);
            (
                std::mem::take(&mut sync.dirty),
                sync.written_end,
                std::mem::take(&mut sync.folder_is_dirty),
                sync.producers.take(),
                sync.truncations,
            )
        };
        if let Err(error) = self.sync_files(&dirty, folder_is_dirty) {
            self.sync_failed(&error);
            return SyncOutcome::Failed;
        }
        if let Some(snapshot) = producers
            && let Err(error) = self.write_producers(&snapshot, true)
        {
            // The batches are safe. On a full disk the next snapshot may find room.
            warn!(log = %self.folder.display(), %error, "failed to write the producers");
        }
        {
            let sync = lock(&self.sync);
            if sync.truncations == truncations {
                self.stable_end.raise(target);
            }
        }
        self.seal_closed(&dirty);
        SyncOutcome::Synced
    }

    fn sync_files(&self, dirty: &[Dirty], folder_is_dirty: bool) -> std::io::Result<()> {
        // Oldest first, so that the log on the disk has no hole.
        for Dirty { segment, file } in dirty {
            match file {
                Some(file) => file.sync_data()?,
                None => sync_segment(segment)?,
            }
        }
        if folder_is_dirty {
            self.files.sync_folder(&self.folder)?;
        }
        Ok(())
    }

    fn sync_failed(&self, error: &std::io::Error) {
        // On the disk already the offset from which on nobody was told that a record is safe, so
        // that whatever the page cache still shows is not taken for durable.
        let marked = self.write_checkpoint(
            Checkpoint {
                sync_failed_at: Some(self.stable_end()),
                ..self.current_checkpoint()
            },
            true,
        );
        if let Err(error) = marked {
            warn!(log = %self.folder.display(), %error, "failed to note the failed sync");
        }
        self.set_failed(format!("failed to sync: {error}"));
    }

    /// Writes the indexes of synced segments that take no more appends.
    fn seal_closed(&self, synced: &[Dirty]) {
        let kept = {
            let segments = read(&self.segments);
            let active = segments.last().expect("a log has at least one segment");
            segments[0].base_offset()..active.base_offset()
        };
        for Dirty { segment, .. } in synced {
            if !kept.contains(&segment.base_offset()) {
                continue;
            }
            // Without it the index is made again when it is next needed.
            if let Err(error) = segment.seal() {
                warn!(segment = ?segment, %error, "failed to write the index of a closed segment");
            }
        }
    }

    /// Writes the epochs. Called before the first batch of an epoch is written.
    pub(super) fn store_epochs(&self) -> std::io::Result<()> {
        let path = self.folder.join(EPOCHS_FILE);
        self.files.replace(&path, &self.epochs().encode(), true)
    }

    /// The producers as they are when the log ends there, with what is planned up to there. The
    /// caller holds `writer`.
    pub(super) fn snapshot_producers(&self, log_end: Offset) -> ProducerSnapshot {
        ProducerSnapshot {
            number: self.producer_snapshots.fetch_add(1, Ordering::Relaxed) + 1,
            content: lock(&self.producers).encode(log_end),
        }
    }

    /// Writes the producers as they are. The caller holds `writer`, and nothing is planned.
    pub(super) fn store_producers(&self, sync: bool) -> std::io::Result<()> {
        self.write_producers(&self.snapshot_producers(self.log_end()), sync)
    }

    /// Writes a snapshot, unless a newer one is written already.
    pub(super) fn write_producers(
        &self,
        snapshot: &ProducerSnapshot,
        sync: bool,
    ) -> std::io::Result<()> {
        let mut written = lock(&self.producers_written);
        if snapshot.number > *written {
            let path = self.folder.join(PRODUCERS_FILE);
            self.files.replace(&path, &snapshot.content, sync)?;
            *written = snapshot.number;
        }
        Ok(())
    }
}

/// Syncs a segment that no handle was kept of.
fn sync_segment(segment: &Arc<Segment>) -> std::io::Result<()> {
    match segment.file() {
        Ok(file) => file.sync_data(),
        // Retention was faster.
        Err(_) if segment.is_deleted() => Ok(()),
        Err(error) => Err(error),
    }
}
