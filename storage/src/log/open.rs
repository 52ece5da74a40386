//! Opens a log: what is on the disk becomes a [`Log`].

use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, RwLock};

use tracing::warn;

use super::recovery::recover;
use super::sync::SyncState;
use super::{AtomicOffset, Log};
use crate::files::LogFiles;
use crate::locks::lock;
use crate::segment::SegmentContext;
use crate::{LogOptions, MaintainError, OpenError, StorageThreads};

impl Log {
    /// Opens the log in a folder, which is made when it is missing. After an unclean stop the
    /// last segment is read and a torn tail cut off; otherwise no segment is.
    ///
    /// # Errors
    /// When a file operation fails, or a file is of a later version. Damaged batches are no error:
    /// the log is quarantined then, and serves what is sound.
    pub fn open(
        path: PathBuf,
        options: LogOptions,
        threads: Arc<StorageThreads>,
        files: Arc<dyn LogFiles>,
        now_ms: i64,
    ) -> Result<Arc<Self>, OpenError> {
        let context = Arc::new(SegmentContext {
            folder: path.clone(),
            files: Arc::clone(&files),
            open_files: Arc::clone(threads.open_files()),
        });
        let mut recovered = recover(&context, &options, now_ms)?;
        recovered
            .producers
            .forget_idle(options.producer_expiry, now_ms, recovered.log_start);
        let sync_failed_at = recovered.checkpoint.sync_failed_at;
        let log = Arc::new(Self {
            folder: path,
            copy: threads.number_log(),
            files,
            threads,
            segment_context: context,
            options: RwLock::new(Arc::new(options)),
            queue: Mutex::default(),
            cleaning: Mutex::default(),
            swap: Mutex::default(),
            writer: Mutex::default(),
            sync_run: Mutex::default(),
            sync: Mutex::new(SyncState::starting_at(recovered.log_end)),
            segments: RwLock::new(recovered.segments),
            epochs: RwLock::new(Arc::new(recovered.epochs)),
            producers: Mutex::new(recovered.producers),
            producer_snapshots: AtomicU64::default(),
            producers_written: Mutex::default(),
            cleaned: Mutex::new(recovered.cleaned),
            log_start: AtomicOffset::new(recovered.log_start),
            log_end: AtomicOffset::new(recovered.log_end),
            stable_end: AtomicOffset::new(recovered.log_end),
            high_watermark: AtomicOffset::new(
                recovered
                    .checkpoint
                    .high_watermark
                    .min(recovered.log_end)
                    .max(recovered.log_start),
            ),
            checkpointed: Mutex::new(recovered.checkpoint),
            health: RwLock::default(),
            is_out: false.into(),
            is_read_only: false.into(),
            is_closed: false.into(),
            damaged_from: recovered.damaged_from,
            scrub_next: Mutex::new(recovered.log_start),
            listener: RwLock::default(),
        });
        if let Some(damage) = &recovered.damage {
            log.quarantine(damage);
        }
        if let Some(stable_end) = sync_failed_at {
            log.cut_after_failed_sync(stable_end)?;
        }
        Ok(log)
    }

    /// Cuts what was written and never known to be on the disk when a sync failed.
    fn cut_after_failed_sync(
        self: &Arc<Self>,
        stable_end: thalweg_types::Offset,
    ) -> Result<(), OpenError> {
        warn!(log = %self.folder.display(), %stable_end, log_end = %self.log_end(), "a sync had failed, cutting what was not acknowledged");
        let end = stable_end.clamp(self.log_start(), self.log_end());
        self.truncate_to(end).map_err(|error| match error {
            MaintainError::Io {
                action,
                path,
                source,
            } => OpenError::Io {
                action,
                path,
                source,
            },
            other => OpenError::Io {
                action: "cut",
                path: self.folder.clone(),
                source: std::io::Error::other(other),
            },
        })?;
        self.write_checkpoint(self.current_checkpoint(), true)
            .map_err(|source| OpenError::Io {
                action: "write",
                path: self.checkpoint_path(),
                source,
            })?;
        *lock(&self.scrub_next) = self.log_start();
        Ok(())
    }
}
